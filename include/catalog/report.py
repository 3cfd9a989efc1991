"""What an import found and did, table by table, and every part that failed."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from include.errors import Problem, RunIncomplete

PROBLEMS_SHOWN = 20


class TableReport(BaseModel):
    """One table of one dataset."""

    model_config = ConfigDict(frozen=True)

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    stale: int = 0
    """Rows that were not found again and stay: the limits, or a dry run, kept them."""

    def __add__(self, other: TableReport) -> TableReport:
        return TableReport(**{
            name: getattr(self, name) + getattr(other, name) for name in TableReport.model_fields
        })


class DatasetReport(BaseModel):
    """One dataset, or the depositions of an import."""

    model_config = ConfigDict(frozen=True)

    subject: str
    """Address of its folder."""

    dry_run: bool = False
    tables: dict[str, TableReport] = Field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """Bucket and key, field, reason, of every part that failed; all others were imported."""

    warnings: tuple[str, ...] = ()
    refused: str = ""
    """Why nothing was deleted; ``""`` when the limits allowed it."""

    journal_key: str = ""
    """Where in the runs bucket the deleted rows are."""

    seconds: float = 0.0

    @property
    def failures(self) -> list[str]:
        """Everything that makes the import incomplete."""
        return [*self.problems, *([f"{self.subject}: {self.refused}"] if self.refused else [])]

    def raise_if_incomplete(self) -> None:
        """Turn the task red when any part failed.

        Raises:
            RunIncomplete: the count, and the first parts with their reasons.
        """
        raise_if_incomplete(self.subject, self.failures)


def total(reports: Iterable[DatasetReport]) -> dict[str, TableReport]:
    """All datasets together, by table."""
    tables: dict[str, TableReport] = {}
    for report in reports:
        for name, counts in report.tables.items():
            tables[name] = tables.get(name, TableReport()) + counts
    return tables


def raise_if_incomplete(subject: str, failures: list[str]) -> None:
    """Raise when there are failures.

    Raises:
        RunIncomplete: the count, and the first of them.
    """
    if failures:
        shown = "\n".join(f"  - {failure}" for failure in failures[:PROBLEMS_SHOWN])
        more = len(failures) - PROBLEMS_SHOWN
        rest = f"\n  … and {more} more; all are in the report" if more > 0 else ""
        raise RunIncomplete(f"{len(failures)} parts of {subject} failed:\n{shown}{rest}")


def as_texts(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Problems as a report holds them, each once."""
    return tuple(dict.fromkeys(map(str, problems)))
