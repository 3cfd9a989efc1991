"""What must never break in a DAG file: it imports, quickly; it explains itself; it protects data."""

from __future__ import annotations

import ast
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import TriggerRule

from include.acquisitions.pipeline import TASKS
from include.errors import AccessDenied, AssetBusy, InvalidInput, PermanentError, ServiceUnavailable

ROOT = Path(__file__).parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))

PIPELINE = "transform_and_upload_v2"

HEAVY = (
    "aind_data_schema",
    "aind_data_schema_models",
    "airflow.providers.amazon.aws",
    "airflow.providers.mongo.hooks",
    "airflow.providers.smtp.hooks",
    "awscrt",
    "boto3",
    "botocore",
    "codeocean",
    "fastapi",
    "httpx",
    "numpy",
    "obstore",
    "pandas",
    "pymongo",
    "requests",
    "zarr",
)
"""Libraries that a DAG file must not load: it is parsed again every half minute, and by every task."""

FORMER_HOMES = ("airflow.models", "airflow.decorators", "airflow.operators", "airflow.utils")
"""Where DAG authors found things before Airflow 3; they are in ``airflow.sdk`` now."""

WHAT_A_FILE_LOADS = """
import importlib.util, json, sys, time
import airflow.sdk
from airflow.sdk import DAG, Param, dag, chain, BaseOperator, BaseNotifier, BaseHook, ExceptionRetryPolicy
before = set(sys.modules)
started = time.perf_counter()
spec = importlib.util.spec_from_file_location("a_dag_file", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(json.dumps({"parse_s": time.perf_counter() - started, "loaded": sorted(set(sys.modules) - before)}))
"""


@pytest.fixture(scope="module")
def dagbag() -> DagBag:
    return DagBag(ROOT / "dags")


@pytest.fixture(scope="module")
def pipeline(dagbag: DagBag) -> Any:
    return dagbag.dags[PIPELINE]


@pytest.fixture(scope="module", params=DAG_FILES, ids=lambda path: path.name)
def dag_file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_file_imports_and_gives_a_dag(dagbag: DagBag):
    assert dagbag.import_errors == {}
    assert {Path(dag.fileloc).name for dag in dagbag.dags.values()} == {
        path.name for path in DAG_FILES
    }


def test_a_dag_file_loads_no_heavy_library(
    dag_file: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
):
    answer = subprocess.run(
        [sys.executable, "-c", WHAT_A_FILE_LOADS, str(dag_file)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(answer.stdout.splitlines()[-1])
    outside = sorted({
        name.partition(".")[0]
        for name in found["loaded"]
        if name.partition(".")[0] not in sys.stdlib_module_names | {"airflow", "include"}
    })
    record_property("parse_s", found["parse_s"])
    record_property("loads", outside)
    with capsys.disabled():
        print(f"\n{dag_file.name}: parsed in {found['parse_s']:.3f} s; loads {outside}")  # noqa: T201
    heavy = [
        name
        for name in found["loaded"]
        if any(name == library or name.startswith(f"{library}.") for library in HEAVY)
    ]
    assert heavy == []


def test_a_dag_file_takes_everything_of_airflow_from_the_sdk(dag_file: Path):
    former = [name for name in imports(dag_file) if name.startswith(FORMER_HOMES)]
    assert former == []


def test_nothing_is_looked_up_while_a_dag_file_is_read(dag_file: Path):
    tree = ast.parse(dag_file.read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & {"environ", "getenv", "get_connection"}
    assert not any(name.endswith(("Variable", "Connection")) for name in imports(dag_file))


def test_every_dag_says_what_to_do_when_it_is_red(dagbag: DagBag):
    for dag in dagbag.dags.values():
        assert "**If it is red:**" in (dag.doc_md or ""), dag.dag_id
        assert dag.tags, dag.dag_id


def test_every_dag_whose_params_have_defaults_can_be_started_without_conf(dagbag: DagBag):
    for dag in dagbag.dags.values():
        if all(dag.params.get_param(name).has_value for name in dag.params):
            dag.params.validate()


def test_the_named_tasks_are_the_documented_ones_in_their_order(pipeline: Any):
    order = [task.task_id for task in pipeline.topological_sort()]
    assert order == ["plan_run", *TASKS, "report_run"]
    for earlier, later in itertools.pairwise(order):
        assert later in pipeline.get_task(earlier).downstream_task_ids


def test_a_skipped_task_never_skips_what_comes_after_it(pipeline: Any):
    rules = {
        task.task_id: task.trigger_rule for task in pipeline.tasks if task.task_id != "report_run"
    }
    assert set(rules.values()) == {TriggerRule.NONE_FAILED}
    assert {"compress_data", "run_codeocean_pipeline"} < rules.keys()


@pytest.mark.parametrize("task_id", ["compress_data", "run_codeocean_pipeline"])
def test_modalities_are_worked_on_beside_each_other(pipeline: Any, task_id: str):
    assert pipeline.get_task(task_id).is_mapped


@pytest.mark.parametrize(
    "before", ["upload_data_to_s3", "register_data_asset_to_codeocean", "update_docdb_record"]
)
def test_sources_are_removed_only_after_the_asset_is_safe_and_known(pipeline: Any, before: str):
    removal = pipeline.get_task("remove_source_folders")
    assert before in removal.get_flat_relative_ids(upstream=True)


def test_the_report_comes_after_every_task_however_it_ended(pipeline: Any):
    report = pipeline.get_task("report_run")
    assert report.upstream_task_ids == {"plan_run", *TASKS}
    assert report.is_teardown
    assert report.trigger_rule in {TriggerRule.ALL_DONE, TriggerRule.ALL_DONE_SETUP_SUCCESS}
    assert report.on_failure_fail_dagrun


@pytest.mark.parametrize("task_id", ["plan_run", *TASKS, "report_run"])
def test_a_task_is_tried_again_unless_a_person_has_to_change_something(pipeline: Any, task_id: str):
    task = pipeline.get_task(task_id)
    policy = task.retry_policy
    assert task.retries == 3
    for error in (AccessDenied("403"), AssetBusy("busy")):
        decision = policy.evaluate(error, 1, 3)
        assert decision.action.value == "fail"
    assert policy.evaluate(ServiceUnavailable("503"), 1, 3).action.value != "fail"
    assert issubclass(InvalidInput, PermanentError)


@pytest.mark.parametrize("task_id", ["plan_run", *TASKS])
def test_the_owner_is_told_of_every_failure_and_retry(pipeline: Any, task_id: str):
    task = pipeline.get_task(task_id)
    told = {
        "fail": [callback.event for callback in task.on_failure_callback],
        "retry": [callback.event for callback in task.on_retry_callback],
    }
    assert told == {"fail": ["fail"], "retry": ["retry"]}


def test_the_report_of_a_failure_is_no_failure_to_tell_of(pipeline: Any):
    assert not pipeline.get_task("report_run").on_failure_callback


def test_fifty_jobs_of_one_request_can_run_at_once(pipeline: Any):
    assert pipeline.max_active_runs >= 50
