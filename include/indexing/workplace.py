"""What both halves of a bucket's work are given, and how they treat many assets at once."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from include.assets.canonical import digest
from include.assets.stored_object import StoredObject
from include.errors import (
    AssetflowError,
    BucketNotFound,
    NotFound,
    PermanentError,
    PreconditionFailed,
    RecordChanged,
)
from include.indexing.asset_files import FolderLister
from include.indexing.changes import AssetStore, read_listed
from include.indexing.plan import FileWrite
from include.indexing.report import Outcome

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

ALIKE = 20
"""So many assets of one batch failing in the same way, and no other outcome, is about the store."""

JOURNAL_BYTES = 32 * 2**20
"""Content held in memory at a time while it is written down."""

CHANGED = "changed by somebody else meanwhile; left for the next run"

JournalEntry = dict[str, Any]

Journal = Callable[[Sequence[JournalEntry]], object]
"""Keeps, before anything is overwritten or removed, what it takes to restore it."""


@dataclass(frozen=True)
class Workplace:
    """One bucket as a task works on it."""

    bucket: str
    store: AssetStore
    lister: FolderLister
    journal: Journal
    copy_folder: str = "original_metadata"
    threads: int = 16
    dry_run: bool = False
    busy: frozenset[str] = frozenset()
    """Names of assets that a run uploads into at this moment; they are left alone."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def read(self, found: StoredObject) -> bytes:
        """Content of an object that a listing showed.

        Raises:
            PreconditionFailed: it is another one now.
        """
        return read_listed(self.store, self.bucket, found)

    def in_threads(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Results in the order of the items. A task that is ended begins no other item."""
        if not items:
            return []
        pool = ThreadPoolExecutor(min(self.threads, len(items)), thread_name_prefix="index")
        try:
            return list(pool.map(function, items))
        finally:
            pool.shutdown(cancel_futures=True)

    def keep(self, writes: Sequence[FileWrite], reason: str) -> None:
        """Write down what is about to be overwritten and may be nowhere else."""
        lost = [one for one in writes if one.is_only_here and one.over is not None]
        if lost:
            contents = self.in_threads(lambda one: self.read(one.over), lost)  # type: ignore[arg-type]
            self.journal([
                file_entry(self.bucket, one.over, content, reason, replaced_by=digest(one.content))
                for one, content in zip(lost, contents, strict=True)
                if one.over is not None
            ])


class Keepable(Protocol):
    """An asset on its way through a batch, as far as the journal is concerned."""

    error: AssetflowError | None

    @property
    def overwrites(self) -> Sequence[FileWrite]:
        """Writes that are about to be made for it."""


def keep_all(at: Workplace, works: Sequence[Keepable], reason: str) -> None:
    """Write down what many assets are about to lose, a few objects for all of them.

    An asset whose files cannot be kept gets the error, and loses nothing.
    """
    for group in by_weight(works, _overwritten_bytes, JOURNAL_BYTES):
        try:
            at.keep([one for work in group for one in work.overwrites], reason)
        except AssetflowError:
            # One of them: each is kept by itself, so that only that one is left.
            for work in group:
                try:
                    at.keep(work.overwrites, reason)
                except AssetflowError as error:
                    work.error = error


def _overwritten_bytes(work: Keepable) -> int:
    return sum(one.over.size_bytes for one in work.overwrites if one.is_only_here and one.over)


def file_entry(
    bucket: str, found: StoredObject, content: bytes, reason: str, *, replaced_by: str = ""
) -> JournalEntry:
    """What it takes to restore a file.

    Args:
        replaced_by: MD5 of what is written over it; ``""`` when it is removed.
    """
    return {
        "kind": "file",
        "bucket": bucket,
        "key": found.key,
        "etag": found.etag,
        "reason": reason,
        "replaced_by": replaced_by,
        "content_base64": base64.b64encode(content).decode(),
    }


def outcome_of(error: AssetflowError) -> tuple[Outcome, str]:
    """How an asset ended that met this error."""
    is_change = isinstance(error, (PreconditionFailed, RecordChanged, NotFound))
    if is_change and not isinstance(error, BucketNotFound):
        return Outcome.SKIPPED, f"{CHANGED} ({error})"
    return Outcome.FAILED, f"{type(error).__name__}: {error}"


def failure_of(subject: object, error: Exception) -> AssetflowError:
    """What made one asset fail, as an error that stops no other asset.

    What nobody foresaw is logged with where it happened.
    """
    if isinstance(error, AssetflowError):
        return error
    logger.error("%s: an unforeseen error", subject, exc_info=error)
    return PermanentError(f"unforeseen: {type(error).__name__}: {error}; the log says where")


def raise_if_all_alike(errors: Sequence[AssetflowError | None]) -> None:
    """Stop when it is the store that fails, not single assets.

    Raises:
        AssetflowError: the first of many errors of the same kind, when nothing else happened.
    """
    kinds = {type(error) for error in errors}
    if len(errors) >= ALIKE and len(kinds) == 1 and errors[0] is not None:
        raise errors[0]


def as_moment(value: Any) -> datetime | None:
    """A moment as records hold it, aware; None for anything else."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def in_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, *size* at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def by_weight(items: Iterable[T], weight: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """The items in groups whose weights add up to *limit* at most, or that hold one item."""
    group: list[T] = []
    total = 0
    for item in items:
        one = weight(item)
        if group and total + one > limit:
            yield group
            group, total = [], 0
        group.append(item)
        total += one
    if group:
        yield group
