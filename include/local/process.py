"""Processes that outlive the command that started them, and are found again by the next one.

What was started is written to ``<root>/run/<name>.json``. A process is ours when its pid *and* its start
time match, or when its environment carries the mark made for that one start. A pid that the system gave
to somebody else in the meantime matches neither.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pwd
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from include.errors import CommandFailed
from include.local.files import write_atomically

logger = logging.getLogger(__name__)

MARK = "ASSETFLOW_LOCAL_PROCESS"
"""Environment variable by which children are found that left their parent's process group."""

START_TIME_TOLERANCE_S = 1.0
"""The system counts start times from its boot, in hundredths; clock corrections move them a little."""

POLL_INTERVAL_S = 0.05
KILL_TIME_LIMIT_S = 10
LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One start of one process, as it is kept on disk."""

    name: str
    mark: str
    pid: int | None = None
    """None until the process exists: whoever is killed in between leaves the mark to find it by."""

    started_at: float = 0.0
    """Seconds since the epoch, as the system reports it for the pid."""

    stop_signal: int = signal.SIGTERM
    grace_s: float = 10.0

    is_being_stopped: bool = False
    """Somebody ends it on purpose; whoever sees it end must not start it again."""

    def leader(self) -> psutil.Process | None:
        """The process itself; None when it ended or its pid is somebody else's now."""
        if self.pid is None:
            return next(iter(_marked(self.mark)), None)
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < START_TIME_TOLERANCE_S
        except psutil.NoSuchProcess:
            return None
        return process if same and _is_alive(process) else None

    def members(self) -> set[psutil.Process]:
        """The process, what it started, and what those left behind."""
        found = set(_marked(self.mark))
        leader = self.leader()
        if leader is not None:
            found.add(leader)
            with contextlib.suppress(psutil.NoSuchProcess):  # ended just now
                found.update(leader.children(recursive=True))
        return {process for process in found if _is_alive(process)}


class ManagedProcess:
    """A command with its own process group, log file and record."""

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_s: float = 10.0,
    ) -> None:
        self.name = name
        self.log_file = root / "logs" / f"{name}.log"
        self.record_file = root / "run" / f"{name}.json"
        self._stop_signal = stop_signal
        self._grace_s = grace_s
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def record(self) -> ProcessRecord | None:
        """What was started last and not stopped since, by this or by another program."""
        return _read(self.record_file)

    @property
    def is_wanted(self) -> bool:
        """Whether it was started and nobody has stopped it since, running or not."""
        record = self.record
        return record is not None and not record.is_being_stopped

    @property
    def is_running(self) -> bool:
        """Whether the process that was started last is still there."""
        if self._child is not None:
            self._child.poll()  # lets the system forget a child that ended
        record = self.record
        return record is not None and record.leader() is not None

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        folder: Path | None = None,
        user: str | None = None,
    ) -> None:
        """Start the command, unless what was started last still runs.

        Args:
            command: program and arguments.
            environment: the whole environment of the process.
            folder: where it runs; the caller's own when None.
            user: system user to run as, for programs that refuse to run as root.

        Raises:
            CommandFailed: the program cannot be started.
        """
        if self.is_running:
            return
        self.stop()  # children that an earlier start left behind
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        record = ProcessRecord(
            self.name,
            mark=secrets.token_hex(16),
            stop_signal=self._stop_signal,
            grace_s=self._grace_s,
        )
        self._write(record)
        try:
            with self.log_file.open("ab") as log:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**environment, MARK: record.mark},
                    cwd=folder,
                    start_new_session=True,  # Ctrl-C in a terminal reaches us alone; we stop the rest
                    user=user,
                    group=pwd.getpwnam(user).pw_gid if user else None,
                    extra_groups=[] if user else None,
                )
        except OSError as error:
            self.record_file.unlink()
            raise CommandFailed(f"{self.name}: cannot start {command[0]}: {error}") from error
        self._child = child
        with contextlib.suppress(psutil.NoSuchProcess):  # ended at once; waiting for it will tell
            started_at = psutil.Process(child.pid).create_time()
            self._write(replace(record, pid=child.pid, started_at=started_at))

    def wait_until(self, is_ready: Callable[[], bool], time_limit_s: float) -> None:
        """Return once the process serves.

        Raises:
            CommandFailed: it ended first, or is not ready in time; with the last lines of its log.
        """
        deadline = time.monotonic() + time_limit_s
        while not is_ready():
            self.check_running()
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"{self.name} was not ready after {time_limit_s:g} s{self.last_words()}"
                )
            time.sleep(POLL_INTERVAL_S)

    def check_running(self) -> None:
        """Pass while the process is there.

        Raises:
            CommandFailed: it ended; with the last lines of its log.
        """
        if not self.is_running:
            code = None if self._child is None else self._child.returncode
            how = "" if code is None else f" with exit code {code}"
            raise CommandFailed(f"{self.name} ended{how}{self.last_words()}")

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], time_limit_s: float
    ) -> None:
        """Run a command that ends by itself; one that an earlier caller left running is ended first.

        Raises:
            CommandFailed: it ended with another exit code than 0, or not in time.
        """
        self.stop()
        self.start(command, environment)
        child = self._child
        if child is None:
            raise CommandFailed(f"{self.name} was started by another command in this moment")
        try:
            code = child.wait(time_limit_s)
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(
                f"{self.name} had not ended after {time_limit_s:g} s{self.last_words()}"
            ) from error
        finally:
            self.stop()
        if code != 0:
            raise CommandFailed(f"{self.name} ended with exit code {code}{self.last_words()}")

    def stop(self) -> None:
        """End the process and everything it started; nothing happens when there is none.

        Raises:
            CommandFailed: something of it survives even SIGKILL.
        """
        stop_recorded(self.record_file)
        if self._child is not None:
            self._child.poll()
            self._child = None

    def pss_mib(self) -> float:
        """Memory of the process and its children in MiB, shared pages counted once in all."""
        record = self.record
        return sum(map(_pss_bytes, record.members())) / 2**20 if record else 0.0

    def last_words(self) -> str:
        """The end of the log as an indented block, with the file's name; starts with a separator."""
        if not self.log_file.exists():
            return f"; it has no log at {self.log_file}"
        lines = self.log_file.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return f"; the end of {self.log_file}:\n" + "\n".join(f"  | {line}" for line in lines)

    def _write(self, record: ProcessRecord) -> None:
        write_atomically(self.record_file, json.dumps(asdict(record)))


def stop_recorded(record_file: Path) -> None:
    """End what one record file tells of, then remove the file.

    Raises:
        CommandFailed: something of it survives even SIGKILL.
    """
    record = _read(record_file)
    if record is None:
        return
    write_atomically(record_file, json.dumps(asdict(replace(record, is_being_stopped=True))))
    members = record.members()
    leader = record.leader()
    if leader is not None:
        with contextlib.suppress(ProcessLookupError):  # ended just now
            os.killpg(leader.pid, record.stop_signal)
    else:
        _signal(members, signal.SIGTERM)
    survivors = _wait(members, record.grace_s if leader else KILL_TIME_LIMIT_S)
    survivors |= record.members()
    _signal(survivors, signal.SIGKILL)
    survivors = _wait(survivors, KILL_TIME_LIMIT_S)
    if survivors:
        pids = ", ".join(str(process.pid) for process in survivors)
        raise CommandFailed(f"{record.name}: process {pids} does not end, not even by SIGKILL")
    record_file.unlink(missing_ok=True)


def stop_all_recorded(root: Path) -> None:
    """End everything that was started under this root and not stopped since."""
    for record_file in sorted((root / "run").glob("*.json")):
        stop_recorded(record_file)


def _read(record_file: Path) -> ProcessRecord | None:
    try:
        return ProcessRecord(**json.loads(record_file.read_text()))
    except FileNotFoundError:
        return None


def _marked(mark: str) -> Iterable[psutil.Process]:
    for process in psutil.process_iter():
        # A process of another user, or one that ended just now, is none of ours.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            if process.environ().get(MARK) == mark and _is_alive(process):
                yield process


def _is_alive(process: psutil.Process) -> bool:
    try:
        # A zombie has ended; only its parent, which may be gone, has not asked for the exit code.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(
            psutil.NoSuchProcess
        ):  # psutil compares start times before it sends
            process.send_signal(number)


def _wait(processes: set[psutil.Process], time_limit_s: float) -> set[psutil.Process]:
    """Those that are still there after the time limit."""
    deadline = time.monotonic() + time_limit_s
    left = {process for process in processes if _is_alive(process)}
    while left and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S / 2)
        left = {process for process in left if _is_alive(process)}
    return left


def _pss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
