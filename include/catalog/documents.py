"""Metadata documents, read many at a time and each once.

A document that the listing shows and that cannot be read is *unreadable*: one item of the report, and nothing
below it may be deleted. It is never an absence, whatever the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, Self, TypeVar

from include.assets.core_files import parse_json
from include.errors import (
    AssetflowError,
    BucketNotFound,
    InvalidInput,
    NotFound,
    Problem,
    TransientError,
)

T = TypeVar("T")

ALIKE = 20
"""So many requests that a store cannot answer now, and no other outcome, are about the store."""


class Shape(Enum):
    """What a document holds at its top."""

    OBJECT = dict
    LIST = list


@dataclass(frozen=True, slots=True)
class Document:
    """One document as it was read."""

    key: str
    content: Any
    """Parsed; shared by all who ask for it, so not to be changed."""


@dataclass(frozen=True, slots=True)
class UnreadableDocument:
    """One document of which it is not known what it says."""

    bucket: str
    key: str
    reason: str
    """Class of the error and its words."""

    is_transient: bool
    """Whether the next run may be able to read it."""

    was_not_found: bool = False
    """Whether S3 said that it is not there. An absence only of what no listing has shown."""

    @classmethod
    def because_of(cls, bucket: str, key: str, error: AssetflowError) -> Self:
        """For what a store or a parser said."""
        if isinstance(error, NotFound):
            reason = "NotFound: was deleted while it was read"
            return cls(bucket, key, reason, is_transient=True, was_not_found=True)
        words = error.problems[0].reason if isinstance(error, InvalidInput) else str(error)
        reason = f"{type(error).__name__}: {words}"
        return cls(bucket, key, reason, is_transient=isinstance(error, TransientError))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}: {self.reason}"


class ObjectReader(Protocol):
    """What is needed of S3."""

    def read(self, bucket: str, key: str) -> bytes:
        """Content of one small object; raises an error of ours."""


class DocumentReader:
    """Read documents of one bucket, and remember each for as long as this lives: one import of one dataset.

    Args:
        reader: safe to share between threads.
        threads: how many requests go on at a time.
    """

    def __init__(self, reader: ObjectReader, bucket: str, threads: int = 16) -> None:
        self.bucket = bucket
        self._reader = reader
        self._threads = threads
        self._contents: dict[str, Document | UnreadableDocument] = {}
        self._texts: dict[str, str | UnreadableDocument] = {}
        self._lock = threading.Lock()

    def read_all(
        self, keys: Iterable[str], shape: Shape = Shape.OBJECT
    ) -> dict[str, Document | UnreadableDocument]:
        """The documents with these keys, in their order; each is requested once, ever.

        A task that is ended begins no other request.

        Args:
            keys: of objects that the listing showed.
            shape: what each must hold.

        Raises:
            BucketNotFound: there is no such bucket.
            TransientError: it is the store that cannot answer now, not single documents.
        """
        wanted = list(dict.fromkeys(keys))
        with self._lock:
            self._contents |= self._read_new(wanted, self._contents, self._parsed)
            return {key: self._shaped(self._contents[key], shape) for key in wanted}

    def read_texts(self, keys: Iterable[str]) -> dict[str, str | UnreadableDocument]:
        """As :meth:`read_all`, for files that are wanted as they are written, in UTF-8."""
        wanted = list(dict.fromkeys(keys))
        with self._lock:
            self._texts |= self._read_new(wanted, self._texts, self._decoded)
            return {key: self._texts[key] for key in wanted}

    def read_text(self, key: str) -> str | UnreadableDocument:
        """One file as it is written: the viewer's configuration."""
        return self.read_texts([key])[key]

    @property
    def unreadable(self) -> list[UnreadableDocument]:
        """What could not be read until now, or holds no JSON."""
        with self._lock:
            found = (*self._contents.values(), *self._texts.values())
        return [one for one in found if isinstance(one, UnreadableDocument)]

    def _read_new(
        self,
        wanted: Sequence[str],
        known: dict[str, T | UnreadableDocument],
        convert: Callable[[str, bytes], T],
    ) -> dict[str, T | UnreadableDocument]:
        def read(key: str) -> T | UnreadableDocument:
            content = self._reader.read(self.bucket, key)
            try:
                return convert(key, content)
            except InvalidInput as error:
                return UnreadableDocument.because_of(self.bucket, key, error)

        answers = ask_all(read, [key for key in wanted if key not in known], self._threads)
        return {
            key: UnreadableDocument.because_of(self.bucket, key, answer)
            if isinstance(answer, AssetflowError)
            else answer
            for key, answer in answers.items()
        }

    def _parsed(self, key: str, content: bytes) -> Document:
        return Document(key, parse_json(f"s3://{self.bucket}/{key}", content))

    def _decoded(self, key: str, content: bytes) -> str:
        try:
            return content.decode("utf-8")
        except UnicodeError as error:
            problem = Problem(f"s3://{self.bucket}/{key}", "", f"is not UTF-8 text: {error}")
            raise InvalidInput([problem]) from error

    def _shaped(
        self, found: Document | UnreadableDocument, shape: Shape
    ) -> Document | UnreadableDocument:
        if isinstance(found, UnreadableDocument) or isinstance(found.content, shape.value):
            return found
        kind = type(found.content).__name__
        reason = (
            f"InvalidInput: holds a {kind} at its top, not the JSON {shape.name.lower()} expected"
        )
        return UnreadableDocument(self.bucket, found.key, reason, is_transient=False)


def ask_all(
    ask: Callable[[str], T], keys: Sequence[str], threads: int
) -> dict[str, T | AssetflowError]:
    """The answer or the error for each key, in their order, asked concurrently.

    Whatever ends the calling thread ends the asking: what runs comes to its end, nothing else begins.

    Raises:
        BucketNotFound: there is no such bucket.
        TransientError: every one of many requests failed in the same way, which may be over later. A store
            that cannot answer now is not asked to the end, which could take hours. What it will not answer
            later either, such as all that a policy denies, is the error of each key.
    """
    if not keys:
        return {}
    answers: dict[str, T | AssetflowError] = {}
    pool = ThreadPoolExecutor(min(threads, len(keys)), thread_name_prefix="catalog")
    try:
        asked = {pool.submit(_answer, ask, key): key for key in keys}
        for done in as_completed(asked):
            answer = answers[asked[done]] = done.result()
            if isinstance(answer, BucketNotFound):
                raise answer
            if len(answers) == ALIKE and isinstance(answer, TransientError):
                _raise_if_all_alike(list(answers.values()))
    finally:
        pool.shutdown(cancel_futures=True)
    _raise_if_all_alike(list(answers.values()))
    return {key: answers[key] for key in keys}


def _answer(ask: Callable[[str], T], key: str) -> T | AssetflowError:
    try:
        return ask(key)
    except AssetflowError as error:
        return error


def _raise_if_all_alike(answers: Sequence[object]) -> None:
    first = answers[0]
    if (
        len(answers) >= ALIKE
        and isinstance(first, TransientError)
        and {type(answer) for answer in answers} == {type(first)}
    ):
        raise first
