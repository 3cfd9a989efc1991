"""Code Ocean pipelines on the new asset: waited for, captured, recorded, and stopped with their task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from include.errors import NotFound
from tests.runs.eventually import eventually, kill
from tests.runs.lab import Lab, Run

RESULTS_BUCKET = "codeocean-results"
ENDLESS = 1_000_000


@dataclass
class Runs:
    """Everything of this module, started at once and ended."""

    two: Run
    killed: Run
    stopped_early: Run
    stopped_late: Run
    computations: dict[str, list[str]]
    """Run id → the computations that Code Ocean had while the run waited."""

    deferred: frozenset[str]
    """Run ids of which a task was waiting in the triggerer."""


def pipeline(*, capture: bool = False) -> dict[str, Any]:
    """Settings of one pipeline of its own."""
    settings: dict[str, Any] = {
        "run_params": {"pipeline_id": str(uuid4())},
        "computation_polling_interval": 5,
        "data_asset_ready_polling_interval": 5,
    }
    if capture:
        settings["capture_settings"] = {
            "tags": ["derived"],
            "process_name_suffix": "sorted",
            "docdb_settings": {"docdb_version": "v2", "results_bucket": RESULTS_BUCKET},
        }
    return {"job_settings": {"pipeline_monitor_settings": settings}}


def pipeline_ids(conf: dict[str, Any]) -> list[str]:
    return [
        task["job_settings"]["pipeline_monitor_settings"]["run_params"]["pipeline_id"]
        for task in conf["tasks"]["codeocean_pipeline_settings"].values()
    ]


@pytest.fixture(scope="module")
def runs(lab: Lab) -> Runs:
    lab.reset()
    lab.code_ocean_control.set(polls_per_state=ENDLESS)
    confs: dict[str, dict[str, Any]] = {}
    for name in ("two", "killed", "stopped_early", "stopped_late"):
        acquisition = lab.acquisition({"trials.csv": "1\n"})
        pipelines = {"behavior": pipeline(capture=name == "two")}
        if name == "two":
            acquisition.write({"camera.txt": "video\n"}, "behavior-videos")
            pipelines["behavior-videos"] = pipeline(capture=True)
        confs[name] = acquisition.conf({"codeocean_pipeline_settings": pipelines})
    started = {name: lab.submit(conf) for name, conf in confs.items()}

    def computations(name: str) -> list[str]:
        return [
            found.id
            for pipeline_id in pipeline_ids(confs[name])
            for found in lab.code_ocean.find_computations(pipeline_id, created_after=0)
        ]

    def all_computations(name: str) -> list[str] | None:
        found = computations(name)
        return found if len(found) == len(pipeline_ids(confs[name])) else None

    seen = {
        run.run_id: eventually(partial(all_computations, name), f"the computations of {name}")
        for name, run in started.items()
    }
    kill(started["killed"].find_process("run_codeocean_pipeline", 0))
    started["stopped_early"].wait_for("run_codeocean_pipeline_0", "running")
    started["stopped_early"].stop()
    deferred = set()
    for name, task in (("stopped_late", 0), ("two", 0), ("two", 1)):
        started[name].wait_for(f"run_codeocean_pipeline_{task}", "deferred")
        deferred.add(started[name].run_id)
    started["stopped_late"].stop()
    for name in ("stopped_early", "stopped_late"):
        started[name].fails()
    lab.code_ocean_control.set(polls_per_state=0)
    for name in ("two", "killed"):
        started[name].succeeds()
    lab.reset()
    return Runs(**started, computations=seen, deferred=frozenset(deferred))


def is_known(run: Run, computation_id: str) -> bool:
    try:
        run.lab.code_ocean.computation(computation_id)
    except NotFound:
        return False
    return True


def test_each_modality_has_its_result_captured_and_recorded(runs: Runs):
    run = runs.two
    for index in (0, 1):
        answer = run.xcom("run_codeocean_pipeline", map_index=index)
        (result,) = run.lab.code_ocean.find_result_assets(answer["computation_id"])
        assert result.id == answer["asset_id"]
        assert result.state == "ready"
        location = f"s3://{RESULTS_BUCKET}/{result.id}"
        (record,) = [one for one in run.lab.records(result.name) if one["location"] == location]
        assert result.id in str(record)


def test_a_long_wait_holds_no_worker(runs: Runs):
    assert {runs.two.run_id, runs.stopped_late.run_id} == runs.deferred


def test_instances_are_named_after_their_modality(runs: Runs):
    labels = {
        one.label for name, one in runs.two.tasks().items() if name.startswith("run_codeocean_p")
    }
    assert labels == {
        "run_codeocean_pipeline [behavior]",
        "run_codeocean_pipeline [behavior-videos]",
    }


def test_a_killed_task_goes_on_with_its_computation(runs: Runs):
    run = runs.killed
    (computation_id,) = runs.computations[run.run_id]
    assert run.tasks()["run_codeocean_pipeline_0"].try_number == 2
    assert run.xcom("run_codeocean_pipeline", map_index=0)["computation_id"] == computation_id


@pytest.mark.parametrize("which", ["stopped_early", "stopped_late"])
def test_a_stopped_task_stops_its_computation(runs: Runs, which: str):
    run: Run = getattr(runs, which)
    (computation_id,) = runs.computations[run.run_id]
    eventually(lambda: not is_known(run, computation_id), "the end of the computation", within_s=15)
    assert "stopped" in run.failures()["run_codeocean_pipeline_0"]


@pytest.mark.parametrize("which", ["stopped_early", "stopped_late"])
def test_the_asset_itself_stays_registered_and_recorded(runs: Runs, which: str):
    run: Run = getattr(runs, which)
    assert len(run.data_assets()) == 1
    assert len(run.records()) == 1
