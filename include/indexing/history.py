"""How a bucket's index runs went, one row a run: what the trend is drawn from.

Also the memory of when every record of a bucket was examined last, so that a schedule with a look-back
makes a full pass when one is due, whatever run was missed, killed or red.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from include.indexing.report import BucketReport

ROWS_KEPT = 500
"""Three weeks of hourly runs."""


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
    """The same, of what the run left."""


class BucketHistory(BaseModel):
    """The last runs over one bucket, oldest first."""

    model_config = ConfigDict(frozen=True)

    bucket: str
    rows: tuple[HistoryRow, ...] = ()

    def with_row(self, row: HistoryRow) -> BucketHistory:
        """Another row at its end, in the place of an earlier one of the same run."""
        others = [one for one in self.rows if one.run_key != row.run_key]
        rows = sorted([*others, row], key=lambda one: one.started_at)
        return BucketHistory(bucket=self.bucket, rows=tuple(rows[-ROWS_KEPT:]))

    @property
    def last_full_pass_at(self) -> datetime | None:
        """Start of the last run that examined every record of the bucket."""
        return max(
            (row.started_at for row in self.rows if row.full_pass and row.is_whole), default=None
        )

    def is_full_pass_due(self, every_days: int | None, now: datetime) -> bool:
        """Whether the last full pass is longer ago than that; never without *every_days*."""
        if every_days is None:
            return False
        last = self.last_full_pass_at
        return last is None or now - last >= timedelta(days=every_days)


def history_row(
    report: BucketReport,
    *,
    run_id: str,
    run_key: str,
    started_at: datetime,
    ended_at: datetime,
    is_whole: bool,
) -> HistoryRow:
    """The row of one bucket's report."""
    removed = (report.counts.get(kind, 0) for kind in ("records_removed", "core_files_removed"))
    return HistoryRow(
        run_id=run_id,
        run_key=run_key,
        started_at=started_at,
        ended_at=ended_at,
        full_pass=report.full_pass,
        is_whole=is_whole and not report.problem,
        problem=report.problem,
        asked=report.asked,
        drift=report.drift,
        done=report.done,
        failed=report.failed,
        skipped=report.skipped,
        removed=sum(removed),
        lag_found_s=_age_s(report.oldest_found_at, started_at),
        lag_left_s=_age_s(report.oldest_left_at, ended_at),
    )


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (now - moment).total_seconds())
