"""How a bucket's index runs went, one row a run: what the trend is drawn from.

Also the memory of when every record of a bucket was examined last, so that a schedule with a look-back
makes a full pass when one is due, whatever run was missed, killed or red.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from include.assets.core_files import Generation
from include.indexing.report import BucketReport

ROWS_KEPT = 500
"""Three weeks of hourly runs; the last full pass of each generation is kept however long ago it was."""


class HistoryRow(BaseModel):
    """One run over one bucket."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    run_key: str
    started_at: datetime
    ended_at: datetime
    full_pass: bool
    is_whole: bool
    """Whether the bucket as a whole was examined: no slice lost, no selection of assets."""

    generations: tuple[Generation, ...] = tuple(Generation)
    """Of the records that were examined."""

    problem: str = ""
    """Why it, or a part of it, was not examined."""

    asked: int
    drift: int
    done: int
    failed: int
    skipped: int
    removed: int = 0
    lag_found_s: float | None = None
    """Age of the oldest change that was not yet in step when the run began; None: all was."""

    lag_left_s: float | None = None
    """The same, of what the run left, or of what an earlier one left that this one did not look at."""

    @property
    def left_at(self) -> datetime | None:
        """When the oldest change was made that was left; None: nothing was."""
        if self.lag_left_s is None:
            return None
        return self.ended_at - timedelta(seconds=self.lag_left_s)


class BucketHistory(BaseModel):
    """The last runs over one bucket, oldest first."""

    model_config = ConfigDict(frozen=True)

    bucket: str
    rows: tuple[HistoryRow, ...] = ()

    def with_row(self, row: HistoryRow) -> BucketHistory:
        """Another row at its end, in the place of an earlier one of the same run."""
        others = [one for one in self.rows if one.run_key != row.run_key]
        rows = sorted([*others, row], key=lambda one: one.started_at)
        older = BucketHistory(bucket=self.bucket, rows=tuple(rows[:-ROWS_KEPT]))
        kept = [older.last_full_pass(generation) for generation in Generation]
        passes = [one for one in rows if one in kept]
        return BucketHistory(bucket=self.bucket, rows=(*passes, *rows[-ROWS_KEPT:]))

    def last_full_pass(self, generation: Generation) -> HistoryRow | None:
        """The last run that examined every record of that generation."""
        passes = (
            row
            for row in reversed(self.rows)
            if row.full_pass and row.is_whole and generation in row.generations
        )
        return next(passes, None)

    @property
    def last_full_pass_at(self) -> datetime | None:
        """Start of the last run that examined every record of some generation."""
        lasts = [self.last_full_pass(generation) for generation in Generation]
        return max((row.started_at for row in lasts if row is not None), default=None)

    def is_full_pass_due(
        self, every_days: int | None, now: datetime, generations: Iterable[Generation]
    ) -> bool:
        """Whether the last full pass of one of them is longer ago than that; never without *every_days*."""
        if every_days is None:
            return False
        lasts = [self.last_full_pass(generation) for generation in generations]
        return any(
            last is None or now - last.started_at >= timedelta(days=every_days) for last in lasts
        )

    def left_before(
        self, since: datetime | None, *, generations: Iterable[Generation], run_key: str
    ) -> datetime | None:
        """When the oldest change was made that earlier runs left and that one run did not look at.

        Args:
            since: from when on the run looked at changes; None: at all.
            generations: of the records that it looked at.
            run_key: of that run, whose own row does not count.
        """
        whole = (row for row in reversed(self.rows) if row.is_whole and row.run_key != run_key)
        last = next(whole, None)
        left_at = None if last is None else last.left_at
        if last is None or left_at is None:
            return None
        is_seen = set(last.generations) <= {*generations} and (since is None or left_at >= since)
        return None if is_seen else left_at


def history_row(
    report: BucketReport,
    *,
    run_id: str,
    run_key: str,
    started_at: datetime,
    ended_at: datetime,
    is_whole: bool,
    generations: Sequence[Generation],
    left_before: datetime | None = None,
) -> HistoryRow:
    """The row of one bucket's report.

    Args:
        left_before: see :meth:`BucketHistory.left_before`.
    """
    left_at = min(filter(None, [report.oldest_left_at, left_before]), default=None)
    removed = (report.counts.get(kind, 0) for kind in ("records_removed", "core_files_removed"))
    return HistoryRow(
        run_id=run_id,
        run_key=run_key,
        started_at=started_at,
        ended_at=ended_at,
        full_pass=report.full_pass,
        is_whole=is_whole and not report.problem,
        generations=tuple(generations),
        problem=report.problem,
        asked=report.asked,
        drift=report.drift,
        done=report.done,
        failed=report.failed,
        skipped=report.skipped,
        removed=sum(removed),
        lag_found_s=_age_s(report.oldest_found_at, started_at),
        lag_left_s=_age_s(left_at, ended_at),
    )


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (now - moment).total_seconds())
