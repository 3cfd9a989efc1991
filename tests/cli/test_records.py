"""``assetflow records`` against a real DocDB on this machine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import DuplicateKeyError
from typer.testing import CliRunner, Result

from include.cli.records import app
from include.errors import DuplicateRecords, InvalidInput, ServiceUnavailable
from include.local.connections import as_variable, docdb_connection
from include.settings import settings

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.database import Database

    from include.local.services import DocDb

COLLECTIONS = ("of_v1", "of_v2")


@pytest.fixture
def database(
    docdb_server: DocDb,
    docdb_client: MongoClient[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Database[dict[str, Any]]]:
    """An empty database that the command finds by the settings."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection, value = as_variable("assetflow_docdb", docdb_connection(docdb_server))
    monkeypatch.setenv(connection, value)
    monkeypatch.setenv("ASSETFLOW_DOCDB_DATABASE", name)
    monkeypatch.setenv("ASSETFLOW_DOCDB_COLLECTION_V1", COLLECTIONS[0])
    monkeypatch.setenv("ASSETFLOW_DOCDB_COLLECTION_V2", COLLECTIONS[1])
    settings.cache_clear()
    yield docdb_client[name]
    docdb_client.drop_database(name)
    settings.cache_clear()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["ensure-indexes", *words])


def test_both_collections_refuse_a_second_record_of_one_location(
    database: Database[dict[str, Any]],
) -> None:
    result = run("--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "unique_on_location": [f"{database.name}.{name}" for name in COLLECTIONS]
    }
    for name in COLLECTIONS:
        database[name].insert_one({"_id": "one", "location": "s3://b/a"})
        with pytest.raises(DuplicateKeyError):
            database[name].insert_one({"_id": "two", "location": "s3://b/a"})


def test_it_says_what_it_did_and_may_be_run_again(database: Database[dict[str, Any]]) -> None:
    first, second = run(), run()
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert first.stdout == second.stdout
    assert first.stdout.splitlines() == [
        f"{database.name}.{name}: one record per location" for name in COLLECTIONS
    ]


def test_a_collection_with_duplicates_is_named(database: Database[dict[str, Any]]) -> None:
    database[COLLECTIONS[1]].insert_many([
        {"_id": "one", "location": "s3://b/a"},
        {"_id": "two", "location": "s3://b/a"},
    ])
    result = run()
    assert isinstance(result.exception, DuplicateRecords)
    assert f"{database.name}.{COLLECTIONS[1]}" in str(result.exception)


def test_a_server_that_does_not_answer_is_an_error(
    database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = {"conn_type": "mongo", "host": "127.0.0.1", "port": 1}
    nobody["extra"] = {"serverSelectionTimeoutMS": 50, "directConnection": True}
    monkeypatch.setenv(*as_variable("assetflow_docdb", nobody))
    assert isinstance(run().exception, ServiceUnavailable)


def test_without_the_connection_it_says_what_to_set(
    database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_ASSETFLOW_DOCDB")
    result = run()
    assert isinstance(result.exception, InvalidInput)
    assert "AIRFLOW_CONN_ASSETFLOW_DOCDB" in str(result.exception)
