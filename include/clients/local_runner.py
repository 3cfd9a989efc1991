"""Commands on this machine, each with a watcher process of its own.

What belongs to a command is in ``{working folder}/commands/{name}/``, which is also its handle::

    script.sh      what is run
    output.log     what it printed; output.previous.log of the run before
    outcome.json   how it ended; there only when it has ended
    lock           held by the watcher and the command for as long as one of them lives

Killed callers, time limits and measuring: see :mod:`include.clients.command_watcher`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from include.acquisitions.runner import Command, CommandState, Ending, Outcome
from include.clients import command_watcher
from include.errors import CommandFailed, NotFound

logger = logging.getLogger(__name__)

READ_BYTES: Final = 2**20
LOCK_TRIES: Final = 10
"""A look at the lock by someone else lasts microseconds; ten tries in a second outlast them all."""


class LocalRunner:
    """Runs commands here, with nothing of this process's environment.

    Args:
        environment: what every command gets, under its own environment; by default
            :func:`base_environment`.
        log_limit_bytes: size a command's log may have.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        log_limit_bytes: int = command_watcher.LOG_LIMIT_BYTES,
    ) -> None:
        self._environment = dict(base_environment() if environment is None else environment)
        self._log_limit_bytes = log_limit_bytes
        self._watchers: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, command: Command) -> str:
        """Start *command*, or find the one of this name that runs in this working folder.

        Raises:
            CommandFailed: the working folder cannot be written.
        """
        folder = command.working_folder.absolute() / "commands" / command.name
        handle = str(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock_fd = _take_lock(folder)
            if lock_fd is None:
                logger.info("Command %s runs already: %s", command.name, folder)
                return handle
            try:
                self._prepare(folder, command)
                self._watchers[handle] = self._start_watcher(folder, command, lock_fd)
            finally:
                os.close(lock_fd)
        except OSError as error:
            raise CommandFailed(
                f"Command {command.name} cannot start: {error.strerror or error}: "
                f"{error.filename or folder}; make the folder writable, with space left"
            ) from error
        return handle

    def poll(self, handle: str) -> Outcome | CommandState:
        """Look once.

        Raises:
            NotFound: no command was ever submitted under this handle.
        """
        folder = Path(handle)
        if (outcome := _read_outcome(folder)) is not None:
            if watcher := self._watchers.pop(handle, None):
                _last_words(watcher)  # writing the outcome was its last act
            return outcome
        if _is_locked(folder):
            return CommandState.RUNNING
        # It may have ended between the two looks above.
        if (outcome := _read_outcome(folder)) is not None:
            return outcome
        return _lost(folder, self._watchers.pop(handle, None))

    def cancel(self, handle: str) -> None:
        """Ask for the command's end: SIGTERM, and SIGKILL for what is left after ten seconds."""
        with contextlib.suppress(FileNotFoundError):
            (Path(handle) / "cancel").touch()

    def read_output(self, handle: str, offset: int) -> bytes:
        """Up to 1 MiB of output from byte *offset* on."""
        try:
            with (Path(handle) / "output.log").open("rb") as log:
                log.seek(offset)
                return log.read(READ_BYTES)
        except FileNotFoundError:
            return b""

    def _prepare(self, folder: Path, command: Command) -> None:
        for name in ("outcome.json", "outcome.part", "cancel"):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (folder / "output.log").replace(folder / "output.previous.log")
        script = folder / "script.sh"
        script.write_text(command.script, encoding="utf-8")
        script.chmod(0o600)

    def _start_watcher(
        self, folder: Path, command: Command, lock_fd: int
    ) -> subprocess.Popen[bytes]:
        order = {
            "name": command.name,
            "folder": str(folder),
            "script_path": str(folder / "script.sh"),
            "working_folder": str(command.working_folder.absolute()),
            "environment": {**self._environment, **command.environment},
            "time_limit_s": command.time_limit_s,
            "log_limit_bytes": self._log_limit_bytes,
            "caller_pid": os.getpid(),
            "lock_fd": lock_fd,
        }
        watcher = subprocess.Popen(  # noqa: S603  this interpreter and our own file
            [sys.executable, "-I", command_watcher.__file__],
            # The order goes through a pipe: an argument or a file would show its environment.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
            # Signals to the caller's group (Ctrl-C, a worker being stopped) are not for it.
            start_new_session=True,
            pass_fds=(lock_fd,),
        )
        assert watcher.stdin  # noqa: S101  it is a pipe
        with contextlib.suppress(BrokenPipeError), watcher.stdin as order_pipe:
            order_pipe.write(json.dumps(order).encode())
        return watcher


def base_environment() -> dict[str, str]:
    """The least a script needs, made up here and not inherited.

    ``python3`` on its PATH is the interpreter this one was made from: plain, none of its packages.
    """
    try:
        account = pwd.getpwuid(os.getuid())
        home, user = account.pw_dir, account.pw_name
    except KeyError:  # a container may run under a number that has no account
        home, user = "/tmp", str(os.getuid())  # noqa: S108  any writable folder
    return {
        "PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "LANG": "C.UTF-8",
        # Python holds back what it prints into a pipe; a log should be live.
        "PYTHONUNBUFFERED": "1",
    }


def _take_lock(folder: Path) -> int | None:
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return descriptor
    os.close(descriptor)
    return None


def _is_locked(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError as error:
        raise NotFound(f"No command was submitted as {folder}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _read_outcome(folder: Path) -> Outcome | None:
    try:
        return Outcome.model_validate_json((folder / "outcome.json").read_bytes())
    except FileNotFoundError:
        return None


def _last_words(watcher: subprocess.Popen[bytes]) -> str:
    """Wait for the end of a watcher that is ending; what it complained about, or ``""``."""
    assert watcher.stderr  # noqa: S101  it is a pipe
    with watcher:
        return watcher.stderr.read().decode(errors="replace").strip()


def _lost(folder: Path, watcher: subprocess.Popen[bytes] | None) -> Outcome:
    detail = ""
    if watcher is not None:
        complaint = _last_words(watcher).splitlines()[-1:]
        detail = " ".join(["its watcher ended with", str(watcher.returncode), *complaint])
    return Outcome(
        name=folder.name, ending=Ending.LOST, log_path=folder / "output.log", detail=detail
    )
