"""`assetflow demo` as a newcomer and a script use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.local.process import stop_all_recorded

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "include.cli", "demo"]


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        stop_all_recorded(Path(folder))


def test_help_imports_no_server() -> None:
    script = (
        "import sys; sys.argv = ['assetflow', 'demo', '--help']\n"
        "from include.cli.main import app\n"
        "try: app()\n"
        "finally: print([name for name in ('airflow', 'boto3', 'psutil') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert all(option in answer.stdout for option in ("--root", "--json", "--keep"))
    assert answer.stdout.splitlines()[-1] == "[]"


@pytest.mark.stack
def test_the_demo_lands_everything_says_so_and_stops_what_it_started(root: Path) -> None:
    answer = subprocess.run(
        [*COMMAND, "--root", str(root), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(answer.stdout)
    assert summary["faults"] == []
    assert summary["run"]["state"] == "success"
    assert {asset["state"] for asset in summary["code_ocean"]} == {"ready"}
    assert [record["status"] for record in summary["records"] if "status" in record] == ["Valid"]
    assert summary["folders"]["ecephys"]["ratio"] > 1
    assert summary["folders"]["behavior-videos"]["ratio"] > 1
    assert summary["folders"]["behavior"]["ratio"] == 1
    assert "All is there and right" in answer.stderr
    assert list((root / "run").glob("*.json")) == []


def test_a_part_that_cannot_start_ends_the_demo_with_its_words(root: Path) -> None:
    (root / "docdb").mkdir()
    (root / "docdb" / "databases").write_text("a file where a folder must be")
    answer = subprocess.run(
        [*COMMAND, "--root", str(root)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert "embedded services and Airflow" in answer.stdout
    assert "error: docdb ended" in answer.stderr
    assert list((root / "run").glob("*.json")) == []
