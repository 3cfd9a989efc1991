"""Removals of a bucket, decided on together, written down first, each proven once more.

Slices only propose. Here the limits are applied to all proposals of a bucket: too many, or too large a
share, and nothing is removed. That an asset is gone is asked of S3 a second time, strictly, right before;
a file is deleted only while it is the one that was planned for, a record only while it is unchanged.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.assets.record_state import RecordState
from include.assets.stored_object import StoredObject
from include.errors import AssetflowError, BucketNotFound, NotFound, PreconditionFailed
from include.indexing.records import GONE, RecordStore
from include.indexing.report import Removal, RemovalReport
from include.indexing.workplace import (
    CHANGED,
    JournalEntry,
    Workplace,
    file_entry,
    in_batches,
)

logger = logging.getLogger(__name__)

BATCH = 100
"""Removals journalled and carried out at a time."""

FEW = 10
"""So many removals are no sign of a fault, whatever their share."""


@dataclass(frozen=True, slots=True)
class RemovalLimits:
    """How much one run may remove from one bucket, records and files counted apart."""

    count: int = 200
    share: float = 0.05
    """Of the assets examined that might have had such a removal."""

    def refusal(
        self,
        removals: Sequence[Removal],
        *,
        examined: Mapping[str, int],
        bucket_is_empty: bool,
    ) -> str:
        """Why nothing may be removed; ``""`` when it may."""
        kinds = Counter(one.kind for one in removals)
        if bucket_is_empty and kinds["record"]:
            return (
                "the bucket has no folder at all, so nothing is removed: is it the right one? "
                "If it is, remove its records by hand"
            )
        for kind, count in kinds.items():
            allowed = min(self.count, max(FEW, int(self.share * examined[kind])))
            if count > allowed:
                return (
                    f"{count} {kind}s would be removed, but of {examined[kind]} assets compared "
                    f"only {allowed} may be (max_removals {self.count}, max_removal_share "
                    f"{self.share:g}): look at the plan, then raise the limits for one run"
                )
        return ""


@dataclass
class _Results:
    removed: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def fail(self, removal: Removal, error: AssetflowError) -> None:
        """Note a removal that was not made, and whether that is somebody's fault."""
        is_change = isinstance(error, PreconditionFailed)
        reasons = self.skipped if is_change else self.failed
        reasons[removal.asset] = (
            f"{CHANGED} ({error})" if is_change else f"{type(error).__name__}: {error}"
        )


def remove(
    removals: Sequence[Removal],
    at: Workplace,
    collections: Mapping[Generation, RecordStore],
    *,
    limits: RemovalLimits,
    examined: Mapping[str, int],
    bucket_is_empty: bool,
) -> RemovalReport:
    """Carry out the proposed removals of one bucket, or say why not.

    Args:
        examined: kind of removal → assets that all slices of the bucket looked at for such ones.
        bucket_is_empty: whether the bucket had no folder when the run was planned.
    """
    refused = limits.refusal(removals, examined=examined, bucket_is_empty=bucket_is_empty)
    results = _Results()
    if refused:
        logger.error("%s: no removals: %s", at.bucket, refused)
    elif not at.dry_run:
        for generation, records in collections.items():
            own = [one for one in removals if one.generation is generation]
            for batch in in_batches([one for one in own if one.kind == "record"], BATCH):
                _remove_records(batch, at, records, results)
            for batch in in_batches([one for one in own if one.kind == "file"], BATCH):
                _remove_files(batch, at, records, results)
    return RemovalReport(
        bucket=at.bucket,
        dry_run=at.dry_run,
        refused=refused,
        proposed=dict(sorted(Counter(one.kind for one in removals).items())),
        removed=dict(sorted(results.removed.items())),
        failed=results.failed,
        skipped=results.skipped,
    )


def _remove_records(
    batch: Sequence[Removal], at: Workplace, records: RecordStore, results: _Results
) -> None:
    proven = at.in_threads(lambda one: _prove_gone(one, at), batch)
    gone: list[Removal] = []
    for removal, error in zip(batch, proven, strict=True):
        if error is None:
            gone.append(removal)
        else:
            results.fail(removal, error)
    states = {removal.asset: _state(removal, records) for removal in gone}
    found = records.find_by_id([state.record_id for state in states.values()])
    going: list[tuple[Removal, RecordState]] = []
    entries: list[JournalEntry] = []
    for removal in gone:
        # By the id: its location may be anything by now.
        record_id = states[removal.asset].record_id
        record = next((one for one in found if one["_id"] == record_id), None)
        if record is None:
            results.removed["records_removed"] += 1  # by an earlier try of this task, or by hand
        elif RecordState.of(record) != states[removal.asset]:
            results.skipped[removal.asset] = f"{CHANGED} (its record changed)"
        else:
            going.append((removal, states[removal.asset]))
            entries.append({
                "kind": "record",
                "generation": removal.generation.value,
                "location": removal.asset,
                "reason": removal.reason,
                "record": records.to_json(record),
            })
    if not going:
        return
    at.journal(entries)
    errors = records.delete_records([state for _, state in going])
    for (removal, state), error in zip(going, errors, strict=True):
        if error is None:
            results.removed["records_removed"] += 1
            logger.info("%s: removed its record %s: %s", removal.asset, state.record_id, GONE)
        else:
            results.skipped[removal.asset] = f"{CHANGED} ({error})"


def _prove_gone(removal: Removal, at: Workplace) -> AssetflowError | None:
    place = AssetLocation.parse(removal.asset)
    try:
        if at.store.has_objects(place.bucket, place.key_prefix):
            return PreconditionFailed(f"{place} has objects again")
    except AssetflowError as error:
        return error
    return None


def _remove_files(
    batch: Sequence[Removal], at: Workplace, records: RecordStore, results: _Results
) -> None:
    """Delete root files; each was copied before, and is written down as well."""
    states = {removal.key: _state(removal, records) for removal in batch if removal.state}
    current = (
        [*records.find_states([state.record_id for state in states.values()]).values()]
        if states
        else []
    )
    entries: list[JournalEntry] = []
    going: list[Removal] = []
    contents = at.in_threads(lambda one: _read(one, at), batch)
    for removal, content in zip(batch, contents, strict=True):
        state = states.get(removal.key)
        if state is not None and state not in current:
            results.skipped[removal.asset] = f"{CHANGED} (its record changed)"
        elif isinstance(content, NotFound) and not isinstance(content, BucketNotFound):
            results.removed["core_files_removed"] += 1  # by an earlier try of this task, or by hand
        elif isinstance(content, AssetflowError):
            results.fail(removal, content)
        else:
            going.append(removal)
            entries.append(file_entry(at.bucket, *content, removal.reason))
    if not going:
        return
    at.journal(entries)
    for removal, error in zip(
        going, at.in_threads(lambda one: _delete(one, at), going), strict=True
    ):
        if error is None:
            results.removed["core_files_removed"] += 1
            logger.info("s3://%s/%s: deleted: %s", at.bucket, removal.key, removal.reason)
        else:
            results.fail(removal, error)


def _read(removal: Removal, at: Workplace) -> tuple[StoredObject, bytes] | AssetflowError:
    try:
        found = at.store.head(at.bucket, removal.key)
        if found.etag != removal.etag:
            return PreconditionFailed(f"s3://{at.bucket}/{removal.key} is another file now")
        return found, at.read(found)
    except AssetflowError as error:
        return error


def _delete(removal: Removal, at: Workplace) -> AssetflowError | None:
    try:
        at.store.delete_object(at.bucket, removal.key, if_match=removal.etag)
    except AssetflowError as error:
        return error
    return None


def _state(removal: Removal, records: RecordStore) -> RecordState:
    query = records.from_json(removal.state)
    return RecordState(query["_id"], query["location"], query["last_modified"])
