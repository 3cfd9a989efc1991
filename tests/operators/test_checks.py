"""What must be true before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.acquisitions.provenance import PLAN_NAME
from include.errors import AssetExists, InvalidInput
from include.operators.checks import CheckS3FolderExistsOperator, CheckSourceFoldersExistOperator
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context, make_plan


def check_target(tmp_path: Path, deployment: Buckets) -> str:
    plan = make_plan(tmp_path)
    plan = plan.model_copy(update={"bucket": deployment.private})
    operator = CheckS3FolderExistsOperator(task_id="check_s3_folder_exists")
    answer = operator.execute(make_context(plan, "check_s3_folder_exists"))
    return str(answer["state"])


def put_plan(deployment: Buckets, prefix: str, run_key: str) -> None:
    deployment.put(f"{prefix}{PLAN_NAME}", json.dumps({"run_key": run_key}).encode())


def test_an_empty_target_is_free(tmp_path: Path, deployment: Buckets):
    deployment.put("712345_2024-05-27_16-07-59_more/file")  # another asset's name begins the same
    assert check_target(tmp_path, deployment) == "empty"


def test_this_runs_own_partial_upload_is_no_obstacle(tmp_path: Path, deployment: Buckets):
    plan = make_plan(tmp_path)
    put_plan(deployment, plan.location.key_prefix, plan.run_key)
    deployment.put(f"{plan.location.key_prefix}behavior/trials.csv")
    assert "own earlier upload" in check_target(tmp_path, deployment)


@pytest.mark.parametrize("with_plan", [True, False])
def test_what_somebody_else_put_there_is_refused(
    tmp_path: Path, deployment: Buckets, with_plan: bool
):
    prefix = make_plan(tmp_path).location.key_prefix
    if with_plan:
        put_plan(deployment, prefix, "another_run")
    deployment.put(f"{prefix}behavior/trials.csv")
    with pytest.raises(AssetExists, match="force_cloud_sync"):
        check_target(tmp_path, deployment)


def test_all_problems_of_all_folders_are_named_at_once(tmp_path: Path, deployment: Buckets):
    empty = tmp_path / "lab" / "empty"
    empty.mkdir()
    plan = make_plan(
        tmp_path,
        tasks={
            "modality_transformation_settings": {
                "ecephys": {"job_settings": {"input_source": str(tmp_path / "lab" / "missing")}}
            },
            "copy_derivatives_folder": {"job_settings": {"input_source": str(empty)}},
        },
    )
    operator = CheckSourceFoldersExistOperator(task_id="check_source_folders_exist")
    with pytest.raises(InvalidInput) as refusal:
        operator.execute(make_context(plan, "check_source_folders_exist"))
    assert len(refusal.value.problems) == 2
