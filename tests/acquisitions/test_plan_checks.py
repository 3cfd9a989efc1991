"""Settings that a task could not read are found before the run begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from include.acquisitions.plan import RunPlan, TaskPlan
from include.acquisitions.plan_checks import check_plan
from include.errors import InvalidInput
from tests.operators.fakes import make_plan

WRONG: dict[str, dict[str, Any]] = {
    "gather_preliminary_metadata": {"on_service_failure": "maybe"},
    "register_data_asset_to_codeocean": {"tags": "not a list", "custom_metdata": {}},
    "update_docdb_record": {"overwrite_record": "false"},
    "remove_staging_folder": {"keep_for_resume": "false"},
    "check_metadata_files": {"level": "schemata"},
    "copy_derivatives_folder": {"input_source": 7},
    "remove_source_folders": {"dry_run": "no", "modalities_to_delete": "ecephys"},
}

WRONG_PIPELINE = TaskPlan(job_settings={"pipeline_monitor_settings": {"run_params": {}}})


def with_tasks(plan: RunPlan, *, skip: bool = False) -> RunPlan:
    """The plan with settings that no task can read."""
    wrong = {name: TaskPlan(job_settings=given, skip=skip) for name, given in WRONG.items()}
    return plan.model_copy(update={"tasks": {**plan.tasks, **wrong}})


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    return make_plan(tmp_path)


def test_a_plan_that_every_task_can_read_is_fine(plan: RunPlan) -> None:
    check_plan(plan)


def test_the_problems_of_all_tasks_come_at_once(plan: RunPlan) -> None:
    wrong = with_tasks(plan).model_copy(update={"pipelines": {"ecephys": WRONG_PIPELINE}})
    with pytest.raises(InvalidInput) as refusal:
        check_plan(wrong)
    text = str(refusal.value)
    for task_id, settings in WRONG.items():
        for key in settings:
            assert any(
                task_id in found.item and key in found.field for found in refusal.value.problems
            ), f"{task_id} {key}"
    assert "exactly one of capsule_id and pipeline_id" in text


def test_a_skipped_tasks_settings_do_not_matter(plan: RunPlan) -> None:
    wrong = with_tasks(plan, skip=True)
    tasks = {**wrong.tasks, "codeocean_pipeline_settings": TaskPlan(skip=True)}
    check_plan(wrong.model_copy(update={"tasks": tasks, "pipelines": {"ecephys": WRONG_PIPELINE}}))


def test_a_pipeline_that_wants_an_asset_nobody_registers_is_refused(plan: RunPlan) -> None:
    settings = {"pipeline_monitor_settings": {"run_params": {"capsule_id": "a-capsule"}}}
    tasks = {**plan.tasks, "register_data_asset_to_codeocean": TaskPlan(skip=True)}
    wanting = {"ecephys": TaskPlan(job_settings=settings)}
    check_plan(plan.model_copy(update={"pipelines": wanting}))
    with pytest.raises(InvalidInput, match="not registered"):
        check_plan(plan.model_copy(update={"tasks": tasks, "pipelines": wanting}))


def with_task(plan: RunPlan, task_id: str, **job_settings: Any) -> RunPlan:
    tasks = {**plan.tasks, task_id: TaskPlan(job_settings=job_settings)}
    return plan.model_copy(update={"tasks": tasks})


def with_modality(plan: RunPlan, **changes: Any) -> RunPlan:
    modality = plan.modalities["ecephys"].model_copy(update=changes)
    return plan.model_copy(update={"modalities": {"ecephys": modality}})


def test_keys_that_no_task_knows_are_told_as_warnings(plan: RunPlan) -> None:
    assert check_plan(plan) == ()
    (warning,) = check_plan(with_task(plan, "upload_data_to_s3", docdb_version="v1"))
    assert warning == (
        "tasks.upload_data_to_s3.job_settings: 'docdb_version' is no setting of this task"
    )


@pytest.mark.parametrize("label", ["ecephys", "derivatives"])
def test_what_has_a_source_may_be_removed(plan: RunPlan, label: str) -> None:
    copied = with_task(plan, "copy_derivatives_folder", input_source="/allen/aind/stage/d")
    check_plan(with_task(copied, "remove_source_folders", modalities_to_delete=[label]))


@pytest.mark.parametrize("label", ["behavior", "derivatives", "Ecephys"])
def test_what_has_no_source_cannot_be_removed(plan: RunPlan, label: str) -> None:
    wrong = with_task(plan, "remove_source_folders", modalities_to_delete=["ecephys", label])
    with pytest.raises(InvalidInput, match=f"no source for '{label}'; it has ecephys"):
        check_plan(wrong)


def test_a_modality_that_is_left_out_has_no_source(plan: RunPlan) -> None:
    left_out = with_modality(plan, skip=True)
    with pytest.raises(InvalidInput, match="it has nothing"):
        check_plan(with_task(left_out, "remove_source_folders", modalities_to_delete=["ecephys"]))


def test_a_time_limit_that_cannot_be_read_is_refused(plan: RunPlan) -> None:
    wrong = with_modality(plan, image_resources={"time_limit": "2h"})
    with pytest.raises(InvalidInput) as refusal:
        check_plan(wrong)
    (found,) = refusal.value.problems
    assert found.item == "tasks.modality_transformation_settings.ecephys"
    assert found.field == "image_resources.time_limit"
    check_plan(with_modality(wrong, skip=True))
    tasks = {**plan.tasks, "compress_data": TaskPlan(skip=True)}
    check_plan(wrong.model_copy(update={"tasks": tasks}))


@pytest.mark.parametrize("settings", [{"input_source": 7}, {"input_sources": "/a"}])
def test_a_modality_is_not_left_out_by_a_slip(plan: RunPlan, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="input_source"):
        check_plan(with_modality(plan, job_settings=settings))


def test_the_settings_of_a_command_are_its_own(plan: RunPlan) -> None:
    own = {"input_source": "/a", "input_sources": 1, "anything": None}
    assert check_plan(with_modality(plan, job_settings=own)) == ()
