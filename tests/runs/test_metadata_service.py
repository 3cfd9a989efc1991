"""A metadata service that is down stops a run after its tries, unless the run may go on without it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.runs.lab import Lab, Run


@dataclass
class Runs:
    """Three runs whose subject the metadata service would not tell."""

    down: Run
    came_back: Run
    goes_on: Run


@pytest.fixture(scope="module")
def runs(lab: Lab) -> Runs:
    lab.reset()
    acquisitions = [lab.acquisition({"trials.csv": "1\n"}) for _ in range(3)]
    down, came_back, goes_on = acquisitions
    for acquisition in acquisitions:
        path = f"*/{acquisition.subject_id}*"
        times = 1 if acquisition is came_back else None
        lab.metadata_control.fail(path=path, status=503, times=times)
    metadata_dir = str(goes_on.folder / "metadata")
    go_on = {
        "check_metadata_files": {"skip_task": True},  # it asks for what only the service knows
        "gather_preliminary_metadata": {
            "job_settings": {"metadata_dir": metadata_dir, "on_service_failure": "continue"}
        },
    }
    started = Runs(
        down=lab.submit(down.conf()),
        came_back=lab.submit(came_back.conf()),
        goes_on=lab.submit(goes_on.conf(go_on)),
    )
    for run in (started.down, started.came_back, started.goes_on):
        run.wait()
    lab.reset()
    return started


def test_a_service_that_stays_down_is_asked_four_times_and_named(runs: Runs):
    run = runs.down.fails()
    assert run.tasks()["gather_preliminary_metadata"].try_number == 4
    assert "503" in run.failures()["gather_preliminary_metadata"]
    assert run.failures()["upload_data_to_s3"].startswith("not reached")
    assert run.mail_words() == ["started", "retried", "retried", "retried", "failed"]
    assert "503" in run.mail_text("failed")
    assert run.objects() == {}
    assert run.claims() == {}


def test_a_service_that_comes_back_costs_nothing_but_time(runs: Runs):
    run = runs.came_back.succeeds()
    assert {"subject.json", "procedures.json"} <= run.objects().keys()


def test_a_run_may_go_on_without_the_service(runs: Runs):
    run = runs.goes_on.succeeds()
    assert "subject.json" not in run.objects()
    assert "acquisition.json" in run.objects()
    assert len(run.records()) == 1
