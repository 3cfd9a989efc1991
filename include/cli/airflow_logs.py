"""Airflow's logging at a terminal: importing Airflow sends every log line to standard output."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def logs_to_stderr(level: int = logging.WARNING) -> Iterator[None]:
    """Send log lines from *level* on to standard error; standard output is for what was asked.

    Airflow binds some loggers to standard output when they are first used, others when it is imported.
    """
    with redirect_stdout(sys.stderr):
        import airflow.settings  # noqa: F401  sets up the logging, once

        root = logging.getLogger()
        root.setLevel(level)
        for handler in root.handlers:
            if type(handler) is logging.StreamHandler:  # Airflow's own, not one that captures
                handler.stream = _Stderr()
        yield


class _Stderr:
    """Whatever standard error is at the moment of writing."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()
