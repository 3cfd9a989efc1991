"""`assetflow local` as a person or a script uses it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.local.process import stop_all_recorded

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "include.cli", "local"]


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        stop_all_recorded(Path(folder))


def assetflow_local(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def status(root: Path) -> tuple[int, dict[str, Any]]:
    answer = assetflow_local("status", "--root", str(root), "--json")
    return answer.returncode, {part["name"]: part for part in json.loads(answer.stdout)}


def test_help_names_every_command_and_imports_no_server() -> None:
    script = (
        "import sys; sys.argv = ['assetflow', 'local', '--help']\n"
        "from include.cli.main import app\n"
        "try: app()\n"
        "finally: print([name for name in ('airflow', 'boto3', 'psutil') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert all(command in answer.stdout for command in ("up", "down", "status", "environment"))
    assert answer.stdout.splitlines()[-1] == "[]"


def test_status_of_a_stack_that_was_never_started(root: Path) -> None:
    code, parts = status(root)
    assert code == 3
    assert {part["state"] for part in parts.values()} == {"stopped"}
    assert {"s3", "docdb", "postgres", "airflow-scheduler"} <= set(parts)


def test_up_status_environment_and_down(root: Path) -> None:
    up = assetflow_local("up", "--root", str(root), "--no-airflow", "--detach", "--json")
    assert up.returncode == 0, up.stderr
    assert {part["state"] for part in json.loads(up.stdout)} == {"ready"}

    lines = assetflow_local("environment", "--root", str(root)).stdout
    shell = subprocess.run(
        ["sh", "-c", f'eval "$1"; {sys.executable} -m include.cli presets diff', "sh", lines],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shell.returncode == 0, "the presets were not loaded at the start"

    assert assetflow_local("down", "--root", str(root)).returncode == 0
    _, parts = status(root)
    assert {part["state"] for part in parts.values()} == {"stopped"}


@pytest.mark.parametrize(
    ("how", "when_ready"),
    [
        pytest.param(signal.SIGINT, True, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, True, id="asked to end"),
        pytest.param(signal.SIGINT, False, id="Ctrl-C while it starts"),
    ],
)
def test_in_front_it_stops_everything_when_interrupted(
    root: Path, how: signal.Signals, *, when_ready: bool
) -> None:
    up = subprocess.Popen(
        [*COMMAND, "up", "--root", str(root), "--no-airflow"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert up.stdout is not None
        if when_ready:
            assert any("metadata_service" in line for line in up.stdout)  # the table is shown
        else:
            wait_for_a_record(root)
        up.send_signal(how)
        up.communicate(timeout=60)
    finally:
        up.kill()
    assert up.returncode == (0 if when_ready else 130)
    assert list((root / "run").glob("*.json")) == []


def test_with_json_standard_output_is_one_document_whatever_happens_later(root: Path) -> None:
    up = subprocess.Popen(
        [*COMMAND, "up", "--root", str(root), "--no-airflow", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert up.stdout is not None
        assert up.stderr is not None
        lines = list(itertools.takewhile(lambda line: line != "]\n", up.stdout))
        parts = {part["name"]: part for part in json.loads("".join([*lines, "]"]))}
        os.kill(parts["mail"]["pid"], signal.SIGKILL)
        assert any("mail is ready again" in line for line in up.stderr)
        up.send_signal(signal.SIGINT)
        output, _ = up.communicate(timeout=60)
    finally:
        up.kill()
    assert (up.returncode, output) == (0, "")


def wait_for_a_record(root: Path) -> None:
    deadline = time.monotonic() + 30
    while not list(root.glob("run/*.json")):
        assert time.monotonic() < deadline, "nothing was started"
        time.sleep(0.02)


def test_a_server_that_cannot_start_is_shown_with_its_log_and_no_traceback(root: Path) -> None:
    (root / "docdb").mkdir()
    (root / "docdb" / "databases").write_text("a file where a folder must be")
    up = assetflow_local("up", "--root", str(root), "--no-airflow")
    assert up.returncode == 1
    assert up.stderr.startswith("error: docdb ended")
    assert os.fspath(root / "logs" / "docdb.log") in up.stderr
    assert "Traceback (most recent call last):\n  File" not in up.stderr.split("docdb.log")[0]
    assert list((root / "run").glob("*.json")) == []
