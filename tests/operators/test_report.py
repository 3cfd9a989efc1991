"""The verdict of a run, for every way in which its tasks can end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from include.acquisitions.pipeline import TASKS
from include.acquisitions.plan import RunPlan
from include.acquisitions.runner import Command
from include.acquisitions.staging import create
from include.assets.claim import acquire, claim_key
from include.clients.local_runner import LocalRunner
from include.clients.runs_bucket import failure_key, report_key
from include.errors import CommandInterrupted, NotFound, RunIncomplete, ServiceUnavailable
from include.hooks.code_ocean import CodeOceanHook
from include.local.services import Mail
from include.local.stand_ins.control import StandInControl
from include.operators import report as module
from include.operators.base import run_identity
from include.operators.report import NO_REASON, NOT_REACHED, STOPPED_BEFORE, ReportRunOperator
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context, make_plan

ALL_DONE = dict.fromkeys(["plan_run", *TASKS], "success") | {
    "copy_derivatives_folder": "skipped",
    "run_codeocean_pipeline": "skipped",
    "remove_source_folders": "skipped",
}
"""As Airflow lists them; ``compress_data`` stands for its instances."""


@pytest.fixture
def plan(tmp_path: Path, deployment: Buckets) -> RunPlan:
    made = make_plan(
        tmp_path / "staging", user_email="owner@example.org", email_notification_types=["fail"]
    )
    made = made.model_copy(update={"bucket": deployment.private})
    create(made.staging_folder, tmp_path / "staging", made.run_key)
    acquire(deployment.runs_bucket, made.location, run_identity(made), lambda *_: False)
    return made


def execute(
    plan: RunPlan | None,
    states: Mapping[str, str | None],
    results: Mapping[str, Any] | None = None,
    **where: Any,
) -> dict[str, Any]:
    context = make_context(plan, "report_run", results=results, states=states, **where)
    answer: dict[str, Any] = ReportRunOperator(task_id="report_run").execute(context)
    return answer


def without_stores(states: Mapping[str, str | None]) -> dict[str, str | None]:
    """The same with the tasks that are compared with a store left out."""
    stores = {
        "upload_data_to_s3",
        "register_data_asset_to_codeocean",
        "update_docdb_record",
    }
    return {name: state for name, state in states.items() if name not in stores}


def kept_report(plan: RunPlan, deployment: Buckets) -> dict[str, Any]:
    kept: dict[str, Any] = deployment.runs_bucket.read(report_key(plan.dag_id, plan.run_key))
    return kept


def test_a_run_in_which_everything_went_well_is_green(plan: RunPlan, deployment: Buckets):
    states = without_stores(ALL_DONE)
    answer = execute(plan, states)
    assert answer["failed"] == {}
    assert len(answer["done"]) + len(answer["skipped"]) == len(states)
    assert kept_report(plan, deployment) == answer


def test_the_report_gives_the_asset_back(plan: RunPlan, deployment: Buckets):
    execute(plan, without_stores(ALL_DONE))
    assert claim_key(plan.location) not in deployment.runs_keys()


@pytest.mark.parametrize(
    ("state", "reason"), [("failed", NO_REASON), ("upstream_failed", NOT_REACHED)]
)
@pytest.mark.usefixtures("mails")
def test_a_task_that_failed_makes_the_run_red(
    plan: RunPlan, deployment: Buckets, state: str, reason: str
):
    states = without_stores(ALL_DONE) | {"gather_final_metadata": state}
    with pytest.raises(RunIncomplete, match="gather_final_metadata"):
        execute(plan, states)
    assert kept_report(plan, deployment)["failed"] == {"gather_final_metadata": reason}


def test_a_failed_task_is_reported_with_its_own_reason(plan: RunPlan, deployment: Buckets):
    key = failure_key(plan.dag_id, plan.run_key, "compress_data_1")
    deployment.runs_bucket.write(key, {"reason": "disk full", "try_number": 1})
    states = without_stores(ALL_DONE) | {"compress_data_0": "success", "compress_data_1": "failed"}
    with pytest.raises(RunIncomplete, match="compress_data_1: disk full"):
        execute(plan, states)


@pytest.mark.parametrize(
    "task",
    [task for task in TASKS if task not in module.MAY_SKIP_ITSELF | {"remove_source_folders"}],
)
@pytest.mark.usefixtures("mails")
def test_a_task_that_only_a_person_can_have_skipped_makes_the_run_red(plan: RunPlan, task: str):
    states = without_stores(ALL_DONE) | {task: "skipped"}
    with pytest.raises(RunIncomplete, match=f"{task}: {STOPPED_BEFORE}"):
        execute(plan, states)


@pytest.mark.parametrize("task", sorted(module.MAY_SKIP_ITSELF | {"remove_source_folders"}))
def test_a_task_may_skip_itself(plan: RunPlan, task: str):
    assert task in execute(plan, without_stores(ALL_DONE) | {task: "skipped"})["skipped"]


def test_a_task_that_the_plan_skips_is_no_failure(plan: RunPlan):
    task = plan.tasks["gather_final_metadata"].model_copy(update={"skip": True})
    skipping = plan.model_copy(update={"tasks": {**plan.tasks, "gather_final_metadata": task}})
    states = without_stores(ALL_DONE) | {"gather_final_metadata": "skipped"}
    assert "gather_final_metadata" in execute(skipping, states)["skipped"]


RESULTS: dict[str, dict[str, Any]] = {
    "upload_data_to_s3": {"receipt_key": "an_asset/.assetflow/receipt.jsonl.gz", "put": 3},
    "register_data_asset_to_codeocean": {"asset_id": "33333333-3333-3333-3333-333333333333"},
}


@pytest.mark.parametrize(
    "task", ["upload_data_to_s3", "register_data_asset_to_codeocean", "update_docdb_record"]
)
@pytest.mark.usefixtures("mails", "docdb", "code_ocean")
def test_a_task_that_says_done_is_failed_when_its_store_says_otherwise(
    plan: RunPlan, deployment: Buckets, task: str
):
    with pytest.raises(RunIncomplete, match=task):
        execute(plan, without_stores(ALL_DONE) | {task: "success"}, RESULTS)
    assert set(kept_report(plan, deployment)["failed"]) == {task}


@pytest.mark.parametrize(("put", "counted_as"), [(0, "unchanged"), (3, "done")])
def test_an_upload_that_sent_nothing_counts_as_unchanged(
    plan: RunPlan, deployment: Buckets, put: int, counted_as: str
):
    deployment.put("an_asset/.assetflow/receipt.jsonl.gz")
    results = {"upload_data_to_s3": {**RESULTS["upload_data_to_s3"], "put": put}}
    answer = execute(plan, without_stores(ALL_DONE) | {"upload_data_to_s3": "success"}, results)
    assert "upload_data_to_s3" in answer[counted_as]


@pytest.mark.parametrize(("try_number", "error"), [(1, ServiceUnavailable), (4, RunIncomplete)])
@pytest.mark.usefixtures("mails")
def test_a_store_that_does_not_answer_is_asked_again_before_the_run_is_red(
    plan: RunPlan, code_ocean: StandInControl, try_number: int, error: type[Exception]
):
    code_ocean.fail(status=503, times=None, headers={"Retry-After": "0"})
    states = without_stores(ALL_DONE) | {"register_data_asset_to_codeocean": "success"}
    with pytest.raises(error):
        execute(plan, states, RESULTS, try_number=try_number)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.usefixtures("mails")
def test_the_staging_folder_of_a_failed_run_goes_unless_it_is_kept(plan: RunPlan, keep: bool):
    task = plan.tasks["remove_staging_folder"].model_copy(
        update={"job_settings": {"keep_for_resume": keep}}
    )
    chosen = plan.model_copy(update={"tasks": {**plan.tasks, "remove_staging_folder": task}})
    with pytest.raises(RunIncomplete):
        execute(chosen, without_stores(ALL_DONE) | {"gather_final_metadata": "failed"})
    assert plan.staging_folder.exists() is keep


@pytest.mark.usefixtures("mails")
def test_staging_stays_while_a_command_writes_into_it(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "COMMANDS_END_WITHIN_S", 0.0)
    runner = LocalRunner()
    command = Command(
        name="slow",
        script="sleep 60",
        environment={},
        working_folder=plan.work_folder / "commands" / "ecephys",
        time_limit_s=None,
        resources={},
    )
    command.working_folder.mkdir(parents=True)
    handle = runner.submit(command)
    states = without_stores(ALL_DONE) | {"compress_data_0": "failed"}
    with pytest.raises(CommandInterrupted, match="still written to by slow"):
        execute(plan, states)
    assert plan.staging_folder.exists()
    runner.cancel(handle)
    monkeypatch.undo()


def test_a_run_without_a_plan_is_red(deployment: Buckets):
    with pytest.raises(RunIncomplete, match="plan_run failed"):
        execute(None, {"plan_run": "failed"})
    assert deployment.runs_keys() == []


@pytest.mark.parametrize("state", ["success", "failed"])
def test_the_report_of_a_dry_run_is_kept_nowhere(
    plan: RunPlan, deployment: Buckets, mails: Mail, state: str
):
    before = deployment.runs_keys()
    dry = plan.model_copy(update={"dry_run": True})
    states = dict.fromkeys(ALL_DONE, "skipped") | {"plan_run": "success"}
    states["check_source_folders_exist"] = state
    if state == "failed":
        with pytest.raises(RunIncomplete, match="check_source_folders_exist: see its log"):
            execute(dry, states)
    else:
        assert execute(dry, states)["failed"] == {}
    assert deployment.runs_keys() == before
    assert mails.messages() == []


def test_a_failure_nobody_told_of_is_told_of_once_each_time_the_run_ends(
    plan: RunPlan, mails: Mail
):
    states = without_stores(ALL_DONE) | {"compress_data_0": "failed"}
    for try_number, clear_number in ((1, 0), (2, 0), (3, 1)):
        with pytest.raises(RunIncomplete):
            execute(plan, states, try_number=try_number, clear_number=clear_number)
    assert [mail["X-RcptTo"] for mail in mails.messages()] == ["owner@example.org"] * 2


@pytest.mark.parametrize(("reason", "is_left"), [(None, False), ("Code Ocean was down", True)])
@pytest.mark.usefixtures("mails")
def test_a_computation_nobody_waits_for_any_more_is_stopped(
    plan: RunPlan,
    deployment: Buckets,
    code_ocean: StandInControl,
    reason: str | None,
    is_left: bool,
):
    from codeocean.models.computation import RunParams

    code_ocean.set(polls_per_state=1_000_000)
    client = CodeOceanHook().client
    computation_id = client.run(RunParams(capsule_id="44444444-4444-4444-4444-444444444444")).id
    if reason is not None:
        key = failure_key(plan.dag_id, plan.run_key, "run_codeocean_pipeline_0")
        deployment.runs_bucket.write(key, {"reason": reason, "try_number": 4})
    states = without_stores(ALL_DONE) | {"run_codeocean_pipeline_0": "failed"}
    states.pop("run_codeocean_pipeline")
    context = make_context(plan, "report_run", states=states)
    context["ti"].xcoms["run_codeocean_pipeline", "computation_id", 0] = computation_id
    with pytest.raises(RunIncomplete):
        ReportRunOperator(task_id="report_run").execute(context)
    if is_left:  # the task failed by itself: cleared, it goes on with its computation
        assert client.computation(computation_id).state == "initializing"
    else:
        with pytest.raises(NotFound):
            client.computation(computation_id)


@pytest.mark.parametrize("state", [None, "removed", "up_for_retry"])
@pytest.mark.usefixtures("mails")
def test_a_state_that_says_nothing_about_the_work_is_no_success(
    plan: RunPlan, deployment: Buckets, state: str | None
):
    states = without_stores(ALL_DONE) | {"compress_data_0": state}
    with pytest.raises(RunIncomplete, match="compress_data_0: ended as"):
        execute(plan, states)


@pytest.mark.usefixtures("mails")
def test_an_instance_that_a_person_skipped_makes_the_run_red(plan: RunPlan, deployment: Buckets):
    states = without_stores(ALL_DONE) | {"compress_data_0": "success", "compress_data_1": "skipped"}
    with pytest.raises(RunIncomplete, match="compress_data_1"):
        execute(plan, states)


@pytest.mark.usefixtures("mails")
def test_an_upload_marked_as_done_by_hand_is_not_taken_for_one(plan: RunPlan, deployment: Buckets):
    states = without_stores(ALL_DONE) | {"upload_data_to_s3": "success"}
    with pytest.raises(RunIncomplete, match="nothing says what was uploaded"):
        execute(plan, states)


@pytest.mark.usefixtures("mails")
def test_what_went_wrong_stands_before_what_was_therefore_not_reached(
    plan: RunPlan, deployment: Buckets
):
    states = without_stores(ALL_DONE) | {
        "check_metadata_files": "upstream_failed",
        "gather_final_metadata": "failed",
    }
    with pytest.raises(RunIncomplete):
        execute(plan, states)
    assert list(kept_report(plan, deployment)["failed"]) == [
        "gather_final_metadata",
        "check_metadata_files",
    ]
