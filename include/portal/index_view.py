"""What the pages about index runs show, computed from the values that the runs left; no server, no clock."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

from include.indexing.history import BucketHistory, HistoryRow
from include.indexing.plan import CASES, Presence
from include.indexing.report import BucketReport, Line, Outcome, RemovalReport, RunReport
from include.indexing.request import FIELDS, IndexRequest
from include.indexing.run_plan import IndexPlan

T = TypeVar("T")

Tone = Literal["ok", "warn", "bad", "idle"]
"""Colour of a word: all is well; look; something failed; nothing to say."""

RUNS_DRAWN = 50

LINES_ON_PAGE = 200

REASONS_ON_PAGE = 200

IN_STEP = "in step"

NOT_KNOWN = "not known"


def age_text(seconds: float) -> str:
    """A length of time in its two largest units: ``3 h 12 min``."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def ago_text(moment: datetime, now: datetime) -> str:
    """How long ago it was."""
    age_s = (now - moment).total_seconds()
    return "just now" if age_s < 10 else f"{age_text(age_s)} ago"


def moment_text(moment: datetime) -> str:
    """``2026-11-20 10:00:05 UTC``."""
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname() or ''}".strip()


def count_text(count: float, one: str = "", many: str = "") -> str:
    """``1,204``; with words, ``1 asset`` or ``1,204 assets``."""
    word = one if count == 1 else many or f"{one}s"
    return f"{count:,} {word}" if one else f"{count:,}"


@dataclass(frozen=True, slots=True)
class Word:
    """A few words and their colour."""

    text: str
    tone: Tone


# --------------------------------------------------------------------------- all buckets


def state_of(row: HistoryRow) -> Word:
    """How a run over one bucket ended."""
    if row.failed:
        return Word(f"{count_text(row.failed)} failed", "bad")
    if row.problem:
        return Word("not examined", "bad")
    if not row.is_whole:
        return Word("in part", "warn")
    return Word("ok", "ok")


def freshness(row: HistoryRow) -> Word:
    """Age, at the end of the run, of the oldest change that is not in step."""
    if row.lag_left_s is not None:
        return Word(age_text(row.lag_left_s), "bad" if row.failed else "warn")
    if not row.is_whole or row.failed or row.drift > row.done:
        return Word(NOT_KNOWN, "idle")
    return Word(IN_STEP, "ok")


def kind_of_pass(*, full_pass: bool) -> str:
    """Which records a run examined."""
    return "full pass" if full_pass else "look-back"


@dataclass(frozen=True, slots=True)
class Bar:
    """One run, drawn: drift upwards, failures downwards, and below them the lag that it left. Pixels."""

    x: float
    width: float
    drift_y: float
    drift_height: float
    failed_y: float
    failed_height: float
    lag_y: float
    lag_height: float
    tone: Tone
    title: str
    run_key: str


@dataclass(frozen=True, slots=True)
class Trend:
    """The last runs over a bucket, newest at the right."""

    bars: tuple[Bar, ...]
    most_drift: int
    most_failed: int
    longest_lag_s: float


@dataclass(frozen=True, slots=True)
class TrendSize:
    """Of the drawing, in pixels."""

    width: int = 400
    drift: int = 36
    failed: int = 14
    gap: int = 6
    lag: int = 18

    @property
    def height(self) -> int:
        """All strips together, with the base line."""
        return self.drift + 1 + self.failed + self.gap + self.lag + 1

    @property
    def lag_base(self) -> int:
        """Where the lag bars stand."""
        return self.height - 1


TREND = TrendSize()

SMALLEST_BAR_PX = 2.0
"""One failure among thousands is still to be seen."""


def draw_trend(rows: Sequence[HistoryRow], size: TrendSize = TREND) -> Trend:
    """The last runs as bars; drift and failures on one scale, since both count assets."""
    shown = rows[-RUNS_DRAWN:]
    most_drift = max((row.drift for row in shown), default=0)
    most_failed = max((row.failed for row in shown), default=0)
    longest_lag_s = max((row.lag_left_s or 0.0 for row in shown), default=0.0)
    assets_per_px = max(most_drift / size.drift, most_failed / size.failed)
    lag_s_per_px = longest_lag_s / size.lag
    step = size.width / RUNS_DRAWN
    bars = []
    for place, row in enumerate(shown, start=RUNS_DRAWN - len(shown)):
        drift = _bar_px(row.drift, assets_per_px)
        lag = _bar_px(row.lag_left_s or 0.0, lag_s_per_px)
        bars.append(
            Bar(
                x=round(place * step, 2),
                width=round(step * 0.75, 2),
                drift_y=round(size.drift - drift, 2),
                drift_height=drift,
                failed_y=size.drift + 1,
                failed_height=_bar_px(row.failed, assets_per_px),
                lag_y=round(size.lag_base - lag, 2),
                lag_height=lag,
                tone=state_of(row).tone,
                title=_row_title(row),
                run_key=row.run_key,
            )
        )
    return Trend(tuple(bars), most_drift, most_failed, longest_lag_s)


def _bar_px(amount: float, per_px: float) -> float:
    return max(SMALLEST_BAR_PX, round(amount / per_px, 2)) if amount else 0.0


def _row_title(row: HistoryRow) -> str:
    return (
        f"{moment_text(row.started_at)}, {kind_of_pass(full_pass=row.full_pass)}: "
        f"{count_text(row.drift)} not in step, {count_text(row.failed)} failed; "
        f"lag left: {freshness(row).text}"
    )


@dataclass(frozen=True, slots=True)
class BucketSummary:
    """One bucket in the list of all."""

    bucket: str
    rows: tuple[HistoryRow, ...]
    """Newest first."""

    trend: Trend
    last_full_pass_at: datetime | None
    drift_share: float
    """Of the last run's drift in the largest one of all buckets, 0 to 1."""

    problem: str = ""
    """Why nothing is known of it."""

    @property
    def last(self) -> HistoryRow | None:
        """The last run."""
        return self.rows[0] if self.rows else None


def summarise(histories: Mapping[str, BucketHistory | str]) -> list[BucketSummary]:
    """All buckets, by name.

    Args:
        histories: of each bucket, or why it cannot be read.
    """
    read = {name: found for name, found in histories.items() if isinstance(found, BucketHistory)}
    most = max((found.rows[-1].drift for found in read.values() if found.rows), default=0)
    summaries = []
    for name, found in sorted(histories.items()):
        history = read.get(name, BucketHistory(bucket=name))
        drift = history.rows[-1].drift if history.rows else 0
        summaries.append(
            BucketSummary(
                bucket=name,
                rows=tuple(reversed(history.rows[-RUNS_DRAWN:])),
                trend=draw_trend(history.rows),
                last_full_pass_at=history.last_full_pass_at,
                drift_share=drift / most if most else 0.0,
                problem=found if isinstance(found, str) else "",
            )
        )
    return summaries


# --------------------------------------------------------------------------- one run


def verdict(report: RunReport) -> Word:
    """The run in one sentence."""
    asked = sum(bucket.asked for bucket in report.buckets)
    drift = sum(bucket.drift for bucket in report.buckets)
    of_all = f"of {count_text(asked, 'asset')} in {count_text(len(report.buckets), 'bucket')}"
    right = ("would be put right" if report.dry_run else "put right") if drift else ""
    done = sum(bucket.done for bucket in report.buckets)
    if report.failed:
        would = "would fail" if report.dry_run else "failed"
        mended = f"; {count_text(done)} {right}" if done and right else ""
        return Word(f"{count_text(report.failures)} {would}, {of_all}{mended}", "bad")
    if drift:
        return Word(f"{count_text(drift)} not in step, {of_all}; {count_text(done)} {right}", "ok")
    if not asked:
        return Word("No asset was looked at", "warn")
    return Word(f"Nothing to do: none {of_all} was out of step", "ok")


OUTCOME_TONES: Mapping[str, Tone] = {
    "done": "ok", "unchanged": "idle", "skipped": "warn", "failed": "bad", "pending": "warn",
}  # fmt: skip


def outcome_words(*, dry_run: bool) -> dict[str, str]:
    """Outcome → how it is called on a page; a dry run only says what would be."""
    names = {one.value: one.value for one in Outcome}
    if not dry_run:
        return {**names, "done": "put right", "unchanged": "in step"}
    return {
        **names,
        "done": "would be put right",
        "unchanged": "in step",
        "skipped": "would be skipped",
        "failed": "would fail",
    }


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with a bar."""

    name: str
    count: int
    share: float
    """Length of its bar, 0 to 1."""

    tone: Tone = "idle"


def amounts(counts: Mapping[str, int]) -> list[Amount]:
    """Counts of changes, largest first, against the largest."""
    most = max(counts.values(), default=0)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [Amount(name, count, count / most if most else 0.0) for name, count in ordered if count]


def outcome_shares(bucket: BucketReport) -> list[Amount]:
    """How the assets of a bucket ended, as shares of all; each that is not zero can be seen."""
    found: list[tuple[str, int, Tone]] = [
        ("failed", bucket.failed, "bad"),
        ("skipped", bucket.skipped, "warn"),
        ("done", bucket.done, "ok"),
        ("unchanged", bucket.unchanged, "idle"),
    ]
    widths = {name: max(0.01, count / bucket.asked) for name, count, _ in found if count}
    total = sum(widths.values())
    return [
        Amount(name, count, widths[name] / total if count else 0.0, tone)
        for name, count, tone in found
    ]


@dataclass(frozen=True, slots=True)
class CaseCount:
    """One of the eight cases, and in how many core fields it was met."""

    number: int
    where: str
    what: str
    count: int
    share: float


def case_counts(cases: Mapping[str, int]) -> list[CaseCount]:
    """All eight cases in their order."""
    most = max(cases.values(), default=0)
    return [
        CaseCount(
            number=number,
            where=_where(presence),
            what=", then ".join(action.value for action in actions) or "nothing to do",
            count=(count := cases.get(str(number), 0)),
            share=count / most if most else 0.0,
        )
        for presence, (number, actions) in CASES.items()
    ]


def _where(presence: Presence) -> str:
    places = ("the record", "the root", "a dated copy")
    held = [place for place, is_there in zip(places, presence, strict=True) if is_there]
    return f"in {' and '.join(held)}" if held else "nowhere"


def lag_words(bucket: BucketReport, started_at: datetime, ended_at: datetime) -> tuple[Word, Word]:
    """Age of the oldest change that was not in step: when the run began, and of what it left."""

    def age(moment: datetime, now: datetime) -> str:
        return age_text((now - moment).total_seconds())

    if bucket.oldest_found_at:
        found = Word(age(bucket.oldest_found_at, started_at), "idle")
    else:
        found = Word(NOT_KNOWN, "idle") if bucket.drift or bucket.problem else Word(IN_STEP, "ok")
    if bucket.oldest_left_at:
        tone: Tone = "bad" if bucket.failed else "warn"
        left = Word(age(bucket.oldest_left_at, ended_at), tone)
    elif bucket.failed or bucket.problem or bucket.drift > bucket.done:
        left = Word(NOT_KNOWN, "idle")
    else:
        left = Word(IN_STEP, "ok")
    return found, left


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Items that failed for the same reason."""

    reason: str
    items: tuple[str, ...]


def group_failures(failed: Mapping[str, str]) -> list[FailureGroup]:
    """By reason, the most frequent first; what a refusal of removals holds back is one reason."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for item, reason in failed.items():
        groups[reason].append(item)
    ordered = sorted(groups.items(), key=lambda one: -len(one[1]))
    return [FailureGroup(reason, tuple(items)) for reason, items in ordered]


PROPOSED = {"record": "records_removed", "file": "core_files_removed"}
"""What is proposed for removal → how it is counted once it is removed."""


def has_removals(report: RemovalReport) -> bool:
    """Whether there is anything to say of the removals of a bucket."""
    told = (report.refused, report.removed, report.skipped, report.failed)
    return any(told) or (report.dry_run and any(report.proposed.values()))


def would_be_removed(report: RemovalReport | None) -> dict[str, int]:
    """What a dry run would have removed, by the names of what a run removed."""
    if report is None or not report.dry_run or report.refused:
        return {}
    return {PROPOSED.get(kind, kind): count for kind, count in report.proposed.items()}


def proposed_text(report: RemovalReport) -> str:
    """``412 records and 1 core file``; ``""`` when nothing is proposed, or it is not known."""
    words = {"record": "record", "file": "core file"}
    told = (
        count_text(count, words.get(kind, kind))
        for kind, count in sorted(report.proposed.items(), reverse=True)
        if count
    )
    return " and ".join(told)


def setting_words(request: IndexRequest) -> dict[str, str]:
    """The settings of a run, called as its trigger form calls them."""
    values = request.model_dump(mode="json")
    return {FIELDS[name]["title"]: _value_text(value) for name, value in values.items()}


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "all"
    return "no limit" if value is None else str(value)


# --------------------------------------------------------------------------- lists


_URGENCY = (
    Outcome.FAILED, Outcome.PENDING, Outcome.DONE, Outcome.SKIPPED, Outcome.UNCHANGED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines of a report are wanted."""

    outcome: Outcome | None = None
    text: str = ""
    """To be found in the asset, a step or the reason, whatever its case."""

    @classmethod
    def of(cls, outcome: str, text: str) -> LineFilter:
        """As a query says it; an outcome that there is not means all."""
        known = Outcome(outcome) if outcome in [*Outcome] else None
        return cls(known, text.strip())

    def accepts(self, line: Line) -> bool:
        """Whether a line is wanted."""
        if self.outcome is not None and line.outcome is not self.outcome:
            return False
        wanted = self.text.casefold()
        return not wanted or any(
            wanted in text.casefold() for text in (line.asset, line.reason, *line.steps)
        )

    def choose(self, lines: Iterable[Line]) -> list[Line]:
        """The wanted lines, those first that somebody has to look at."""
        wanted = (line for line in lines if self.accepts(line))
        return sorted(wanted, key=lambda line: _URGENCY.index(line.outcome))


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    items: tuple[T, ...]
    number: int
    """From 1."""

    pages: int
    total: int
    first: int
    """Place in the whole list of the first item here, from 1; 0 when there is none."""

    @property
    def last(self) -> int:
        """Place of the last item here."""
        return self.first + len(self.items) - 1 if self.items else 0


def page_of(items: Sequence[T], number: str, size: int = LINES_ON_PAGE) -> Page[T]:
    """One page of a list; the nearest that there is, whatever was asked for."""
    pages = max(1, math.ceil(len(items) / size))
    asked = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 1
    found = min(max(1, asked), pages)
    start = (found - 1) * size
    part = tuple(items[start : start + size])
    return Page(part, found, pages, len(items), start + 1 if part else 0)


# --------------------------------------------------------------------------- a run that goes on


LOOKS: Sequence[tuple[timedelta, int]] = (
    (timedelta(minutes=10), 5),
    (timedelta(hours=1), 30),
    (timedelta(days=1), 300),
)
"""Up to which age of a run its page looks again after how many seconds. Each time the browser forgets where
in the page a person was."""

NOT_BEGUN = timedelta(hours=1)
"""How long a page waits for the plan of a run: one that did not begin by then is held up."""


def look_again_s(since: datetime, now: datetime, *, at_most: timedelta | None = None) -> int | None:
    """After how many seconds it is worth looking again; None: no more.

    Args:
        since: when what is awaited began.
        at_most: age from which on nothing is awaited; by default a day, since no run takes longer: one
            without a report by then was stopped.
    """
    age = now - since
    if at_most is not None and age >= at_most:
        return None
    return next((pause_s for limit, pause_s in LOOKS if age < limit), None)


@dataclass(frozen=True, slots=True)
class BucketProgress:
    """How far the slices of a bucket are."""

    bucket: str
    done: int
    total: int
    failed: int
    """Slices that failed, at least once; they may be tried again."""

    assets_done: int
    assets_total: int
    problem: str = ""

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.done / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    buckets: tuple[BucketProgress, ...]

    @property
    def done(self) -> int:
        """Slices that were examined."""
        return sum(bucket.done for bucket in self.buckets)

    @property
    def total(self) -> int:
        """Slices."""
        return sum(bucket.total for bucket in self.buckets)

    @property
    def failed(self) -> int:
        """Slices that failed so far."""
        return sum(bucket.failed for bucket in self.buckets)

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.done / self.total if self.total else 1.0

    @property
    def doing(self) -> str:
        """What is being done."""
        if self.done < self.total:
            return "examining the slices"
        return "deciding on the removals, then writing the report"


def progress(plan: IndexPlan, examined: Collection[str], failed: Collection[str]) -> Progress:
    """How far the slices of a plan are.

    Args:
        examined: names of the slices with a report.
        failed: names of the slices that failed at least once.
    """
    buckets = []
    for bucket in plan.buckets.values():
        done = [one for one in bucket.slices if one.name in examined]
        lost = [one for one in bucket.slices if one.name in failed and one.name not in examined]
        buckets.append(
            BucketProgress(
                bucket=bucket.bucket,
                done=len(done),
                total=len(bucket.slices),
                failed=len(lost),
                assets_done=sum(one.size for one in done),
                assets_total=sum(one.size for one in bucket.slices),
                problem=bucket.problem,
            )
        )
    return Progress(tuple(buckets))
