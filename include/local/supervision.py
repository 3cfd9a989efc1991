"""Keep a started stack running: notice what ends by itself, start it again, give up when that is no use."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from include.errors import CommandFailed
from include.local.service import Service

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0

RESTARTS = 3
"""How often one process is started again…"""

RESTARTS_WITHIN_S = 300.0
"""…within this time. One that ends more often needs a person."""


def supervise(
    parts: Iterable[Service],
    stop: threading.Event,
    restart: Callable[[Service], bool],
    report: Callable[[str], None],
    *,
    look_interval_s: float = LOOK_INTERVAL_S,
) -> None:
    """Start again what ends by itself, until told to stop or until somebody else stops the stack.

    Args:
        parts: what is to keep running.
        stop: set by the caller to end this.
        restart: starts a part again and returns once it is ready; False when somebody stopped it.
        report: called with one line for everything that happens.
        look_interval_s: seconds between two looks.

    Raises:
        CommandFailed: a part ended too often, or did not come up again; with the end of its log.
    """
    watched = tuple(parts)
    restarts: dict[str, deque[float]] = {part.name: deque(maxlen=RESTARTS) for part in watched}
    while not stop.wait(look_interval_s):
        for part in watched:
            if part.process.is_running:
                continue
            earlier = restarts[part.name]
            now = time.monotonic()
            if len(earlier) == RESTARTS and now - earlier[0] < RESTARTS_WITHIN_S:
                raise CommandFailed(
                    f"{part.name} ended {RESTARTS + 1} times within {RESTARTS_WITHIN_S:g} s"
                    f"{part.process.last_words()}"
                )
            earlier.append(now)
            last_words = part.process.last_words()
            if not restart(part):
                report(f"{part.name} was stopped by another command")
                return
            report(f"{part.name} had ended by itself{last_words}")
            report(f"{part.name} is ready again")
