"""Serve a stand-in: as a process of its own, or in a thread of a test."""

from __future__ import annotations

import argparse
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

GRACE_S = 3
"""How long requests under way may take to end when the server is asked to stop."""

START_LIMIT_S = 20


def arguments(description: str) -> argparse.ArgumentParser:
    """The command line both stand-ins have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--state", type=Path, help="file that keeps the state over a restart")
    return parser


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT, then let the requests under way end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvicorn.Server(_config(app, host, port)).run()


@contextmanager
def serve_in_thread(app: ASGIApp) -> Iterator[str]:
    """Answer on a free port of this machine while the block runs.

    Yields:
        The address, such as ``http://127.0.0.1:40123``.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(_config(app, "127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        deadline = time.monotonic() + START_LIMIT_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the stand-in did not start")
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
    )
