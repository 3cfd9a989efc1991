"""How long a task waits in its worker before it leaves the waiting to a trigger."""

from __future__ import annotations

import time
from collections.abc import Callable

INLINE_WAIT_S = 20.0
"""Leaving to a trigger and coming back costs about 3.5 s; a shorter wait than this is spent here."""

FIRST_LOOK_S = 0.1
LAST_LOOK_S = 5.0


def wait_here(
    has_ended: Callable[[], bool],
    *,
    for_s: float = INLINE_WAIT_S,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Look again and again, ever more seldom, for *for_s* seconds; True when it has ended."""
    waited, interval = 0.0, FIRST_LOOK_S
    while not has_ended():
        if waited >= for_s:
            return False
        pause(interval)
        waited += interval
        interval = min(interval * 1.5, LAST_LOOK_S)
    return True
