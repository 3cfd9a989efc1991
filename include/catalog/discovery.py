"""Which datasets a bucket has.

A folder at the top of the bucket is a dataset when it has a ``dataset_metadata.json``. Only S3's "not found"
says that it has none: the original took any refusal for it and left datasets out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from include.assets.stored_object import StoredObject
from include.catalog.documents import UnreadableDocument, ask_all
from include.errors import AssetflowError, BucketNotFound, InvalidInput, NotFound, Problem

DATASET_DOCUMENT = "dataset_metadata.json"
DEPOSITION_DOCUMENT = "deposition_metadata.json"
DEPOSITIONS_FOLDER = "depositions_metadata"


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """One dataset, or one folder of which it is not known whether it is one."""

    name: str
    """Without slashes, usually a number."""

    unknown: UnreadableDocument | None = None
    """Why it is not known whether its document is there; None for a dataset."""

    @property
    def prefix(self) -> str:
        """What its keys start with: ``30001/``."""
        return f"{self.name}/"

    @property
    def document(self) -> str:
        """Key of its document."""
        return f"{self.prefix}{DATASET_DOCUMENT}"


class FolderStore(Protocol):
    """What is needed of S3."""

    def iterate_folders(self, bucket: str) -> Iterator[list[str]]:
        """Names of the folders at the top, a page at a time."""

    def head(self, bucket: str, key: str) -> StoredObject:
        """One object; raises NotFound only when it is definitely not there."""


def find_datasets(
    store: FolderStore,
    bucket: str,
    *,
    prefix: str = "",
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    threads: int = 16,
) -> list[DatasetFolder]:
    """Datasets of a bucket, in the order of their names, and folders that could not be looked into.

    Args:
        prefix: what the folder's name starts with; with a slash at its end (``30001/``), the whole name.
        only: whole names, with or without a slash at the end; none means all. A name that is missing
            in the result is definitely no dataset here.
        exclude: regular expressions that match at the start of a name to leave out.

    Raises:
        InvalidInput: *prefix* or *only* name something other than a folder at the top, or *exclude*
            does not parse.
        BucketNotFound: there is no such bucket.
        AssetflowError: the bucket cannot be listed, or the store answers for no folder of many now.
    """
    start = prefix.removesuffix("/")
    asked = [name.removesuffix("/") for name in only]
    _refuse_other_than_one_folder(asked, prefix)
    excluded = _patterns(exclude)
    if prefix.endswith("/"):
        names = [start] if not asked or start in asked else []
    elif asked:
        names = [name for name in asked if name.startswith(start)]
    else:
        names = [
            name
            for page in store.iterate_folders(bucket)
            for name in page
            if name.startswith(start)
        ]
    folders = [
        DatasetFolder(name)
        for name in sorted(set(names) - {""})
        if not any(pattern.match(name) for pattern in excluded)
    ]
    found = _look(store, bucket, [one.document for one in folders], threads)
    return [
        DatasetFolder(one.name, found[one.document]) for one in folders if one.document in found
    ]


def _look(
    store: FolderStore, bucket: str, keys: Sequence[str], threads: int
) -> dict[str, UnreadableDocument | None]:
    """None for each document that is there, the reason for each of which it is not known."""

    def is_there(key: str) -> bool:
        try:
            store.head(bucket, key)
        except BucketNotFound:
            raise
        except NotFound:
            return False
        return True

    return {
        key: UnreadableDocument.because_of(bucket, key, answer)
        if isinstance(answer, AssetflowError)
        else None
        for key, answer in ask_all(is_there, keys, threads).items()
        if answer is not False
    }


def _refuse_other_than_one_folder(names: Sequence[str], prefix: str) -> None:
    problems = [
        Problem(repr(name), "", "is not the name of one folder", "leave out slashes but the last")
        for name in names
        if not name or "/" in name
    ]
    if prefix == "/" or "/" in prefix.removesuffix("/"):
        reason = "names something other than one folder at the top of the bucket"
        problems.append(Problem(repr(prefix), "prefix", reason, "give the folder's name alone"))
    if problems:
        raise InvalidInput(problems)


def _patterns(expressions: Sequence[str]) -> list[re.Pattern[str]]:
    patterns: list[re.Pattern[str]] = []
    problems: list[Problem] = []
    for one in expressions:
        try:
            patterns.append(re.compile(one))
        except re.error as error:
            problems.append(Problem(repr(one), "exclude", f"is no regular expression: {error}"))
    if problems:
        raise InvalidInput(problems)
    return patterns
