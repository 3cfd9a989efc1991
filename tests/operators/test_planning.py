"""The task that settles every setting and takes hold of the asset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from include.acquisitions.plan import RunPlan
from include.assets.claim import RunIdentity, acquire, claim_key
from include.clients.runs_bucket import plan_key
from include.errors import AssetBusy, InvalidInput
from include.local import connections as to
from include.local.services import ParameterStore
from include.operators.base import run_identity
from include.operators.planning import PlanRunOperator
from tests.acquisitions.jobs import job_conf
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context


@pytest.fixture(autouse=True)
def presets(parameter_store_server: ParameterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection to a parameter store without presets of these job types."""
    connection = to.parameter_store_connection(parameter_store_server)
    monkeypatch.setenv(*to.as_variable("assetflow_parameter_store", connection))


def plan_run(**params: Any) -> RunPlan:
    context = make_context(None, "plan_run")
    context["params"] = job_conf(job_type="custom", **params)
    return RunPlan.model_validate(PlanRunOperator(task_id="plan_run").execute(context))


def test_the_plan_is_kept_and_the_asset_claimed(deployment: Buckets):
    plan = plan_run()
    assert plan.bucket == deployment.private
    kept = deployment.runs_bucket.read(plan_key(plan.dag_id, plan.run_key))
    assert RunPlan.model_validate(kept) == plan
    claim = deployment.runs_bucket.read(claim_key(plan.location))
    assert RunIdentity.model_validate(claim) == run_identity(plan)


def test_a_task_that_is_run_again_makes_the_same_plan(deployment: Buckets):
    assert plan_run() == plan_run()


def test_a_dry_run_plans_and_writes_nothing(deployment: Buckets):
    assert plan_run(dry_run=True).dry_run
    assert deployment.runs_keys() == []


def test_a_busy_asset_is_refused_before_anything_is_written(
    deployment: Buckets, monkeypatch: pytest.MonkeyPatch
):
    location = plan_run(dry_run=True).location
    acquire(
        deployment.runs_bucket, location, RunIdentity(dag_id="d", run_id="other"), lambda *_: True
    )
    before = deployment.runs_keys()
    monkeypatch.setattr(RuntimeTaskInstance, "get_dr_count", lambda **_: 1)
    with pytest.raises(AssetBusy, match="other"):
        plan_run()
    assert deployment.runs_keys() == before


def test_settings_of_single_tasks_are_checked_now(deployment: Buckets, tmp_path: Path):
    tasks = {
        **job_conf()["tasks"],
        "gather_preliminary_metadata": {"job_settings": {"on_service_failure": "maybe"}},
    }
    with pytest.raises(InvalidInput, match="on_service_failure"):
        plan_run(tasks=tasks)
    assert deployment.runs_keys() == []
