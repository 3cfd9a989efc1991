"""The tasks of `ingest_postgres`, each by itself, on real stores."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.catalog.report import DatasetReport
from include.catalog.request import DAG_ID, defaults
from include.clients.runs_bucket import RunsBucket, found_key, plan_key, report_key
from include.errors import (
    AccessDenied,
    BucketNotFound,
    DatabaseRefused,
    InvalidInput,
    NotFound,
    RunIncomplete,
    ServiceUnavailable,
)
from include.local import connections as to
from include.local.postgres import Postgres
from include.local.services import S3, ParameterStore
from include.operators import ingesting
from include.operators.base import STOPPED
from include.operators.ingest_datasets import ImportDatasetOperator
from include.operators.ingest_depositions import ImportDepositionsOperator
from include.operators.ingest_planning import PlanIngestOperator
from include.operators.ingest_report import ReportIngestOperator
from include.operators.runs import run_key
from include.settings import settings
from tests.catalog.conftest import catalog_template, catalog_url  # noqa: F401  fixtures
from tests.catalog.lab import TREE
from tests.operators.conftest import Buckets
from tests.operators.fakes import TaskInstance

RUN_AFTER = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)

DATES = {
    "deposition_date": "2025-01-01", "release_date": "2025-01-02", "last_modified_date": "2025-01-03",
}  # fmt: skip


def deposition(number: int) -> dict[str, Any]:
    return {
        "deposition_identifier": number,
        "deposition_title": f"Deposition {number}",
        "deposition_description": "d",
        "dates": DATES,
        "authors": [{"name": "A", "primary_author_status": True}],
        "deposition_types": ["dataset"],
    }


def dataset(number: int) -> dict[str, Any]:
    return {
        "dataset_identifier": number,
        "dataset_title": f"Dataset {number}",
        "dataset_description": "d",
        "deposition_id": 300,
        "dates": DATES,
        "organism": {"name": "mouse", "taxonomy_id": 10090},
        "sample_type": "cell",
        "authors": [{"name": "A"}, {"name": "B"}],
    }


@pytest.fixture
def presets(parameter_store_server: ParameterStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where presets can be put, below a prefix of this test."""
    connection = to.parameter_store_connection(parameter_store_server)
    monkeypatch.setenv(*to.as_variable("assetflow_parameter_store", connection))
    prefix = f"/test-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("ASSETFLOW_PRESET_PREFIX", prefix)
    settings.cache_clear()
    client = parameter_store_server.client()
    return lambda name, content: client.put_parameter(
        Name=f"{prefix}/{DAG_ID}/{name}", Value=json.dumps(content), Type="String"
    )


@pytest.fixture
def catalog(
    catalog_url: str,  # noqa: F811
    postgres_server: Postgres,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Address of an empty, migrated database, with the connection that leads there."""
    name = catalog_url.rpartition("/")[2]
    target = {**to.postgres_connection(postgres_server), "schema": name}
    monkeypatch.setenv(*to.as_variable("assetflow_postgres", target))
    return catalog_url


@dataclass
class Portal:
    """A bucket and a catalog."""

    stores: Buckets
    url: str

    @property
    def bucket(self) -> str:
        return self.stores.private

    def put(self, key: str, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.stores.put(key, body)

    def rows(self, statement: str) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(statement).fetchall()

    def run(self, **params: Any) -> IngestRun:
        return IngestRun(self, {"s3_bucket": self.bucket, "import_everything": True, **params})


@pytest.fixture
def portal(deployment: Buckets, catalog: str, presets: Any) -> Portal:
    """Two small datasets of one deposition."""
    found = Portal(deployment, catalog)
    for number in (300, 301):
        found.put(f"depositions_metadata/{number}/deposition_metadata.json", deposition(number))
    for number in (1, 2):
        found.put(f"{number}/dataset_metadata.json", dataset(number))
        found.put(f"{number}/RUN1/run_metadata.json", {"run_name": "RUN1"})
    return found


class IngestRun:
    """One run, its tasks called one after another as Airflow would."""

    def __init__(self, portal: Portal, params: Mapping[str, Any]) -> None:
        self.portal = portal
        self.dag_run = SimpleNamespace(
            dag_id=DAG_ID,
            run_id=f"manual__{uuid.uuid4()}",
            run_after=RUN_AFTER,
            clear_number=None,
        )
        self.params = {**defaults(), **params}

    def context(self, task_id: str, try_number: int = 4) -> Any:
        ti = TaskInstance(task_id, try_number=try_number)  # the last try, unless told otherwise
        return {"ti": ti, "dag_run": self.dag_run, "params": self.params}

    def plan(self) -> list[dict[str, str]]:
        return PlanIngestOperator(task_id="plan_run").execute(self.context("plan_run"))

    def depositions(self) -> dict[str, Any]:
        return ImportDepositionsOperator(task_id="d").execute(self.context("d"))

    def dataset(
        self,
        slice_name: str,
        *,
        try_number: int = 4,
        operator: type[ImportDatasetOperator] | None = None,
    ) -> dict[str, Any]:
        made = (operator or ImportDatasetOperator)(task_id="import_dataset", slice_name=slice_name)
        return made.execute(self.context("import_dataset", try_number))

    def report(self) -> dict[str, Any]:
        return ReportIngestOperator(task_id="report_run").execute(self.context("report_run"))

    def whole(self) -> dict[str, Any]:
        for one in self.plan():
            self.dataset(**one)
        return self.report()

    def kept(self, key: Any, *name: str) -> Any:
        runs = self.portal.stores.runs_bucket
        return runs.find(key(DAG_ID, run_key(self.context("any")), *name))


def test_a_run_imports_and_the_next_finds_everything_unchanged(portal: Portal):
    first = portal.run()
    assert first.plan() == [{"slice_name": "1"}, {"slice_name": "2"}]
    result = first.whole()
    assert (result["asked"], result["done"], result["failed"]) == (2, 2, 0)
    assert result["tables"]["dataset"]["created"] == 2
    assert portal.rows("SELECT id, https_prefix FROM dataset ORDER BY id") == [
        (1, "https://files.cryoetdataportal.cziscience.com/1/"),
        (2, "https://files.cryoetdataportal.cziscience.com/2/"),
    ]
    assert first.kept(report_key)["tables"] == result["tables"]
    again = portal.run()
    result = again.whole()
    assert (result["done"], result["unchanged"]) == (0, 2)
    assert again.kept(report_key)["lines"] == []


def test_the_portals_own_test_files_are_imported(portal: Portal, s3_server: S3, bucket: str):
    client = s3_server.client()
    for path in (found for found in TREE.rglob("*") if found.is_file()):
        key = str(path.relative_to(TREE))
        client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    first = portal.run(s3_bucket=bucket, filter_datasets=["30001/"], deposition_ids=[300])
    slices = first.plan()
    assert first.depositions()["deposition"]["created"] == 1
    for one in slices:
        first.dataset(**one)
    tables = first.report()["tables"]
    assert tables["run"]["created"] == len(portal.rows("SELECT id FROM run")) > 0
    assert tables["tomogram"]["created"] > 0
    again = portal.run(s3_bucket=bucket, filter_datasets=["30001"])
    assert again.whole()["unchanged"] == 1


def test_a_dry_run_counts_and_writes_nothing(portal: Portal):
    result = portal.run(dry_run=True).whole()
    assert result["tables"]["dataset"]["created"] == 2
    assert portal.rows("SELECT id FROM dataset") == []


def test_the_settings_are_defaults_under_the_preset_under_the_conf(portal: Portal, presets: Any):
    presets("default", {"import_everything": True, "anonymous": True, "max_deleted_rows": 5})

    def request(**params: Any) -> Any:
        asked = IngestRun(portal, params)
        return PlanIngestOperator(task_id="plan_run").request(asked.context("plan_run"))

    usual = request()
    assert (usual.anonymous, usual.max_deleted_rows) == (True, 5)
    assert usual.s3_bucket == settings().open_bucket
    assert "annotations" in usual.parts
    assert "annotations" not in request(import_gains=True).parts
    assert request(import_everything=False).parts == {"datasets", "depositions"}
    assert request(max_deleted_rows=7).max_deleted_rows == 7


def test_the_address_of_files_is_the_deployments(portal: Portal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASSETFLOW_CATALOG_HTTPS_PREFIX", "https://foo.com/")
    settings.cache_clear()
    portal.run(filter_datasets=["1"]).whole()
    assert portal.rows("SELECT https_prefix FROM dataset") == [("https://foo.com/1/",)]


def test_a_database_of_another_version_is_refused_with_the_command(
    portal: Portal, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
):
    empty = {**to.postgres_connection(postgres_server), "schema": "postgres"}
    monkeypatch.setenv(*to.as_variable("assetflow_postgres", empty))
    with pytest.raises(InvalidInput, match="assetflow catalog migrate"):
        portal.run().plan()


def test_without_a_connection_it_says_which_is_missing(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("AIRFLOW_CONN_ASSETFLOW_POSTGRES")
    with pytest.raises(InvalidInput, match="AIRFLOW_CONN_ASSETFLOW_POSTGRES"):
        portal.run().plan()


def test_depositions_that_were_asked_for_are_imported_each_by_itself(portal: Portal):
    asked = portal.run(deposition_ids=[301, 999])
    asked.plan()
    with pytest.raises(RunIncomplete, match="depositions_metadata/999/"):
        asked.depositions()
    assert portal.rows("SELECT id FROM deposition") == [(301,)]
    for name in ("1", "2"):
        asked.dataset(name)
    with pytest.raises(RunIncomplete, match="depositions_metadata/999/"):
        asked.report()
    kept = asked.kept(report_key)
    assert (kept["asked"], kept["done"], kept["failed"]) == (4, 3, 1)


def test_without_depositions_their_task_is_skipped(portal: Portal):
    asked = portal.run(import_depositions=True)
    asked.plan()
    with pytest.raises(AirflowSkipException):
        asked.depositions()


def test_a_broken_document_is_red_by_name_and_the_other_dataset_is_done(portal: Portal):
    portal.put("1/dataset_metadata.json", b'{"cut')
    asked = portal.run()
    asked.plan()
    with pytest.raises(RunIncomplete, match=r"1/dataset_metadata\.json"):
        asked.dataset("1")
    asked.dataset("2")
    with pytest.raises(RunIncomplete, match=r"1/dataset_metadata\.json"):
        asked.report()
    assert portal.rows("SELECT id FROM dataset") == [(2,)]
    assert asked.kept(report_key)["failed"] == 1


def test_a_dataset_that_is_not_there_is_red_by_name(portal: Portal):
    asked = portal.run(filter_datasets=["1", "7"])
    with pytest.raises(RunIncomplete, match="7: there is no such dataset"):
        asked.whole()
    assert portal.rows("SELECT id FROM dataset") == [(1,)]


def test_a_bucket_that_is_not_there_ends_the_run(portal: Portal):
    asked = portal.run(s3_bucket="misspelt-bucket")
    with pytest.raises(BucketNotFound):
        asked.plan()
    with pytest.raises(RunIncomplete, match="plan_run failed"):
        asked.report()
    with pytest.raises(NotFound, match="plan of this run is gone"):
        asked.dataset("1")


def test_deleted_rows_are_in_the_journal(portal: Portal):
    portal.run().whole()
    portal.stores.boto.delete_object(Bucket=portal.bucket, Key="1/RUN1/run_metadata.json")
    portal.put("1/RUN2/run_metadata.json", {"run_name": "RUN2"})
    second = portal.run(filter_datasets=["1"])
    assert second.whole()["tables"]["run"] == {
        "created": 1, "updated": 0, "unchanged": 0, "deleted": 1, "stale": 0,
    }  # fmt: skip
    report = second.kept(found_key, "dataset-1")
    (key,) = report["journal_keys"]
    kept = portal.stores.runs_bucket.read(key)
    assert kept["subject"] == f"s3://{portal.bucket}/1/"
    assert [row["name"] for row in kept["rows"]["run"]] == ["RUN1"]


def test_limits_hold_deletions_back_and_that_is_red(portal: Portal):
    portal.run().whole()
    portal.stores.boto.delete_object(Bucket=portal.bucket, Key="1/RUN1/run_metadata.json")
    portal.put("1/RUN2/run_metadata.json", {"run_name": "RUN2"})
    limited = portal.run(filter_datasets=["1"], max_deleted_rows=0)
    with pytest.raises(RunIncomplete, match="max_deleted_rows 0"):
        limited.whole()
    with pytest.raises(RunIncomplete, match="max_deleted_rows 0"):
        limited.report()
    assert len(portal.rows("SELECT id FROM run")) == 3


def test_a_dataset_whose_task_was_lost_is_told_until_it_is_imported(portal: Portal):
    asked = portal.run()
    asked.plan()
    asked.dataset("1")
    with pytest.raises(RunIncomplete, match=f"s3://{portal.bucket}/2/: was not imported"):
        asked.report()
    asked.dataset("2")
    assert asked.report()["done"] == 2


class Failing:
    """An importer for which the database is away for one dataset."""

    def __init__(self, real: Any, error: Exception) -> None:
        self.real, self.error = real, error

    def import_dataset(self, folder: Any) -> Any:
        if folder.name == "1":
            raise self.error
        return self.real.import_dataset(folder)


@pytest.mark.parametrize("error", [ServiceUnavailable("away"), KeyError("a bug")])
def test_very_many_datasets_share_a_task_and_one_that_fails_stops_no_other(
    portal: Portal, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    monkeypatch.setattr("include.catalog.run_plan.MOST_ALONE", 1)
    monkeypatch.setattr("include.catalog.run_plan.SHARES", 1)
    asked = portal.run()
    (one,) = asked.plan()
    assert one == {"slice_name": "1 … 2 (2)"}
    real = ingesting.IngestOperator.importer
    with monkeypatch.context() as patch:
        patch.setattr(ingesting.IngestOperator, "importer", lambda *at: Failing(real(*at), error))
        with pytest.raises(type(error)):
            asked.dataset(**one, try_number=1)
        assert portal.rows("SELECT id FROM dataset") == [(2,)]
        with pytest.raises(RunIncomplete, match=f"/1/: was not imported: {type(error).__name__}"):
            asked.dataset(**one)
        with pytest.raises(RunIncomplete, match=type(error).__name__):
            asked.report()
    asked.dataset(**one)
    assert asked.report()["failed"] == 0
    assert len(asked.kept(plan_key)["slices"]) == 1


class Instead(ImportDatasetOperator):
    """Imports with what the class holds, not with an importer."""

    outcome: ClassVar[Any]

    def importer(self, plan: Any, context: Any) -> Any:
        def import_dataset(folder: Any) -> Any:
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            return self.outcome

        return SimpleNamespace(import_dataset=import_dataset)


def ends_with(outcome: Any) -> type[Instead]:
    """An operator all of whose imports end so."""
    return type("Ending", (Instead,), {"outcome": outcome})


def change_runs(portal: Portal) -> None:
    """Let one run of dataset 1 take the place of the other."""
    portal.stores.boto.delete_object(Bucket=portal.bucket, Key="1/RUN1/run_metadata.json")
    portal.put("1/RUN2/run_metadata.json", {"run_name": "RUN2"})


def test_a_second_try_adds_to_what_the_first_one_did(portal: Portal):
    portal.run().whole()
    change_runs(portal)
    asked = portal.run(filter_datasets=["1"])
    asked.plan()
    first = asked.dataset("1")
    kept = asked.kept(found_key, "dataset-1")
    assert (first["run"]["created"], first["run"]["deleted"]) == (1, 1)
    assert asked.dataset("1") == first
    again = asked.kept(found_key, "dataset-1")
    assert again["tables"] == kept["tables"]
    assert again["journal_keys"] == kept["journal_keys"] != []
    assert asked.report()["done"] == 1


def test_a_try_that_fails_or_is_killed_hides_nothing_of_an_earlier_one(portal: Portal):
    asked = portal.run(filter_datasets=["1"])
    asked.plan()
    asked.dataset("1")
    for outcome in (ServiceUnavailable("away"), SystemExit("killed")):
        with pytest.raises(type(outcome)):
            asked.dataset("1", try_number=1, operator=ends_with(outcome))
        with pytest.raises(RunIncomplete, match="/1/: was not imported: "):
            asked.report()
        assert asked.kept(report_key)["tables"]["run"]["created"] == 1
    assert asked.dataset("1")["run"]["created"] == 1
    assert asked.report()["done"] == 1


def test_a_run_that_was_cleared_counts_anew(portal: Portal):
    asked = portal.run(filter_datasets=["1"])
    assert asked.whole()["done"] == 1
    asked.dag_run.clear_number = 1
    assert asked.whole()["unchanged"] == 1
    assert asked.kept(report_key)["tables"]["run"] == {
        "created": 0, "updated": 0, "unchanged": 1, "deleted": 0, "stale": 0,
    }  # fmt: skip


def test_a_dry_run_that_is_tried_again_counts_once(portal: Portal):
    asked = portal.run(filter_datasets=["1"], dry_run=True)
    asked.plan()
    assert asked.dataset("1") == asked.dataset("1")


def test_an_import_removes_nothing_from_the_runs_bucket(portal: Portal):
    """The role of the tasks may delete claims and nothing else."""
    deleted: list[str] = []

    class Watched(ImportDatasetOperator):
        @cached_property
        def runs_bucket(self) -> Any:
            class Bucket(RunsBucket):
                def delete(self, key: str, *, if_match: str | None = None) -> None:
                    deleted.append(key)

            return Bucket(portal.stores.s3, portal.stores.runs_bucket.bucket)

    asked = portal.run(filter_datasets=["1"])
    asked.plan()
    for _ in range(2):
        asked.dataset("1", operator=Watched)
    assert deleted == []


@pytest.mark.parametrize(
    ("try_number", "may_pass", "raised"),
    [
        (1, True, ServiceUnavailable),
        (4, True, RunIncomplete),
        (1, False, RunIncomplete),
    ],
)
def test_documents_that_may_be_readable_later_are_tried_again(
    portal: Portal, try_number: int, may_pass: bool, raised: type[Exception]
):
    asked = portal.run(filter_datasets=["1"])
    asked.plan()
    problem = "s3://x/1/RUN1/run_metadata.json: ServiceUnavailable: 503"
    outcome = DatasetReport(subject="s3://x/1/", problems=(problem,), may_pass=may_pass)
    with pytest.raises(raised, match="ServiceUnavailable: 503"):
        asked.dataset("1", try_number=try_number, operator=ends_with(outcome))
    assert asked.kept(found_key, "dataset-1")["problems"] == [problem]


def test_what_was_wrong_before_an_import_ended_is_in_its_report(portal: Portal):
    asked = portal.run(filter_datasets=["1"])
    asked.plan()
    error = DatabaseRefused("no")
    error.add_note("s3://x/1/RUN1/run_metadata.json: run_name: is missing")
    with pytest.raises(RunIncomplete, match="run_name: is missing"):
        asked.dataset("1", operator=ends_with(error))


@pytest.mark.parametrize(
    ("params", "is_told"),
    [
        ({"s3_prefix": "9", "exclude_datasets": ["7"]}, True),
        ({"match_datasets": ["9"], "exclude_datasets": ["7"]}, True),
        ({"exclude_datasets": [".*"]}, False),
        ({"match_datasets": ["1"], "exclude_datasets": ["1"]}, False),
    ],
)
def test_that_nothing_was_asked_for_is_told_unless_it_was_left_out(
    portal: Portal, params: dict[str, Any], is_told: bool
):
    asked = portal.run(**params)
    assert asked.plan() == []
    if is_told:
        with pytest.raises(RunIncomplete, match="there is no dataset that was asked for"):
            asked.report()
    else:
        assert asked.report()["asked"] == 0


def test_a_public_bucket_is_read_without_credentials(portal: Portal):
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{portal.bucket}", f"arn:aws:s3:::{portal.bucket}/*"],
    }
    with pytest.raises(AccessDenied):  # until it is public
        portal.run(anonymous=True).plan()
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    portal.stores.boto.put_bucket_policy(Bucket=portal.bucket, Policy=policy)
    assert portal.run(anonymous=True).whole()["done"] == 2


def test_a_task_that_is_stopped_ends(portal: Portal):
    with pytest.raises(SystemExit, match=STOPPED):
        ImportDatasetOperator(task_id="x", slice_name="1").on_kill()
