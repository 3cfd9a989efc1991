"""What comparisons measure with: a process of their own, a store far away, what a process took."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]


def in_fresh_process(module: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What ``python -m module --one arguments`` prints, as JSON."""
    command = [sys.executable, "-m", module, "--one", json.dumps(arguments)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def peak_mib() -> float:
    """Of this process since its program began; ``ru_maxrss`` would include the parent's memory."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def own_cpu_s(who: int = resource.RUSAGE_SELF) -> float:
    """User and system seconds."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def log(text: str) -> None:
    """Progress, apart from the tables."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Distance:
    """A way to a server on which every request takes longer."""

    url: str
    requests: int = 0
    """So far; counted right when each comes in one piece, without a content."""


@contextmanager
def distant(target_url: str, delay_s: float) -> Iterator[Distance]:
    """A way to the server on which every request arrives this much later."""
    target = urlsplit(target_url)

    async def pump(reader: Any, writer: Any, *, is_request: bool) -> None:
        try:
            while data := await reader.read(2**16):
                if is_request:
                    distance.requests += data.count(b" HTTP/1.1\r\n")
                    await asyncio.sleep(delay_s)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: Any, writer: Any) -> None:
        there = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(
            pump(reader, there[1], is_request=True), pump(there[0], writer, is_request=False)
        )

    async def listen() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port.set_result(server.sockets[0].getsockname()[1])
            while not ended.is_set():  # noqa: ASYNC110  the other thread cannot set one of asyncio's
                await asyncio.sleep(0.05)

    port: Future[int] = Future()
    ended = threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    try:
        distance = Distance(f"http://127.0.0.1:{port.result()}")
        yield distance
    finally:
        ended.set()
        thread.join()
