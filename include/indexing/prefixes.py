"""S3 → DocDB: every folder at the top of a bucket is an asset with a record, or there is a reason.

A thousand names are compared with the records by one request per collection. Only folders without a record
are looked into. For a new asset everything that its root files hold is copied before the record is made;
then root files and aggregate are brought in step with the record as DocDB gives it back. So there is
nothing left to do for the other half, and a run that is killed in between loses nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from include.assets.aggregate import MetadataStatus
from include.assets.core_files import CORE_FIELDS, Generation
from include.assets.location import AssetLocation
from include.assets.record import record_id
from include.assets.record_state import RecordState
from include.errors import AssetflowError, RecordChanged
from include.indexing.asset_files import list_files
from include.indexing.changes import back_up, write
from include.indexing.new_assets import NewAsset, NoAsset, StatusCheck, examine
from include.indexing.plan import AssetPlan, FileWrite, plan_asset
from include.indexing.records import RecordStore, count_changes, file_removals
from include.indexing.report import Line, Outcome, Slice, SliceReport, Tally
from include.indexing.workplace import (
    Workplace,
    failure_of,
    in_batches,
    keep_all,
    outcome_of,
    raise_if_all_alike,
)

logger = logging.getLogger(__name__)

BATCH = 1000
"""Names compared with the records at a time: as many as one page of a listing has."""

NEW_BATCH = 100
"""New records made at a time."""

IN_ORDER = "has a record"


@dataclass
class _Work:
    """One folder without a record on its way through a batch."""

    location: AssetLocation
    found: NewAsset | NoAsset | None = None
    plan: AssetPlan | None = None
    error: AssetflowError | None = None
    is_inserted: bool = False

    @property
    def overwrites(self) -> Sequence[FileWrite]:
        return self.plan.writes if self.plan else ()


class PrefixSync:
    """Makes the records that a bucket's folders lack.

    Args:
        workplace: the bucket.
        collections: of every schema generation; a folder with a record in any of them is left alone.
        generations: those whose records are made; the first is meant where nothing tells.
        insert_built: whether a record that was built of core files is put into DocDB at once; else
            only its ``metadata.nd.json`` is written, which the next run finds.
        is_busy: whether a run uploads into the asset at this moment.
        status_of: validates core files of generation 1; None leaves their status open.
    """

    def __init__(
        self,
        workplace: Workplace,
        collections: Mapping[Generation, RecordStore],
        *,
        generations: Sequence[Generation],
        insert_built: bool = True,
        is_busy: Callable[[AssetLocation], bool] = lambda _: False,
        status_of: StatusCheck | None = None,
    ) -> None:
        self._at = workplace
        self._collections = collections
        self._generations = tuple(generations)
        self._insert_built = insert_built
        self._is_busy = is_busy
        self._status_of = status_of

    def run(self, slice_: Slice, names: Sequence[str]) -> SliceReport:
        """Examine the folders of these names.

        Raises:
            ServiceUnavailable, AccessDenied, BucketNotFound: DocDB or S3 as a whole does not answer.
        """
        tally = Tally()
        for batch in in_batches(names, BATCH):
            unknown = self._unknown(batch, tally)
            for group in in_batches(unknown, NEW_BATCH):
                self._work_on(group, tally)
            logger.info(
                "%s: %d of %d folders examined, %d have a record",
                slice_.name,
                tally.examined,
                len(names),
                tally.unchanged,
            )
        return tally.report(slice_, dry_run=self._at.dry_run)

    def _unknown(self, names: Sequence[str], tally: Tally) -> list[AssetLocation]:
        """Folders without a record in any collection; the others are told to *tally*."""
        places = [AssetLocation(self._at.bucket, name) for name in names if name]
        if len(places) < len(names):
            reason = "keys that begin with a slash belong to no asset"
            asset = f"s3://{self._at.bucket}//"
            tally.add(Line(asset=asset, outcome=Outcome.SKIPPED, reason=reason))
        for records in self._collections.values():
            if not places:
                break
            known = records.known_locations(places)
            for _ in known:
                tally.add(Line(asset="", outcome=Outcome.UNCHANGED))
            places = [place for place in places if place not in known]
        return places

    def _work_on(self, places: Sequence[AssetLocation], tally: Tally) -> None:
        works = [_Work(place) for place in places]
        self._at.in_threads(self._look, works)
        raise_if_all_alike([work.error for work in works])
        self._choose_ids(works)
        self._at.in_threads(self._plan, works)
        if not self._at.dry_run:
            self._at.in_threads(self._back_up, works)
            for generation, records in self._collections.items():
                self._insert(generation, records, works)
            going = [work for work in works if work.plan and not work.error]
            keep_all(self._at, going, "its new record says something else")
            self._at.in_threads(self._write, works)
        for work in works:
            self._conclude(work, tally)

    def _look(self, work: _Work) -> None:
        try:
            if work.location.name in self._at.busy or self._is_busy(work.location):
                reason = "a run uploads into it now; left for the next run"
                work.found = NoAsset(work.location, reason)
                return
            files = list_files(self._at.lister, work.location, self._at.copy_folder)
            work.found = examine(
                files,
                self._at.read,
                generations=self._generations,
                now=self._at.clock(),
                status_of=self._status_of,
            )
        except Exception as error:  # noqa: BLE001  one folder's, whatever it is
            work.error = failure_of(work.location, error)

    def _choose_ids(self, works: Sequence[_Work]) -> None:
        """Give a new id to each record whose own is taken by another record."""
        for generation, records in self._collections.items():
            new = [work for work in works if _new_of(work, generation)]
            wanted = {
                one
                for work in new
                if isinstance(work.found, NewAsset)
                for one in (work.found.record["_id"], record_id(str(work.location)))
            }
            if not wanted:
                continue
            states = records.find_states(sorted(wanted)).values()
            taken = {state.record_id for state in states}
            made = {text for state in states if isinstance(text := state.location, str)}
            for work in new:
                if not made.isdisjoint(work.location.spellings):
                    work.error = RecordChanged(f"{work.location}: somebody made its record")
                elif isinstance(work.found, NewAsset):
                    work.found = _with_free_id(work.found, taken)
                    taken.add(work.found.record["_id"])

    def _plan(self, work: _Work) -> None:
        """Plan the files as they will be once the record is there."""
        if not isinstance(work.found, NewAsset):
            return
        try:
            work.plan = plan_asset(
                work.found.record,
                work.found.files,
                CORE_FIELDS[work.found.generation],
                self._at.read,
                may_adopt=False,
            )
        except Exception as error:  # noqa: BLE001  one folder's, whatever it is
            work.error = failure_of(work.location, error)

    def _back_up(self, work: _Work) -> None:
        if work.plan is None or work.error or not isinstance(work.found, NewAsset):
            return
        try:
            back_up(work.plan, self._at.store)
            if copy := work.found.aggregate_copy:
                self._at.store.copy_object(
                    self._at.bucket, copy.source.key, copy.target, if_match=copy.source.etag
                )
        except Exception as error:  # noqa: BLE001  one folder's, whatever it is
            work.error = failure_of(work.location, error)

    def _insert(self, generation: Generation, records: RecordStore, works: Sequence[_Work]) -> None:
        """Insert the records of one collection, and plan with what it gives back."""
        new = [
            work
            for work in works
            if (found := _new_of(work, generation)) and self._is_inserted(found)
        ]
        if not new:
            return
        documents = [_new_of(work, generation).record for work in new]  # type: ignore[union-attr]
        for work, error in zip(new, records.insert_records(documents), strict=True):
            work.error = error
            work.is_inserted = error is None
        inserted = [work for work in new if work.is_inserted]
        ids = [work.found.record["_id"] for work in inserted if isinstance(work.found, NewAsset)]
        stored = {record["_id"]: record for record in records.find_by_id(ids)}
        for work in inserted:
            if isinstance(work.found, NewAsset):
                record = stored.get(work.found.record["_id"])
                if record is None:
                    work.error = RecordChanged(f"{work.location}: its new record is gone again")
                else:
                    work.found = replace(work.found, record=record)
        self._at.in_threads(self._plan, inserted)

    def _write(self, work: _Work) -> None:
        if work.plan is None or work.error or not isinstance(work.found, NewAsset):
            return
        try:
            write(work.plan, work.found.files, self._at.store)
        except Exception as error:  # noqa: BLE001  one folder's, whatever it is
            work.error = failure_of(work.location, error)

    def _conclude(self, work: _Work, tally: Tally) -> None:
        found = work.found
        steps: list[str] = []
        changed_at = None
        if work.error is not None:
            outcome, reason = outcome_of(work.error)
        elif isinstance(found, NoAsset):
            outcome, reason = Outcome.SKIPPED, found.reason
        else:
            outcome, reason = Outcome.DONE, ""
        notes = found.notes if found is not None else ()
        if isinstance(found, NewAsset):
            changed_at = found.changed_at
            is_inserted = self._is_inserted(found)
            tally.counts["records_inserted"] += (
                is_inserted if self._at.dry_run else work.is_inserted
            )
            if work.plan is not None:
                steps = self._steps(found, work.plan)
            if work.error is None and work.plan is not None:
                count_changes(work.plan, tally)
                tally.counts["aggregates_built"] += found.is_built
                records = self._collections[found.generation]
                state = records.to_json(RecordState.of(found.record).query) if is_inserted else None
                proposals = file_removals(work.plan, found.generation, state)
                tally.removals.extend(proposals)
                outcome = Outcome.PENDING if proposals else outcome
        reason = "; ".join(filter(None, [reason, *notes]))
        level = logging.ERROR if outcome is Outcome.FAILED else logging.INFO
        logger.log(
            logging.WARNING if notes and level == logging.INFO else level,
            "%s: %s: %s",
            work.location,
            outcome,
            "; ".join(filter(None, [*steps, reason])),
        )
        tally.add(
            Line(
                asset=str(work.location),
                outcome=outcome,
                steps=tuple(steps),
                reason=reason,
                changed_at=changed_at,
            )
        )

    def _is_inserted(self, found: NewAsset) -> bool:
        return self._insert_built or not found.is_built

    def _steps(self, found: NewAsset, plan: AssetPlan) -> list[str]:
        made_of = "core files" if found.is_built else "metadata.nd.json"
        insert = self._is_inserted(found)
        copy = found.aggregate_copy
        return [
            *([f"copy the unusable metadata.nd.json to {copy.target}"] if copy else []),
            *([f"insert a record made of its {made_of}"] if insert else []),
            *plan.steps,
        ]


def _new_of(work: _Work, generation: Generation) -> NewAsset | None:
    """What the work found, when it is a new asset of the generation and nothing has gone wrong."""
    found = work.found
    if work.error is None and isinstance(found, NewAsset) and found.generation is generation:
        return found
    return None


def _with_free_id(found: NewAsset, taken: set[Any]) -> NewAsset:
    own = found.record["_id"]
    if own not in taken:
        return found
    candidates = (record_id(str(found.location)), str(uuid.uuid4()))
    chosen = next(one for one in candidates if one not in taken)
    note = f"the id {own} belongs to another record; the new one gets an id of its own"
    return replace(found, record={**found.record, "_id": chosen}, notes=(*found.notes, note))


def forgiving_status(check: Callable[[AssetLocation, Mapping[str, Any]], str]) -> StatusCheck:
    """A check that never stops the making of a record: what cannot be checked is ``Unknown``."""

    def status(location: AssetLocation, contents: Mapping[str, Any]) -> MetadataStatus:
        try:
            return MetadataStatus(check(location, contents))
        except AssetflowError:
            logger.exception("%s: its metadata was not validated", location)
            return MetadataStatus.UNKNOWN

    return status
