"""The catalog's database, brought to the schema of this version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import exc

from include.catalog.tables import Base
from include.errors import AccessDenied, InvalidInput, Problem, ServiceUnavailable

if TYPE_CHECKING:
    import psycopg

VERSION_TABLE = "assetflow_catalog_version"
"""Ours; a database that the portal migrated has an ``alembic_version`` of its own, which stays."""

OLDEST_POSTGRES = 15
"""The first that can make NULL equal NULL in a unique constraint."""

DRIVER = "postgresql+psycopg"

_LOCK = 0x61666C63617461
"""Number of the advisory lock, for one migration at a time: ``aflcata``."""


@dataclass(frozen=True, slots=True)
class Migration:
    """From where to where a database was brought; equal when nothing was to be done."""

    before: str | None
    """None: never migrated by us."""

    after: str


def migrate(url: str) -> Migration:
    """Bring the database to the newest revision, all or nothing; safe to run again, and twice at once.

    Raises:
        IdentitiesViolated: several rows have one identity.
        InvalidInput: a table that is there cannot be used, the server is too old for us, or the database
            too new.
    """
    head = head_revision()
    with opened_database(url) as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        before = database_revision(connection)
        if before == head:
            return Migration(before, head)
        _require_usable(connection, before)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, head)
        return Migration(before, head)


def is_current(connection: psycopg.Connection[Any]) -> bool:
    """Whether the database is at the revision of this version."""
    from psycopg.rows import tuple_row

    with connection.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [VERSION_TABLE]).fetchone()
        if not found or not found[0]:
            return False
        rows = cursor.execute("SELECT version_num FROM assetflow_catalog_version").fetchall()
        return rows == [(head_revision(),)]


@cache
def head_revision() -> str:
    """The newest revision that this version knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("the package holds no revisions")
    return head


def is_of_catalog(name: str | None, kind: str, _parents: Any) -> bool:
    """Whether Alembic compares it with the models; other tables of the database are none of our business."""
    return kind != "table" or name in Base.metadata.tables


@contextmanager
def opened_database(url: str) -> Iterator[sa.Connection]:
    """A connection in a transaction, with the database's errors as ours."""
    address = sa.make_url(url)
    if address.drivername in {"postgresql", "postgres"}:
        address = address.set(drivername=DRIVER)
    # Whoever waits for the lock has to see what the other did.
    engine = sa.create_engine(address, poolclass=sa.NullPool, isolation_level="READ COMMITTED")
    where = f"{address.host}/{address.database}"
    try:
        with engine.begin() as connection:
            yield connection
    except exc.OperationalError as error:
        reason = f"PostgreSQL at {where} could not be used: {_reason(error)}"
        raise ServiceUnavailable(reason) from error
    except exc.ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != "42501":  # insufficient_privilege
            raise
        raise AccessDenied(f"PostgreSQL at {where} refused: {_reason(error)}") from error
    except exc.IntegrityError as error:
        fix = "repair the rows, then migrate again"
        raise InvalidInput([Problem(where, "", _reason(error), fix)]) from error


def _reason(error: exc.DBAPIError) -> str:
    return " ".join(str(error.orig).split())


def _config() -> Config:
    config = Config()
    place = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", place.replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def database_revision(connection: sa.Connection) -> str | None:
    """Revision of the database that the connection leads to, None when we have never migrated it."""
    options = {"version_table": VERSION_TABLE}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def _require_usable(connection: sa.Connection, before: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if before is not None and before not in known:
        reason = f"the database is at revision {before}, which this version does not know"
        fix = "use the version of Assetflow that migrated it, or a newer one"
        raise InvalidInput([Problem("catalog database", "", reason, fix)])
    version = connection.dialect.server_version_info or ()
    if version < (OLDEST_POSTGRES,):
        reason = f"the server is PostgreSQL {'.'.join(map(str, version))}"
        fix = f"PostgreSQL {OLDEST_POSTGRES} or newer is needed"
        raise InvalidInput([Problem("catalog database", "", reason, fix)])
