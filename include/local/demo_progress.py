"""Things under way on the screen: a live table on a terminal, one line per end elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from include.clients.airflow_api import TaskState

RUNNING = frozenset({"running", "restarting"})

COLOURS = {
    "success": "green",
    "done": "green",
    "skipped": "magenta",
    "failed": "bold red",
    "upstream_failed": "red",
    "up_for_retry": "yellow",
}

ENDED = frozenset({"success", "done", "skipped", "failed", "upstream_failed", "removed"})


@dataclass(frozen=True, slots=True)
class Row:
    """One thing under way."""

    label: str
    state: str | None
    started_s: float | None = None
    """Seconds since the epoch."""

    ended_s: float | None = None

    @property
    def seconds(self) -> float | None:
        """How long it has taken so far, or took; None before it starts."""
        if self.started_s is None:
            return None
        return max(0.0, (self.ended_s or time.time()) - self.started_s)


class Board:
    """Rows under a title; for use in a ``with`` statement.

    Args:
        console: where to; its terminal decides between a live table and plain lines.
        title: what the rows are about.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._rows: dict[str, Row] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(
                console=self._console, get_renderable=self._table, refresh_per_second=8
            )
            self._live.start()
        else:
            self._console.print(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, rows: Iterable[Row]) -> None:
        """Take over the state of these rows; new ones come last."""
        for row in rows:
            before = self._rows.get(row.label)
            self._rows[row.label] = row
            is_news = row.state in ENDED and (before is None or before.state not in ENDED)
            if self._live is None and is_news:
                seconds = f"{row.seconds:7.1f} s" if row.seconds is not None else " " * 9
                self._console.print(f"{seconds}  {row.label:<44} {row.state}", markup=False)

    @contextmanager
    def step(self, label: str) -> Iterator[None]:
        """A row that runs as long as the block does."""
        started_s = time.time()
        self.show([Row(label, "running", started_s)])
        try:
            yield
        except BaseException:
            self.show([Row(label, "failed", started_s, time.time())])
            raise
        self.show([Row(label, "done", started_s, time.time())])

    def _table(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, title=self._title, title_justify="left", pad_edge=False)
        table.add_column("", width=1)
        table.add_column("", min_width=44)
        table.add_column("", min_width=14)
        table.add_column("", justify="right")
        for row in list(self._rows.values()):
            colour = COLOURS.get(row.state or "", "")
            is_running = row.state in RUNNING
            table.add_row(
                Spinner("dots", style="cyan") if is_running else Text("•", style=colour),
                Text(row.label),
                Text(row.state or "waiting", style="cyan" if is_running else colour or "dim"),
                "" if row.seconds is None else f"{row.seconds:.1f} s",
            )
        return table


def task_rows(states: Iterable[TaskState]) -> list[Row]:
    """One row per task instance: those that started, in that order, then the others."""
    rows = [
        Row(
            label=one.label,
            state=one.state,
            started_s=one.started_at.timestamp() if one.started_at else None,
            ended_s=one.ended_at.timestamp() if one.ended_at else None,
        )
        for one in states
    ]
    return sorted(rows, key=lambda row: (row.started_s is None, row.started_s or 0.0))
