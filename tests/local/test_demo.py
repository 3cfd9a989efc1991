"""Following the demo's run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import stamina
from rich.console import Console

from include.clients.airflow_api import TaskState
from include.errors import ServiceUnavailable
from include.local.demo import follow
from include.local.demo_progress import Board


class Api:
    """Answers with one state of the run after the other."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers: Iterator[str | Exception] = iter(answers)
        self._state = ""

    def run_state(self, _dag_id: str, _run_id: str) -> str:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        self._state = answer
        return answer

    def task_states(self, _dag_id: str, _run_id: str) -> list[TaskState]:
        return [TaskState("upload", -1, "upload", self._state, 1, None, None)]


def followed(*answers: str | Exception) -> tuple[str, list[float], str]:
    """State of the run, the pauses, and what was shown."""
    text, pauses = io.StringIO(), list[float]()
    api: Any = Api(*answers)
    with stamina.set_testing(True, attempts=5), Board(Console(file=text), "Run") as board:
        state = follow(api, "r1", board, pause=pauses.append)
    return state, pauses, text.getvalue()


@pytest.mark.parametrize("end", ["success", "failed"])
def test_a_run_is_followed_to_its_end_and_its_last_state_is_shown(end: str) -> None:
    state, pauses, text = followed("queued", "running", end)
    assert state == end
    assert len(pauses) == 2
    assert text.split() == ["Run", "upload", end]


def test_an_airflow_that_does_not_answer_for_a_moment_is_asked_again() -> None:
    assert followed(ServiceUnavailable("busy"), "running", "success")[0] == "success"


def test_an_airflow_that_does_not_answer_at_all_ends_it() -> None:
    with pytest.raises(ServiceUnavailable):
        followed(*[ServiceUnavailable("down")] * 5)
