"""``assetflow catalog`` against a real PostgreSQL on this machine."""

from __future__ import annotations

import json

import psycopg
import pytest
from typer.testing import CliRunner, Result

from include.catalog.migrate import migrate
from include.cli.catalog import app
from include.hooks.postgres import CatalogDatabaseHook
from include.local.connections import as_variable, postgres_connection
from include.local.postgres import Postgres
from tests.catalog.revisions import current_revision


@pytest.fixture
def database(
    postgres_server: Postgres, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An empty database that the command finds through Airflow's connection."""
    connection = postgres_connection(postgres_server)
    connection["schema"] = fresh_database.rpartition("/")[2]
    monkeypatch.setenv(*as_variable("assetflow_postgres", connection))
    return fresh_database


def run(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def double(url: str) -> None:
    """Two rows of one identity, in a database whose newest revision is not ours any more."""
    migrate(url)
    execute(
        url,
        "DROP TABLE assetflow_catalog_version; "
        "ALTER TABLE deposition_type DROP CONSTRAINT uq_deposition_type_deposition_id_type; "
        "INSERT INTO deposition (id, title, description, deposition_date, release_date, last_modified_date) "
        "VALUES (10, 't', 'd', now(), now(), now()); "
        "INSERT INTO deposition_type (deposition_id, type) VALUES (10, 'dataset'), (10, 'dataset')",
    )


def test_migrate_tells_from_where_to_where(database: str):
    result = run("migrate")
    assert result.exit_code == 0, result.output
    assert result.stdout == "The catalog went from no revision of ours to revision 0002.\n"
    assert current_revision(database) == "0002"
    assert run("migrate").stdout == "The catalog is at revision 0002 already.\n"


def test_migrate_for_programs(database: str):
    assert json.loads(run("migrate", "--json").stdout) == {"from": None, "to": "0002"}
    assert json.loads(run("migrate", "--json").stdout) == {"from": "0002", "to": "0002"}


def test_check_of_a_database_that_needs_nothing(database: str):
    migrate(database)
    result = run("check")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "The catalog is at revision 0002, the newest.",
        "Every row has an identity of its own.",
    ]


def test_check_of_an_empty_database(database: str):
    result = run("check")
    assert result.exit_code == 1
    assert "no revision of ours, not 0002: `assetflow catalog migrate`" in result.stdout
    assert current_revision(database) is None


def test_shared_identities_are_told_by_both(database: str):
    double(database)
    result = run("migrate")
    assert result.exit_code == 1
    assert 'deposition_id=10, type="dataset": rows 1 (0), 2 (0)' in result.stderr
    result = run("check")
    assert result.exit_code == 1
    assert 'deposition_type: deposition_id=10, type="dataset": rows 1 (0), 2 (0)' in result.stdout


def test_the_printed_script_repairs(database: str):
    double(database)
    script = run("check", "--sql")
    assert script.exit_code == 1
    execute(database, script.stdout)
    assert run("migrate").exit_code == 0
    script = run("check", "--sql")
    assert script.exit_code == 0
    assert all(line.startswith("--") for line in script.stdout.splitlines())


def test_check_for_programs(database: str):
    double(database)
    result = run("check", "--json", "--sql")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "revision": None,
        "newest_revision": "0002",
        "problems": [],
        "violations": [
            {
                "table": "deposition_type",
                "identity": {"deposition_id": 10, "type": "dataset"},
                "rows": [
                    {"id": 1, "rows_pointing_at_it": 0},
                    {"id": 2, "rows_pointing_at_it": 0},
                ],
                "repair": [
                    '-- deposition_type {"deposition_id": 10, "type": "dataset"}: merge 2 into 1\n'
                    "DELETE FROM deposition_type WHERE id IN (2);"
                ],
            }
        ],
    }
    assert "repair" not in json.loads(run("check", "--json").stdout)["violations"][0]


def test_a_table_that_cannot_be_used_is_told(database: str):
    migrate(database)
    execute(database, "ALTER TABLE run ALTER name TYPE varchar(5)")
    result = run("check")
    assert result.exit_code == 1
    assert "run: name: is VARCHAR(5), not VARCHAR" in result.stdout
    (problem,) = json.loads(run("check", "--json").stdout)["problems"]
    assert (problem["table"], problem["column"]) == ("run", "name")


@pytest.mark.parametrize("command", ["migrate", "check"])
def test_without_the_connection_it_tells_which_variable(
    command: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("AIRFLOW_CONN_ASSETFLOW_POSTGRES", raising=False)
    result = run(command)
    assert result.exit_code == 1
    assert "set AIRFLOW_CONN_ASSETFLOW_POSTGRES" in result.stderr


@pytest.mark.parametrize("command", ["migrate", "check"])
def test_help_says_where_the_database_comes_from(command: str):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "AIRFLOW_CONN_ASSETFLOW_POSTGRES" in result.stdout


def test_the_hook_connects_in_utc_with_what_the_extra_asks_for(
    postgres_server: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
):
    connection = postgres_connection(postgres_server)
    connection["schema"] = database.rpartition("/")[2]
    connection["extra"] = {"application_name": "a name", "options": "-c statement_timeout=5000"}
    monkeypatch.setenv(*as_variable("assetflow_postgres", connection))
    hook = CatalogDatabaseHook()
    assert hook.url.startswith("postgresql+psycopg://")
    shown = "current_setting('{}')"
    names = ("timezone", "application_name", "statement_timeout")
    query = f"SELECT {', '.join(shown.format(name) for name in names)}"
    with hook.connect() as opened:
        assert opened.execute(query).fetchone() == ("UTC", "a name", "5s")
    migrate(hook.url)
    assert current_revision(database) == "0002"
