"""From an empty staging folder to an asset in S3, and the folder gone again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.acquisitions.plan import RunPlan
from include.acquisitions.provenance import PLAN_NAME
from include.errors import AssetExists, StagingMissing, VerificationFailed
from include.operators.source_removal import RemoveSourceFoldersOperator
from include.operators.staging import (
    CopyDerivativesFolderOperator,
    CreateStagingFolderOperator,
    RemoveStagingFolderOperator,
)
from include.operators.transformation import CompressDataOperator
from include.operators.upload import UploadDataToS3Operator
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context, make_plan

OPERATORS: dict[str, type[Any]] = {
    "create_staging_folder": CreateStagingFolderOperator,
    "copy_derivatives_folder": CopyDerivativesFolderOperator,
    "upload_data_to_s3": UploadDataToS3Operator,
    "remove_staging_folder": RemoveStagingFolderOperator,
    "remove_source_folders": RemoveSourceFoldersOperator,
}


@pytest.fixture
def source(tmp_path: Path, deployment: Buckets) -> Path:
    folder = tmp_path / "lab" / "session"
    folder.mkdir()
    (folder / "trials.csv").write_text("1\n")
    return folder


@pytest.fixture
def plan(tmp_path: Path, deployment: Buckets, source: Path) -> RunPlan:
    made = make_plan(
        tmp_path / "staging",
        tasks={
            "modality_transformation_settings": {
                "ecephys": {"job_settings": {"input_source": str(source)}}
            },
            "remove_source_folders": {"skip_task": False, "job_settings": {"dry_run": False}},
        },
    )
    return made.model_copy(update={"bucket": deployment.private})


def run_task(plan: RunPlan, task_id: str) -> Any:
    return OPERATORS[task_id](task_id=task_id).execute(make_context(plan, task_id))


def stage(plan: RunPlan) -> None:
    run_task(plan, "create_staging_folder")
    CompressDataOperator(task_id="compress_data", modality="ecephys").execute(
        make_context(plan, "compress_data", map_index=0)
    )


def test_an_upload_brings_every_file_and_the_plan(plan: RunPlan, deployment: Buckets):
    stage(plan)
    receipt = run_task(plan, "upload_data_to_s3")
    prefix = plan.location.key_prefix
    assert {f"{prefix}ecephys/trials.csv", f"{prefix}{PLAN_NAME}", receipt["receipt_key"]} == set(
        deployment.keys()
    )


def test_a_second_upload_sends_nothing(plan: RunPlan, deployment: Buckets):
    stage(plan)
    run_task(plan, "upload_data_to_s3")
    assert run_task(plan, "upload_data_to_s3")["put"] == 0


def test_a_second_upload_writes_no_object_again(plan: RunPlan, deployment: Buckets):
    stage(plan)
    run_task(plan, "upload_data_to_s3")
    names = deployment.keys()
    for name in names:  # the same content under a mark that any new write would take away
        content = deployment.boto.get_object(Bucket=plan.bucket, Key=name)["Body"].read()
        deployment.boto.put_object(
            Bucket=plan.bucket, Key=name, Body=content, Metadata={"mark": "kept"}
        )
    run_task(plan, "upload_data_to_s3")
    marks = [
        deployment.boto.head_object(Bucket=plan.bucket, Key=name)["Metadata"] for name in names
    ]
    assert len(marks) == 3
    assert all(mark == {"mark": "kept"} for mark in marks), dict(zip(names, marks, strict=True))


def test_an_upload_without_its_staging_folder_says_what_to_clear(
    plan: RunPlan, deployment: Buckets
):
    with pytest.raises(StagingMissing, match="clear create_staging_folder"):
        run_task(plan, "upload_data_to_s3")
    assert deployment.keys() == []


def test_an_asset_that_lost_a_modality_is_not_uploaded(plan: RunPlan, deployment: Buckets):
    stage(plan)
    (plan.asset_folder / "ecephys").unlink()
    with pytest.raises(StagingMissing, match="has no ecephys"):
        run_task(plan, "upload_data_to_s3")
    assert deployment.keys() == []


def test_a_resumed_run_does_not_upload_over_the_asset_of_another(
    plan: RunPlan, deployment: Buckets
):
    stage(plan)
    deployment.put(f"{plan.location.key_prefix}ecephys/trials.csv", b"of a faster run")
    with pytest.raises(AssetExists):
        run_task(plan, "upload_data_to_s3")
    assert deployment.keys() == [f"{plan.location.key_prefix}ecephys/trials.csv"]


def test_a_command_never_writes_through_a_link_that_an_earlier_plan_left(
    plan: RunPlan, source: Path
):
    stage(plan)
    task = plan.modalities["ecephys"].model_copy(
        update={"command_script": 'echo made > "$(echo %OUTPUT_LOCATION)/made.txt"\n'}
    )
    changed = plan.model_copy(update={"modalities": {"ecephys": task}})
    CompressDataOperator(task_id="compress_data", modality="ecephys").execute(
        make_context(changed, "compress_data", map_index=0)
    )
    assert (plan.asset_folder / "ecephys" / "made.txt").read_text() == "made\n"
    assert [path.name for path in source.iterdir()] == ["trials.csv"]


def test_removing_the_staging_folder_leaves_the_sources(plan: RunPlan, source: Path):
    stage(plan)
    run_task(plan, "remove_staging_folder")
    run_task(plan, "remove_staging_folder")  # a second try finds nothing to do
    assert not plan.staging_folder.exists()
    assert (source / "trials.csv").exists()


def test_derivatives_are_linked_into_the_asset(plan: RunPlan, source: Path):
    task = plan.tasks["copy_derivatives_folder"].model_copy(
        update={"job_settings": {"input_source": str(source)}}
    )
    chosen = plan.model_copy(update={"tasks": {**plan.tasks, "copy_derivatives_folder": task}})
    stage(chosen)
    run_task(chosen, "copy_derivatives_folder")
    assert (chosen.asset_folder / "derivatives").readlink() == source


def test_a_job_without_derivatives_skips_them(plan: RunPlan):
    stage(plan)
    with pytest.raises(AirflowSkipException):
        run_task(plan, "copy_derivatives_folder")


def test_sources_go_when_s3_holds_them(plan: RunPlan, deployment: Buckets, source: Path):
    stage(plan)
    run_task(plan, "upload_data_to_s3")
    assert run_task(plan, "remove_source_folders")["files"] == 1
    assert not (source / "trials.csv").exists()
    assert run_task(plan, "remove_source_folders")["files"] == 1  # told again, not done again


def test_sources_stay_when_one_byte_differs(plan: RunPlan, deployment: Buckets, source: Path):
    stage(plan)
    run_task(plan, "upload_data_to_s3")
    deployment.put(f"{plan.location.key_prefix}ecephys/trials.csv", b"2\n")
    with pytest.raises(VerificationFailed, match="stay"):
        run_task(plan, "remove_source_folders")
    assert (source / "trials.csv").read_text() == "1\n"
    assert [key for key in deployment.runs_keys() if "journal" in key] == []
