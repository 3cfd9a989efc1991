"""What all named tasks have in common: skipping, dry runs, the claim, and being stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from include.assets.claim import RunIdentity, acquire, claim_key
from include.errors import AssetBusy
from include.operators import (
    checks,
    metadata,
    notifications,
    pipelines,
    registration,
    source_removal,
    staging,
    transformation,
    upload,
)
from include.operators.base import AcquisitionOperator
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context, make_plan

OTHER = RunIdentity(dag_id="transform_and_upload_v2", run_id="another")

NAMED: list[type[AcquisitionOperator]] = [
    found
    for module in (
        checks,
        metadata,
        notifications,
        pipelines,
        registration,
        source_removal,
        staging,
        transformation,
        upload,
    )
    for found in vars(module).values()
    if isinstance(found, type)
    and issubclass(found, AcquisitionOperator)
    and found.__module__ == module.__name__
]


OWN_ARGUMENTS: dict[type[AcquisitionOperator], dict[str, Any]] = {
    transformation.CompressDataOperator: {"modality": "ecephys"},
    pipelines.RunCodeoceanPipelineOperator: {"modality": "ecephys", "run": {}},
}


class Noted(AcquisitionOperator):
    """Says that it worked."""

    def carry_out(self, plan: Any, task: Any, context: Any) -> str:
        return "worked"


class NotedLook(Noted):
    runs_in_dry_run: ClassVar[bool] = True


class NotedWrite(Noted):
    needs_claim: ClassVar[bool] = True


def test_a_task_works_on_the_plan_of_its_run(tmp_path: Path):
    context = make_context(make_plan(tmp_path), "upload_data_to_s3")
    assert Noted(task_id="upload_data_to_s3").execute(context) == "worked"


@pytest.mark.parametrize("kind", [Noted, NotedLook, NotedWrite])
def test_skip_task_comes_before_everything_else(tmp_path: Path, kind: type[Noted]):
    plan = make_plan(
        tmp_path,
        tasks={
            "modality_transformation_settings": {
                "ecephys": {"job_settings": {"input_source": "/x"}}
            },
            "upload_data_to_s3": {"skip_task": True},
        },
    )
    with pytest.raises(AirflowSkipException, match="skip_task"):
        kind(task_id="upload_data_to_s3").execute(make_context(plan, "upload_data_to_s3"))


@pytest.mark.parametrize(
    ("kind", "works"), [(Noted, False), (NotedLook, True), (NotedWrite, False)]
)
def test_in_a_dry_run_only_tasks_that_write_nothing_work(
    tmp_path: Path, kind: type[Noted], works: bool
):
    context = make_context(make_plan(tmp_path, dry_run=True), "upload_data_to_s3")
    operator = kind(task_id="upload_data_to_s3")
    if works:
        assert operator.execute(context) == "worked"
    else:
        with pytest.raises(AirflowSkipException, match="dry run"):
            operator.execute(context)


def test_the_tasks_that_work_in_a_dry_run_are_the_looking_ones():
    assert {kind for kind in NAMED if kind.runs_in_dry_run} == {
        checks.CheckS3FolderExistsOperator,
        checks.CheckSourceFoldersExistOperator,
        transformation.ModalityTransformationSettingsOperator,
    }


def test_every_task_that_writes_to_a_store_needs_the_claim():
    assert {kind for kind in NAMED if kind.needs_claim} == {
        upload.UploadDataToS3Operator,
        registration.RegisterDataAssetToCodeoceanOperator,
        registration.UpdateDocdbRecordOperator,
        pipelines.RunCodeoceanPipelineOperator,
        source_removal.RemoveSourceFoldersOperator,
    }


@pytest.mark.parametrize("active", [True, False])
def test_a_task_writes_only_while_no_other_active_run_has_the_asset(
    tmp_path: Path, deployment: Buckets, monkeypatch: pytest.MonkeyPatch, active: bool
):
    plan = make_plan(tmp_path)
    acquire(deployment.runs_bucket, plan.location, OTHER, lambda *_: True)
    # Airflow's answer about the other run.
    monkeypatch.setattr(RuntimeTaskInstance, "get_dr_count", lambda **_: int(active))
    operator = NotedWrite(task_id="upload_data_to_s3")
    context = make_context(plan, "upload_data_to_s3")
    if active:
        with pytest.raises(AssetBusy, match="another"):
            operator.execute(context)
        assert deployment.runs_bucket.read(claim_key(plan.location))["run_id"] == "another"
    else:
        assert operator.execute(context) == "worked"
        assert deployment.runs_bucket.read(claim_key(plan.location))["run_id"] == plan.run_id


def test_a_resumed_run_takes_the_asset_it_gave_back(tmp_path: Path, deployment: Buckets):
    plan = make_plan(tmp_path)
    NotedWrite(task_id="upload_data_to_s3").execute(make_context(plan, "upload_data_to_s3"))
    assert deployment.runs_bucket.read(claim_key(plan.location))["run_id"] == plan.run_id


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.__name__)
def test_a_task_that_is_stopped_ends_at_once(kind: type[AcquisitionOperator]):
    with pytest.raises(SystemExit):
        kind(task_id="a_task", **OWN_ARGUMENTS.get(kind, {})).on_kill()
