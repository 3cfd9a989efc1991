"""Many files in a few threads: share them out, count what was sent, stop when told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from include.errors import ServiceUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is."""

    files: int
    files_total: int
    size_bytes: int
    bytes_total: int
    bytes_per_s: float


class Meter:
    """Counts what threads have sent and tells it, at most every *interval_s* seconds."""

    def __init__(
        self,
        *,
        files_total: int,
        bytes_total: int,
        on_progress: Callable[[Progress], None] | None,
        interval_s: float,
    ) -> None:
        self._files_total = files_total
        self._bytes_total = bytes_total
        self._on_progress = on_progress
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._files = 0
        self._size_bytes = 0
        self._started_s = self._told_s = time.monotonic()

    @contextmanager
    def measure(self, chunks: Iterable[bytes], stop: threading.Event) -> Iterator[Iterator[bytes]]:
        """Count one file's chunks while they pass, and forget them if it fails."""
        passed_bytes = 0

        def counted() -> Iterator[bytes]:
            nonlocal passed_bytes
            for chunk in chunks:
                if stop.is_set():
                    raise ServiceUnavailable("stopped because the upload as a whole cannot go on")
                passed_bytes += len(chunk)
                self._add(0, len(chunk))
                yield chunk

        try:
            yield counted()
        except BaseException:
            self._add(0, -passed_bytes)
            raise
        self._add(1, 0)

    def _add(self, files: int, size_bytes: int) -> None:
        with self._lock:
            self._files += files
            self._size_bytes += size_bytes
            now_s = time.monotonic()
            is_last = files > 0 and self._files == self._files_total
            if self._on_progress is None or (
                now_s - self._told_s < self._interval_s and not is_last
            ):
                return
            self._told_s = now_s
            elapsed_s = max(now_s - self._started_s, 1e-9)
            self._on_progress(
                Progress(
                    files=self._files,
                    files_total=self._files_total,
                    size_bytes=self._size_bytes,
                    bytes_total=self._bytes_total,
                    bytes_per_s=self._size_bytes / elapsed_s,
                )
            )


def for_each(
    items: Iterable[T], function: Callable[[T], None], *, threads: int, stop: threading.Event
) -> None:
    """Call *function* on every item, in *threads* threads, until *stop* is set.

    An exception, also one that arrives here from outside (the task is ended), sets *stop*, so that
    no thread begins another item, and is raised. Items are not queued: a million cost nothing.
    """
    rest = iter(items)
    lock = threading.Lock()

    def drain() -> None:
        try:
            while not stop.is_set():
                with lock:
                    item = next(rest, rest)
                if item is rest:
                    return
                function(item)  # type: ignore[arg-type]  # the iterator itself marks the end
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(threads, thread_name_prefix="upload") as pool:
        try:
            for drained in [pool.submit(drain) for _ in range(threads)]:
                drained.result()
        except BaseException:
            stop.set()
            raise
