"""What people and rigs get wrong: every problem is named with its reason, to whom it concerns."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import pytest

from include.errors import InvalidInput
from tests.runs.acquisition import HeldCommand
from tests.runs.eventually import eventually
from tests.runs.lab import DAG_ID, Lab, Run

MANY = 10_000

SENT_WHILE_IT_GROWS_BYTES = 256 * 2**20

WRONG_SETTINGS = {
    "gather_preliminary_metadata": {"job_settings": {"on_service_failure": "maybe"}},
    "codeocean_pipeline_settings": {
        "behavior": {"job_settings": {"pipeline_monitor_settings": {"run_params": {}}}}
    },
}


@dataclass
class Runs:
    """Everything of this module, started at once and ended."""

    missing: Run
    empty: Run
    unreadable: Run
    led_out: Run
    planned_wrongly: Run
    many: Run
    changed_before: Run
    changed_during: Run


@pytest.fixture(scope="module")
def runs(lab: Lab) -> Runs:
    lab.reset()
    missing = lab.acquisition({})
    missing.source().rmdir()
    empty = lab.acquisition({})
    unreadable = lab.acquisition({"trials.csv": "1\n"})
    with socket.socket(socket.AF_UNIX) as left_open:  # not even root can read one
        left_open.bind(str(unreadable.source() / "camera.socket"))
    led_out = lab.acquisition({"trials.csv": "1\n"})
    (led_out.source() / "passwd").symlink_to("/etc/passwd")
    (led_out.source() / "gone.csv").symlink_to("nowhere")
    planned_wrongly = lab.acquisition({"trials.csv": "1\n"})
    many = lab.acquisition({f"{n % 100:02}/{n:05}.bin": b"x" for n in range(MANY)})
    changed_before = lab.acquisition({"trials.csv": "old\n"})
    changed_before.write({"camera.txt": "video\n"}, "behavior-videos")
    command = HeldCommand(changed_before.folder)
    changed_during = lab.acquisition({"trials.csv": "1\n"})
    growing = changed_during.source() / "growing.bin"
    with growing.open("wb") as file:
        file.truncate(SENT_WHILE_IT_GROWS_BYTES)

    started = Runs(
        changed_before=lab.submit(
            changed_before.conf(
                modality_tasks={"behavior-videos": {"command_script": command.script}}
            )
        ),
        changed_during=lab.submit(changed_during.conf()),
        missing=lab.submit(missing.conf()),
        empty=lab.submit(empty.conf()),
        unreadable=lab.submit(unreadable.conf()),
        led_out=lab.submit(led_out.conf()),
        many=lab.submit(many.conf()),
        planned_wrongly=lab.submit_from_inside(planned_wrongly.conf(WRONG_SETTINGS)),
    )
    command.wait_until_started()
    changed_before.write({"trials.csv": "new, and longer\n"})
    command.let_go()
    eventually(started.changed_during.unfinished_uploads, "the first part of the growing file")
    with growing.open("r+b") as file:
        file.write(b"begun")
    for run in (started.missing, started.empty, started.unreadable, started.led_out):
        run.fails()
    started.planned_wrongly.fails()
    for run in (started.many, started.changed_before, started.changed_during):
        run.succeeds()
    return started


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("missing", ["behavior", "does not exist"]),
        ("empty", ["behavior", "no files"]),
        ("unreadable", ["camera.socket"]),
        ("led_out", ["passwd", "gone.csv"]),
    ],
)
def test_a_bad_source_folder_is_named_at_once_with_all_its_problems(
    runs: Runs, which: str, words: list[str]
):
    run: Run = getattr(runs, which)
    reason = run.failures()["check_source_folders_exist"]
    mail = run.mail_text("failed")
    for word in words:
        assert word in reason
        assert word in mail
    assert run.tasks()["check_source_folders_exist"].try_number == 1
    assert run.mail_words().count("failed") == 1


@pytest.mark.parametrize("which", ["missing", "empty", "unreadable", "led_out", "planned_wrongly"])
def test_bad_input_leaves_nothing_in_any_store(runs: Runs, which: str):
    run: Run = getattr(runs, which)
    assert run.objects() == {}
    assert run.data_assets() == []
    assert run.records() == []
    assert run.claims() == {}
    assert not run.staging.exists()


def test_settings_that_no_task_could_read_are_refused_when_the_run_is_planned(runs: Runs):
    mail = runs.planned_wrongly.mail_text("failed")
    assert runs.planned_wrongly.states()["plan_run"] == "failed"
    assert "on_service_failure" in mail
    assert "exactly one of capsule_id and pipeline_id" in mail
    assert runs.planned_wrongly.traces() == {}


def test_ten_thousand_small_files_arrive_whole(runs: Runs):
    files = {name for name in runs.many.objects() if name.startswith("behavior/")}
    assert len(files) == MANY
    assert len(runs.many.receipt().keys() & files) == MANY


def test_a_file_that_changed_before_the_upload_is_uploaded_as_it_is_then(runs: Runs):
    assert runs.changed_before.read("behavior/trials.csv") == b"new, and longer\n"
    assert runs.changed_before.receipt()["behavior/trials.csv"]["size_bytes"] == 16


def test_a_file_that_changed_during_the_upload_is_sent_again(runs: Runs):
    found = runs.changed_during.lab.s3.get_object(
        Bucket=runs.changed_during.lab.bucket,
        Key=f"{runs.changed_during.asset_name}/behavior/growing.bin",
        Range="bytes=0-7",
    )
    assert found["Body"].read() == b"begun\0\0\0"


def test_a_bad_conf_is_refused_with_every_problem_in_one_answer(lab: Lab):
    conf = lab.acquisition({"trials.csv": "1\n"}).conf() | {
        "subject_id": "",
        "acq_datetime": "yesterday",
        "modalities": [{"abbreviation": "sonar"}],
        "user_email": "nobody",
    }
    with pytest.raises(InvalidInput) as refusal:
        lab.api.start_run(DAG_ID, conf)
    answer = str(refusal.value)
    for word in ("subject_id", "acq_datetime", "sonar", "user_email"):
        assert word in answer


def test_wrong_settings_of_tasks_are_refused_in_one_answer_too(lab: Lab):
    with pytest.raises(InvalidInput) as refusal:
        lab.submit(lab.acquisition({"trials.csv": "1\n"}).conf(WRONG_SETTINGS))
    assert "on_service_failure" in str(refusal.value)
    assert "exactly one of capsule_id and pipeline_id" in str(refusal.value)
