"""A door before a server: it can be shut in the moment after the server was told to write something."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence

CHUNK_BYTES = 2**16


class Gate:
    """Forwards connections from a free port of its own; one request can be caught."""

    leads_to: Callable[[], int]
    """Port of the server, asked at every connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._wanted: Sequence[bytes] = ()
        self._caught = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def catch(self, *words: str) -> None:
        """Let the next request that holds all *words* reach the server, and hang up without its answer."""
        self._caught.clear()
        self._wanted = [word.encode() for word in words]

    @property
    def is_caught(self) -> bool:
        """Whether the server has done what that request asked; its sender never hears of it."""
        return self._caught.is_set()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.leads_to()))
                held = threading.Event()
                for source, target, is_request in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pass_on, args=(source, target, is_request, held), daemon=True
                    ).start()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, is_request: bool, held: threading.Event
    ) -> None:
        seen = b""
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                if is_request and self._wanted:
                    seen = (seen + chunk)[-8 * CHUNK_BYTES :]
                    if all(word in seen for word in self._wanted):
                        self._wanted = ()
                        held.set()  # before the request is out, so that its answer stays here
                        target.sendall(chunk)
                        continue
                if not is_request and held.is_set():
                    self._caught.set()  # the server has answered: it has done what it was asked
                    continue
                target.sendall(chunk)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
