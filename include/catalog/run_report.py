"""What a whole import found and did: all datasets and depositions together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from include.catalog.report import DatasetReport, TableReport, raise_if_incomplete, total
from include.catalog.run_plan import IngestPlan

LINES_IN_REPORT = 2_000
"""Of the run's report; each dataset's own report has everything."""

FAILURES_IN_REPORT = 10_000

_COLUMNS = tuple(TableReport.model_fields)


class DatasetLine(BaseModel):
    """One dataset or deposition that was not simply unchanged."""

    model_config = ConfigDict(frozen=True)

    subject: str
    counts: TableReport
    failures: int
    warnings: int
    journal_keys: tuple[str, ...]
    seconds: float


class IngestReport(BaseModel):
    """One run."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    dry_run: bool
    bucket: str
    started_at: datetime
    ended_at: datetime

    asked: int
    """Datasets and depositions; the sum of the next three."""

    done: int
    """Had changes, and all of them are made; in a dry run, would be."""

    unchanged: int
    failed: int
    """Incomplete, or not imported at all."""

    tables: dict[str, TableReport] = Field(default_factory=dict)
    failures: tuple[str, ...] = ()
    failures_total: int = 0
    lines: tuple[DatasetLine, ...] = ()
    lines_total: int = 0

    def raise_if_incomplete(self) -> None:
        """Turn the run red when anything failed.

        Raises:
            RunIncomplete: the count, and the first failures with their reasons.
        """
        raise_if_incomplete(f"the import of s3://{self.bucket}", list(self.failures))


def ingest_report(
    plan: IngestPlan, reports: Mapping[str, DatasetReport | None], *, ended_at: datetime
) -> IngestReport:
    """All reports of a run in one.

    Args:
        reports: by the address of a dataset or deposition; None for one whose task left none.
    """
    failures = list(plan.problems)
    lines: list[DatasetLine] = []
    done = unchanged = 0
    for subject, report in reports.items():
        if report is None:
            reason = "was not imported: its task was killed or stopped; see its log"
            failures.append(f"{subject}: {reason}")
            continue
        failures += report.failures
        line = _line(report)
        if not report.failures:
            done += _is_changed(line.counts)
            unchanged += not _is_changed(line.counts)
        if report.failures or report.warnings or _is_changed(line.counts):
            lines.append(line)
    asked = len(reports) + len(plan.problems)
    return IngestReport(
        run_id=plan.run_id,
        dry_run=plan.request.dry_run,
        bucket=plan.request.s3_bucket,
        started_at=plan.started_at,
        ended_at=ended_at,
        asked=asked,
        done=done,
        unchanged=unchanged,
        failed=asked - done - unchanged,
        tables=total(report for report in reports.values() if report is not None),
        failures=tuple(failures[:FAILURES_IN_REPORT]),
        failures_total=len(failures),
        lines=tuple(lines[:LINES_IN_REPORT]),
        lines_total=len(lines),
    )


def as_table(tables: Mapping[str, TableReport]) -> str:
    """Counts by table, aligned, to read in a log."""
    rows = [("table", *_COLUMNS)]
    rows += [
        (name, *(f"{getattr(counts, column):,}" for column in _COLUMNS))
        for name, counts in tables.items()
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(_aligned(row, widths) for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([name, *numbers]).rstrip()


def _line(report: DatasetReport) -> DatasetLine:
    return DatasetLine(
        subject=report.subject,
        counts=sum(report.tables.values(), TableReport()),
        failures=len(report.failures),
        warnings=len(report.warnings),
        journal_keys=report.journal_keys,
        seconds=round(report.seconds, 3),
    )


def _is_changed(counts: TableReport) -> bool:
    return bool(counts.created or counts.updated or counts.deleted or counts.stale)
