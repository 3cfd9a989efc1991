"""Where commands run: here, on a cluster, in a container; the same four verbs for all of them.

A command is submitted under a deterministic name, so that a task that is run again finds what it
started before instead of starting a second one. An engine (this machine, Slurm, AWS Batch, Docker)
is one class with the methods of :class:`CommandRunner`; waiting for it is the caller's business: a
trigger polls a cluster, :func:`run_to_end` follows a command that runs here.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from include.errors import CommandFailed, CommandInterrupted, InvalidInput, Problem

TRACEBACK = "Traceback (most recent call last):"

TRY_AGAIN = 75
"""``EX_TEMPFAIL``: the exit code of a command that may succeed when it is run again."""

SHOWN_LINES = 200
"""How many of a failed command's last lines an error shows at most."""

LINE_LIMIT = 4_000
"""Characters of one output line that are passed on; the log file has the whole line."""

LINES_PER_LOOK = 500
"""Lines passed on between two looks at a command; a chattering command floods no task log."""


@dataclass(frozen=True, slots=True)
class Command:
    """One script to run to its end."""

    name: str
    """Deterministic and unique among what runs at the same time; letters, digits, ``._-``."""

    script: str
    """Bash."""

    environment: Mapping[str, str]
    """Every variable the script needs; nothing of the caller's environment is handed down."""

    working_folder: Path
    """Where the script starts, and where its log is kept."""

    time_limit_s: float | None = None
    """Seconds until the command is ended; None for no limit."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    """What to ask of a cluster (memory, CPUs, partition), in the engine's own words."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", self.name):
            reason = (
                "expected 1 to 200 letters, digits, '.', '_' or '-', the first a letter or digit"
            )
            raise InvalidInput([Problem(f"command {self.name!r}", "name", reason)])


class CommandState(StrEnum):
    """Where a command is that has not ended."""

    WAITING = "waiting"
    RUNNING = "running"


class Ending(StrEnum):
    """Why a command is not running any more."""

    EXITED = "exited"
    SIGNAL = "signal"
    TIME_LIMIT = "time limit"
    CANCELLED = "cancelled"
    CALLER_GONE = "caller gone"
    """The process that waited for it died, and the command was ended with it."""

    LOST = "lost"
    """It is not running and nothing was recorded about its end."""


class Outcome(BaseModel):
    """How a command ended; small enough to be a trigger's event."""

    model_config = ConfigDict(frozen=True)

    name: str
    ending: Ending
    exit_code: int | None = None
    signal: int | None = None
    """Number of the signal that ended the script, or None."""

    started_at: datetime | None = None
    ended_at: datetime | None = None
    cpu_s: float | None = None
    """CPU seconds, user and system, of all its processes."""

    peak_memory_mib: float | None = None
    """Largest memory of all its processes together that was seen, MiB."""

    log_path: Path | None = None
    last_lines: tuple[str, ...] = ()
    """The end of its output, oldest first."""

    detail: str = ""
    """What the engine says beside this, such as a node's failure or a cut log."""

    @property
    def succeeded(self) -> bool:
        """Whether the script ran to its end and exited with 0."""
        return self.ending is Ending.EXITED and self.exit_code == 0


class CommandRunner(Protocol):
    """An engine that runs commands."""

    def submit(self, command: Command) -> str:
        """Start *command* and return its handle; one of this name that still runs is found instead.

        The handle is text, so that it can be stored before waiting. A command of this name that has
        ended is started anew.
        """

    def poll(self, handle: str) -> Outcome | CommandState:
        """Look once."""

    def cancel(self, handle: str) -> None:
        """Ask for the end of a command; it has ended when :meth:`poll` says so."""


class FollowedRunner(CommandRunner, Protocol):
    """An engine whose commands' output can be read while they run."""

    def read_output(self, handle: str, offset: int) -> bytes:
        """Output from byte *offset* on, as much as one look may carry; ``b""`` when none is new."""


def run_to_end(
    runner: FollowedRunner,
    command: Command,
    on_line: Callable[[str], None],
    *,
    look_interval_s: float = 0.2,
    cancel_patience_s: float = 30,
    pause: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Run *command* and hand on its output line by line until it has ended.

    Interrupted by any exception (a stopped task, a time-out), it cancels the command and waits for
    its end before the exception goes on.

    Args:
        on_line: gets each line of output. When there are more than can be passed on, the older ones
            are left out and counted; the log file has them all.
        cancel_patience_s: how long a cancelled command is waited for.
    """
    while True:
        handle = runner.submit(command)
        try:
            outcome = _follow(runner, handle, on_line, look_interval_s, pause)
        except BaseException:
            runner.cancel(handle)
            _wait_for_end(runner, handle, look_interval_s, cancel_patience_s, pause)
            raise
        # This caller lives: what ended was an earlier caller's, found in its last moments.
        if outcome.ending is not Ending.CALLER_GONE:
            return outcome


def raise_for_outcome(outcome: Outcome) -> None:
    """Do nothing for a success.

    Raises:
        CommandFailed: says how it ended, where its log is, and what it said last.
        CommandInterrupted: the same, for a command that exits with :data:`TRY_AGAIN` or died with
            the process that waited for it.
    """
    if outcome.succeeded:
        return
    match outcome.ending:
        case Ending.EXITED:
            how = f"ended with exit code {outcome.exit_code}"
        case Ending.SIGNAL:
            how = f"was ended by {_signal_name(outcome.signal)}"
        case Ending.TIME_LIMIT:
            how = "was ended at its time limit"
        case Ending.CANCELLED:
            how = "was cancelled"
        case Ending.CALLER_GONE:
            how = "was ended because the process that waited for it died"
        case Ending.LOST:
            how = "is not running any more and left no word of how it ended"
    detail = f" ({outcome.detail})" if outcome.detail else ""
    log = f"; its log is {outcome.log_path}" if outcome.log_path else ""
    said = "\n".join(last_words(outcome.last_lines)) or "(it printed nothing)"
    may_succeed = outcome.exit_code == TRY_AGAIN or outcome.ending is Ending.CALLER_GONE
    kind = CommandInterrupted if may_succeed else CommandFailed
    raise kind(f"Command {outcome.name} {how}{detail}{log}. It said last:\n{said}")


def last_words(lines: tuple[str, ...]) -> list[str]:
    """The last :data:`SHOWN_LINES` lines, from the last traceback on when there is one.

    Without a traceback, ``...`` stands where earlier lines were left out.
    """
    shown = list(lines[-SHOWN_LINES:])
    starts = [index for index, line in enumerate(shown) if line.startswith(TRACEBACK)]
    if starts:
        return shown[starts[-1] :]
    return ["...", *shown] if len(lines) >= SHOWN_LINES else shown


class LineReader:
    """Cuts a stream of arbitrary bytes into readable lines, with bounded memory.

    A carriage return ends a line as well: progress bars use it. Bytes that are not UTF-8 and control
    characters are shown as ``\\x..``; overlong lines are cut.
    """

    def __init__(self, line_limit: int = LINE_LIMIT) -> None:
        self._line_limit = line_limit
        self._rest = b""
        self._cut_bytes = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Complete lines, now that *chunk* has arrived; blank ones are dropped."""
        return self.feed_last(chunk, len(chunk) + 1)[0]

    def feed_last(self, chunk: bytes, most: int) -> tuple[list[str], int]:
        """The same, but only the last *most* lines are made readable; and how many were left out."""
        content = self._rest + chunk
        # A carriage return at the very end may be the first half of a Windows line end.
        held = content[-1:] if content.endswith(b"\r") else b""
        unified = content[: len(content) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *complete, rest = unified.split(b"\n")
        left_out = max(0, len(complete) - most)
        if left_out:
            self._cut_bytes = 0
        lines = [line for raw in complete[left_out:] for line in self._line(raw)]
        # Kept in full up to the limit; beyond it only the count grows.
        kept_bytes = 4 * self._line_limit
        self._cut_bytes += max(0, len(rest) - kept_bytes)
        self._rest = rest[:kept_bytes] + held
        return lines, left_out

    def finish(self) -> list[str]:
        """The last line, which has no line end."""
        rest, self._rest = self._rest, b""
        return self._line(rest)

    def _line(self, raw: bytes) -> list[str]:
        text = raw.rstrip(b"\r").decode("utf-8", "backslashreplace")
        cut, self._cut_bytes = self._cut_bytes, 0
        if len(text) > self._line_limit or cut:
            left_out = max(0, len(text) - self._line_limit) + cut
            text = f"{text[: self._line_limit]}... ({left_out} more characters)"
        text = re.sub(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]", lambda c: f"\\x{ord(c[0]):02x}", text)
        return [text] if text.strip() else []


def _follow(
    runner: FollowedRunner,
    handle: str,
    on_line: Callable[[str], None],
    look_interval_s: float,
    pause: Callable[[float], None],
) -> Outcome:
    reader = LineReader()
    offset = 0
    while True:
        found = runner.poll(handle)  # before reading: what it wrote until its end is then all there
        lines: list[str] = []
        left_out = 0
        while chunk := runner.read_output(handle, offset):
            offset += len(chunk)
            new, unread = reader.feed_last(chunk, LINES_PER_LOOK)
            lines += new
            surplus = max(0, len(lines) - LINES_PER_LOOK)
            del lines[:surplus]
            left_out += unread + surplus
            if not isinstance(found, Outcome) and left_out:
                break  # a command that writes faster than it can be read must not hold this look
        if isinstance(found, Outcome):
            lines += reader.finish()
        if left_out:
            on_line(f"... ({left_out} lines left out here; the log file has them)")
        for line in lines:
            on_line(line)
        if isinstance(found, Outcome):
            return found
        pause(look_interval_s)


def _wait_for_end(
    runner: FollowedRunner,
    handle: str,
    look_interval_s: float,
    patience_s: float,
    pause: Callable[[float], None],
) -> None:
    for _ in range(max(1, round(patience_s / look_interval_s))):
        if isinstance(runner.poll(handle), Outcome):
            return
        pause(look_interval_s)


def _signal_name(number: int | None) -> str:
    if number is None:
        return "a signal"
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name
