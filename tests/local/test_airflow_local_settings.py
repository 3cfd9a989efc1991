"""What the scheduler imports before it forks is there, and survives the fork."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest
from airflow_local_settings import see_exits_at_once  # type: ignore[import-not-found]  # in config/

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
            from include.hooks.aws import client_of

            session = boto3.Session("key", "secret", region_name="us-west-2")
            operations = {"s3": "list_objects_v2", "ssm": "get_parameters_by_path"}
            services = {
                name: client_of(session, name).meta.method_to_api_mapping[method]
                for name, method in operations.items()
            }
            found = dict(threads=threads, modules=modules, content=content, checksum=checksum,
                         mongo=mongo, services=services)
            os.write(1, (json.dumps(found) + "\\n").encode())
            os._exit(0)
        _, status = os.wait()
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        "scheduler",
    )


@pytest.mark.parametrize(
    "module",
    [
        "boto3",
        "obstore",
        "pymongo",
        "aind_data_schema.core.metadata",
        "airflow.sdk.execution_time.cache",
        "include.defaults",
        "include.operators.base",
    ],
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


def test_a_task_makes_clients_from_the_descriptions_its_parent_read(forked: Any) -> None:
    assert forked["services"] == {"s3": "ListObjectsV2", "ssm": "GetParametersByPath"}


def test_the_supervisor_of_this_airflow_is_the_one_that_is_changed() -> None:
    script = """
        import json
        import airflow_local_settings
        from airflow.sdk.execution_time.supervisor import ActivitySubprocess
        print(json.dumps(hasattr(ActivitySubprocess._service_subprocess, "__wrapped__")))
    """
    assert run(script, "scheduler") is True, "this Airflow's supervisor is built otherwise"


class Supervisor:
    """Looks like Airflow's, and remembers how long it was told to wait."""

    __attrs_attrs__ = (SimpleNamespace(name="_open_sockets"),)

    def __init__(self, *open_sockets: str) -> None:
        self._open_sockets = open_sockets
        self.waited: list[float] = []

    def _service_subprocess(
        self, max_wait_time: float, raise_on_timeout: bool = False, expect_signal: int | None = None
    ) -> None:
        self.waited.append(max_wait_time)


@pytest.mark.parametrize(
    ("open_sockets", "asked_s", "waits_s"),
    [
        pytest.param(["stdout"], 5.0, 5.0, id="the task can still say something"),
        pytest.param([], 5.0, 0.02, id="only its exit is awaited"),
        pytest.param([], 0.01, 0.01, id="a shorter wait stays"),
    ],
)
def test_a_supervisor_waits_long_only_while_its_task_can_speak(
    open_sockets: list[str], asked_s: float, waits_s: float
) -> None:
    changed = type(
        "Changed", (Supervisor,), {"_service_subprocess": Supervisor._service_subprocess}
    )
    assert see_exits_at_once(SimpleNamespace(WatchedSubprocess=changed))
    supervisor = changed(*open_sockets)
    supervisor._service_subprocess(max_wait_time=asked_s, expect_signal=9)
    assert supervisor.waited == [waits_s]


@pytest.mark.parametrize(
    "built_otherwise",
    [
        pytest.param({}, id="no such class"),
        pytest.param({"WatchedSubprocess": object}, id="no such method"),
        pytest.param(
            {"WatchedSubprocess": type("W", (Supervisor,), {"__attrs_attrs__": ()})},
            id="sockets kept elsewhere",
        ),
        pytest.param(
            {"WatchedSubprocess": type("W", (Supervisor,), {"_service_subprocess": lambda _: 0})},
            id="another signature",
        ),
    ],
)
def test_a_supervisor_that_is_built_otherwise_is_left_alone(
    built_otherwise: dict[str, Any],
) -> None:
    module = SimpleNamespace(**built_otherwise)
    before = {name: dict(vars(value)) for name, value in built_otherwise.items()}
    assert not see_exits_at_once(module)
    assert {name: dict(vars(value)) for name, value in vars(module).items()} == before
