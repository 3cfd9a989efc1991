"""Progress lines: for a person who reads the log, and for a program that draws a bar.

``progress  45.0 % | 1.21 of 2.70 GB | 123.4 MB/s | <what>``
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

INTERVAL_S = 2.0
"""At most one line in this time; the first and the last always."""


@dataclass(slots=True)
class Progress:
    """Counts bytes of one piece of work and says so now and then."""

    what: str
    total_bytes: int
    say: Callable[[str], None] = print
    clock: Callable[[], float] = time.monotonic
    _done_bytes: int = 0
    _began: float = field(init=False)
    _said_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._said_at = self._began - INTERVAL_S

    def add(self, size_bytes: int) -> None:
        """Count *size_bytes* more as done."""
        self._done_bytes += size_bytes
        now = self.clock()
        if self._done_bytes >= self.total_bytes or now - self._said_at >= INTERVAL_S:
            self._said_at = now
            self.say(self._line(now - self._began))

    def _line(self, elapsed_s: float) -> str:
        share = 100 * self._done_bytes / self.total_bytes if self.total_bytes else 100
        rate = self._done_bytes / elapsed_s / 1e6 if elapsed_s else 0
        return (
            f"progress {share:5.1f} % | {self._done_bytes / 1e9:.2f} of "
            f"{self.total_bytes / 1e9:.2f} GB | {rate:.1f} MB/s | {self.what}"
        )
