"""Waiting for what is to happen, and processes that end before their time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Literal, TypeVar

import psutil

PATIENCE_S = 120
"""For anything that is to happen; a busy machine is slow."""

Found = TypeVar("Found")


def eventually(
    look: Callable[[], Found | Literal[False] | None], what: str, *, within_s: float = PATIENCE_S
) -> Found:
    """The first answer of *look* that is true."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)
    return found


def kill(process: psutil.Process) -> None:
    """End a process as an out-of-memory killer does."""
    process.send_signal(signal.SIGKILL)


def is_gone(pid: int) -> bool:
    """Whether the process has ended."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
