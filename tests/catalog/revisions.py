"""At which revision a database is, for tests."""

from __future__ import annotations

from include.catalog.migrate import database_revision, opened_database


def current_revision(url: str) -> str | None:
    with opened_database(url) as connection:
        return database_revision(connection)
