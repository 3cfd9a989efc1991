"""One capsule or pipeline on the new asset: started once, waited for, stopped with its task."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from airflow.sdk.exceptions import TaskDeferred

from include.acquisitions.plan import RunPlan, TaskPlan
from include.errors import ComputationFailed, NotFound
from include.hooks.code_ocean import CodeOceanHook
from include.local.stand_ins.control import StandInControl
from include.operators import pipelines
from include.operators.pipelines import (
    PIPELINE_TASK_ID,
    CodeoceanPipelineSettingsOperator,
    RunCodeoceanPipelineOperator,
)
from include.operators.registration import REGISTER_TASK_ID
from include.operators.waiting import wait_here
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context, make_plan

ENDLESS = 1_000_000
CAPSULE = "22222222-2222-2222-2222-222222222222"


@pytest.fixture
def plan(tmp_path: Path, deployment: Buckets) -> RunPlan:
    return make_plan(tmp_path)


@pytest.fixture
def asset_id(deployment: Buckets, code_ocean: StandInControl) -> str:
    """A data asset to compute on."""
    from codeocean.models.data_asset import AWSS3Source, DataAssetParams, Source

    deployment.put("an_asset/file")
    code_ocean.set(draft_polls=0)
    source = Source(
        aws=AWSS3Source(bucket=deployment.private, prefix="an_asset", keep_on_external_storage=True)
    )
    params = DataAssetParams(name="an_asset", mount="an_asset", tags=[], source=source)
    client = CodeOceanHook().client
    made: str = client.create_data_asset(params).id
    client.data_asset(made)
    return made


def run_settings(asset_id: str, **more: Any) -> dict[str, Any]:
    inputs = [{"id": asset_id, "mount": "an_asset"}]
    return {"run_params": {"capsule_id": CAPSULE, "data_assets": inputs}, **more}


def run_pipeline(context: Any, settings: dict[str, Any]) -> dict[str, Any]:
    operator = RunCodeoceanPipelineOperator(
        task_id=PIPELINE_TASK_ID, modality="ecephys", run=settings
    )
    answer: dict[str, Any] = operator.execute(context)
    return answer


def starts(code_ocean: StandInControl) -> int:
    return len(code_ocean.requests("POST", "/api/v1/computations"))


def exists(computation_id: str) -> bool:
    try:
        CodeOceanHook().client.computation(computation_id)
    except NotFound:
        return False
    return True


def test_a_short_computation_is_waited_for_in_the_worker(
    plan: RunPlan, asset_id: str, code_ocean: StandInControl
):
    context = make_context(plan, PIPELINE_TASK_ID, map_index=0)
    answer = run_pipeline(context, run_settings(asset_id))
    assert answer["asset_id"] is None
    assert CodeOceanHook().client.computation(answer["computation_id"]).state == "completed"
    assert context["modality"] == "ecephys"


def test_a_task_that_is_run_again_goes_on_with_its_computation(
    plan: RunPlan, asset_id: str, code_ocean: StandInControl
):
    context = make_context(plan, PIPELINE_TASK_ID, map_index=0)
    first = run_pipeline(context, run_settings(asset_id))
    assert run_pipeline(context, run_settings(asset_id)) == first
    assert starts(code_ocean) == 1


def test_a_computation_whose_id_was_never_stored_is_found(
    plan: RunPlan, asset_id: str, code_ocean: StandInControl
):
    context = make_context(plan, PIPELINE_TASK_ID, map_index=0)
    first = run_pipeline(context, run_settings(asset_id))
    context["task_state_store"].clear()
    assert run_pipeline(context, run_settings(asset_id)) == first
    assert starts(code_ocean) == 1


def test_a_failed_computation_fails_the_task_with_its_end(
    plan: RunPlan, asset_id: str, code_ocean: StandInControl
):
    code_ocean.set(fail_next_computation={"state": "completed", "end_status": "failed"})
    with pytest.raises(ComputationFailed, match="ended as failed"):
        run_pipeline(make_context(plan, PIPELINE_TASK_ID, map_index=0), run_settings(asset_id))


@pytest.fixture
def deferral(
    plan: RunPlan, asset_id: str, code_ocean: StandInControl, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, TaskDeferred]:
    """A task that left a long computation to a trigger."""
    monkeypatch.setattr(pipelines, "wait_here", partial(wait_here, for_s=0))
    code_ocean.set(polls_per_state=ENDLESS)
    context = make_context(plan, PIPELINE_TASK_ID, map_index=0)
    with pytest.raises(TaskDeferred) as raised:
        run_pipeline(context, run_settings(asset_id, computation_timeout=3600))
    return context, raised.value


def resume(context: Any, deferred: TaskDeferred, settings: dict[str, Any]) -> dict[str, Any]:
    operator = RunCodeoceanPipelineOperator(
        task_id=PIPELINE_TASK_ID, modality="ecephys", run=settings
    )
    method = getattr(operator, deferred.method_name)
    event = {"external_id": deferred.trigger.external_id}
    answer: dict[str, Any] = method(context, event)
    return answer


def test_a_long_computation_is_left_to_a_trigger(
    deferral: tuple[Any, TaskDeferred], asset_id: str, code_ocean: StandInControl
):
    context, deferred = deferral
    code_ocean.set(polls_per_state=0)
    answer = resume(context, deferred, run_settings(asset_id))
    assert answer["computation_id"] == context["task_state_store"]["computation_id"]
    assert starts(code_ocean) == 1


def test_a_computation_that_still_runs_is_waited_for_again(
    deferral: tuple[Any, TaskDeferred], asset_id: str
):
    context, deferred = deferral
    with pytest.raises(TaskDeferred):
        resume(context, deferred, run_settings(asset_id))


class AnHourLater(datetime):
    """The clock, when a computation has run for an hour."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(hours=1)


def test_a_computation_beyond_its_time_limit_is_stopped(
    deferral: tuple[Any, TaskDeferred], asset_id: str, monkeypatch: pytest.MonkeyPatch
):
    context, deferred = deferral
    monkeypatch.setattr(pipelines, "datetime", AnHourLater)
    with pytest.raises(ComputationFailed, match="stopped"):
        resume(context, deferred, run_settings(asset_id, computation_timeout=1800))
    assert not exists(context["task_state_store"]["computation_id"])


def test_the_report_is_told_of_the_computation(deferral: tuple[Any, TaskDeferred]):
    context, _ = deferral
    told = context["ti"].xcom_pull(PIPELINE_TASK_ID, key="computation_id", map_indexes=0)
    assert told == context["task_state_store"]["computation_id"]


def test_stopping_a_waiting_task_stops_its_computation(
    plan: RunPlan, asset_id: str, code_ocean: StandInControl, monkeypatch: pytest.MonkeyPatch
):
    code_ocean.set(polls_per_state=ENDLESS)
    operator = RunCodeoceanPipelineOperator(
        task_id=PIPELINE_TASK_ID, modality="ecephys", run=run_settings(asset_id)
    )
    # The signal arrives in the first pause between two looks.
    monkeypatch.setattr(
        pipelines, "wait_here", partial(wait_here, pause=lambda _: operator.on_kill())
    )
    context = make_context(plan, PIPELINE_TASK_ID, map_index=0)
    with pytest.raises(SystemExit):
        operator.execute(context)
    assert not exists(context["task_state_store"]["computation_id"])


def test_stopping_a_task_after_its_computation_keeps_the_results(
    plan: RunPlan, asset_id: str, code_ocean: StandInControl
):
    operator = RunCodeoceanPipelineOperator(
        task_id=PIPELINE_TASK_ID, modality="ecephys", run=run_settings(asset_id)
    )
    answer = operator.execute(make_context(plan, PIPELINE_TASK_ID, map_index=0))
    with pytest.raises(SystemExit):
        operator.on_kill()
    assert exists(answer["computation_id"])


def test_the_runs_get_the_registered_asset(plan: RunPlan):
    settings = {"pipeline_monitor_settings": {"run_params": {"capsule_id": CAPSULE}}}
    with_pipeline = plan.model_copy(
        update={"pipelines": {"ecephys": TaskPlan(job_settings=settings)}}
    )
    context = make_context(
        with_pipeline,
        "codeocean_pipeline_settings",
        results={REGISTER_TASK_ID: {"asset_id": "an-id"}},
    )
    operator = CodeoceanPipelineSettingsOperator(task_id="codeocean_pipeline_settings")
    (planned,) = operator.execute(context)
    assert planned["modality"] == "ecephys"
    assert planned["run"]["run_params"]["data_assets"] == [
        {"id": "an-id", "mount": plan.asset_name}
    ]
