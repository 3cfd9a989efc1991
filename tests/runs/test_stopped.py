"""Runs that a person stops or resumes, and runs that want the same asset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.runs.acquisition import Acquisition, HeldCommand
from tests.runs.eventually import eventually, is_gone
from tests.runs.lab import Lab, Run


def held_conf(acquisition: Acquisition, command: HeldCommand, **changes: Any) -> dict[str, Any]:
    """A run whose behaviour files are linked and whose videos wait for the test."""
    return acquisition.conf(
        modality_tasks={"behavior-videos": {"command_script": command.script}}, **changes
    )


def held_acquisition(lab: Lab) -> tuple[Acquisition, HeldCommand]:
    acquisition = lab.acquisition({"trials.csv": "1\n"})
    acquisition.write({"camera.txt": "video\n"}, "behavior-videos")
    return acquisition, HeldCommand(acquisition.folder)


@dataclass
class Runs:
    """Everything of this module, started at once and ended."""

    stopped: Run
    left_by_stopped: tuple[dict[str, int], list[str], str]
    """Objects, mails by their word, and the text of the failure."""

    stopped_waiting: Run
    stopped_and_repeated: Run
    resumed: Run
    resumed_command: HeldCommand
    not_resumable: Run
    not_resumable_again: dict[str, str]
    started_anew: Run
    winner: Run
    loser: Run


KEEP = {"remove_staging_folder": {"job_settings": {"keep_for_resume": True}}}


@pytest.fixture(scope="module")
def runs(lab: Lab) -> Runs:
    lab.reset()
    acquired, command = held_acquisition(lab)
    stopped = lab.submit(held_conf(acquired, command))

    waiting = lab.acquisition({"trials.csv": "1\n"})
    lab.metadata_control.fail(path=f"*/subject/{waiting.subject_id}", status=503, times=None)
    stopped_waiting = lab.submit(waiting.conf())

    pairs = [held_acquisition(lab) for _ in range(2)]
    (resumable, resumed_command), (unkept, unkept_command) = pairs
    resumed = lab.submit(held_conf(resumable, resumed_command, tasks=KEEP))
    not_resumable = lab.submit(held_conf(unkept, unkept_command))

    wanted, wanted_command = held_acquisition(lab)
    conf = held_conf(wanted, wanted_command)
    rivals = [lab.submit(conf), lab.submit(conf)]

    stopped_waiting.wait_for("gather_preliminary_metadata", "up_for_retry")
    stopped_waiting.stop()

    pid = command.wait_until_started()
    stopped.stop()
    eventually(lambda: is_gone(pid), "the end of the stopped run's command", within_s=30)

    # A file of a linked modality breaks while the other modality is still at work.
    for acquisition, held in pairs:
        held.wait_until_started()
        source = acquisition.source() / "trials.csv"
        source.unlink()
        source.symlink_to("nowhere")
        held.let_go()

    wanted_command.wait_until_started()
    loser = eventually(
        lambda: next(
            (
                one
                for one in rivals
                if lab.api.run_state("transform_and_upload_v2", one.run_id) == "failed"
            ),
            None,
        ),
        "one of two runs of one asset to lose",
    )
    winner = rivals[1 - rivals.index(loser)]
    wanted_command.let_go()

    for run, (acquisition, _) in zip((resumed, not_resumable), pairs, strict=True):
        run.fails()
        source = acquisition.source() / "trials.csv"
        source.unlink()
        source.write_text("1,mended\n")
        run.clear_failed()
    for run in (stopped, stopped_waiting):
        run.fails()
    left = (stopped.objects(), stopped.mail_words(), stopped.mail_text("failed"))
    # The asset is free again: a new run of it goes through.
    command.let_go()
    repeated = lab.submit(held_conf(acquired, command, force_cloud_sync=True))
    resumed.wait_for("upload_data_to_s3", "success")
    for run in (resumed, winner, repeated):
        run.succeeds()
    not_resumable.wait_for("report_run", "failed")
    not_resumable.fails()
    started_anew = lab.submit(held_conf(unkept, unkept_command)).succeeds()
    return Runs(
        stopped=stopped,
        left_by_stopped=left,
        stopped_waiting=stopped_waiting,
        stopped_and_repeated=repeated,
        resumed=resumed,
        resumed_command=resumed_command,
        not_resumable=not_resumable,
        not_resumable_again=not_resumable.failures(),
        started_anew=started_anew,
        winner=winner,
        loser=loser,
    )


def test_a_stopped_run_is_red_and_says_what_was_not_done(runs: Runs):
    failures = runs.stopped.failures()
    assert "stopped" in failures["compress_data_1"]
    assert "stopped" in failures["upload_data_to_s3"]
    assert runs.left_by_stopped[0] == {}


@pytest.mark.parametrize("which", ["stopped", "stopped_waiting"])
def test_a_stopped_run_leaves_nothing_behind(runs: Runs, which: str):
    run: Run = getattr(runs, which)
    assert not run.staging.exists()
    assert run.claims() == {}
    assert run.report() is not None


def test_a_stopped_run_is_told_of_in_one_mail(runs: Runs):
    _, words, text = runs.left_by_stopped
    assert words == ["started", "failed"]
    assert "stopped" in text


def test_a_run_stopped_between_two_tries_is_red(runs: Runs):
    """Airflow marks every task that did not run as skipped, which must not pass for success."""
    assert "stopped" in runs.stopped_waiting.failures()["upload_data_to_s3"]


def test_a_stopped_asset_can_be_taken_by_a_new_run(runs: Runs):
    assert runs.stopped_and_repeated.objects()["behavior-videos/camera.txt"] == len("video\n")


def test_a_failed_run_names_the_file_and_the_reason(runs: Runs):
    text = runs.resumed.mail_text("failed")
    assert "behavior/trials.csv" in text
    assert "link" in text


def test_a_kept_run_goes_on_where_it_failed(runs: Runs):
    tasks = runs.resumed.tasks()
    assert tasks["upload_data_to_s3"].try_number == 2
    assert tasks["compress_data_1"].try_number == 1
    assert len(runs.resumed_command.starts()) == 1
    assert runs.resumed.read("behavior/trials.csv") == b"1,mended\n"
    assert runs.resumed.failures() == {}
    assert not runs.resumed.staging.exists()
    assert runs.resumed.claims() == {}


def test_a_run_whose_staging_folder_went_cannot_go_on_and_says_so(runs: Runs):
    assert "clear create_staging_folder" in runs.not_resumable_again["upload_data_to_s3"]


def test_a_run_that_failed_before_its_first_file_is_in_nobodys_way(runs: Runs):
    assert runs.started_anew.states()["check_s3_folder_exists"] == "success"
    assert runs.started_anew.read("behavior/trials.csv") == b"1,mended\n"


def test_of_two_runs_of_one_asset_one_wins(runs: Runs):
    assert runs.winner.failures() == {}
    assert len(runs.winner.data_assets()) == 1
    assert len(runs.winner.records()) == 1


def test_the_other_fails_before_it_writes_anything(runs: Runs):
    log = runs.loser.log("plan_run")
    assert runs.loser.states()["plan_run"] == "failed"
    assert runs.loser.tasks()["plan_run"].try_number == 1
    assert "is being worked on by" in log or "is being worked on by" in runs.loser.mail_text(
        "failed"
    )
    assert runs.winner.run_id in runs.loser.mail_text("failed")
    assert runs.loser.traces() == {}
    assert not runs.loser.staging.exists()
    assert runs.winner.mail_words().count("started") == 1
