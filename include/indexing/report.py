"""What an index run found and did: one line per asset that was not simply in step, and counts.

Each slice of a bucket leaves a :class:`SliceReport` in the runs bucket, the removals of a bucket leave a
:class:`RemovalReport`, and the end of the run puts them together to a :class:`RunReport`::

    asked = done + unchanged + skipped + failed        (assets)

An asset is asked about when its record is compared with its files, or when its folder has no record. A folder
that has one is only looked up, and counted apart.

Removals are decided on for the whole bucket at once, so a slice only proposes them: its line is *pending*
until the removals have been carried out or refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from include.assets.core_files import Generation
from include.errors import RunIncomplete

FAILURES_SHOWN = 20
"""In the log and in the error that ends a run."""

LINES_KEPT = 2_000
"""In the run's report; each slice's own report has all of its lines."""

FAILURES_KEPT = 10_000

REASONS_KEPT = 1_000
"""Reasons name keys, so that there may be as many as assets."""


class Half(StrEnum):
    """Direction of the work."""

    RECORDS = "records"
    """DocDB → S3: every record that may have changed."""

    PREFIXES = "prefixes"
    """S3 → DocDB: every folder at the top of the bucket."""


class Outcome(StrEnum):
    """How one asset ended; in a dry run, how it would."""

    DONE = "done"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"
    PENDING = "pending"
    """Something of it is to be removed, which is decided on for the bucket as a whole."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Slice(_Value):
    """A share of a bucket's work, for one task."""

    bucket: str
    half: Half
    number: int
    """From 0, within the bucket, half and generation."""

    size: int
    """Records or prefixes in it."""

    planned_at: datetime | None = None
    """When the plan was made that it belongs to: a cleared run shares its work out anew."""

    generation: Generation | None = None
    """Of records; a folder may be of any."""

    @property
    def name(self) -> str:
        """Part of an object's key, and label of the task instance."""
        generation = f"-{self.generation}" if self.generation else ""
        return f"{self.bucket}-{self.half}{generation}-{self.number:04}"


class Line(_Value):
    """One asset that was not simply in step."""

    asset: str
    """Its location; as the record has it when that is none."""

    outcome: Outcome
    steps: tuple[str, ...] = ()
    """What was done; in a dry run, what would be."""

    reason: str = ""
    """Why it was skipped or failed; otherwise what a person should know."""

    changed_at: datetime | None = None
    """When that changed which was not yet in step."""


class Removal(_Value):
    """Something that is proposed for removal."""

    kind: Literal["record", "file"]
    asset: str
    reason: str
    generation: Generation
    state: Any = None
    """Of the record: id, location and ``last_modified``, in MongoDB's extended JSON. None: the file has
    no record."""

    key: str = ""
    """Of a file."""

    etag: str = ""


class SliceReport(_Value):
    """What one slice found."""

    slice: Slice
    dry_run: bool
    examined: int
    unchanged: int
    cases: dict[str, int] = Field(default_factory=dict)
    """Number of the case → core fields in it."""

    counts: dict[str, int] = Field(default_factory=dict)
    """Kind of change → how many."""

    lines: tuple[Line, ...] = ()
    removals: tuple[Removal, ...] = ()


class RemovalReport(_Value):
    """What became of the proposed removals of one bucket."""

    bucket: str
    dry_run: bool
    refused: str = ""
    """Why nothing was removed; ``""`` when the limits allowed it."""

    planned_at: datetime | None = None
    """When the plan was made whose slices proposed them."""

    proposed: dict[str, int] = Field(default_factory=dict)
    """``record`` or ``file`` → how many the slices proposed."""

    removed: dict[str, int] = Field(default_factory=dict)
    """Kind → how many."""

    failed: dict[str, str] = Field(default_factory=dict)
    """Asset → reason."""

    skipped: dict[str, str] = Field(default_factory=dict)
    """Asset → reason: somebody else changed it meanwhile."""

    journals: tuple[str, ...] = ()
    """Keys of the objects in the runs bucket that hold what was removed."""


class BucketReport(_Value):
    """One bucket, all slices together."""

    bucket: str
    full_pass: bool = False
    """Whether every record was examined, not only the changed ones."""

    done: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    folders_known: int = 0
    """Folders that have a record."""

    cases: dict[str, int] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)
    drift: int = 0
    """Assets that were not in step when they were looked at, put right or not."""

    oldest_found_at: datetime | None = None
    """When the oldest change was made that the run found not yet in step."""

    oldest_left_at: datetime | None = None
    """The same, of what is not in step after the run either."""

    removals_refused: str = ""
    problem: str = ""
    """Why the bucket, or a part of it, was not examined at all."""

    @property
    def asked(self) -> int:
        """Assets whose record was compared with their files, and folders without a record."""
        return self.done + self.unchanged + self.skipped + self.failed


class RunReport(_Value):
    """The whole run."""

    run_id: str
    dry_run: bool
    started_at: datetime
    ended_at: datetime
    buckets: tuple[BucketReport, ...]
    failed: dict[str, str] = Field(default_factory=dict)
    """Bucket, slice or asset → reason, in this order; the first :data:`FAILURES_KEPT`."""

    failed_total: int | None = None
    """All of them; None in older reports, which counted only those that they hold."""

    skipped: dict[str, int] = Field(default_factory=dict)
    """Reason → how many; the most frequent."""

    lines: tuple[Line, ...] = ()
    """The first of all buckets; every slice's own report has all of its lines."""

    lines_total: int = 0

    @property
    def failures(self) -> int:
        """How many assets, slices and buckets failed."""
        return len(self.failed) if self.failed_total is None else self.failed_total

    def raise_if_incomplete(self) -> None:
        """Turn the run red when anything failed.

        Raises:
            RunIncomplete: names the count, the buckets and the first failures.
        """
        if not self.failed:
            return
        shown = list(self.failed.items())[:FAILURES_SHOWN]
        more = self.failures - len(shown)
        rest = [f"  … and {more} more; the report has them"] if more else []
        asked = sum(bucket.asked for bucket in self.buckets)
        raise RunIncomplete(
            "\n".join([
                f"{self.failures} failed, of {asked} assets in "
                f"{', '.join(bucket.bucket for bucket in self.buckets) or 'no bucket'}:",
                *(f"  - {item}: {reason}" for item, reason in shown),
                *rest,
            ])
        )


class Tally:
    """Collects what one slice finds, while it is worked on."""

    def __init__(self) -> None:
        self.examined = 0
        self.unchanged = 0
        self.cases: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.lines: list[Line] = []
        self.removals: list[Removal] = []

    def add(self, line: Line) -> None:
        """Count one asset, and keep its line unless there is nothing to say of it."""
        self.examined += 1
        if line.outcome is Outcome.UNCHANGED:
            self.unchanged += 1
        if line.outcome is not Outcome.UNCHANGED or line.reason:
            self.lines.append(line)

    def report(self, slice_: Slice, *, dry_run: bool) -> SliceReport:
        """All of it as a value."""
        return SliceReport(
            slice=slice_,
            dry_run=dry_run,
            examined=self.examined,
            unchanged=self.unchanged,
            cases=dict(sorted(self.cases.items())),
            counts=dict(sorted(self.counts.items())),
            lines=tuple(self.lines),
            removals=tuple(self.removals),
        )


def settle(line: Line, removals: RemovalReport | None) -> Line:
    """A pending line as the removals of its bucket ended it."""
    if line.outcome is not Outcome.PENDING:
        return line
    if removals is None:
        return line.model_copy(
            update={"outcome": Outcome.FAILED, "reason": "its removals were not carried out"}
        )
    if removals.refused:
        reason = f"not removed: {removals.refused}"
        return line.model_copy(update={"outcome": Outcome.FAILED, "reason": reason})
    if line.asset in removals.failed:
        reason = removals.failed[line.asset]
        return line.model_copy(update={"outcome": Outcome.FAILED, "reason": reason})
    if line.asset in removals.skipped:
        reason = removals.skipped[line.asset]
        return line.model_copy(update={"outcome": Outcome.SKIPPED, "reason": reason})
    return line.model_copy(update={"outcome": Outcome.DONE})


def examined_by_kind(slices: Iterable[SliceReport]) -> dict[str, int]:
    """Kind of removal → how many assets were looked at of which such a one may be proposed."""
    of_records = new_folders = 0
    for found in slices:
        if found.slice.half is Half.RECORDS:
            of_records += found.examined
        else:
            new_folders += found.examined - found.unchanged
    return {"record": of_records, "file": of_records + new_folders}


def bucket_report(
    bucket: str,
    slices: Iterable[SliceReport],
    removals: RemovalReport | None,
    *,
    full_pass: bool,
    problem: str = "",
    each: Callable[[Line], object] = lambda _: None,
) -> BucketReport:
    """One bucket's counts.

    Args:
        slices: taken one at a time, so that memory holds the lines of one.
        each: is given every line, the pending ones settled.
    """
    outcomes: Counter[Outcome] = Counter()
    cases: Counter[str] = Counter()
    counts: Counter[str] = Counter(removals.removed if removals else {})
    drift = folders_known = 0
    found_at: datetime | None = None
    left_at: datetime | None = None
    for found in slices:
        if found.slice.half is Half.PREFIXES:
            folders_known += found.unchanged
        else:
            outcomes[Outcome.UNCHANGED] += found.unchanged
        cases.update(found.cases)
        counts.update(found.counts)
        for line in found.lines:
            one = settle(line, removals)
            each(one)
            outcomes[one.outcome] += one.outcome is not Outcome.UNCHANGED
            if one.steps:
                drift += 1
                found_at = _older(found_at, one.changed_at)
            if one.outcome is Outcome.FAILED or (one.steps and one.outcome is not Outcome.DONE):
                left_at = _older(left_at, one.changed_at)
    return BucketReport(
        bucket=bucket,
        full_pass=full_pass,
        done=outcomes[Outcome.DONE],
        unchanged=outcomes[Outcome.UNCHANGED],
        skipped=outcomes[Outcome.SKIPPED],
        failed=outcomes[Outcome.FAILED],
        folders_known=folders_known,
        cases=dict(sorted(cases.items())),
        counts=dict(sorted(counts.items())),
        drift=drift,
        oldest_found_at=found_at,
        oldest_left_at=left_at,
        removals_refused=removals.refused if removals else "",
        problem=problem,
    )


class RunLines:
    """What of the lines of a whole run goes into its report, however many there are."""

    def __init__(self) -> None:
        self.kept: list[Line] = []
        self.total = 0
        self._wholes: dict[str, str] = {}
        self._assets: dict[str, str] = {}
        self._assets_failed = 0
        self._skipped: Counter[str] = Counter()

    def add(self, line: Line) -> None:
        """Another asset."""
        self.total += 1
        if len(self.kept) < LINES_KEPT:
            self.kept.append(line)
        if line.outcome is Outcome.FAILED:
            self._assets_failed += 1
            if len(self._assets) < FAILURES_KEPT:
                self._assets[line.asset] = line.reason
        elif line.outcome is Outcome.SKIPPED:
            is_room = line.reason in self._skipped or len(self._skipped) < FAILURES_KEPT
            self._skipped[line.reason if is_room else "for other reasons"] += 1

    def fail(self, item: str, reason: str) -> None:
        """A bucket, a slice or a task as a whole has failed."""
        self._wholes[item] = reason

    @property
    def failed(self) -> dict[str, str]:
        """What failed, and why: buckets and slices, then the first assets."""
        return dict(list((self._wholes | self._assets).items())[:FAILURES_KEPT])

    @property
    def failed_total(self) -> int:
        """How much failed."""
        return len(self._wholes) + self._assets_failed

    @property
    def skipped(self) -> dict[str, int]:
        """Why assets were skipped → how many, the most frequent reasons first."""
        return dict(self._skipped.most_common(REASONS_KEPT))


def _older(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)
