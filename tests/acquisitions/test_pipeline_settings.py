"""Settings of the pipeline monitor are understood as they are, and refused with every problem."""

from __future__ import annotations

from typing import Any

import pytest
from codeocean.models.computation import DataAssetsRunParam, NamedRunParam, RunParams

from include.acquisitions.pipeline_settings import (
    TASK,
    CaptureSettings,
    PipelineMonitorSettings,
    PlannedPipelines,
    plan_pipelines,
)
from include.acquisitions.plan import TaskPlan
from include.assets.core_files import Generation
from include.errors import InvalidInput

NAME = "712345_2024-03-05_14-22-10"
PIPELINE = {"pipeline_id": "p"}


def make_task(run_params: Any = PIPELINE, skip: bool = False, **settings: Any) -> TaskPlan:
    monitor = {"run_params": run_params, **settings}
    return TaskPlan(skip=skip, job_settings={"pipeline_monitor_settings": monitor})


def plan(_asset_id: str | None = "asset", /, **tasks: TaskPlan) -> PlannedPipelines:
    return plan_pipelines(tasks, asset_id=_asset_id, asset_name=NAME)


def problems_of(**tasks: TaskPlan) -> set[tuple[str, str]]:
    with pytest.raises(InvalidInput) as raised:
        plan(**tasks)
    return {
        (
            problem.item.removeprefix(f"{TASK}."),
            problem.field.removeprefix("job_settings.pipeline_monitor_settings."),
        )
        for problem in raised.value.problems
    }


def test_the_defaults_are_those_of_the_monitor() -> None:
    settings = plan(ecephys=make_task()).runs["ecephys"]
    assert settings == PipelineMonitorSettings.model_validate({
        "run_params": {"pipeline_id": "p", "data_assets": [{"id": "asset", "mount": NAME}]},
        "alert_url": None,
        "computation_polling_interval": 180,
        "computation_timeout": None,
        "data_asset_ready_polling_interval": 10,
        "data_asset_ready_timeout": None,
        "capture_settings": None,
    })
    capture = CaptureSettings(tags=["derived"])
    assert capture.model_dump(exclude_none=True) == {
        "tags": ["derived"],
        "permissions": {"everyone": "viewer"},
        "process_name_suffix": "processed",
        "process_name_suffix_tz": "UTC",
        "data_description_file_name": "data_description.json",
    }


def test_every_key_of_the_monitor_is_understood() -> None:
    everything: dict[str, Any] = {
        "alert_url": "https://teams.example.org/hook",
        "computation_polling_interval": 5,
        "computation_timeout": 6,
        "data_asset_ready_polling_interval": 5,
        "data_asset_ready_timeout": 600,
        "capture_settings": {
            "tags": ["derived"],
            "name": "n",
            "mount": "m",
            "description": "d",
            "custom_metadata": {"data level": "derived"},
            "results_info": {"commit": "c", "processes": [{"name": "n", "capsule_id": "c"}]},
            "data_asset_ids": ["a"],
            "target": {"aws": {"bucket": "b", "endpoint_name": None, "prefix": "ignored"}},
            "permissions": {"users": [{"email": "a@b", "role": "owner"}], "groups": None},
            "process_name_suffix": "sorted",
            "process_name_suffix_tz": "America/Los_Angeles",
            "docdb_settings": {
                "docdb_api_gateway": "api.example.org",
                "docdb_version": "v2",
                "results_bucket": "co-results",
                "docdb_database": "metadata_index",
                "docdb_collection": "data_assets",
            },
            "source": None,
            "data_description_file_name": "data_description.json",
        },
    }
    run = {
        "capsule_id": "c",
        "pipeline_id": "",
        "version": 3,
        "resume_run_id": "r",
        "nextflow_profile": "slurm",
        "data_assets": [{"id": "given", "mount": None}],
        "parameters": ["1"],
        "named_parameters": [{"param_name": "n", "value": "v"}],
        "processes": [{"name": "sort", "parameters": ["x"], "named_parameters": None}],
    }
    task = make_task(run, **everything)
    task.job_settings["pipeline_monitor_capsule_id"] = "monitor"
    settings = plan(None, ecephys=task).runs["ecephys"]
    assert settings.capture_settings is not None
    assert settings.capture_settings.docdb_settings is not None
    assert settings.capture_settings.docdb_settings.docdb_version is Generation.V2
    assert settings.run_params.runs == "c"


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        pytest.param(None, [("asset", NAME)], id="absent"),
        pytest.param([], [("asset", NAME)], id="empty"),
        pytest.param([{"id": ""}], [("asset", NAME)], id="empty id"),
        pytest.param([{"id": "", "mount": "ecephys"}], [("asset", "ecephys")], id="mount is kept"),
        pytest.param([{"mount": "ecephys"}], [("asset", "ecephys")], id="mount alone"),
        pytest.param([{"id": "x", "mount": "y"}], [("x", "y")], id="another asset"),
        pytest.param([{"id": "x"}, {"id": ""}], [("x", None), ("asset", NAME)], id="one of two"),
    ],
)
def test_the_registered_asset_is_filled_in_where_none_is_named(given: Any, filled: Any) -> None:
    run = plan(ecephys=make_task({**PIPELINE, "data_assets": given})).runs["ecephys"].run_params
    assert [(asset.id, asset.mount) for asset in run.data_assets or []] == filled


def test_a_row_of_a_spreadsheet_is_enough() -> None:
    by_row = {"pipeline_monitor_settings": {"run_params": {"capsule_id": "c"}}}
    run = plan(ecephys=TaskPlan(job_settings=by_row)).runs["ecephys"].run_params
    assert run.as_params() == RunParams(
        capsule_id="c", data_assets=[DataAssetsRunParam("asset", NAME)]
    )


def test_run_params_reach_the_sdk_whole() -> None:
    run = {"pipeline_id": "p", "named_parameters": [{"param_name": "n", "value": "v"}]}
    params = plan(ecephys=make_task(run)).runs["ecephys"].run_params.as_params()
    assert params.named_parameters == [NamedRunParam("n", "v")]


def test_skipped_entries_are_not_even_looked_at() -> None:
    planned = plan(ecephys=make_task({"nonsense": 1}, skip=True), behavior=make_task())
    assert list(planned.runs) == ["behavior"]


@pytest.mark.parametrize(
    ("run_params", "field"),
    [
        ({}, "run_params.pipeline_id"),
        ({"capsule_id": "", "pipeline_id": None}, "run_params.pipeline_id"),
        ({"capsule_id": "c", "pipeline_id": "p"}, "run_params.pipeline_id"),
        ({**PIPELINE, "parameters": [1]}, "run_params.parameters.0"),
        ({**PIPELINE, "data_assets": [{"identifier": "x"}]}, "run_params.data_assets.0.identifier"),
        (
            {**PIPELINE, "named_parameters": [{"value": "v"}]},
            "run_params.named_parameters.0.param_name",
        ),
    ],
)
def test_a_run_that_code_ocean_would_refuse_is_refused_here(run_params: Any, field: str) -> None:
    assert problems_of(ecephys=make_task(run_params)) == {("ecephys", field)}


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"computation_polling_interval": 4}, "computation_polling_interval"),
        ({"computation_timeout": 180}, "computation_timeout"),
        ({"data_asset_ready_timeout": 10}, "data_asset_ready_timeout"),
        ({"alert": "x"}, "alert"),
        ({"capture_settings": {}}, "capture_settings.tags"),
        ({"capture_settings": {"tags": [], "source": {}}}, "capture_settings.source"),
        ({"capture_settings": {"tags": [], "name": "a/b"}}, "capture_settings.name"),
        (
            {"capture_settings": {"tags": [], "process_name_suffix_tz": "Mars/Olympus"}},
            "capture_settings.process_name_suffix_tz",
        ),
        (
            {"capture_settings": {"tags": [], "process_name_suffix_tz": "../etc/passwd"}},
            "capture_settings.process_name_suffix_tz",
        ),
        (
            {"capture_settings": {"tags": [], "permissions": {"everyone": "owner"}}},
            "capture_settings.permissions.everyone",
        ),
        (
            {"capture_settings": {"tags": [], "docdb_settings": {"docdb_version": "v3"}}},
            "capture_settings.docdb_settings.docdb_version",
        ),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(settings: dict[str, Any], field: str) -> None:
    assert ("ecephys", field) in problems_of(ecephys=make_task(**settings))


def test_the_problems_of_all_modalities_are_told_at_once() -> None:
    found = problems_of(
        ecephys=make_task({"unknown": 1}, computation_timeout=3, capture_settings={"x": 1}),
        behavior=TaskPlan(job_settings={}),
    )
    assert found == {
        ("ecephys", "run_params.unknown"),
        ("ecephys", "run_params.pipeline_id"),
        ("ecephys", "computation_timeout"),
        ("ecephys", "capture_settings.x"),
        ("ecephys", "capture_settings.tags"),
        ("behavior", "job_settings.pipeline_monitor_settings"),
    }


def test_without_a_registered_asset_a_run_must_name_its_own() -> None:
    with pytest.raises(InvalidInput, match="not registered"):
        plan(None, ecephys=make_task())
    named = make_task({**PIPELINE, "data_assets": [{"id": "x"}]})
    assert list(plan(None, ecephys=named).runs) == ["ecephys"]


def test_two_modalities_that_ask_for_the_same_run_share_it() -> None:
    planned = plan(ecephys=make_task(), behavior=make_task(alert_url="https://other"))
    assert list(planned.runs) == ["ecephys"]
    assert "behavior" in planned.warnings[0]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(make_task(capture_settings={"tags": []}), id="captured otherwise"),
        pytest.param(make_task({**PIPELINE, "version": 2}), id="another version"),
    ],
)
def test_runs_that_could_not_be_told_apart_after_a_crash_are_refused(other: TaskPlan) -> None:
    with pytest.raises(InvalidInput, match="ecephys"):
        plan(ecephys=make_task(), behavior=other)


def test_the_same_pipeline_with_other_parameters_runs_beside() -> None:
    planned = plan(ecephys=make_task(), behavior=make_task({**PIPELINE, "parameters": ["b"]}))
    assert list(planned.runs) == ["ecephys", "behavior"]
    assert planned.warnings == ()
