"""A task whose process is killed at the worst moment is tried again and ends right, without doubles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.runs.acquisition import HeldCommand
from tests.runs.eventually import eventually, is_gone, kill
from tests.runs.lab import Lab, Run

LARGE_BYTES = 256 * 2**20
"""Sent in parts over a second or more: time enough to be killed in the middle."""


@dataclass
class Killed:
    """Runs in which one process was killed, each in another task; all have ended."""

    compress: Run
    upload: Run
    register: Run
    record: Run
    command: HeldCommand
    command_pid: int
    parts_after_kill: list[str]
    calls_to_code_ocean: list[str]
    """Prefixes of the assets that Code Ocean was asked to make."""


@pytest.fixture(scope="module")
def killed(lab: Lab) -> Killed:
    lab.reset()
    lab.code_ocean_control.forget_requests()
    # Long enough to be seen and killed while Code Ocean is at it; it goes on without its caller.
    lab.code_ocean_control.fail("POST", "/api/v1/data_assets", delay_s=1, times=None)

    with_command = lab.acquisition({"trials.csv": "1\n"})
    command = HeldCommand(with_command.folder)
    large = lab.acquisition({"trials.csv": "1\n"})
    with (large.source() / "large.bin").open("wb") as file:
        file.truncate(LARGE_BYTES)
    registered = lab.acquisition({"trials.csv": "1\n"})
    recorded = lab.acquisition({"trials.csv": "1\n"})

    lab.docdb_gate.catch("insert", recorded.asset_name)
    compress = lab.submit(
        with_command.conf(modality_tasks={"behavior": {"command_script": command.script}})
    )
    upload = lab.submit(large.conf())
    register = lab.submit(registered.conf())
    record = lab.submit(recorded.conf())

    kills: dict[str, Callable[[], object]] = {
        "upload": upload.unfinished_uploads,
        "register": lambda: registered.asset_name in prefixes_asked_for(lab),
        "record": lambda: lab.docdb_gate.is_caught,
        "compress": command.starts,
    }
    tasks = {
        "compress": (compress, "compress_data", 0),
        "upload": (upload, "upload_data_to_s3", -1),
        "register": (register, "register_data_asset_to_codeocean", -1),
        "record": (record, "update_docdb_record", -1),
    }
    parts_after_kill: list[str] = []

    def kill_what_is_there() -> bool:
        for name, is_there in list(kills.items()):
            if is_there():
                run, task, index = tasks[name]
                kill(run.find_process(task, index))
                kills.pop(name)
                if name == "upload":
                    parts_after_kill.extend(run.unfinished_uploads())
        return not kills

    eventually(kill_what_is_there, "all four tasks at their worst moment")
    command_pid = int(command.starts()[0])
    eventually(lambda: is_gone(command_pid), "the end of the killed task's command")
    command.let_go()
    for run in (compress, upload, register, record):
        run.succeeds()
    asked_for = prefixes_asked_for(lab)
    lab.reset()
    return Killed(
        compress, upload, register, record, command, command_pid, parts_after_kill, asked_for
    )


def prefixes_asked_for(lab: Lab) -> list[str]:
    asked = lab.code_ocean_control.requests("POST", "/api/v1/data_assets")
    return [request["body"]["source"]["aws"]["prefix"] for request in asked]


TASK_OF = {
    "compress": "compress_data_0",
    "upload": "upload_data_to_s3",
    "register": "register_data_asset_to_codeocean",
    "record": "update_docdb_record",
}


@pytest.mark.parametrize("which", TASK_OF)
def test_the_killed_task_was_tried_a_second_time(killed: Killed, which: str):
    run: Run = getattr(killed, which)
    assert run.tasks()[TASK_OF[which]].try_number == 2


@pytest.mark.parametrize("which", TASK_OF)
def test_s3_holds_exactly_the_asset(killed: Killed, which: str):
    run: Run = getattr(killed, which)
    receipt_name = run.xcom("upload_data_to_s3")["receipt_key"].partition("/")[2]
    files = {name for name in run.objects() if name.startswith("behavior/")}
    large = {"behavior/large.bin"} if which == "upload" else set()
    assert files == {"behavior/trials.csv"} | large
    assert run.receipt().keys() == run.objects().keys() - {receipt_name}


@pytest.mark.parametrize("which", TASK_OF)
def test_code_ocean_and_docdb_know_the_asset_once(killed: Killed, which: str):
    run: Run = getattr(killed, which)
    (asset,) = run.data_assets()
    (record,) = run.records()
    assert asset.id in str(record)
    assert killed.calls_to_code_ocean.count(run.asset_name) == 1


@pytest.mark.parametrize("which", TASK_OF)
def test_nothing_of_the_run_stays_behind(killed: Killed, which: str):
    run: Run = getattr(killed, which)
    assert run.claims() == {}
    assert run.unfinished_uploads() == []
    assert not run.staging.exists()


@pytest.mark.parametrize("which", TASK_OF)
def test_the_report_is_green(killed: Killed, which: str):
    run: Run = getattr(killed, which)
    assert run.failures() == {}


def test_the_command_of_a_killed_task_is_ended_and_started_anew(killed: Killed):
    first, second = killed.command.starts()
    assert first != second


def test_a_killed_upload_throws_away_the_parts_it_had_sent(killed: Killed):
    assert killed.parts_after_kill, "the upload was killed after its end"
    assert killed.upload.xcom("upload_data_to_s3")["aborted_uploads"] == 1
    assert killed.upload.objects()["behavior/large.bin"] == LARGE_BYTES
