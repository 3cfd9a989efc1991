"""``assetflow explain`` and ``assetflow restore`` on real stores."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from include.assets.canonical import canonical_text
from include.assets.core_files import Generation
from include.assets.run_key import run_key_of
from include.cli.main import commands
from include.clients.parameter_store import ParameterStore, connect
from include.clients.runs_bucket import journal_key
from include.hooks.docdb import docdb_hook
from include.hooks.s3 import AssetStoreHook
from include.indexing.request import DAG_ID
from include.local import connections as to
from include.settings import settings

RUN_ID = "manual__2026-11-25T20:00:00+00:00"


@pytest.fixture
def bucket_of_assets(
    s3_server: Any, docdb_server: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A bucket that is also the runs bucket, and empty collections."""
    monkeypatch.setenv(*to.as_variable("assetflow_s3", to.s3_connection(s3_server)))
    monkeypatch.setenv(*to.as_variable("assetflow_docdb", to.docdb_connection(docdb_server)))
    monkeypatch.setenv("ASSETFLOW_RUNS_BUCKET", bucket)
    monkeypatch.setenv("ASSETFLOW_DOCDB_DATABASE", f"test_{uuid.uuid4().hex[:12]}")
    settings.cache_clear()
    yield bucket
    settings.cache_clear()


def run(*words: str) -> Result:
    return CliRunner().invoke(commands, words)


def put(server: Any, bucket: str, key: str, content: bytes = b"x") -> None:
    server.client().put_object(Bucket=bucket, Key=key, Body=content)


def add(location: str, **fields: Any) -> None:
    record = {"_id": location, "name": location.rpartition("/")[2], "location": location, **fields}
    docdb_hook(Generation.V1).bulk.insert_records([record])


def test_explain_tells_what_a_run_would_do_and_writes_nothing(
    s3_server: Any, bucket_of_assets: str
):
    location = f"s3://{bucket_of_assets}/one"
    put(s3_server, bucket_of_assets, "one/subject.json", b'{"a": 1}')
    add(location, subject={"a": 2})
    told = run("explain", location)
    assert told.exit_code == 1
    assert "has a record of generation v1" in told.stdout
    assert "would overwrite subject.json: it differs" in told.stdout
    found = s3_server.client().list_objects_v2(Bucket=bucket_of_assets)
    assert found["KeyCount"] == 1


def test_explain_tells_why_an_asset_gets_no_record(s3_server: Any, bucket_of_assets: str):
    put(s3_server, bucket_of_assets, "raw/data.bin")
    told = run("explain", f"s3://{bucket_of_assets}/raw", "--json")
    assert told.exit_code == 0
    answer = json.loads(told.stdout)
    assert answer["records"] == []
    assert "there is no metadata.nd.json" in answer["lines"][0]["reason"]


def test_explain_says_so_when_all_is_in_step(s3_server: Any, bucket_of_assets: str):
    location = f"s3://{bucket_of_assets}/one"
    add(location)
    (record,) = docdb_hook(Generation.V1).bulk.find_at([location])
    put(s3_server, bucket_of_assets, "one/metadata.nd.json", canonical_text(record).encode())
    told = run("explain", location)
    assert (told.exit_code, "in step" in told.stdout) == (0, True)


@pytest.fixture
def presets(
    parameter_store_server: Any, bucket_of_assets: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ParameterStore]:
    """An empty parameter store that the command finds."""
    prefix = f"/tests_of_{bucket_of_assets}"
    connection = to.parameter_store_connection(parameter_store_server)
    variable, value = to.as_variable("assetflow_parameter_store", connection)
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("ASSETFLOW_PRESET_PREFIX", prefix)
    settings.cache_clear()
    client = connect(value)
    store = ParameterStore(client)
    yield store
    for name in store.list_names(prefix):
        client.delete_parameter(Name=name)


def write_preset(store: ParameterStore, name: str, **params: Any) -> None:
    store.write(f"{settings().preset_prefix}/{DAG_ID}/{name}", json.dumps(params))


def put_in_step_but_for_the_copy_folder(s3_server: Any, bucket: str) -> str:
    """An asset whose dated copies are in another folder than usual; its location."""
    location = f"s3://{bucket}/one"
    add(location, subject={"a": 1})
    (record,) = docdb_hook(Generation.V1).bulk.find_at([location])
    put(s3_server, bucket, "one/metadata.nd.json", canonical_text(record).encode())
    for key in ("subject.json", "old/subject.20200101.json"):
        put(s3_server, bucket, f"one/{key}", canonical_text({"a": 1}).encode())
    return location


def test_explain_goes_by_the_preset_as_a_run_does(
    s3_server: Any, bucket_of_assets: str, presets: ParameterStore
):
    location = put_in_step_but_for_the_copy_folder(s3_server, bucket_of_assets)
    write_preset(presets, "default", copy_original_md_subdir="old")
    write_preset(presets, "other", lookback_days=3)
    told = run("explain", location)
    assert (told.exit_code, "in step" in told.stdout) == (0, True), told.output
    other = run("explain", location, "--preset", "other")
    assert other.exit_code == 1
    assert "would copy subject.json to original_metadata/" in other.stdout
    unknown = run("explain", location, "--preset", "nobody's")
    assert unknown.exit_code == 1
    assert "known are default, other" in unknown.stderr


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param(None, "there is no AIRFLOW_CONN_ASSETFLOW_PARAMETER_STORE", id="unset"),
        pytest.param("http://127.0.0.1:1", "ServiceUnavailable", id="silent"),
    ],
)
def test_explain_says_when_it_could_not_read_the_preset(
    s3_server: Any,
    bucket_of_assets: str,
    monkeypatch: pytest.MonkeyPatch,
    value: str | None,
    why: str,
):
    variable = "AIRFLOW_CONN_ASSETFLOW_PARAMETER_STORE"
    monkeypatch.delenv(variable, raising=False)
    if value:
        extra = {"region_name": "us-west-2", "endpoint_url": value}
        monkeypatch.setenv(variable, json.dumps({"login": "k", "password": "s", "extra": extra}))
    settings.cache_clear()
    location = put_in_step_but_for_the_copy_folder(s3_server, bucket_of_assets)
    told = run("explain", location)
    assert told.exit_code == 1
    assert "would copy subject.json to original_metadata/" in told.stdout
    assert "preset default was not read, so the defaults count" in told.stderr
    assert why in told.stderr


@pytest.mark.parametrize("location", ["one", "s3://bucket", "s3://bucket/a/b"])
def test_explain_refuses_what_is_no_location(bucket_of_assets: str, location: str):
    refused = run("explain", location)
    assert refused.exit_code == 1
    assert "expected s3://<bucket>/<asset name>" in refused.stderr


def journal(bucket: str, *entries: dict[str, Any]) -> str:
    from datetime import UTC, datetime

    key = run_key_of(RUN_ID, datetime(2026, 11, 25, 20, tzinfo=UTC))
    runs = AssetStoreHook().runs_bucket(bucket)
    runs.write(journal_key(DAG_ID, key, "one"), list(entries))
    return key


def removed(bucket: str, name: str) -> dict[str, Any]:
    location = f"s3://{bucket}/{name}"
    record = {"_id": name, "location": location, "name": name}
    return {"kind": "record", "generation": "v1", "location": location, "record": record}


def test_restore_finds_the_run_by_its_id_or_key_and_puts_back_what_it_removed(
    bucket_of_assets: str,
):
    key = journal(bucket_of_assets, removed(bucket_of_assets, "one"))
    dry = run("restore", RUN_ID, "--dry-run")
    assert (dry.exit_code, dry.stdout.splitlines()[-1]) == (0, "Would be: 1 restored")
    bulk = docdb_hook(Generation.V1).bulk
    assert bulk.find_by_id(["one"]) == []
    done = run("restore", key, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"] == {"restored": 1}
    assert len(bulk.find_by_id(["one"])) == 1
    again = run("restore", RUN_ID)
    assert (again.exit_code, "already there" in again.stdout) == (0, True)


def test_restore_ends_with_1_when_something_is_in_the_way(bucket_of_assets: str):
    journal(bucket_of_assets, removed(bucket_of_assets, "one"))
    add(f"s3://{bucket_of_assets}/one")
    blocked = run("restore", RUN_ID)
    assert blocked.exit_code == 1
    assert "something else is there" in blocked.stdout


def test_restore_tells_a_journal_that_cannot_be_read_and_puts_back_the_rest(
    s3_server: Any, bucket_of_assets: str
):
    key = journal(bucket_of_assets, removed(bucket_of_assets, "one"))
    broken = journal_key(DAG_ID, key, "broken")
    put(s3_server, bucket_of_assets, broken, b"not JSON")
    told = run("restore", RUN_ID, "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["counts"] == {"failed": 1, "restored": 1}
    again = run("restore", RUN_ID)
    assert again.exit_code == 1
    first, second, counts = again.stdout.splitlines()
    assert first.startswith(f"failed: journal {broken}: MalformedAnswer")
    assert (second, counts) == (
        f"already there: record s3://{bucket_of_assets}/one",
        "1 failed, 1 already there",
    )


@pytest.mark.parametrize("command", [("explain", "s3://b/one"), ("restore", RUN_ID)])
@pytest.mark.parametrize("missing", ["AIRFLOW_CONN_ASSETFLOW_S3", "AIRFLOW_CONN_ASSETFLOW_DOCDB"])
def test_a_command_says_which_connection_it_misses_and_asks_nothing_else(
    bucket_of_assets: str, monkeypatch: pytest.MonkeyPatch, command: tuple[str, str], missing: str
):
    monkeypatch.delenv(missing)
    refused = run(*command)
    assert refused.exit_code == 1
    assert f"there is no such connection (set {missing})" in refused.stderr
    assert "Traceback" not in refused.output


def test_restore_of_a_run_that_nobody_knows_says_so(bucket_of_assets: str):
    unknown = run("restore", "manual__nothing")
    assert unknown.exit_code == 1
    assert "no run of index_buckets" in unknown.stderr
