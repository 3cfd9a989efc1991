"""Asks which status records of schema generation 1 deserve.

The schema of generation 1 lives in a job environment of its own (``metadata-status-v1``) and takes
seconds to import, so its program is started once and asked for many assets over its pipes. One
asset is sent at a time, and its answer waited for: writing and reading are looked at together, so
neither side ever waits for the other with full pipes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

from include.errors import CommandFailed, MalformedAnswer, ServiceUnavailable

logger = logging.getLogger(__name__)

MODULE: Final = "include.transformations.metadata_status_v1"
STATUSES: Final = ("Valid", "Invalid", "Missing")

RECORD: Final = "metadata"
"""Where problems are that concern no single field."""

READ_BYTES: Final = 2**16
WORDS_BYTES: Final = 4_000
"""Kept of what the program said on standard error."""

GRACE_S: Final = 5.0
"""Between the end of its input and SIGKILL."""


@dataclass(frozen=True, slots=True)
class AssetToCheck:
    """One asset's core files."""

    name: str
    location: str

    core: Mapping[str, Any]
    """Core field → content, as parsed; a field that is None counts as absent."""


@dataclass(frozen=True, slots=True)
class CheckedStatus:
    """What generation 1 of the schema says about one asset."""

    status: str
    """``Valid``, ``Invalid`` or ``Missing``."""

    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Core field → what is wrong with it; what is between fields is under :data:`RECORD`."""


class StatusCheckerV1:
    """Keeps one program running from the first asset on; may be shared between threads.

    Args:
        python: interpreter of the environment ``metadata-status-v1``.
        project_root: folder that holds ``include``.
        time_limit_s: for one asset.
        start_limit_s: what the first asset of a program may take besides, for its imports.
    """

    def __init__(
        self,
        python: Path,
        project_root: Path,
        *,
        time_limit_s: float = 60,
        start_limit_s: float = 120,
    ) -> None:
        self._python = python
        self._project_root = project_root
        self._time_limit_s = time_limit_s
        self._start_limit_s = start_limit_s
        self._lock = Lock()
        self._program: _Program | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def check(self, assets: Sequence[AssetToCheck]) -> list[CheckedStatus]:
        """The status of each of *assets*, in their order.

        Raises:
            ServiceUnavailable: the program was killed or did not answer in time; what it said last.
            CommandFailed: it cannot be started or gave up; what it said last.
            MalformedAnswer: it answered something else.

        After an error the next call starts the program again.
        """
        with self._lock:
            return [self._check_one(asset) for asset in assets]

    def close(self) -> None:
        """End the program, once a call that is under way has its answers."""
        with self._lock:
            if self._program is not None:
                self._program.end()
                self._program = None

    def _check_one(self, asset: AssetToCheck) -> CheckedStatus:
        order = {"name": asset.name, "location": asset.location, "core": dict(asset.core)}
        try:
            line = json.dumps(order, default=str).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            return CheckedStatus("Invalid", {RECORD: (f"cannot be written as JSON: {error}",)})
        limit_s = self._time_limit_s
        if self._program is None:
            self._program = _Program(self._python, self._project_root)
            limit_s += self._start_limit_s
        try:
            return _read_answer(self._program.ask(line, limit_s, asset.name))
        except BaseException:
            # Its answer may still come, and would be taken for the next asset's.
            self._program.kill()
            self._program = None
            raise


class _Program:
    """The running program and its three pipes."""

    def __init__(self, python: Path, project_root: Path) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own module
                [python, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                # Contents of strangers meet a library's rules there: no secret of ours is near.
                env={
                    "PATH": os.defpath,
                    "PYTHONPATH": str(project_root),
                    "PYTHONSAFEPATH": "1",
                },
                start_new_session=True,  # signals to the caller's group are not for it
            )
        except OSError as error:
            raise CommandFailed(
                f"The check of metadata v1 cannot be started: {error.strerror}: {python}; "
                "run `assetflow environments build metadata-status-v1`"
            ) from error
        logger.info("The check of metadata v1 runs as process %d", self._process.pid)
        process = self._process
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018  pipes
        self._stdin = process.stdin
        self._answers, self._errors = process.stdout.fileno(), process.stderr.fileno()
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._errors, False)
        self._words = b""

    def ask(self, line: bytes, limit_s: float, name: str) -> bytes:
        """Send *line* and wait for the line that answers it."""
        unsent, answer = memoryview(line), b""
        ends_at = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdin, selectors.EVENT_WRITE)
            selector.register(self._answers, selectors.EVENT_READ)
            selector.register(self._errors, selectors.EVENT_READ)
            while unsent or not answer.endswith(b"\n"):
                if (left_s := ends_at - time.monotonic()) <= 0:
                    how = f"did not answer in {limit_s:g} s"
                    raise ServiceUnavailable(self._report(name, how))
                for key, _ in selector.select(left_s):
                    if key.fileobj is self._stdin:
                        unsent = unsent[self._send(unsent) :]
                        if not unsent:
                            selector.unregister(self._stdin)
                    elif key.fd == self._answers:
                        chunk = os.read(self._answers, READ_BYTES)
                        if not chunk:
                            raise self._gone(name)
                        answer += chunk
                    elif not self._read_words():
                        selector.unregister(self._errors)
        return answer

    def end(self) -> None:
        """Let it end by itself, or else kill it."""
        self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        self.kill()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        with self._process:  # closes the pipes and waits
            pass

    def _send(self, unsent: memoryview) -> int:
        try:
            return os.write(self._stdin.fileno(), unsent)
        except BrokenPipeError:
            return len(unsent)  # it is gone, which the end of its answers will tell

    def _read_words(self) -> bool:
        """Keep the end of what it said; False when it will say nothing any more."""
        try:
            chunk = os.read(self._errors, READ_BYTES)
        except BlockingIOError:
            return False
        self._words = (self._words + chunk)[-WORDS_BYTES:]
        return bool(chunk)

    def _gone(self, name: str) -> CommandFailed | ServiceUnavailable:
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return CommandFailed(self._report(name, "closed its output"))
        if code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
            return ServiceUnavailable(self._report(name, how))
        return CommandFailed(self._report(name, f"ended with exit code {code}"))

    def _report(self, name: str, how: str) -> str:
        while self._read_words():
            pass
        words = self._words.decode(errors="replace").strip() or "(it printed nothing)"
        return f"The check of metadata v1 {how} at {name}. It said last:\n{words}"


def _read_answer(text: bytes) -> CheckedStatus:
    try:
        answer = json.loads(text)
        status, problems = answer["status"], answer["problems"]
        checked = CheckedStatus(status, {key: tuple(of) for key, of in problems.items()})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise MalformedAnswer(f"The check of metadata v1 answered {text[:200]!r}") from error
    if status not in STATUSES:
        raise MalformedAnswer(f"The check of metadata v1 answered with the status {status!r}")
    return checked
