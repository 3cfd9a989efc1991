"""The asset in Code Ocean and its record in DocDB."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from include.acquisitions.plan import RunPlan
from include.assets.core_files import Generation
from include.errors import ComputationFailed
from include.hooks.code_ocean import CodeOceanHook
from include.hooks.docdb import docdb_hook
from include.local.stand_ins.control import StandInControl
from include.operators import registration
from include.operators.registration import (
    REGISTER_TASK_ID,
    RegisterDataAssetToCodeoceanOperator,
    UpdateDocdbRecordOperator,
)
from include.operators.waiting import wait_here
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context, make_plan

ENDLESS = 1_000_000


@pytest.fixture
def plan(tmp_path: Path, deployment: Buckets) -> RunPlan:
    """Of an asset that has been uploaded."""
    made = make_plan(tmp_path).model_copy(update={"bucket": deployment.private})
    aggregate = {
        "name": made.asset_name,
        "location": str(made.location),
        "object_type": "Metadata",
    }
    key = f"{made.location.key_prefix}metadata.nd.json"
    deployment.put(key, json.dumps(aggregate).encode())
    return made


@pytest.fixture
def no_inline_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "wait_here", partial(wait_here, for_s=0))


def register(context: Any) -> dict[str, Any]:
    operator = RegisterDataAssetToCodeoceanOperator(task_id=REGISTER_TASK_ID)
    answer: dict[str, Any] = operator.execute(context)
    return answer


def test_a_short_wait_is_spent_in_the_worker(plan: RunPlan, code_ocean: StandInControl):
    code_ocean.set(draft_polls=2)
    answer = register(make_context(plan, REGISTER_TASK_ID))
    assert answer["is_new"] is True
    assert CodeOceanHook().client.data_asset(answer["asset_id"]).state == "ready"


def test_a_second_try_uses_the_asset_of_the_first(plan: RunPlan, code_ocean: StandInControl):
    context = make_context(plan, REGISTER_TASK_ID)
    first = register(context)
    assert register(context) == {"asset_id": first["asset_id"], "is_new": False}
    assert len(code_ocean.requests("POST", "/api/v1/data_assets")) == 1


def test_an_asset_whose_id_was_never_stored_is_found(plan: RunPlan, code_ocean: StandInControl):
    first = register(make_context(plan, REGISTER_TASK_ID))
    second = register(make_context(plan, REGISTER_TASK_ID))
    assert second == {"asset_id": first["asset_id"], "is_new": False}


@pytest.mark.usefixtures("no_inline_wait")
def test_a_long_wait_is_left_to_a_trigger_and_taken_up_again(
    plan: RunPlan, code_ocean: StandInControl
):
    code_ocean.set(draft_polls=ENDLESS)
    context = make_context(plan, REGISTER_TASK_ID)
    with pytest.raises(TaskDeferred) as deferral:
        register(context)
    asset_id = context["task_state_store"]["asset_id"]
    assert deferral.value.trigger.external_id == asset_id
    code_ocean.set(draft_polls=0)
    operator = RegisterDataAssetToCodeoceanOperator(task_id=REGISTER_TASK_ID)
    resume = getattr(operator, deferral.value.method_name)
    event = {"external_id": asset_id}
    assert resume(context, event, **(deferral.value.kwargs or {})) == {
        "asset_id": asset_id,
        "is_new": True,
    }


def test_a_failed_asset_gives_code_oceans_reason(plan: RunPlan, code_ocean: StandInControl):
    code_ocean.set(fail_next_asset="the bucket is full of eels")
    with pytest.raises(ComputationFailed, match="eels"):
        register(make_context(plan, REGISTER_TASK_ID))


@pytest.mark.usefixtures("docdb")
def test_the_record_gets_the_asset_id_and_is_written_once(plan: RunPlan):
    results = {REGISTER_TASK_ID: {"asset_id": "11111111-1111-1111-1111-111111111111"}}
    context = make_context(plan, "update_docdb_record", results=results)
    operator = UpdateDocdbRecordOperator(task_id="update_docdb_record")
    first = operator.execute(context)
    second = operator.execute(context)
    assert second["record_id"] == first["record_id"]
    assert second["action"] == "nothing"
    record = docdb_hook(Generation.V2).client.find_record(str(plan.location))
    assert "11111111-1111-1111-1111-111111111111" in str(record)


@pytest.mark.usefixtures("docdb")
def test_what_a_record_loses_is_in_the_journal_first(plan: RunPlan, deployment: Buckets):
    operator = UpdateDocdbRecordOperator(task_id="update_docdb_record")
    operator.execute(make_context(plan, "update_docdb_record"))
    key = f"{plan.location.key_prefix}metadata.nd.json"
    aggregate = {**deployment.s3.read_json(deployment.private, key), "subject": {"subject_id": "1"}}
    deployment.put(key, json.dumps(aggregate).encode())
    operator.execute(make_context(plan, "update_docdb_record"))
    aggregate["subject"] = {"subject_id": "2"}
    deployment.put(key, json.dumps(aggregate).encode())

    kept = operator.execute(make_context(plan, "update_docdb_record"))
    assert kept["kept"] == ["subject"]

    task = plan.tasks["update_docdb_record"].model_copy(
        update={"job_settings": {"overwrite_record": True}}
    )
    bold = plan.model_copy(update={"tasks": {**plan.tasks, "update_docdb_record": task}})
    answer = operator.execute(make_context(bold, "update_docdb_record"))
    assert answer["replaced"] == ["subject"]
    (journal,) = [name for name in deployment.runs_keys() if "journal" in name]
    assert deployment.runs_bucket.read(journal)["subject"] == {"subject_id": "1"}
