"""What was started is found again, ended whole, and never mistaken for somebody else's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from include.errors import CommandFailed
from include.local.process import ManagedProcess, ProcessRecord, stop_all_recorded

ENVIRONMENT = {"PATH": os.environ["PATH"]}
SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(600)",
]
# Starts a child in a session of its own, says its pid, and stays.
WITH_RUNAWAY_CHILD = [
    sys.executable,
    "-c",
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', "
    "'import time; time.sleep(600)'], start_new_session=True); print(child.pid, flush=True); "
    "time.sleep(600)",
]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ManagedProcess]:
    managed = ManagedProcess("sleeper", tmp_path, grace_s=1)
    yield managed
    managed.stop()


@pytest.fixture
def stranger() -> Iterator[psutil.Process]:
    """A process that none of ours started."""
    child = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    yield psutil.Process(child.pid)
    child.kill()
    child.wait()


def has_printed(process: ManagedProcess) -> bool:
    return bool(process.log_file.read_text().strip())


def start(process: ManagedProcess, command: list[str]) -> int:
    process.start(command, ENVIRONMENT)
    process.wait_until(lambda: has_printed(process), 20)
    assert process.record is not None
    assert process.record.pid is not None
    return process.record.pid


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_another_command_finds_and_ends_it(process: ManagedProcess, tmp_path: Path) -> None:
    pid = start(process, SLEEP)
    elsewhere = ManagedProcess("sleeper", tmp_path)
    assert elsewhere.is_running
    elsewhere.stop()
    assert is_gone(pid)
    assert not process.is_running
    assert not process.record_file.exists()


def test_starting_what_runs_changes_nothing(process: ManagedProcess) -> None:
    pid = start(process, SLEEP)
    process.start(SLEEP, ENVIRONMENT)
    assert process.record is not None
    assert process.record.pid == pid


def test_one_that_ignores_sigterm_is_ended_after_its_grace(process: ManagedProcess) -> None:
    pid = start(process, STUBBORN)
    process.stop()
    assert is_gone(pid)


def test_children_that_left_the_process_group_end_too(process: ManagedProcess) -> None:
    start(process, WITH_RUNAWAY_CHILD)
    child = int(process.log_file.read_text())
    process.stop()
    assert is_gone(child)


def test_children_of_a_killed_process_end_with_the_next_stop(process: ManagedProcess) -> None:
    pid = start(process, WITH_RUNAWAY_CHILD)
    child = int(process.log_file.read_text())
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)], timeout=5)
    assert not process.is_running
    assert not is_gone(child)
    process.stop()
    assert is_gone(child)


def test_children_of_a_killed_process_do_not_outlive_the_next_start(
    process: ManagedProcess,
) -> None:
    pid = start(process, WITH_RUNAWAY_CHILD)
    child = int(process.log_file.read_text())
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)], timeout=5)
    start(process, SLEEP)
    assert is_gone(child)


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(
    process: ManagedProcess, stranger: psutil.Process
) -> None:
    stale = ProcessRecord(
        "sleeper", mark="of an earlier start", pid=stranger.pid, started_at=time.time() - 3600
    )
    process.record_file.parent.mkdir()
    process.record_file.write_text(json.dumps(asdict(stale)))
    assert not process.is_running
    process.stop()
    assert stranger.is_running()
    assert stranger.status() != psutil.STATUS_ZOMBIE
    assert not process.record_file.exists()


def test_one_that_was_started_when_its_starter_was_killed_is_found_by_its_mark(
    process: ManagedProcess,
) -> None:
    pid = start(process, SLEEP)
    assert process.record is not None
    unfinished = ProcessRecord("sleeper", mark=process.record.mark)
    process.record_file.write_text(json.dumps(asdict(unfinished)))
    assert process.is_running
    process.stop()
    assert is_gone(pid)


def test_one_that_dies_at_the_start_gives_its_last_words(process: ManagedProcess) -> None:
    script = "[print('line', n) for n in range(100)]; print('no space left'); raise SystemExit(3)"
    process.start([sys.executable, "-c", script], ENVIRONMENT)
    with pytest.raises(CommandFailed) as failure:
        process.wait_until(lambda: False, 20)
    message = str(failure.value)
    assert message.startswith("sleeper ended with exit code 3")
    assert str(process.log_file) in message
    assert message.endswith("  | no space left")
    assert "line 80" not in message


def test_one_that_is_not_ready_in_time_gives_its_last_words(process: ManagedProcess) -> None:
    start(process, SLEEP)
    with pytest.raises(CommandFailed, match=r"not ready after 0\.2 s(.|\n)*\| up"):
        process.wait_until(lambda: False, 0.2)


def test_a_program_that_is_not_there_is_an_error_and_leaves_no_record(
    process: ManagedProcess,
) -> None:
    with pytest.raises(CommandFailed, match="cannot start /no/such/program"):
        process.start(["/no/such/program"], ENVIRONMENT)
    assert not process.record_file.exists()


def test_the_log_of_the_start_before_is_kept(process: ManagedProcess) -> None:
    process.run([sys.executable, "-c", "print('first')"], ENVIRONMENT, 20)
    process.run([sys.executable, "-c", "print('second')"], ENVIRONMENT, 20)
    assert process.log_file.read_text() == "second\n"
    assert process.log_file.with_suffix(".log.1").read_text() == "first\n"


def test_a_command_that_fails_says_how(process: ManagedProcess) -> None:
    with pytest.raises(CommandFailed, match=r"exit code 4(.|\n)*\| why"):
        process.run([sys.executable, "-c", "print('why'); raise SystemExit(4)"], ENVIRONMENT, 20)


def test_a_command_that_does_not_end_in_time_is_ended(process: ManagedProcess) -> None:
    with pytest.raises(CommandFailed, match=r"had not ended after 0\.5 s"):
        process.run(SLEEP, ENVIRONMENT, 0.5)
    assert not process.is_running


def test_stopping_all_ends_all_and_nobody_else(tmp_path: Path, stranger: psutil.Process) -> None:
    pids = [start(ManagedProcess(f"sleeper-{n}", tmp_path), SLEEP) for n in range(3)]
    stop_all_recorded(tmp_path)
    assert all(map(is_gone, pids))
    assert stranger.is_running()


def test_memory_is_counted_with_the_children(process: ManagedProcess) -> None:
    assert process.pss_mib() == 0
    start(process, SLEEP)
    assert process.pss_mib() > 1
