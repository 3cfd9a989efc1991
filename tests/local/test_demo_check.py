"""The check at the end of the demo finds whatever is not as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.acquisitions.file_digest import FileStamp
from include.acquisitions.plan import RunPlan, TaskPlan
from include.acquisitions.source_matching import Content, LosslessProof
from include.assets.report import Report
from include.local.demo_check import find_faults
from include.local.demo_landed import Landed, MailSeen, SourceFile, read_sources
from include.local.demo_summary import summarise
from tests.acquisitions.jobs import make_job

NAME = "712345_2024-05-27_16-07-59"
LOCATION = f"s3://bucket/{NAME}"
RESULT = f"{NAME}_processed_2024-05-28_00-00-00"
TO = "someone@example.com"


def content(text: str, size_bytes: int = 100) -> Content:
    return Content(size_bytes=size_bytes, crc64nvme=text)


def source(text: str, size_bytes: int = 100) -> SourceFile:
    return SourceFile(content(text, size_bytes), FileStamp(size_bytes, 1, 1))


SOURCES: dict[str, dict[str, SourceFile]] = {
    "ecephys": {"continuous.dat": source("samples", 400)},
    "behavior-videos": {"body.avi": source("video", 300), "notes.txt": source("notes")},
    "behavior": {"trials.csv": source("trials")},
    "metadata": {"instrument.json": source("rig")},
}

OBJECTS = {
    "instrument.json": content("rig"),
    "metadata.nd.json": content("aggregate"),
    "processing.json": content("processing"),
    "behavior/trials.csv": content("trials"),
    "behavior-videos/body.mp4": content("encoded"),
    "behavior-videos/notes.txt": content("notes"),
    "ecephys/traces": content("compressed"),
    ".assetflow/proofs/ecephys.json": content("proof"),
}

PROCESSING = {
    "data_processes": [
        {
            "output_path": "behavior-videos",
            "output_parameters": {"items": [{"name": "body.avi", "value": "done"}]},
        }
    ]
}


def record(**changes: Any) -> dict[str, Any]:
    return {
        "_id": "r1",
        "name": NAME,
        "location": LOCATION,
        "other_identifiers": {"Code Ocean": ["a1"]},
        **changes,
    }


def asset(id_: str = "a1", name: str = NAME, state: str = "ready") -> Any:
    return SimpleNamespace(id=id_, name=name, state=state, type="dataset")


def task(script: str | None = None) -> TaskPlan:
    return TaskPlan(command_script=script)


def make_landed(**changes: Any) -> Landed:
    """What a run leaves in which all went well."""
    plan = RunPlan(
        dag_id="d",
        run_id="r",
        run_key=f"{NAME}_0123456789",
        job=make_job(),
        bucket="bucket",
        asset_name=NAME,
        staging_folder=Path("/staging") / NAME,
        tasks={},
        modalities={
            "ecephys": task("compress"),
            "behavior-videos": task("encode"),
            "behavior": task(),
        },
        pipelines={},
    )
    good = Landed(
        plan=plan,
        run_state="success",
        metadata_status="Valid",
        objects=OBJECTS | {".assetflow/receipt.jsonl.gz": content("receipt")},
        receipt=OBJECTS,
        proofs={
            "ecephys": LosslessProof(
                sources={"continuous.dat": content("samples", 400)},
                outputs={"traces": content("compressed")},
            )
        },
        core_files={
            "processing.json": PROCESSING,
            "metadata.nd.json": {"name": NAME, "location": LOCATION},
        },
        records=(record(),),
        assets=(asset(),),
        results=(asset("a2", RESULT),),
        result_files={f"s3://bucket/{RESULT}": 2},
        result_records=({"name": RESULT, "other_identifiers": {"Code Ocean": ["a2"]}},),
        mails=(
            MailSeen(TO, f"Airflow started {NAME}"),
            MailSeen(TO, f"Airflow finished {NAME}"),
        ),
        report=Report(subject=LOCATION, done=("plan_run",)),
        is_claimed=False,
        has_staging=False,
    )
    return replace(good, **changes)


def without(mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


def objects(**changes: Content) -> Mapping[str, Content]:
    return {**make_landed().objects, **changes}


def test_a_run_in_which_all_went_well_has_no_faults() -> None:
    assert find_faults(make_landed(), SOURCES, SOURCES) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"run_state": "failed"}, "the run ended as failed", id="failed run"),
        pytest.param({"report": None}, "no report", id="no report"),
        pytest.param(
            {"report": Report(subject=LOCATION, failed={"upload_data_to_s3": "no room"})},
            "upload_data_to_s3 failed: no room",
            id="failed task",
        ),
        pytest.param({"metadata_status": "Invalid"}, "metadata is Invalid", id="bad metadata"),
        pytest.param(
            {"objects": without(make_landed().objects, "behavior/trials.csv")},
            "S3 lacks behavior/trials.csv",
            id="lost file of a linked modality",
        ),
        pytest.param(
            {"objects": objects(**{"behavior/trials.csv": content("other")})},
            "S3 holds another behavior/trials.csv",
            id="same size, other content",
        ),
        pytest.param(
            {"objects": objects(**{"behavior-videos/notes.txt": content("cut", 99)})},
            "S3 holds another behavior-videos/notes.txt",
            id="cut file beside a video",
        ),
        pytest.param(
            {"objects": objects(**{"ecephys/traces": content("")})},
            "the proof of ecephys",
            id="output that S3 has no checksum of",
        ),
        pytest.param({"objects": objects(strange=content("x"))}, "strange", id="one too many"),
        pytest.param({"proofs": {}}, "S3 lacks ecephys/continuous.dat", id="no proof"),
        pytest.param(
            {"proofs": {"ecephys": LosslessProof(sources={}, outputs={})}},
            "is not what the proof of ecephys was made for",
            id="empty proof",
        ),
        pytest.param(
            {"core_files": without(make_landed().core_files, "processing.json")},
            "S3 lacks behavior-videos/body.avi",
            id="encoded, but nothing says so",
        ),
        pytest.param(
            {"objects": without(make_landed().objects, "behavior-videos/body.mp4")},
            "S3 holds nothing of its name",
            id="lost video",
        ),
        pytest.param({"records": ()}, "DocDB holds 0 records", id="no record"),
        pytest.param({"records": (record(), record())}, "DocDB holds 2 records", id="two records"),
        pytest.param({"records": (record(name="x"),)}, "name is 'x'", id="wrong name"),
        pytest.param(
            {"records": (record(other_identifiers=None),)}, "links to []", id="record without link"
        ),
        pytest.param({"assets": ()}, "Code Ocean holds 0 assets", id="no asset"),
        pytest.param(
            {"assets": (asset(), asset("a3"))}, "Code Ocean holds 2 assets", id="two assets"
        ),
        pytest.param({"assets": (asset(state="draft"),)}, "is draft", id="asset that is no asset"),
        pytest.param(
            {"results": (), "result_records": ()}, "holds 0 results", id="nothing was captured"
        ),
        pytest.param({"result_records": ()}, "records of results []", id="unrecorded result"),
        pytest.param(
            {"result_files": {f"s3://bucket/{RESULT}": 0}}, "nothing of the result", id="no files"
        ),
        pytest.param({"mails": ()}, "mails []", id="no mails"),
        pytest.param(
            {"mails": tuple(replace(mail, to="x@y") for mail in make_landed().mails)},
            "went to x@y",
            id="mails to somebody else",
        ),
        pytest.param(
            {"mails": (*make_landed().mails, MailSeen(TO, f"Airflow failed {NAME}"))},
            f"Airflow failed {NAME}",
            id="a mail too many",
        ),
        pytest.param({"has_staging": True}, "staging folder", id="staging folder left"),
        pytest.param({"is_claimed": True}, "still held by a run", id="claim left"),
    ],
)
def test_whatever_is_wrong_in_a_store_is_found(changes: dict[str, Any], fault: str) -> None:
    assert any(fault in found for found in find_faults(make_landed(**changes), SOURCES, SOURCES))


@pytest.mark.parametrize(
    ("now", "fault"),
    [
        pytest.param({}, "source behavior/trials.csv is gone", id="removed"),
        pytest.param(
            {"trials.csv": source("trials"), "b": source("b")},
            "source behavior/b is new",
            id="added",
        ),
        pytest.param(
            {"trials.csv": replace(source("trials"), stamp=FileStamp(100, 2, 1))},
            "source behavior/trials.csv changed",
            id="written again with the same bytes",
        ),
    ],
)
def test_a_touched_source_is_found(now: dict[str, SourceFile], fault: str) -> None:
    after = {**SOURCES, "behavior": now}
    assert fault in find_faults(make_landed(), SOURCES, after)


def test_sources_are_read_with_the_digests_that_s3_has(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "é.bin").write_bytes(b"123456789")
    found = read_sources({"behavior": tmp_path})["behavior"]
    assert {name: file.content for name, file in found.items()} == {
        # The check value of CRC-64/NVME.
        "a b/é.bin": Content(size_bytes=9, crc64nvme="rosUhgp5mIg=")
    }


def test_the_summary_tells_how_much_smaller_each_modality_became() -> None:
    folders = summarise(make_landed(), SOURCES, [])["folders"]
    assert folders["ecephys"] == {
        "files": 1,
        "size_bytes": 100,
        "source_bytes": 400,
        "ratio": 4.0,
    }
    assert folders["behavior"]["ratio"] == 1.0
    assert "ratio" not in folders["core files"]
