"""Real bash, real processes: what a command may do to us, and what we do to it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from include.acquisitions.runner import Command, CommandState, Ending, Outcome, run_to_end
from include.clients.local_runner import LocalRunner
from include.errors import CommandFailed, NotFound

ROOT = Path(__file__).parents[2]


def make_command(folder: Path, script: str, **fields: object) -> Command:
    return Command(
        **{"name": "work", "script": script, "environment": {}, "working_folder": folder, **fields}  # type: ignore[arg-type]
    )


def run(folder: Path, script: str, **fields: object) -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    command = make_command(folder, script, **fields)
    return run_to_end(LocalRunner(), command, lines.append, look_interval_s=0.02), lines


def wait_until(is_true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text().strip(), f"{path.name} is written")
    return int(path.read_text())


def test_a_command_that_ends_well_is_reported_with_output_and_use(tmp_path):
    outcome, lines = run(tmp_path, "echo one; echo two >&2; pwd")

    assert outcome.succeeded
    assert lines == ["one", "two", str(tmp_path)]
    assert outcome.last_lines == tuple(lines)
    assert outcome.log_path is not None
    assert outcome.log_path.read_text().splitlines() == lines
    assert outcome.started_at is not None
    assert outcome.ended_at is not None
    assert outcome.started_at <= outcome.ended_at


def test_the_exit_code_is_the_scripts(tmp_path):
    outcome, _ = run(tmp_path, "exit 7")

    assert (outcome.ending, outcome.exit_code, outcome.signal) == (Ending.EXITED, 7, None)


def test_a_signal_is_told_from_an_exit_code(tmp_path):
    outcome, _ = run(tmp_path, "kill -SEGV $$")

    assert (outcome.ending, outcome.exit_code) == (Ending.SIGNAL, None)
    assert outcome.signal == signal.SIGSEGV


def test_nothing_of_the_callers_environment_reaches_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    _, lines = run(tmp_path, "env", environment={"GIVEN": "a 'b' \"c\" $d"})

    names = {line.partition("=")[0] for line in lines}
    assert "GIVEN=a 'b' \"c\" $d" in lines
    assert names - {"GIVEN", "PWD", "SHLVL", "_"} == {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "PYTHONUNBUFFERED",
    }  # fmt: skip


def test_the_environment_is_neither_on_disk_nor_in_an_argument(tmp_path):
    runner = LocalRunner()
    handle = runner.submit(make_command(tmp_path, "sleep 30", environment={"TOKEN": "verysecret"}))

    told = [" ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)]
    stored = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]

    runner.cancel(handle)
    assert told
    assert not any("verysecret" in text for text in told)
    assert not any(b"verysecret" in content for content in stored)
    wait_until(lambda: isinstance(runner.poll(handle), Outcome), "it was cancelled")


def test_output_arrives_while_the_command_runs(tmp_path):
    go_on = tmp_path / "go on"
    script = f"echo first; until [ -e '{go_on}' ]; do sleep 0.02; done; echo second"
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        go_on.touch()  # were lines held back to the end, the script would wait for ever

    run_to_end(LocalRunner(), make_command(tmp_path, script, time_limit_s=20), on_line)

    assert lines == ["first", "second"]


def test_the_time_limit_ends_the_command_and_all_it_started(tmp_path):
    script = "sleep 300 & echo $! > child; sleep 300"

    outcome, _ = run(tmp_path, script, time_limit_s=0.5)

    assert outcome.ending is Ending.TIME_LIMIT
    assert not is_alive(pid_in(tmp_path / "child"))


def test_a_command_deaf_to_sigterm_is_killed(tmp_path, monkeypatch):
    # The watcher is a process of its own: a copy of it with a shorter patience.
    source = (ROOT / "include/clients/command_watcher.py").read_text()
    impatient = tmp_path / "watcher.py"
    impatient.write_text(source.replace("GRACE_S: Final = 10.0", "GRACE_S: Final = 0.3"))
    monkeypatch.setattr("include.clients.command_watcher.__file__", str(impatient))

    outcome, _ = run(tmp_path, "trap '' TERM; while :; do sleep 0.1; done", time_limit_s=0.3)

    assert (outcome.ending, outcome.signal) == (Ending.TIME_LIMIT, signal.SIGKILL)


def test_what_a_script_leaves_in_the_background_ends_with_it(tmp_path):
    daemon = "import os,time; open('daemon','w').write(str(os.getpid())); time.sleep(300)"
    script = f'setsid "{sys.executable}" -c "{daemon}" & until [ -s daemon ]; do sleep 0.02; done'

    outcome, _ = run(tmp_path, script)

    assert outcome.succeeded
    assert not is_alive(pid_in(tmp_path / "daemon"))


def test_a_killed_caller_takes_the_command_with_it(tmp_path):
    caller = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path\n"
            "from include.acquisitions.runner import Command, run_to_end\n"
            "from include.clients.local_runner import LocalRunner\n"
            "script = 'sleep 300 & echo $! > child; echo $$ > parent; sleep 300'\n"
            "command = Command('work', script, {}, Path(sys.argv[1]))\n"
            "run_to_end(LocalRunner(), command, print)\n",
            str(tmp_path),
        ],
        cwd=ROOT,
    )
    pids = [pid_in(tmp_path / "child"), pid_in(tmp_path / "parent")]

    caller.kill()
    caller.wait()

    wait_until(lambda: not any(map(is_alive, pids)), "the command is gone")
    again, lines = run(tmp_path, "echo again")
    assert again.succeeded, "an earlier caller's end is not this caller's"
    assert lines[-1] == "again"


def test_a_command_that_runs_is_found_and_not_started_twice(tmp_path):
    first, second = LocalRunner(), LocalRunner()
    command = make_command(tmp_path, "echo x >> starts; until [ -e stop ]; do sleep 0.02; done")

    handle = first.submit(command)
    assert second.submit(command) == handle
    assert second.poll(handle) is CommandState.RUNNING
    (tmp_path / "stop").touch()

    wait_until(lambda: isinstance(second.poll(handle), Outcome), "the second sees its end")
    assert (tmp_path / "starts").read_text() == "x\n"


def test_a_command_that_has_ended_is_started_anew(tmp_path):
    run(tmp_path, "echo old; exit 3")
    outcome, lines = run(tmp_path, "echo new")

    assert outcome.succeeded
    assert lines == ["new"]
    assert (tmp_path / "commands/work/output.previous.log").read_text() == "old\n"


def test_the_command_outlives_no_killed_watcher_unseen(tmp_path):
    runner = LocalRunner()
    handle = runner.submit(make_command(tmp_path, "echo $$ > pid; sleep 300"))
    script_pid = pid_in(tmp_path / "pid")
    watcher_pid = psutil.Process(script_pid).ppid()

    os.kill(watcher_pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(watcher_pid), "the watcher is dead")

    # The command holds the lock itself: a second copy is not started beside it.
    assert runner.poll(handle) is CommandState.RUNNING
    os.killpg(script_pid, signal.SIGKILL)
    wait_until(lambda: isinstance(runner.poll(handle), Outcome), "the loss is noticed")
    outcome = runner.poll(handle)
    assert isinstance(outcome, Outcome)
    assert outcome.ending is Ending.LOST


def test_cancelling_ends_it(tmp_path):
    runner = LocalRunner()
    handle = runner.submit(make_command(tmp_path, "sleep 300"))

    runner.cancel(handle)

    wait_until(lambda: isinstance(runner.poll(handle), Outcome), "it has ended")
    outcome = runner.poll(handle)
    assert isinstance(outcome, Outcome)
    assert outcome.ending is Ending.CANCELLED


def test_an_exception_in_the_caller_ends_the_command(tmp_path):
    def on_line(_line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_end(LocalRunner(), make_command(tmp_path, "echo $$ | tee pid; sleep 300"), on_line)

    assert not is_alive(pid_in(tmp_path / "pid"))


def test_arbitrary_bytes_are_shown_and_kept(tmp_path):
    outcome, lines = run(tmp_path, r"printf 'caf\xc3\xa9 \xff\x00 end\n50%%\r100%%\r\nlast'")

    assert lines == ["café \\xff\\x00 end", "50%", "100%", "last"]
    assert outcome.log_path is not None
    assert outcome.log_path.read_bytes() == b"caf\xc3\xa9 \xff\x00 end\n50%\r100%\r\nlast"


def test_a_line_without_end_is_cut_and_holds_no_memory(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    _, lines = run(tmp_path, "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo after")

    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert lines[-1] == "after"
    assert len(lines[0]) < 5_000
    assert lines[0].endswith("more characters)")
    assert grown_mib < 40


def test_a_flood_of_lines_is_thinned_out_for_the_caller_and_whole_in_the_log(tmp_path):
    outcome, lines = run(tmp_path, "seq 1000000")

    assert outcome.succeeded
    assert lines[-1] == "1000000"
    assert any("lines left out here" in line for line in lines)
    assert outcome.log_path is not None
    assert outcome.log_path.stat().st_size == sum(len(f"{i}\n") for i in range(1, 1_000_001))
    assert len(outcome.last_lines) == 200


def test_a_log_stops_growing_at_its_limit_and_keeps_the_end(tmp_path):
    runner = LocalRunner(log_limit_bytes=1_000)
    command = make_command(tmp_path, "seq 100000")

    outcome = run_to_end(runner, command, lambda _line: None)

    assert outcome.log_path is not None
    log = outcome.log_path.read_text()
    assert log.startswith("1\n2\n")
    assert "bytes left out" in log
    assert log.endswith("99999\n100000\n")
    assert len(log) < 100_000


def test_cpu_time_and_memory_of_the_whole_tree_are_reported(tmp_path):
    use = (
        "import time, os\n"
        "block = bytearray(os.urandom(1)) * 80_000_000\n"
        "end = time.process_time() + 0.4\n"
        "while time.process_time() < end: pass\n"
        "time.sleep(0.5)\n"
    )
    (tmp_path / "use.py").write_text(use)
    script = f'"{sys.executable}" use.py & "{sys.executable}" use.py & wait'

    outcome, _ = run(tmp_path, script)

    assert outcome.cpu_s is not None
    assert outcome.peak_memory_mib is not None
    assert outcome.cpu_s >= 0.8
    assert outcome.peak_memory_mib >= 150, "both processes together hold 160 MB"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(CommandFailed, match=r"Not a directory.*make the folder writable"):
        run(tmp_path / "file" / "sub", "true")


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root on Linux"
)
class TestFullDisk:
    @pytest.fixture
    def small_disk(self, tmp_path):
        folder = tmp_path / "disk"
        folder.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True
        )
        if mounted.returncode:
            pytest.skip(f"cannot mount a small disk here: {mounted.stderr.decode().strip()}")
        yield folder
        subprocess.run(["umount", "-l", folder], check=True)

    def test_a_command_that_fills_the_disk_is_reported_all_the_same(self, small_disk):
        outcome, _ = run(small_disk, "head -c 2000000 /dev/zero > big; seq 100000; exit 4")

        assert (outcome.ending, outcome.exit_code) == (Ending.EXITED, 4)
        assert outcome.last_lines[-1] == "100000"
        assert "No space left on device" in outcome.detail

    def test_no_room_for_a_start_is_said(self, small_disk):
        (small_disk / "big").write_bytes(bytes(2**20))

        with pytest.raises(CommandFailed, match="No space left on device"):
            run(small_disk, "true")


def test_an_unknown_handle_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="nothing-here"):
        LocalRunner().poll(str(tmp_path / "nothing-here"))
