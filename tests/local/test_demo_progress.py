"""What the demo shows while things are under way."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from include.clients.airflow_api import TaskState
from include.local.demo_progress import Board, Row, task_rows

START = datetime(2024, 1, 1, tzinfo=UTC)


def shown(*, is_terminal: bool, states: list[list[Row]]) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=is_terminal, width=100)
    with Board(console, "Run r1") as board:
        for rows in states:
            board.show(rows)
    return text.getvalue()


def test_without_a_terminal_each_task_is_one_line_when_it_has_ended() -> None:
    running = Row("upload", "running", 100.0)
    done = Row("upload", "success", 100.0, 102.5)
    waiting = Row("register", None)
    lines = shown(is_terminal=False, states=[[running, waiting], [done], [done]]).splitlines()
    assert [line.split() for line in lines] == [
        ["Run", "r1"],
        ["2.5", "s", "upload", "success"],
    ]


def test_a_task_that_is_run_again_is_shown_again() -> None:
    failed = Row("upload", "failed", 100.0, 101.0)
    running = Row("upload", "running", 110.0)
    done = Row("upload", "success", 110.0, 112.0)
    text = shown(is_terminal=False, states=[[failed], [running], [done]])
    assert [line.split()[-1] for line in text.splitlines()[1:]] == ["failed", "success"]


def test_on_a_terminal_every_task_is_in_the_table_with_its_state() -> None:
    rows = [
        Row("compress [ecephys]", "success", 100.0, 101.5),
        Row("upload", "running", 1.0),
        Row("x", None),
    ]
    text = shown(is_terminal=True, states=[rows])
    for words in ("Run r1", "compress [ecephys]", "success", "1.5 s", "running", "waiting"):
        assert words in text


def test_a_step_that_fails_is_shown_as_failed_and_its_error_goes_on() -> None:
    text = io.StringIO()
    with (
        pytest.raises(OSError, match="no room"),
        Board(Console(file=text), "Getting ready") as board,
        board.step("services"),
    ):
        raise OSError("no room")
    assert text.getvalue().split()[-2:] == ["services", "failed"]


def test_tasks_are_in_the_order_in_which_they_started() -> None:
    def state(label: str, started_at: datetime | None) -> TaskState:
        return TaskState(label, -1, label, None, 1, started_at, None)

    states = [
        state("never", None),
        state("second", START + timedelta(seconds=1)),
        state("first", START),
    ]
    assert [row.label for row in task_rows(states)] == ["first", "second", "never"]
