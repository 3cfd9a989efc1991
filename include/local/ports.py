"""Which loopback port each embedded server listens on, remembered over restarts."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from include.errors import CommandFailed
from include.local.files import locked, write_atomically

LOOPBACK = "127.0.0.1"

PORT_RANGE = range(20_000, 32_000)
"""Below 32768, where Linux takes the ports of outgoing connections from: one of those could sit on a
remembered port for minutes."""

ATTEMPTS = 200


def hostname() -> str:
    """What Airflow's processes call this machine when they fetch each other's logs.

    Its own name need not resolve, and looking it up may wait for a name server at every task.
    """
    return LOOPBACK


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections that are closing (TIME_WAIT) do not count, listeners do.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


class Ports:
    """The ports of one stack, by name, kept in a JSON file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock_file = file.with_suffix(".lock")

    def of(self, name: str) -> int:
        """The port remembered under this name; chosen now when there is none yet."""
        with locked(self._lock_file):
            known = self._read()
            return known[name] if name in known else self._choose(name, known)

    def claim(self, name: str) -> int:
        """A port that is free now: the remembered one, or a new one when somebody else took it."""
        with locked(self._lock_file):
            known = self._read()
            if name in known and is_free(known[name]):
                return known[name]
            return self._choose(name, known)

    def _choose(self, name: str, known: dict[str, int]) -> int:
        for _ in range(ATTEMPTS):
            port = random.choice(PORT_RANGE)  # noqa: S311  # not a secret
            if port not in known.values() and is_free(port):
                known[name] = port
                write_atomically(self._file, json.dumps(known, indent=2))
                return port
        raise CommandFailed(
            f"no free port for {name}: {ATTEMPTS} between {PORT_RANGE.start} and {PORT_RANGE.stop} "
            f"on {LOOPBACK} were taken"
        )

    def _read(self) -> dict[str, int]:
        if not self._file.exists():
            return {}
        known: dict[str, int] = json.loads(self._file.read_text())
        return known
