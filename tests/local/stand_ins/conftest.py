"""Stand-ins as the processes they are in the embedded stack."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[3]
START_LIMIT_S = 60

Serve = Callable[[str, int, Path], AbstractContextManager[subprocess.Popen[bytes]]]


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def served() -> Serve:
    """Runs a stand-in by module name, port and state file, until the block ends."""
    return _served


@contextmanager
def _served(module: str, port: int, state: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", f"include.local.stand_ins.{module}"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--state", str(state)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as running:
        try:
            deadline = time.monotonic() + START_LIMIT_S
            while not _is_healthy(port):
                assert running.poll() is None, "the stand-in ended"
                assert time.monotonic() < deadline, "the stand-in did not start"
                time.sleep(0.05)
            yield running
        finally:
            running.kill()


def _is_healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.ConnectionError:
        return False
