"""The tasks of `index_buckets`, each by itself, on real stores."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.assets.claim import IndexedBucket, RunIdentity, acquire, claim_key
from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.assets.record import iso_moment
from include.clients.runs_bucket import (
    found_key,
    history_key,
    plan_key,
    removals_key,
    report_key,
)
from include.clients.s3 import S3Client
from include.errors import InvalidInput, RunIncomplete
from include.hooks.docdb import docdb_hook
from include.indexing.history import BucketHistory, HistoryRow
from include.indexing.request import DAG_ID, defaults
from include.local import connections as to
from include.local.services import ParameterStore
from include.operators import index_planning, index_slices, indexing
from include.operators.index_planning import PlanIndexRunOperator
from include.operators.index_removals import RemoveMissingOperator
from include.operators.index_report import ReportIndexRunOperator
from include.operators.index_slices import IndexSliceOperator
from include.operators.runs import run_key
from include.settings import settings
from tests.operators.conftest import Buckets
from tests.operators.fakes import TaskInstance

RUN_AFTER = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
RUN_KEY = "20261125T200000Z_"

pytestmark = pytest.mark.usefixtures("docdb", "no_other_run")


@pytest.fixture
def no_other_run(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Runs that Airflow calls active: none, or those that a test adds."""
    active: set[str] = set()
    for module in (indexing, index_planning):
        monkeypatch.setattr(module, "is_active", lambda _, run_id: run_id in active)
    return active


@pytest.fixture(autouse=True)
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


class IndexRun:
    """One run, its tasks called one after another as Airflow would."""

    def __init__(self, run_id: str = "manual__1", run_type: str = "manual", **params: Any) -> None:
        self.run_id = run_id
        self.dag_run = SimpleNamespace(
            dag_id=DAG_ID, run_id=run_id, run_after=RUN_AFTER, run_type=run_type
        )
        self.params = {**defaults(), **params}
        self.states: dict[str, str | None] = {}
        self._slices: list[dict[str, str]] = []

    def context(self, task_id: str) -> Any:
        ti = TaskInstance(task_id, try_number=4)  # the last try
        ti.states = self.states
        return {"ti": ti, "dag_run": self.dag_run, "params": self.params}

    def execute(self, operator: Any, instance: str) -> Any:
        """Run one task instance; Airflow has its state afterwards."""
        self.states[instance] = "failed"
        answer = operator.execute(self.context(operator.task_id))
        self.states[instance] = "success"
        return answer

    def plan(self) -> list[dict[str, str]]:
        self.states.clear()
        self._slices = self.execute(PlanIndexRunOperator(task_id="plan_run"), "plan_run")
        return self._slices

    def examine(self, *slices: dict[str, str]) -> list[dict[str, Any]]:
        return [
            self.execute(
                IndexSliceOperator(task_id="index_slice", **one),
                f"index_slice_{self._slices.index(one)}",
            )
            for one in slices
        ]

    def remove(self) -> dict[str, Any]:
        return self.execute(RemoveMissingOperator(task_id="remove_missing"), "remove_missing")

    def report(self) -> dict[str, Any]:
        return ReportIndexRunOperator(task_id="report_run").execute(self.context("report_run"))

    def whole(self) -> dict[str, Any]:
        self.examine(*self.plan())
        self.remove()
        return self.report()

    @property
    def key(self) -> str:
        return run_key(self.context("any"))


def run(deployment: Buckets, **how: Any) -> IndexRun:
    return IndexRun(s3_buckets=[deployment.private], **how)


def records() -> Any:
    return docdb_hook(Generation.V1).bulk._records


def record(deployment: Buckets, name: str, **fields: Any) -> None:
    records().insert_one({
        "name": name,
        "location": f"s3://{deployment.private}/{name}",
        "last_modified": "2026-11-20T00:00:00.000000Z",
        **fields,
    })


def test_a_run_is_red_or_green_by_its_report_and_leaves_what_people_ask_for(deployment: Buckets):
    record(deployment, "one", subject={"a": 1})
    deployment.put("one/data.bin")
    first = run(deployment)
    counts = first.whole()[deployment.private]
    assert (counts["done"], counts["failed"], counts["drift"]) == (1, 0, 1)
    assert first.key.startswith(RUN_KEY)
    runs = deployment.runs_bucket
    assert runs.read(report_key(DAG_ID, first.key))["buckets"][0]["done"] == 1
    (row,) = runs.read(history_key(DAG_ID, deployment.private))["rows"]
    assert (row["run_id"], row["drift"], row["is_whole"]) == ("manual__1", 1, True)
    assert runs.find(claim_key(IndexedBucket(deployment.private))) is None


def test_the_settings_are_defaults_under_the_preset_under_the_conf(
    deployment: Buckets, presets: Any
):
    presets("weekly", {"lookback_days": 30, "n_partitions": 7, "max_removals": 1})
    asked = run(deployment, preset="weekly", max_removals=5)
    request = PlanIndexRunOperator(task_id="plan_run").request(asked.context("plan_run"))
    assert (request.lookback_days, request.n_partitions, request.max_removals) == (30, 7, 5)


def test_a_preset_that_is_not_there_or_wrong_is_told(deployment: Buckets, presets: Any):
    with pytest.raises(InvalidInput, match="there is no preset"):
        run(deployment, preset="weakly").plan()
    presets("default", {"lookback": 3})
    with pytest.raises(InvalidInput, match="did you mean lookback_days"):
        run(deployment).plan()


def test_no_buckets_named_are_those_of_the_deployment(deployment: Buckets):
    asked = IndexRun()
    request = PlanIndexRunOperator(task_id="plan_run").request(asked.context("plan_run"))
    assert request.s3_buckets == [settings().open_bucket, deployment.private]


def test_a_bucket_that_another_run_indexes_is_left_out_and_told(
    deployment: Buckets, no_other_run: set[str]
):
    other = RunIdentity(dag_id=DAG_ID, run_id="other")
    acquire(deployment.runs_bucket, IndexedBucket(deployment.private), other, lambda *_: True)
    no_other_run.add("other")
    second = run(deployment)
    assert second.plan() == []
    with pytest.raises(RunIncomplete, match="is being worked on by index_buckets / other"):
        second.report()
    no_other_run.clear()  # it has ended: its claim is taken over
    third = run(deployment, run_id="manual__3")
    third.plan()
    held = deployment.runs_bucket.read(claim_key(IndexedBucket(deployment.private)))
    assert held["run_id"] == "manual__3"


@pytest.mark.parametrize("is_known", [True, False], ids=["with a record", "without a record"])
def test_an_asset_that_an_upload_holds_is_left_alone(
    deployment: Buckets, no_other_run: set[str], *, is_known: bool
):
    deployment.put("busy/metadata.nd.json", b'{"subject": {"a": 1}}')
    if is_known:
        record(deployment, "busy", subject={"a": 2})
    upload = RunIdentity(dag_id="transform_and_upload_v2", run_id="upload")
    location = AssetLocation(deployment.private, "busy")
    acquire(deployment.runs_bucket, location, upload, lambda *_: True)
    no_other_run.add("upload")
    counts = run(deployment).whole()[deployment.private]
    assert (counts["done"], counts["failed"]) == (0, 0)
    assert deployment.keys() == ["busy/metadata.nd.json"]
    no_other_run.clear()
    again = run(deployment, run_id="manual__2")
    assert again.whole()[deployment.private]["done"] == 1


def test_a_dry_run_holds_nothing_and_writes_no_history(deployment: Buckets):
    record(deployment, "one", subject={"a": 1})
    deployment.put("one/data.bin")
    dry = run(deployment, dry_run=True)
    dry.whole()
    assert deployment.keys() == ["one/data.bin"]
    runs = deployment.runs_bucket
    assert runs.find(history_key(DAG_ID, deployment.private)) is None
    assert runs.find(claim_key(IndexedBucket(deployment.private))) is None
    (line,) = runs.read(report_key(DAG_ID, dry.key))["lines"]
    assert line["steps"] == [
        "write subject.json: there is none, and copy it",
        "write metadata.nd.json: there is none",
    ]


def history_of(deployment: Buckets, full_pass_at: datetime) -> None:
    row = HistoryRow(
        run_id="x", run_key="x", started_at=full_pass_at, ended_at=full_pass_at, full_pass=True,
        is_whole=True, asked=0, drift=0, done=0, failed=0, skipped=0,
    )  # fmt: skip
    history = BucketHistory(bucket=deployment.private, rows=(row,))
    key = history_key(DAG_ID, deployment.private)
    deployment.runs_bucket.write(key, history.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("run_type", "days_ago", "is_full"),
    [
        pytest.param("scheduled", None, True, id="never before"),
        pytest.param("scheduled", 6.9, False, id="not yet due"),
        pytest.param("scheduled", 7.1, True, id="due"),
        pytest.param("manual", None, False, id="a person means the look-back that is given"),
    ],
)
def test_a_scheduled_run_makes_the_weekly_full_pass(
    deployment: Buckets, run_type: str, days_ago: float | None, *, is_full: bool
):
    record(deployment, "old", last_modified="2020-01-01T00:00:00.000000Z")
    deployment.put("old/data.bin")
    if days_ago is not None:
        history_of(deployment, datetime.now(UTC) - timedelta(days=days_ago))
    asked = run(deployment, run_type=run_type)
    asked.plan()
    plan = deployment.runs_bucket.read(plan_key(DAG_ID, asked.key))
    assert plan["buckets"][deployment.private]["full_pass"] is is_full
    halves = [one["half"] for one in plan["buckets"][deployment.private]["slices"]]
    assert ("records" in halves) is is_full


def test_a_slice_that_was_not_examined_keeps_every_record_of_its_bucket(deployment: Buckets):
    record(deployment, "gone")
    deployment.put("there/data.bin")
    half_done = run(deployment)
    slices = half_done.plan()
    assert len(slices) == 2
    half_done.examine(slices[0])
    with pytest.raises(RunIncomplete, match="1 of its slices were not examined"):
        half_done.remove()
    assert records().count_documents({}) == 1
    with pytest.raises(RunIncomplete, match="were not examined: it was killed or stopped"):
        half_done.report()
    half_done.examine(slices[1])
    assert half_done.remove()[deployment.private]["removed"] == {"records_removed": 1}
    half_done.report()


def test_a_cleared_run_says_the_same_again(deployment: Buckets):
    record(deployment, "gone")
    deployment.put("there/metadata.nd.json", b'{"a": 1}')
    cleared = run(deployment)
    slices = cleared.plan()
    cleared.examine(*slices)
    cleared.remove()
    cleared.remove()
    first = cleared.report()
    assert cleared.report() == first
    assert len(deployment.runs_bucket.read(history_key(DAG_ID, deployment.private))["rows"]) == 1


def test_a_cleared_run_does_not_believe_what_its_first_execution_found(deployment: Buckets):
    record(deployment, "one", subject={"a": 1})
    deployment.put("one/data.bin")
    cleared = run(deployment)
    cleared.whole()
    slices = cleared.plan()
    cleared.examine(slices[1])
    with pytest.raises(RunIncomplete, match="1 records were not examined"):
        cleared.report()


def test_a_slice_that_fails_when_it_is_cleared_is_lost_although_it_was_examined_before(
    deployment: Buckets, monkeypatch: pytest.MonkeyPatch
):
    record(deployment, "one", subject={"a": 1})
    deployment.put("one/data.bin")
    cleared = run(deployment)
    slices = cleared.plan()
    cleared.examine(*slices)
    cleared.remove()
    cleared.report()

    def fail(*_: Any) -> None:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr(IndexSliceOperator, "sync_records", fail)
        with pytest.raises(RuntimeError):
            cleared.examine(slices[0])
    with pytest.raises(RunIncomplete, match="not examined: RuntimeError: unforeseen"):
        cleared.report()


def test_a_cleared_run_that_cannot_be_planned_again_is_red(deployment: Buckets):
    record(deployment, "gone")
    deployment.put("there/data.bin")
    cleared = run(deployment)
    cleared.examine(*cleared.plan())
    cleared.params["preset"] = "not there"
    with pytest.raises(InvalidInput):
        cleared.plan()
    with pytest.raises(AirflowSkipException):
        cleared.remove()
    with pytest.raises(RunIncomplete, match="plan_run failed"):
        cleared.report()
    assert records().count_documents({}) == 1


def test_a_cleared_run_that_removes_nothing_any_more_says_nothing_of_removals(deployment: Buckets):
    record(deployment, "gone")
    deployment.put("there/data.bin")
    cleared = run(deployment, max_removals=0)
    cleared.examine(*cleared.plan())
    with pytest.raises(RunIncomplete, match="max_removals"):
        cleared.remove()
    records().delete_many({})
    cleared.whole()
    kept = deployment.runs_bucket.read(removals_key(DAG_ID, cleared.key, deployment.private))
    assert (kept["refused"], kept["proposed"]) == ("", {})


def test_removals_that_came_to_no_end_make_the_run_red(deployment: Buckets):
    deployment.put("there/data.bin")
    stopped = run(deployment)
    stopped.examine(*stopped.plan())
    stopped.states["remove_missing"] = "failed"
    with pytest.raises(RunIncomplete, match="remove_missing: it did not come to its end"):
        stopped.report()


@pytest.mark.parametrize("content", [[], {"bucket": 7}, {"bucket": "b", "rows": [{}]}], ids=str)
def test_a_history_that_cannot_be_read_stops_no_bucket_and_is_told(
    deployment: Buckets, content: Any
):
    record(deployment, "one", subject={"a": 1}, last_modified=iso_moment(datetime.now(UTC)))
    deployment.put("one/data.bin")
    key = history_key(DAG_ID, deployment.private)
    deployment.runs_bucket.write(key, content)
    scheduled = run(deployment, run_type="scheduled")
    with pytest.raises(RunIncomplete, match="is no history"):
        scheduled.whole()
    assert "one/subject.json" in set(deployment.keys())
    assert deployment.runs_bucket.read(key) == content
    assert deployment.runs_bucket.find(claim_key(IndexedBucket(deployment.private))) is None


def test_objects_at_the_top_of_a_bucket_do_not_make_it_empty(
    deployment: Buckets, monkeypatch: pytest.MonkeyPatch
):
    """A page of a thousand of them has no folder on it."""
    pages = lambda *_: iter([[], ["there"]])  # noqa: E731
    monkeypatch.setattr(S3Client, "iterate_folders", pages)
    asked = run(deployment)
    asked.plan()
    plan = deployment.runs_bucket.read(plan_key(DAG_ID, asked.key))
    assert plan["buckets"][deployment.private]["is_empty"] is False


def test_the_reason_of_a_slice_that_failed_is_in_the_report(
    deployment: Buckets, monkeypatch: pytest.MonkeyPatch
):
    from include.errors import ServiceUnavailable

    record(deployment, "one")
    deployment.put("one/data.bin")
    failing = run(deployment)
    slices = failing.plan()

    class Down:
        def __init__(self, *_: Any) -> None: ...

        @property
        def bulk(self) -> Any:
            raise ServiceUnavailable("DocDB does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(index_slices, "docdb_hook", Down)
        with pytest.raises(ServiceUnavailable):
            failing.examine(slices[0])
    failing.examine(slices[1])
    with pytest.raises(RunIncomplete, match="DocDB does not answer"):
        failing.report()


def test_without_a_plan_there_is_nothing_to_remove_or_report(deployment: Buckets):
    with pytest.raises(AirflowSkipException):
        run(deployment).remove()
    with pytest.raises(RunIncomplete, match="plan_run failed"):
        run(deployment).report()


def test_only_the_assets_asked_for_are_examined_and_that_is_no_full_pass(deployment: Buckets):
    for name in ("one", "two"):
        record(deployment, name, subject={"a": 1}, last_modified="2020")
        deployment.put(f"{name}/data.bin")
    only = run(deployment, assets=["two"], lookback_days=None)
    only.whole()
    written = {key.partition("/")[0] for key in deployment.keys() if "subject" in key}  # noqa: SIM118
    assert written == {"two"}
    (row,) = deployment.runs_bucket.read(history_key(DAG_ID, deployment.private))["rows"]
    assert (row["full_pass"], row["is_whole"]) == (False, False)


def test_the_journal_is_in_the_runs_bucket_before_anything_goes(deployment: Buckets):
    record(deployment, "gone", subject={"a": 1})
    deployment.put("there/data.bin")
    removing = run(deployment)
    removing.whole()
    (key,) = [key for key in deployment.runs_keys() if "/journal/" in key]
    (entry,) = deployment.runs_bucket.read(key)
    assert entry["record"]["subject"] == {"a": {"$numberInt": "1"}}
    told = deployment.runs_bucket.read(removals_key(DAG_ID, removing.key, deployment.private))
    assert told["journals"] == [key]
    found = deployment.runs_bucket.read(
        found_key(DAG_ID, removing.key, f"{deployment.private}-records-v1-0000")
    )
    assert found["removals"][0]["reason"] == "nothing is left of the asset in S3"
