"""A proxy before an S3 server that counts requests and answers some of them wrongly.

::

    with FaultProxy(server.endpoint_url) as proxy:
        proxy.add(Fault(method="PUT", contains="b.bin", times=2, status=503, code="SlowDown"))
        ...  # talk to proxy.endpoint_url
        assert proxy.count("PUT") == 3

Signatures stay valid: the Host header goes through as the client sent it.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    """What to do wrong, with which requests."""

    method: str = ""
    """``""`` means every method."""

    contains: str = ""
    """Part of the decoded path and query."""

    skip: int = 0
    """Let this many matching requests through first."""

    times: int = 1_000_000
    """Do it this often, then no more."""

    status: int = 0
    """Answer this, without asking the server."""

    code: str = "InternalError"
    body: bytes | None = None
    """Answered instead of an error document."""

    cut_to_bytes: int | None = None
    """Ask the server, and break off its answer after these bytes."""

    drop: bool = False
    """Close the connection without an answer."""

    lose_answer: bool = False
    """Let the server act, then close the connection without an answer."""

    hold_until: threading.Event | None = None
    """Go on only when this is set."""

    def matches(self, method: str, target: str) -> bool:
        """Whether it is about this request; counts down."""
        if self.method not in {"", method} or self.contains not in target:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if not self.times:
            return False
        self.times -= 1
        return True


class FaultProxy:
    """Forwards to *target_url* from a free port of its own."""

    def __init__(self, target_url: str) -> None:
        self._target = urlsplit(target_url).netloc
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.requests: list[tuple[str, str]] = []
        """Method and decoded target of each request, as they came."""

        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def _any(self) -> None:
                proxy._serve(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 - named by the library

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep the test's output to itself."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def add(self, fault: Fault) -> None:
        """From now on; the first that matches a request counts."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget all faults and all requests."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()

    def count(self, method: str = "", contains: str = "") -> int:
        """How many such requests came."""
        with self._lock:
            return sum(
                (not method or method == got) and contains in target
                for got, target in self.requests
            )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        target = unquote(request.path)
        with self._lock:
            self.requests.append((request.command, target))
            fault = next(
                (one for one in self._faults if one.matches(request.command, target)), None
            )
        content = _read_body(request)
        if fault is None:
            self._forward(request, content)
            return
        if fault.hold_until is not None:
            fault.hold_until.wait(30)
        if fault.drop:
            request.close_connection = True
        elif fault.lose_answer:
            with self._answer(request, content):
                request.close_connection = True
        elif fault.status:
            document = f"<Error><Code>{fault.code}</Code><Message>a fault</Message></Error>"
            answer = document.encode() if fault.body is None else fault.body
            _send(request, fault.status, [("Content-Type", "application/xml")], answer)
        else:
            self._forward(request, content, fault.cut_to_bytes)

    def _forward(
        self, request: BaseHTTPRequestHandler, content: bytes, cut_to_bytes: int | None = None
    ) -> None:
        with self._answer(request, content) as answer:
            headers = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in {"transfer-encoding", "connection", "content-length"}
            ]
            length = answer.getheader("Content-Length") if request.command == "HEAD" else None
            _send(request, answer.status, headers, answer.read(), length, cut_to_bytes)

    @contextmanager
    def _answer(
        self, request: BaseHTTPRequestHandler, content: bytes
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self._target, timeout=60)
        try:
            connection.putrequest(
                request.command, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                if name.lower() not in {
                    "transfer-encoding",
                    "connection",
                    "expect",
                    "content-length",
                }:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            yield connection.getresponse()
        finally:
            connection.close()


def _read_body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() == "chunked":
        chunks = []
        while size := int(request.rfile.readline().split(b";")[0], 16):
            chunks.append(request.rfile.read(size))
            request.rfile.readline()
        request.rfile.readline()
        return b"".join(chunks)
    return request.rfile.read(int(request.headers.get("Content-Length", 0)))


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    headers: list[tuple[str, str]],
    content: bytes,
    length: str | None = None,
    cut_to_bytes: int | None = None,
) -> None:
    request.send_response_only(status)
    for name, value in headers:
        request.send_header(name, value)
    if status not in {204, 304}:
        request.send_header("Content-Length", length or str(len(content)))
    request.end_headers()
    if request.command == "HEAD":
        return
    request.wfile.write(content[:cut_to_bytes])
    if cut_to_bytes is not None:
        request.close_connection = True
