"""One modality's transformation: by link, by command, with proof, and without leftovers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from include.acquisitions.plan import RunPlan, TaskPlan
from include.acquisitions.staging import create
from include.errors import CommandFailed, InvalidInput, StagingMissing
from include.operators.transformation import (
    CompressDataOperator,
    ModalityTransformationSettingsOperator,
)
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context, make_plan


def staged_plan(tmp_path: Path, **task: Any) -> RunPlan:
    """A plan with its staging folder, and a source with one file."""
    source = tmp_path / "lab" / "source"
    source.mkdir(exist_ok=True)
    (source / "samples.bin").write_bytes(b"samples")
    task = {"job_settings": {"input_source": str(source)}, **task}
    plan = make_plan(
        tmp_path / "staging",
        tasks={
            "modality_transformation_settings": {"ecephys": task},
            "remove_source_folders": {"skip_task": False},
        },
    )
    create(plan.staging_folder, tmp_path / "staging", plan.run_key)
    return plan


def compress(plan: RunPlan) -> dict[str, Any]:
    operator = CompressDataOperator(task_id="compress_data", modality="ecephys")
    answer: dict[str, Any] = operator.execute(make_context(plan, "compress_data", map_index=0))
    return answer


def test_a_modality_without_a_command_is_linked(tmp_path: Path, deployment: Buckets):
    plan = staged_plan(tmp_path)
    assert compress(plan)["how"] == "linked"
    assert compress(plan)["how"] == "linked"  # a second try finds the link
    assert (plan.asset_folder / "ecephys").readlink() == tmp_path / "lab" / "source"


def test_a_command_makes_the_modalitys_folder_and_a_process_record(
    tmp_path: Path, deployment: Buckets
):
    script = "cp '%INPUT_SOURCE'/samples.bin '%OUTPUT_LOCATION'/made.bin"
    plan = staged_plan(tmp_path, command_script=script)
    assert compress(plan)["how"] == "transformed"
    assert [path.name for path in (plan.asset_folder / "ecephys").iterdir()] == ["made.bin"]
    record = json.loads((plan.work_folder / "processes" / "ecephys.json").read_text())
    assert record["output_location"] == str(plan.asset_folder / "ecephys")


def test_nothing_that_an_earlier_try_left_reaches_the_asset(tmp_path: Path, deployment: Buckets):
    plan = staged_plan(tmp_path, command_script="touch '%OUTPUT_LOCATION'/made-$$")
    compress(plan)
    target = plan.asset_folder / "ecephys"
    (target / "half").mkdir()
    (target / "half" / "chunk").write_text("of a killed try")
    record = plan.work_folder / "processes" / "ecephys.json"
    first = record.read_text()
    compress(plan)
    assert len(list(target.iterdir())) == 1
    assert record.read_text() != first


def test_a_command_that_leaves_nothing_has_failed(tmp_path: Path, deployment: Buckets):
    with pytest.raises(CommandFailed, match="left nothing"):
        compress(staged_plan(tmp_path, command_script="true"))


def test_a_command_that_fails_says_its_last_words(tmp_path: Path, deployment: Buckets):
    with pytest.raises(CommandFailed, match="no such probe"):
        compress(staged_plan(tmp_path, command_script="echo no such probe; exit 3"))


def test_a_source_outside_of_the_roots_is_refused(tmp_path: Path, deployment: Buckets):
    plan = staged_plan(tmp_path, job_settings={"input_source": "/etc"})
    with pytest.raises(InvalidInput, match="/etc"):
        compress(plan)


def test_without_its_staging_folder_a_task_says_what_to_clear(tmp_path: Path, deployment: Buckets):
    plan = make_plan(tmp_path / "staging")
    with pytest.raises(StagingMissing, match="clear create_staging_folder"):
        compress(plan)


RECORD = {
    "name": "Compression",
    "software_version": "1",
    "start_date_time": "2026-11-20T10:00:00+00:00",
    "end_date_time": "2999-11-20T10:00:00+00:00",
    "input_location": "in",
    "output_location": "out",
    "code_url": "",
    "parameters": {},
}


@pytest.mark.parametrize("proven", [True, False])
def test_a_proof_is_kept_only_of_what_was_proven_lossless(
    tmp_path: Path, deployment: Buckets, proven: bool
):
    record = json.dumps({**RECORD, "statistics": {"is_lossless_proven": proven}})
    script = (
        "cp '%INPUT_SOURCE'/samples.bin '%OUTPUT_LOCATION'\n"
        f"cat > \"$ASSETFLOW_PROCESS_RECORD\" <<'END'\n{record}\nEND\n"
    )
    plan = staged_plan(tmp_path, command_script=script)
    compress(plan)
    proof = plan.asset_folder / ".assetflow" / "proofs" / "ecephys.json"
    assert proof.exists() is proven


def test_modalities_without_a_source_are_left_out(tmp_path: Path):
    plan = make_plan(tmp_path)
    bare = TaskPlan()
    skipped = plan.modalities["ecephys"].model_copy(update={"skip": True})
    plan = plan.model_copy(
        update={"modalities": {**plan.modalities, "behavior": bare, "pophys": skipped}}
    )
    operator = ModalityTransformationSettingsOperator(task_id="modality_transformation_settings")
    context = make_context(plan, "modality_transformation_settings")
    assert operator.execute(context) == [{"modality": "ecephys"}]
