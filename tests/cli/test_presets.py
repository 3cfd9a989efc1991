"""``assetflow presets`` against a real parameter store on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from include.cli.presets import app
from include.clients.parameter_store import ParameterStore, connect
from include.settings import settings

ROOT = "/tests_of_the_command"


@pytest.fixture
def store(parameter_store_server, monkeypatch) -> Iterator[ParameterStore]:
    """An empty store that the command finds as Airflow's connection."""
    extra = {"region_name": "us-west-2", "endpoint_url": parameter_store_server.endpoint_url}
    connection = json.dumps({"login": "k", "password": "s", "extra": extra})
    monkeypatch.setenv("AIRFLOW_CONN_ASSETFLOW_PARAMETER_STORE", connection)
    monkeypatch.setenv("ASSETFLOW_PRESET_PREFIX", ROOT)
    settings.cache_clear()
    client = connect(connection)
    store = ParameterStore(client)
    yield store
    for name in [*store.list_names(ROOT), *store.list_names(f"{ROOT}_2")]:
        client.delete_parameter(Name=name)
    settings.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "v2/a/tasks/compress_data", '{"image": "new"}')
    write(tmp_path, "v2/a/tasks/upload_data_to_s3", '{"image": "same"}')
    write(tmp_path, "index_buckets/default", '{"lookback_days": 3}')
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def told(result: Result) -> dict:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def fill(store: ParameterStore) -> None:
    store.write(f"{ROOT}/v2/a/tasks/compress_data", '{"image": "old"}')
    store.write(f"{ROOT}/v2/a/tasks/upload_data_to_s3", '{ "image":"same" }')
    store.write(f"{ROOT}/v2/b/tasks/compress_data", "{}")


CHANGES = {
    "created": [f"{ROOT}/index_buckets/default"],
    "updated": [f"{ROOT}/v2/a/tasks/compress_data"],
    "unchanged": [f"{ROOT}/v2/a/tasks/upload_data_to_s3"],
    "only in store": [f"{ROOT}/v2/b/tasks/compress_data"],
}


def test_push_writes_what_differs_and_removes_nothing(store, folder):
    fill(store)
    assert told(run("push", folder, "--json")) == {"dry_run": False, **CHANGES}
    assert store.read_tree(ROOT) == {
        f"{ROOT}/index_buckets/default": '{"lookback_days": 3}',
        f"{ROOT}/v2/a/tasks/compress_data": '{"image": "new"}',
        f"{ROOT}/v2/a/tasks/upload_data_to_s3": '{ "image":"same" }',
        f"{ROOT}/v2/b/tasks/compress_data": "{}",
    }
    again = told(run("push", folder, "--json"))
    assert (again["created"], again["updated"]) == ([], [])


def test_a_dry_run_shows_the_same_and_writes_nothing(store, folder):
    fill(store)
    before = store.read_tree(ROOT)
    assert told(run("push", folder, "--dry-run", "--json")) == {"dry_run": True, **CHANGES}
    assert store.read_tree(ROOT) == before


def test_push_prints_a_table_and_a_sum(store, folder):
    result = run("push", folder)
    assert result.exit_code == 0
    assert f"{ROOT}/v2/a/tasks/compress_data" in result.stdout
    assert "3 created, 0 updated, 0 unchanged, 0 only in store" in result.stdout


def test_one_bad_file_and_nothing_is_written(store, folder):
    write(folder, "v2/a/tasks/check_metadata_files", '{"job_setings": {}}')
    write(folder, "v2/b/tasks/check_metadata_files", "x" * 9000)
    result = run("push", folder)
    assert result.exit_code == 1
    assert "did you mean job_settings" in result.stderr
    assert "9000 bytes" in result.stderr
    assert store.read_tree(ROOT) == {}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("index_buckets/default", '{"max_removal": 5}', "did you mean max_removals?"),
        ("index_buckets/strict", '{"max_removals": -1}', "max_removals"),
        (
            "ingest_postgres/default",
            '{"import_everthing": true}',
            "did you mean import_everything?",
        ),
    ],
)
def test_params_that_would_make_every_run_red_are_not_stored(store, folder, name, text, said):
    write(folder, name, text)
    result = run("push", folder)
    assert result.exit_code == 1
    assert f"{ROOT}/{name}" in result.stderr
    assert said in result.stderr
    assert store.read_tree(ROOT) == {}


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_diff_prints_no_secret_of_either_side(store, folder, form):
    write(
        folder, "v2/a/tasks/compress_data", '{"job_settings": {"alert_url": "https://to/hunter2"}}'
    )
    store.write(
        f"{ROOT}/v2/a/tasks/compress_data",
        '{"image": "old", "job_settings": {"token": "hunter1", "alert_url": "https://to/hunter3"}}',
    )
    result = run("diff", folder, *form)
    assert result.exit_code == 1
    assert "old" in result.stdout
    assert "hunter" not in result.output


def test_presets_that_are_only_in_the_store_are_no_difference_that_counts(store, folder):
    assert run("push", folder).exit_code == 0
    store.write(f"{ROOT}/v2/b/tasks/compress_data", "{}")
    result = run("diff", folder)
    assert result.exit_code == 0
    assert f"only in the store: {ROOT}/v2/b/tasks/compress_data" in result.stdout


def test_diff_shows_the_changes_and_tells_by_its_exit_code(store, folder):
    fill(store)
    result = run("diff", folder)
    assert result.exit_code == 1
    assert '-  "image": "old"' in result.stdout
    assert '+  "image": "new"' in result.stdout
    assert f"only in the store: {ROOT}/v2/b/tasks/compress_data" in result.stdout
    assert run("push", folder).exit_code == 0
    assert told(run("diff", folder, "--json"))["diffs"] == {}


def test_list_counts_the_presets_of_each_job_type(store):
    fill(store)
    assert told(run("list", "--json")) == {"a": 2, "b": 1}
    assert "a" in run("list").stdout


def test_show_prints_what_a_job_type_uses_with_secrets_hidden(store):
    fill(store)
    store.write(f"{ROOT}/v2/default/tasks/compress_data", '{"image": "default"}')
    store.write(
        f"{ROOT}/v2/default/tasks/check_metadata_files", '{"job_settings": {"token": "hunter2"}}'
    )
    shown = told(run("show", "a", "--json"))
    assert shown == {
        f"{ROOT}/v2/a/tasks/compress_data": {"image": "old"},
        f"{ROOT}/v2/a/tasks/upload_data_to_s3": {"image": "same"},
        f"{ROOT}/v2/default/tasks/check_metadata_files": {"job_settings": {"token": "***"}},
    }
    assert f"{ROOT}/v2/a/tasks/compress_data" in run("show", "a").stdout


def test_show_names_the_known_job_types_for_an_unknown_one(store):
    fill(store)
    result = run("show", "zzz")
    assert result.exit_code == 1
    assert "known are a, b" in result.stderr


def test_the_seeds_of_this_project_are_what_is_pushed_without_a_folder(store):
    created = told(run("push", "--json"))["created"]
    assert f"{ROOT}/v2/default/tasks/remove_source_folders" in created


def test_another_prefix_is_another_place(store, folder):
    assert told(run("push", folder, "--prefix", f"{ROOT}_2/", "--json"))["created"]
    assert store.read_tree(ROOT) == {}
    assert len(store.read_tree(f"{ROOT}_2")) == 3


def test_a_missing_folder_is_said_plainly(store, tmp_path):
    result = run("push", tmp_path / "none")
    assert result.exit_code == 1
    assert "no folder of presets" in result.stderr
