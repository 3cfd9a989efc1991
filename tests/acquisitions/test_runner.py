"""Commands as values, and how the end of one is told."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.acquisitions.runner import (
    TRACEBACK,
    TRY_AGAIN,
    Command,
    CommandState,
    Ending,
    LineReader,
    Outcome,
    last_words,
    raise_for_outcome,
    run_to_end,
)
from include.errors import CommandFailed, CommandInterrupted, InvalidInput


class ScriptedRunner:
    """An engine whose every look is written down beforehand: state, and output that came with it."""

    def __init__(self, *runs: list[tuple[Outcome | CommandState, bytes]]) -> None:
        self._runs = list(runs)
        self._looks: list[tuple[Outcome | CommandState, bytes]] = []
        self._output = b""
        self.submitted = 0
        self.cancelled = 0

    def submit(self, command: Command) -> str:
        self._looks = self._runs.pop(0)
        self._output = b""
        self.submitted += 1
        return "handle"

    def poll(self, handle: str) -> Outcome | CommandState:
        state, output = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        self._output += output if self._looks else b""
        return state

    def cancel(self, handle: str) -> None:
        self.cancelled += 1
        self._looks = [(ended(Ending.CANCELLED), b"")]

    def read_output(self, handle: str, offset: int) -> bytes:
        return self._output[offset : offset + 7]


def command(name: str = "work") -> Command:
    return Command(name, "true", {}, Path("/nowhere"))


def ended(ending: Ending = Ending.EXITED, **fields: object) -> Outcome:
    given = {"name": "work", "ending": ending, "exit_code": 0, **fields}
    return Outcome.model_validate(given)


def test_output_is_handed_on_in_order_and_to_the_last_byte():
    looks = [(CommandState.WAITING, b""), (CommandState.RUNNING, b"first li"),
             (ended(), b"ne\nsecond line\nno end")]  # fmt: skip
    runner = ScriptedRunner([*looks, (ended(), b"")])
    lines: list[str] = []

    outcome = run_to_end(runner, command(), lines.append, pause=lambda _s: None)

    assert outcome.succeeded
    assert lines == ["first line", "second line", "no end"]


def test_an_earlier_callers_dying_command_is_waited_for_and_started_anew():
    runner = ScriptedRunner([(ended(Ending.CALLER_GONE), b"")], [(ended(), b"")])

    outcome = run_to_end(runner, command(), lambda _line: None, pause=lambda _s: None)

    assert outcome.ending is Ending.EXITED
    assert runner.submitted == 2


def test_an_interrupted_wait_cancels_the_command():
    runner = ScriptedRunner([(CommandState.RUNNING, b"")])

    def interrupt(_s: float) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        run_to_end(runner, command(), lambda _line: None, pause=interrupt)

    assert runner.cancelled == 1


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", ".hidden", "a/b", "x" * 201, "né"])
def test_a_name_that_could_leave_its_folder_is_refused(name):
    with pytest.raises(InvalidInput, match="name"):
        command(name)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (ended(exit_code=3), "ended with exit code 3"),
        (ended(Ending.SIGNAL, exit_code=None, signal=11), "was ended by SIGSEGV"),
        (ended(Ending.SIGNAL, exit_code=None, signal=9), r"SIGKILL \(out of memory\?\)"),
        (ended(Ending.TIME_LIMIT), "at its time limit"),
        (ended(Ending.CANCELLED), "was cancelled"),
        (ended(Ending.LOST, exit_code=None), "left no word"),
        (ended(exit_code=1, detail="NODE_FAIL"), r"exit code 1 \(NODE_FAIL\)"),
        (ended(exit_code=1, log_path="/logs/x.log"), "its log is /logs/x.log"),
    ],
)
def test_a_failure_says_how_it_ended(outcome, said):
    with pytest.raises(CommandFailed, match=f"Command work .*{said}"):
        raise_for_outcome(outcome)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (ended(exit_code=TRY_AGAIN), "ended with exit code 75"),
        (ended(Ending.CALLER_GONE), "the process that waited for it died"),
    ],
)
def test_a_failure_that_may_pass_is_worth_another_try(outcome, said):
    with pytest.raises(CommandInterrupted, match=f"Command work .*{said}"):
        raise_for_outcome(outcome)


def test_a_success_raises_nothing():
    raise_for_outcome(ended())


def test_the_last_words_start_at_the_last_traceback():
    lines = ("before", TRACEBACK, "  first", "Error: 1", TRACEBACK, "  second", "Error: 2")

    assert last_words(lines) == [TRACEBACK, "  second", "Error: 2"]


def test_without_a_traceback_the_last_200_lines_are_shown():
    lines = tuple(str(number) for number in range(500))

    assert last_words(lines) == ["...", *lines[-200:]]
    assert last_words(lines[:5]) == list(lines[:5])


def test_an_outcome_survives_json():
    outcome = ended(cpu_s=1.5, log_path="/x", last_lines=("a",), started_at="2026-01-01T00:00:00Z")

    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_where_the_stream_is_cut_into_chunks_changes_nothing(content, cuts):
    whole = LineReader()
    expected = whole.feed(content) + whole.finish()
    reader = LineReader()
    edges = [0, *sorted(cut for cut in cuts if cut <= len(content)), len(content)]

    lines = [line for start, end in pairwise(edges) for line in reader.feed(content[start:end])]

    assert lines + reader.finish() == expected


def test_a_long_line_is_cut_the_same_however_it_arrives():
    reader = LineReader(line_limit=10)

    lines = [line for _ in range(100) for line in reader.feed(b"x" * 100)] + reader.feed(b"\n")

    assert lines == ["x" * 10 + "... (9990 more characters)"]
