"""PostgreSQL: databases on demand, kept over a restart, reachable by nobody without the password."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from include.local import postgres
from include.local.postgres import Postgres


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach; pytest's own are closed to others."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_fresh_database_is_empty_and_takes_tables(fresh_database: str) -> None:
    with psycopg.connect(fresh_database) as connection:
        connection.execute("CREATE TABLE t (a jsonb)")
        connection.execute("""INSERT INTO t VALUES ('{"ä": 1}')""")
        assert connection.execute("SELECT a FROM t").fetchone() == ({"ä": 1},)


def test_a_wrong_password_is_refused(postgres_server: Postgres) -> None:
    address = postgres_server.uri.replace(postgres_server.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(address)


def test_rows_are_there_after_a_restart(open_folder: Path) -> None:
    server = Postgres(open_folder)
    try:
        server.start()
        server.make_database("catalog")
        server.make_database("catalog")
        with psycopg.connect(server.uri_of("catalog")) as connection:
            connection.execute("CREATE TABLE t AS SELECT 7 AS a")
            open_connection = psycopg.connect(server.uri_of("catalog"))
        server.stop()
        open_connection.close()
        server.start()
        with psycopg.connect(server.uri_of("catalog")) as connection:
            assert connection.execute("SELECT a FROM t").fetchone() == (7,)
    finally:
        server.stop()


def test_a_cluster_that_was_only_half_made_is_made_again(open_folder: Path) -> None:
    unfinished = open_folder / "postgres" / "cluster.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18")
    server = Postgres(open_folder)
    try:
        server.start()
        assert server.is_ready()
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run PostgreSQL as somebody else")
def test_root_below_a_closed_folder_keeps_the_data_elsewhere_and_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    elsewhere = Path("/var/tmp") / f"assetflow-test-{os.getpid()}"
    monkeypatch.setattr(postgres, "FOLDER_FOR_ROOT", elsewhere)
    server = Postgres(closed / "stack")
    try:
        server.start()
        assert server.is_ready()
        assert (closed / "stack" / "postgres").resolve().parent == elsewhere
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
        shutil.rmtree(elsewhere, ignore_errors=True)
