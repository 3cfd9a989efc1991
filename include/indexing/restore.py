"""Put back what an index run removed, from its journals.

Nothing is overwritten: a record comes back unless its location or id has one, a deleted file unless there is
one. A file that the run overwrote comes back only when asked for, and only over what the run wrote.

A run that was cleared may have removed one thing twice, with an edit in between. Its journals are named after
what they hold, so their order says nothing: the moment in each entry does. Of a record or deleted file the
newest entry counts; overwritten files are taken back step by step, from the newest entry to the oldest.

The next index run looks at what was put back like at anything else. A record of an asset that is still
gone, or a root file of a field that its record still lacks, will be proposed for removal again: mend the
cause first.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from include.assets.canonical import digest
from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.errors import (
    AssetflowError,
    MalformedAnswer,
    NotFound,
    PreconditionFailed,
    RecordChanged,
)
from include.indexing.changes import JSON_TYPE, AssetStore
from include.indexing.records import RecordStore

logger = logging.getLogger(__name__)

Entry = Mapping[str, Any]

LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""Moment of entries that say none: those of runs of earlier versions."""

NO_ENTRY = (AttributeError, KeyError, TypeError, ValueError)
"""What comes of an entry that is not as a run wrote it."""


class Restored(StrEnum):
    """What became of one record or file."""

    RESTORED = "restored"
    THERE = "already there"
    DIFFERS = "something else is there"
    LEFT = "overwritten, and left so"
    FAILED = "failed"


WHOLE = (
    Restored.FAILED, Restored.RESTORED, Restored.THERE, Restored.DIFFERS, Restored.LEFT,
)  # fmt: skip
"""What is told of a file that is taken back in several steps: the first of these that a step ended with."""


class RestoredEntry(BaseModel):
    """One record or file of the journals, or a journal that cannot be read."""

    model_config = ConfigDict(frozen=True)

    item: str
    """Location of the record, address of the file, or key of the journal."""

    kind: str
    """``record``, ``file`` or ``journal``."""

    outcome: Restored
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Step:
    """One entry without what it holds: the journals of a run may be larger than memory."""

    subject: tuple[str, str, str]
    """Kind, and what tells this record or file from all others."""

    item: str
    moment: datetime
    journal: str
    place: int
    is_overwritten: bool = False

    def ended(self, outcome: Restored, reason: str = "") -> RestoredEntry:
        """How it went."""
        return RestoredEntry(item=self.item, kind=self.subject[0], outcome=outcome, reason=reason)


def restore_journals(
    keys: Iterable[str],
    read: Callable[[str], Any],
    store: AssetStore,
    collections: Mapping[Generation, RecordStore],
    *,
    replaced: bool = False,
    dry_run: bool = False,
) -> Iterator[RestoredEntry]:
    """Put back what the journals of a run hold, one record or file after another; safe to repeat.

    A journal that cannot be read is told as failed and hides no other.

    Args:
        keys: of the journals, in any order.
        read: the entries of one journal. Each is read twice, and one is in memory at a time.
        replaced: files that were overwritten as well, not only removed ones.
        dry_run: only say what would happen.
    """
    found: list[_Step] = []
    for key in keys:
        try:
            entries = _entries(key, read)
        except AssetflowError as error:
            yield _told(_unreadable(key, _reason(error)))
            continue
        for place, entry in enumerate(entries):
            try:
                found.append(_step(key, place, entry))
            except NO_ENTRY as error:
                reason = f"entry {place + 1} is none of an index run: {error!r}"
                yield _told(_unreadable(key, reason))
    steps = _in_order(found, replaced=replaced)
    left = Counter(step.subject for step in steps)
    results: dict[tuple[str, str, str], RestoredEntry] = {}
    restoring = _Restoring(store, collections, replaced=replaced, dry_run=dry_run)
    for key, group in itertools.groupby(steps, lambda step: step.journal):
        held: Sequence[Entry] | AssetflowError
        try:
            held = _entries(key, read)
        except AssetflowError as error:
            held = error
        for step in group:
            before = results.get(step.subject)
            if before is None or before.outcome is not Restored.FAILED:
                after = restoring.take(step, held)
                both = [before, after] if before else [after]
                results[step.subject] = min(both, key=lambda one: WHOLE.index(one.outcome))
            left[step.subject] -= 1
            if not left[step.subject]:
                yield _told(results.pop(step.subject))


def _told(result: RestoredEntry) -> RestoredEntry:
    logger.info("%s: %s", result.item, result.outcome)
    return result


def _unreadable(key: str, reason: str) -> RestoredEntry:
    return RestoredEntry(item=key, kind="journal", outcome=Restored.FAILED, reason=reason)


def _reason(error: AssetflowError) -> str:
    return f"{type(error).__name__}: {error}"


def _entries(key: str, read: Callable[[str], Any]) -> Sequence[Entry]:
    entries = read(key)
    if not isinstance(entries, list):
        raise MalformedAnswer(f"{key} is no journal of an index run: a list is expected")
    return entries


def _step(key: str, place: int, entry: Entry) -> _Step:
    said = entry.get("journalled_at")
    moment = LONG_AGO if said is None else datetime.fromisoformat(said)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if entry["kind"] == "record":
        record_id = json.dumps(entry["record"]["_id"], sort_keys=True)
        subject = ("record", str(entry["generation"]), record_id)
        return _Step(subject, entry["location"], moment, key, place)
    subject = ("file", entry["bucket"], entry["key"])
    item = f"s3://{entry['bucket']}/{entry['key']}"
    is_overwritten = bool(entry["replaced_by"])
    return _Step(subject, item, moment, key, place, is_overwritten=is_overwritten)


def _in_order(found: Iterable[_Step], *, replaced: bool) -> list[_Step]:
    """The entries that count, newest first; those of one moment journal by journal."""
    of_subject: defaultdict[tuple[str, str, str], list[_Step]] = defaultdict(list)
    for step in sorted(found, key=lambda one: (one.journal, one.place)):
        of_subject[step.subject].append(step)
    steps: list[_Step] = []
    for same in of_subject.values():
        newest, *older = sorted(same, key=lambda one: one.moment, reverse=True)
        # An older removal says nothing: the file was there again when the newest entry was made.
        steps += [newest, *(one for one in older if replaced and one.is_overwritten)]
    steps.sort(key=lambda one: (one.journal, one.place))
    return sorted(steps, key=lambda one: one.moment, reverse=True)


class _Restoring:
    """Carries out single entries."""

    def __init__(
        self,
        store: AssetStore,
        collections: Mapping[Generation, RecordStore],
        *,
        replaced: bool,
        dry_run: bool,
    ) -> None:
        self._store = store
        self._collections = collections
        self._replaced = replaced
        self._dry_run = dry_run

    def take(self, step: _Step, entries: Sequence[Entry] | AssetflowError) -> RestoredEntry:
        """Put back one entry of a journal that was read, or could not be."""
        if isinstance(entries, AssetflowError):
            return step.ended(Restored.FAILED, _reason(entries))
        try:
            return step.ended(self._outcome(step, entries[step.place]))
        except AssetflowError as error:
            return step.ended(Restored.FAILED, _reason(error))
        except NO_ENTRY as error:
            return step.ended(Restored.FAILED, f"the journal cannot be used: {error!r}")

    def _outcome(self, step: _Step, entry: Entry) -> Restored:
        if step.subject[0] == "record":
            return self._restore_record(entry, self._collections[Generation(entry["generation"])])
        if not step.is_overwritten:
            return self._restore_file(entry)
        return self._restore_overwritten(entry) if self._replaced else Restored.LEFT

    def _restore_record(self, entry: Entry, records: RecordStore) -> Restored:
        record = records.from_json(entry["record"])
        place = AssetLocation.parse(record["location"])
        if held := records.find_by_id([record["_id"]]):
            return Restored.THERE if _are_same(held[0], record, records) else Restored.DIFFERS
        if records.known_locations([place]):
            return Restored.DIFFERS
        if not self._dry_run:
            (error,) = records.insert_records([record])
            if isinstance(error, RecordChanged):
                # Of somebody else, or our own: an insert whose answer was lost was sent again.
                held = records.find_by_id([record["_id"]])
                is_ours = bool(held) and _are_same(held[0], record, records)
                return Restored.RESTORED if is_ours else Restored.DIFFERS
            if error is not None:
                raise error
        return Restored.RESTORED

    def _restore_file(self, entry: Entry) -> Restored:
        content = base64.b64decode(entry["content_base64"], validate=True)
        try:
            held, _ = self._store.read_with_etag(entry["bucket"], entry["key"])
        except NotFound:
            return self._put(entry, content, if_none_match=True)
        return Restored.THERE if held == content else Restored.DIFFERS

    def _restore_overwritten(self, entry: Entry) -> Restored:
        """Over what the run wrote, and nothing else."""
        content = base64.b64decode(entry["content_base64"], validate=True)
        held, etag = self._store.read_with_etag(entry["bucket"], entry["key"])
        if held == content:
            return Restored.THERE
        if digest(held) != entry["replaced_by"]:
            return Restored.DIFFERS
        return self._put(entry, content, if_match=etag)

    def _put(
        self,
        entry: Entry,
        content: bytes,
        *,
        if_none_match: bool = False,
        if_match: str | None = None,
    ) -> Restored:
        if self._dry_run:
            return Restored.RESTORED
        bucket, key = entry["bucket"], entry["key"]
        try:
            self._store.put_bytes(
                bucket,
                key,
                content,
                content_type=JSON_TYPE,
                if_none_match=if_none_match,
                if_match=if_match,
            )
        except PreconditionFailed:
            # Its own success refuses a request that was sent again because the answer was lost.
            held, _ = self._store.read_with_etag(bucket, key)
            return Restored.RESTORED if held == content else Restored.DIFFERS
        return Restored.RESTORED


def _are_same(held: Mapping[str, Any], record: Mapping[str, Any], records: RecordStore) -> bool:
    # As JSON: what is no number is unequal to itself.
    return bool(records.to_json(held) == records.to_json(record))
