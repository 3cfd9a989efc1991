"""What the scheduler imports before it forks is there, and survives the fork."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: str) -> Any:
    """What the script prints as JSON; it sees *arguments* as Airflow's processes see theirs."""
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", dedent(script), *arguments],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'config'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("process", ["dag-processor", "api-server", "triggerer", "tasks"])
def test_processes_without_tasks_import_nothing(process: str) -> None:
    script = """
        import airflow_local_settings, json, sys
        print(json.dumps([name for name in sys.modules if name.startswith(("boto3", "include"))]))
    """
    assert run(script, process) == []


@pytest.fixture(scope="module")
def forked() -> Any:
    """What a child of a scheduler finds, and whether the libraries work in it."""
    return run(
        """
        import json, os, sys
        import airflow.sdk
        import airflow_local_settings

        threads = len(os.listdir("/proc/self/task"))
        reader, writer = os.pipe()
        if os.fork() == 0:
            modules = sorted(sys.modules)
            import boto3, obstore, obstore.store, pymongo, pymongo.errors
            from awscrt.checksums import crc64nvme

            store = obstore.store.MemoryStore()
            obstore.put(store, "key", b"content")
            content = bytes(obstore.get(store, "key").bytes()).decode()
            checksum = crc64nvme(b"123456789")
            try:
                nobody = pymongo.MongoClient("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=50)
                nobody.admin.command("ping")
            except pymongo.errors.ServerSelectionTimeoutError:
                mongo = "asked"
            found = dict(threads=threads, modules=modules, content=content, checksum=checksum,
                         mongo=mongo)
            os.write(1, (json.dumps(found) + "\\n").encode())
            os._exit(0)
        _, status = os.wait()
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        "scheduler",
    )


@pytest.mark.parametrize(
    "module",
    ["boto3", "obstore", "pymongo", "aind_data_schema.core.metadata", "include.operators.base"],
)
def test_a_task_finds_its_modules_imported(forked: Any, module: str) -> None:
    assert module in forked["modules"]


def test_every_operator_module_is_imported(forked: Any) -> None:
    files = (ROOT / "include" / "operators").glob("*.py")
    wanted = {f"include.operators.{file.stem}" for file in files if file.stem != "__init__"}
    assert wanted <= set(forked["modules"])


def test_importing_starts_no_thread(forked: Any) -> None:
    assert forked["threads"] == 1


def test_the_libraries_work_after_the_fork(forked: Any) -> None:
    assert forked["content"] == "content"
    assert forked["checksum"] == 0xAE8B14860A799888  # the check value of CRC-64/NVME
    assert forked["mongo"] == "asked"
