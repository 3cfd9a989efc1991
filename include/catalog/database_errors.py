"""Errors of the database as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from include.errors import DatabaseRefused, ServiceUnavailable


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn the database's errors into ours.

    Raises:
        ServiceUnavailable: it does not answer.
        DatabaseRefused: it refused a statement.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise ServiceUnavailable(f"{subject}: the database: {error}") from error
    except psycopg.Error as error:
        raise DatabaseRefused(f"{subject}: the database refused: {error}") from error
