"""DocDB → S3: what changed in a record is written to the files of its asset.

Records come two hundred at a time, each exactly once. For each the asset's files are listed and compared;
the few that differ are changed. A record whose asset is gone is proposed for removal, never removed here.

The order protects content: the record takes over first what only a root file holds, then root files are
copied, then files are written. Whatever fails in between leaves root and copies as they were.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from include.assets.core_files import CORE_FIELDS, Generation
from include.assets.location import AssetLocation
from include.assets.record import iso_moment
from include.assets.record_state import FieldChange, RecordState
from include.errors import (
    AssetflowError,
    DuplicateRecords,
    InvalidInput,
    PreconditionFailed,
    RecordChanged,
    RecordRefused,
)
from include.indexing.asset_files import AssetFiles, dated_copies, list_files
from include.indexing.changes import back_up, write
from include.indexing.plan import AssetPlan, FileWrite, plan_asset
from include.indexing.report import Line, Outcome, Removal, Slice, SliceReport, Tally
from include.indexing.workplace import (
    CHANGED,
    Workplace,
    as_moment,
    failure_of,
    in_batches,
    keep_all,
    outcome_of,
    raise_if_all_alike,
)

logger = logging.getLogger(__name__)

BATCH = 200
"""Records fetched at a time, as ever."""

GONE = "nothing is left of the asset in S3"


class RecordStore(Protocol):
    """What indexing needs of one collection of DocDB."""

    def find_at(self, locations: Iterable[str]) -> list[dict[str, Any]]:
        """Whole records whose ``location`` is one of these texts."""

    def find_by_id(self, ids: Sequence[Any]) -> list[dict[str, Any]]:
        """Whole records."""

    def known_locations(self, places: Sequence[AssetLocation]) -> set[AssetLocation]:
        """Those that have a record."""

    def find_states(self, ids: Sequence[Any]) -> Mapping[str, RecordState]:
        """What the records of these ids are like now."""

    def update_records(self, changes: Sequence[FieldChange]) -> list[AssetflowError | None]:
        """Set fields; for each change None, or why it was not made."""

    def insert_records(self, records: Sequence[dict[str, Any]]) -> list[AssetflowError | None]:
        """Insert; for each None, or why it is not there."""

    def delete_records(self, states: Sequence[RecordState]) -> list[AssetflowError | None]:
        """Delete; for each None, or why it is still there."""

    def to_json(self, record: Mapping[str, Any]) -> Any:
        """A record as plain JSON."""

    def from_json(self, content: Any) -> dict[str, Any]:
        """The record that this JSON stands for."""


@dataclass
class _Work:
    """One record on its way through a batch."""

    record: dict[str, Any]
    location: AssetLocation
    notes: list[str] = field(default_factory=list)
    files: AssetFiles | None = None
    plan: AssetPlan | None = None
    """As first made; what is counted and shown."""

    to_do: AssetPlan | None = None
    """What is left once the record has taken over what it lacked."""

    untouched: set[str] = field(default_factory=set)
    error: AssetflowError | None = None
    has_elder: bool = False
    """Whether a record of the generation before has the asset as well."""

    @property
    def is_left_to_elder(self) -> bool:
        """Whether its files are looked after by the other record; of what is gone, both go."""
        return self.has_elder and self.files is not None and not self.files.is_gone

    @property
    def overwrites(self) -> Sequence[FileWrite]:
        return self.to_do.writes if self.to_do else ()


class RecordSync:
    """Brings the files of a bucket's assets in step with the records of one collection.

    Args:
        workplace: the bucket.
        generation: of the collection; its core fields are looked at.
        records: the collection.
        elder: collection of the generation before. An asset that has a record there too is left to
            it, so that two runs do not undo each other's files.
    """

    def __init__(
        self,
        workplace: Workplace,
        generation: Generation,
        records: RecordStore,
        *,
        elder: RecordStore | None = None,
    ) -> None:
        self._at = workplace
        self._generation = generation
        self._fields = CORE_FIELDS[generation]
        self._records = records
        self._elder = elder

    def run(self, slice_: Slice, locations: Sequence[str]) -> SliceReport:
        """Examine the records at these locations, as they are written there.

        Raises:
            ServiceUnavailable, AccessDenied, BucketNotFound: DocDB or S3 as a whole does not answer.
        """
        tally = Tally()
        for batch in in_batches(locations, BATCH):
            self._work_on(batch, tally)
            logger.info(
                "%s: %d of %d records examined, %d in step",
                slice_.name,
                tally.examined,
                len(locations),
                tally.unchanged,
            )
        return tally.report(slice_, dry_run=self._at.dry_run)

    def _work_on(self, texts: Sequence[str], tally: Tally) -> None:
        works = self._find(texts, tally)
        self._at.in_threads(self._look, works)
        raise_if_all_alike([work.error for work in works])
        if not self._at.dry_run:
            self._adopt([work for work in works if work.plan and work.plan.adopted])
            changing = [
                work for work in works if work.to_do and not work.to_do.is_empty and not work.error
            ]
            self._check_unchanged(changing)
            keep_all(self._at, changing, "its record says something else")
            self._at.in_threads(self._change_files, changing)
        for work in works:
            self._conclude(work, tally)

    def _find(self, texts: Sequence[str], tally: Tally) -> list[_Work]:
        """The records to look at; all others are told to *tally*."""
        places: dict[str, AssetLocation] = {}
        for text in texts:
            place = _place(text, self._at.bucket)
            if place is None:
                reason = f"not a location in this bucket; expected s3://{self._at.bucket}/<asset>"
                logger.warning("%s: its record is skipped: %s", text, reason)
                tally.add(Line(asset=text, outcome=Outcome.SKIPPED, reason=reason))
            else:
                places[text] = place
        spelled = {text for place in places.values() for text in place.spellings}
        found: dict[AssetLocation, list[dict[str, Any]]] = {}
        fetched, refused = self._fetch(spelled | places.keys())
        for record in fetched:
            place = _place(record["location"], self._at.bucket)
            if place is not None:
                found.setdefault(place, []).append(record)
        unique = list(dict.fromkeys(places.values()))
        elder = self._elder.known_locations(unique) if self._elder and unique else set()
        works = []
        for place in unique:
            records = found.get(place, [])
            errors = [refused[text] for text in (str(place), *place.spellings) if text in refused]
            if problem := outcome_of(errors[0]) if errors else self._why_not(place, records):
                outcome, reason = problem
                logger.log(
                    logging.ERROR if outcome is Outcome.FAILED else logging.INFO,
                    "%s: %s",
                    place,
                    reason,
                )
                tally.add(Line(asset=str(place), outcome=outcome, reason=reason))
            else:
                works.append(_Work(records[0], place, has_elder=place in elder))
        return works

    def _fetch(
        self, locations: Collection[str]
    ) -> tuple[list[dict[str, Any]], dict[str, AssetflowError]]:
        """Records at these locations; and, by location, what kept one from being fetched."""
        try:
            return self._records.find_at(locations), {}
        except RecordRefused as error:
            logger.warning("One of %d records cannot be fetched: %s", len(locations), error)
        found: list[dict[str, Any]] = []
        refused: dict[str, AssetflowError] = {}
        for location in sorted(locations):
            try:
                found += self._records.find_at([location])
            except RecordRefused as error:
                refused[location] = error
        return found, refused

    def _why_not(
        self, place: AssetLocation, records: Sequence[dict[str, Any]]
    ) -> tuple[Outcome, str] | None:
        if len(records) > 1:
            ids = ", ".join(sorted(str(record["_id"]) for record in records))
            error = DuplicateRecords(
                f"{len(records)} records have this location: {ids}; remove all but one"
            )
            return outcome_of(error)
        if not records:
            return Outcome.SKIPPED, f"its record is gone or moved; {CHANGED}"
        if place.name in self._at.busy:
            return Outcome.SKIPPED, "a run uploads into it now; left for the next run"
        return None

    def _look(self, work: _Work) -> None:
        """List the files and plan; an error is kept with the work."""
        try:
            work.files = list_files(self._at.lister, work.location, self._at.copy_folder)
            if not work.files.is_gone and not work.is_left_to_elder:
                work.plan = work.to_do = self._plan(work)
        except Exception as error:  # noqa: BLE001  one asset's, whatever it is
            work.error = failure_of(work.location, error)

    def _plan(self, work: _Work) -> AssetPlan:
        if work.files is None:
            raise ValueError(f"{work.location}: not looked at")
        return plan_asset(
            work.record, work.files, self._fields, self._at.read, untouched=work.untouched
        )

    def _adopt(self, works: Sequence[_Work]) -> None:
        """Let the records take over what only root files hold, and plan again with what they are then."""
        if not works:
            return
        self._at.in_threads(self._prove_uncopied, works)
        works = [work for work in works if work.error is None]
        if not works:
            return
        changes = [
            self._adoption(work, tuple(work.plan.adopted if work.plan else ())) for work in works
        ]
        for work, error in zip(works, self._records.update_records(changes), strict=True):
            if isinstance(error, RecordRefused):
                self._adopt_one_by_one(work)
            else:
                work.error = error
        taken = [work for work in works if work.error is None]
        fresh = {
            record["location"]: record
            for record in self._records.find_by_id([work.record["_id"] for work in taken])
        }
        self._at.in_threads(
            lambda work: self._plan_again(work, fresh.get(work.record["location"])), taken
        )

    def _prove_uncopied(self, work: _Work) -> None:
        """Make sure that the fields have no copies: with one, their root files are to go instead.

        The listing alone does not tell, for half of one may be taken for a whole one.
        """
        adopted = work.plan.adopted if work.plan else ()
        folder = f"{work.location.key_prefix}{self._at.copy_folder}/"
        try:
            copies = dated_copies(self._at.store.list_folder(self._at.bucket, folder))
        except Exception as error:  # noqa: BLE001  one asset's, whatever it is
            work.error = failure_of(work.location, error)
            return
        if missed := [name for name in adopted if name in copies]:
            copy = copies[missed[0]][0].key
            work.error = PreconditionFailed(f"s3://{self._at.bucket}/{copy} was not listed before")

    def _check_unchanged(self, works: Sequence[_Work]) -> None:
        """Leave alone what somebody else has changed since it was fetched."""
        if not works:
            return
        now = [*self._records.find_states([work.record["_id"] for work in works]).values()]
        for work in works:
            if RecordState.of(work.record) not in now:
                work.error = RecordChanged(f"{work.location}: its record has changed")

    def _adoption(self, work: _Work, names: Sequence[str]) -> FieldChange:
        adopted = work.plan.adopted if work.plan else {}
        return FieldChange(
            RecordState.of(work.record),
            {
                **{name: adopted[name] for name in names},
                "last_modified": iso_moment(self._at.clock()),
            },
            if_null=tuple(names),
        )

    def _adopt_one_by_one(self, work: _Work) -> None:
        """One field that DocDB refuses must not cost a healthy one its place in the record."""
        for name in work.plan.adopted if work.plan else ():
            change = self._adoption(work, [name])
            (error,) = self._records.update_records([change])
            if error is None:
                work.record = {**work.record, **change.fields}
            elif isinstance(error, RecordRefused):
                work.untouched.add(name)
                work.notes.append(f"{name}.json cannot be stored in the record: {error}")
            else:
                work.error = error
                return

    def _plan_again(self, work: _Work, record: dict[str, Any] | None) -> None:
        if record is None:
            work.error = RecordChanged(f"{work.location}: its record is gone")
            return
        work.record = record
        try:
            work.to_do = self._plan(work)
        except Exception as error:  # noqa: BLE001  one asset's, whatever it is
            work.error = failure_of(work.location, error)
            return
        if work.to_do.adopted:
            work.error = RecordChanged(f"{work.location}: its record changed again")

    def _change_files(self, work: _Work) -> None:
        if work.error or work.to_do is None or work.files is None:
            return
        try:
            back_up(work.to_do, self._at.store)
            write(work.to_do, work.files, self._at.store)
        except Exception as error:  # noqa: BLE001  one asset's, whatever it is
            work.error = failure_of(work.location, error)

    def _conclude(self, work: _Work, tally: Tally) -> None:
        """Tell how the asset ended."""
        location = work.location
        if work.record.get("name") != location.name:
            work.notes.append(f"its record has the name {work.record.get('name')!r}")
        plan = work.plan
        outcome, reason = Outcome.UNCHANGED, ""
        steps: list[str] = []
        if work.error is not None:
            outcome, reason = outcome_of(work.error)
            steps = plan.steps if plan is not None else []
        elif work.is_left_to_elder:
            outcome = Outcome.SKIPPED
            reason = "its files follow its record of the elder schema generation"
        elif plan is None:
            outcome = Outcome.PENDING
            steps = [f"remove its record: {GONE}"]
            tally.removals.append(self._record_removal(work))
        else:
            steps = plan.steps
            if work.untouched:
                outcome = Outcome.FAILED
            elif plan.removals:
                outcome = Outcome.PENDING
            elif steps:
                outcome = Outcome.DONE
            if not work.untouched:
                state = self._records.to_json(RecordState.of(work.record).query)
                tally.removals.extend(file_removals(plan, self._generation, state))
        if plan is not None:
            tally.cases.update(str(case) for case in plan.cases.values())
            work.notes += plan.warnings
            if work.error is None:
                count_changes(plan, tally)
        reason = "; ".join(filter(None, [reason, *work.notes]))
        level = {Outcome.FAILED: logging.ERROR, Outcome.UNCHANGED: logging.DEBUG}
        shown = "; ".join(filter(None, [*steps, reason])) or "in step"
        logger.log(
            logging.WARNING
            if reason and outcome is not Outcome.FAILED
            else level.get(outcome, logging.INFO),
            "%s: %s: %s",
            location,
            outcome,
            shown,
        )
        tally.add(
            Line(
                asset=str(location),
                outcome=outcome,
                steps=tuple(steps),
                reason=reason,
                changed_at=self._changed_at(work) if steps or work.error else None,
            )
        )

    def _changed_at(self, work: _Work) -> datetime | None:
        """When the record, or a file that is not as the record says, changed last."""
        moments = [
            as_moment(work.record.get("last_modified")),
            work.plan.changed_at if work.plan is not None else None,
        ]
        return max((one for one in moments if one is not None), default=None)

    def _record_removal(self, work: _Work) -> Removal:
        state = RecordState.of(work.record)
        return Removal(
            kind="record",
            asset=str(work.location),
            reason=GONE,
            generation=self._generation,
            state=self._records.to_json(state.query),
        )


def file_removals(plan: AssetPlan, generation: Generation, state: Any) -> list[Removal]:
    """The root files that a plan wants to be deleted, as proposals.

    Args:
        state: of the record that the plan was made of, as JSON; None when it is not in DocDB.
    """
    return [
        Removal(
            kind="file",
            asset=str(plan.location),
            reason=one.reason,
            generation=generation,
            state=state,
            key=one.found.key,
            etag=one.found.etag,
        )
        for one in plan.removals
    ]


def count_changes(plan: AssetPlan, tally: Tally) -> None:
    """Add the changes of one asset to the counts of its slice."""
    core = sum(one.name in plan.cases for one in plan.writes)
    for kind, count in {
        "fields_adopted": len(plan.adopted),
        "copies_made": len(plan.copies) + sum(one.is_copied_after for one in plan.writes),
        "core_files_written": core,
        "aggregates_written": len(plan.writes) - core,
    }.items():
        if count:
            tally.counts[kind] += count


def _place(text: Any, bucket: str) -> AssetLocation | None:
    """The location in *bucket* that a record gives, or None when it gives none."""
    if not isinstance(text, str):
        return None
    try:
        place = AssetLocation.parse(text)
    except InvalidInput:
        return None
    return place if place.bucket == bucket else None
