"""What an import found and did, table by table, and every part that failed."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from include.errors import Problem, RunIncomplete, ServiceUnavailable

PROBLEMS_SHOWN = 20


class TableReport(BaseModel):
    """One table of one dataset."""

    model_config = ConfigDict(frozen=True)

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    stale: int = 0
    """Rows that were not found again and stay: the limits kept them."""

    def __add__(self, other: TableReport) -> TableReport:
        return TableReport(**{
            name: getattr(self, name) + getattr(other, name) for name in TableReport.model_fields
        })

    def after(self, earlier: TableReport) -> TableReport:
        """What a later try found, with what an earlier one did: those rows it found unchanged."""
        done = earlier.created + earlier.updated
        return TableReport(
            created=self.created + earlier.created,
            updated=self.updated + earlier.updated,
            unchanged=max(0, self.unchanged - done),
            deleted=self.deleted + earlier.deleted,
            stale=self.stale,
        )


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

    may_pass: bool = False
    """Whether some of the problems may be gone when it is tried again."""

    journal_keys: tuple[str, ...] = ()
    """Where in the runs bucket the deleted rows are."""

    clear_number: int = 0
    """How often the run had been cleared before."""

    seconds: float = 0.0

    @property
    def failures(self) -> list[str]:
        """Everything that makes the import incomplete."""
        return [*self.problems, *([f"{self.subject}: {self.refused}"] if self.refused else [])]

    def after(self, earlier: DatasetReport) -> DatasetReport:
        """This report of a later try, with what an earlier one of the same execution did."""
        names = dict.fromkeys((*earlier.tables, *self.tables))
        return self.model_copy(
            update={
                "tables": {
                    name: self.tables.get(name, TableReport()).after(
                        earlier.tables.get(name, TableReport())
                    )
                    for name in names
                },
                "journal_keys": tuple(dict.fromkeys((*earlier.journal_keys, *self.journal_keys))),
            }
        )


def total(reports: Iterable[DatasetReport]) -> dict[str, TableReport]:
    """All datasets together, by table."""
    tables: dict[str, TableReport] = {}
    for report in reports:
        for name, counts in report.tables.items():
            tables[name] = tables.get(name, TableReport()) + counts
    return tables


def raise_if_incomplete(subject: str, failures: list[str], *, may_pass: bool = False) -> None:
    """Raise when there are failures.

    Args:
        may_pass: whether trying again can help.

    Raises:
        RunIncomplete: the count, and the first of them.
        ServiceUnavailable: the same, when they may pass.
    """
    if failures:
        shown = "\n".join(f"  - {failure}" for failure in failures[:PROBLEMS_SHOWN])
        more = len(failures) - PROBLEMS_SHOWN
        rest = f"\n  … and {more} more; all are in the report" if more > 0 else ""
        error = ServiceUnavailable if may_pass else RunIncomplete
        raise error(f"{len(failures)} parts of {subject} failed:\n{shown}{rest}")


def as_texts(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Problems as a report holds them, each once."""
    return tuple(dict.fromkeys(map(str, problems)))
