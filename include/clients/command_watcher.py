"""The small process that stands between a caller and the command it runs on this machine.

:class:`include.clients.local_runner.LocalRunner` starts it; it starts the command, writes the log,
keeps the time limit, measures, and writes down how it ended. It is a process of its own because a
caller that is killed with SIGKILL can clean up nothing.

It notices the caller's death by its own parent's id changing. Of the ways there are this is the one
without a trap, and it works on Linux and macOS alike: ``PR_SET_PDEATHSIG`` fires when the *thread*
that started the child ends, and a pipe held open by the caller stays open in every process the
caller has forked meanwhile.

On Linux it is the "subreaper" of everything the command starts: a process that leaves the command's
group (a daemon) is still its descendant, so it is measured, ended and waited for as well. Elsewhere
what is ended is the command's process group.

Standard library and psutil only: it starts in a few hundredths of a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

import psutil

TICK_S: Final = 0.1
"""How often the caller, the clock and the request to cancel are looked at."""

GRACE_S: Final = 10.0
"""Between SIGTERM and SIGKILL."""

LOG_LIMIT_BYTES: Final = 256 * 2**20
"""Size a log may have; of what is written beyond it only the end is kept."""

TAIL_BYTES: Final = 64 * 2**10
OUTCOME_BYTES: Final = 4 * TAIL_BYTES
"""Room kept for the outcome on the disk, so that it can be written when the disk is full."""

PR_SET_CHILD_SUBREAPER: Final = 36
IS_LINUX: Final = sys.platform == "linux"


class Log:
    """The output of the command: on disk up to a limit, its end always in memory."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._file = path.open("wb", buffering=0)
        self._room = limit_bytes
        self._left_out = 0
        self.tail = b""
        self.problem = ""

    def write(self, chunk: bytes) -> None:
        """Keep *chunk*; a log that cannot be written does not stop the command."""
        self.tail = (self.tail + chunk)[-TAIL_BYTES:]
        fits = b"" if self.problem else chunk[: self._room]
        written = self._append(fits) if fits else 0
        self._room -= written
        self._left_out += len(chunk) - written

    def close(self) -> None:
        """Note what was left out, followed by the end of the output."""
        if self._left_out:
            note = f"\n... ({self._left_out} bytes left out) ...\n".encode()
            self._append(note + self.tail[-self._left_out :])
        self._file.close()

    def _append(self, chunk: bytes) -> int:
        try:
            return self._file.write(chunk) or 0
        except OSError as error:
            self.problem = self.problem or f"the log could not be written: {error.strerror}"
            return 0


class Watcher:
    """Runs one command to its end."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._folder = Path(order["folder"])
        self._log = Log(self._folder / "output.log", order.get("log_limit_bytes", LOG_LIMIT_BYTES))
        self._outcome_file = self._reserve_outcome()
        self._ending = ""
        self._kill_at: float | None = None
        self._wait_status: int | None = None
        self._peak_bytes = 0
        self._started_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._sample_at = 0.0

    def run(self) -> None:
        """Start the command, follow it, and leave ``outcome.json``."""
        problem = ""
        try:
            self._start()
        except OSError as error:
            problem = f"it could not be started: {error}"
        else:
            self._follow()
        self._log.close()
        self._write_outcome("; ".join(filter(None, [problem, self._log.problem])))

    def stop(self, reason: str) -> None:
        """End the command: SIGTERM now, SIGKILL after :data:`GRACE_S`."""
        if self._kill_at is None:
            self._ending = reason
            self._kill_at = time.monotonic() + GRACE_S
            self._signal_all(signal.SIGTERM)

    def _start(self) -> None:
        order = self._order
        self._command = subprocess.Popen(  # noqa: S603  running a given script is its purpose
            ["bash", order["script_path"]],  # noqa: S607  found on the command's own PATH
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=order["working_folder"],
            env=order["environment"],
            start_new_session=True,
            # The lock goes with the command: should this watcher be killed, nobody starts a second
            # copy while the first still runs.
            pass_fds=(order["lock_fd"],),
        )
        assert self._command.stdout  # noqa: S101  it is a pipe
        self._output = self._command.stdout.fileno()
        os.set_blocking(self._output, False)

    def _follow(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while self._is_running():
                if selector.get_map():
                    if selector.select(TICK_S) and self._read() == b"":
                        selector.unregister(self._output)
                else:
                    time.sleep(TICK_S)
                self._look()
            while self._read():
                pass

    def _read(self) -> bytes | None:
        """Read once; None when there is nothing now, ``b""`` when nothing will come any more."""
        try:
            chunk = os.read(self._output, 2**18)
        except BlockingIOError:
            return None
        self._log.write(chunk)
        return chunk

    def _is_running(self) -> bool:
        self._reap()
        if self._wait_status is None:
            return True
        return any(self._descendants()) if IS_LINUX else self._group_lives()

    def _look(self) -> None:
        now = time.monotonic()
        if now >= self._sample_at:
            self._sample()
            # Often at first, for short commands; a long one is looked at every two seconds.
            self._sample_at = now + min(2.0, 0.1 + (now - self._began) / 20)
        limit = self._order["time_limit_s"]
        if os.getppid() != self._order["caller_pid"]:
            self.stop("caller gone")
        elif (self._folder / "cancel").exists():
            self.stop("cancelled")
        elif limit is not None and now - self._began > limit and self._wait_status is None:
            self.stop("time limit")
        elif self._wait_status is not None and self._kill_at is None:
            # The script is over; what it left in the background goes with it.
            self._kill_at = now + GRACE_S
            self._signal_all(signal.SIGTERM)
        if self._kill_at is not None and now >= self._kill_at:
            self._signal_all(signal.SIGKILL)

    def _reap(self) -> None:
        """Collect every child that has ended: the command, and orphans of its descendants."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._command.pid:
                self._wait_status = status
                self._command.returncode = os.waitstatus_to_exitcode(status)

    def _descendants(self) -> Iterator[psutil.Process]:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def _group_lives(self) -> bool:
        try:
            os.killpg(self._command.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def _signal_all(self, number: signal.Signals) -> None:
        if self._wait_status is None or not IS_LINUX:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._command.pid, number)
        for process in self._descendants():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.send_signal(number)

    def _sample(self) -> None:
        """Memory of all processes together; pages they share are counted once for each."""
        total = 0
        for process in self._descendants():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_info().rss
        self._peak_bytes = max(self._peak_bytes, total)

    def _reserve_outcome(self) -> int:
        descriptor = os.open(self._folder / "outcome.part", os.O_CREAT | os.O_RDWR, 0o644)
        os.write(descriptor, b" " * OUTCOME_BYTES)
        return descriptor

    def _write_outcome(self, detail: str) -> None:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        largest = usage.ru_maxrss * (1024 if IS_LINUX else 1)
        code = None if self._wait_status is None else os.waitstatus_to_exitcode(self._wait_status)
        died = code is not None and code < 0
        lines = self._log.tail.decode("utf-8", "backslashreplace").splitlines()[-200:]
        outcome = {
            "name": self._order["name"],
            "ending": self._ending or ("signal" if died else "exited"),
            "exit_code": None if died else 127 if code is None else code,
            "signal": -code if code is not None and died else None,
            "started_at": self._started_at.isoformat(),
            "ended_at": datetime.now(UTC).isoformat(),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_memory_mib": round(max(largest, self._peak_bytes) / 2**20, 1),
            "log_path": str(self._folder / "output.log"),
            "last_lines": [line[:2_000] for line in lines],
            "detail": detail,
        }
        content = json.dumps(outcome).encode()
        os.pwrite(self._outcome_file, content, 0)
        os.ftruncate(self._outcome_file, len(content))
        os.close(self._outcome_file)
        (self._folder / "outcome.part").replace(self._folder / "outcome.json")


def _become_subreaper() -> None:
    if IS_LINUX:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main() -> None:
    """Run the command that standard input describes."""
    # Half an order (its writer died) is no JSON, and nothing is started.
    watcher = Watcher(json.loads(sys.stdin.buffer.read()))

    def cancel(_number: int, _frame: FrameType | None) -> None:
        watcher.stop("cancelled")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, cancel)
    _become_subreaper()
    watcher.run()


if __name__ == "__main__":
    main()
