"""Airflow comes up whole, says what is wrong with a DAG file, survives its parts, and goes down whole."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import httpx
import psutil
import pytest

from include.errors import CommandFailed
from include.local.airflow import Airflow, dag_files
from include.local.stack import LocalStack

DAG = """
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def look_around():
        @task
        def look() -> str:
            import include.errors
            return include.errors.__name__

        look()

    look_around()
"""


def test_only_files_that_may_hold_a_dag_are_waited_for(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.py").write_text("from airflow.sdk import DAG")
    (tmp_path / "sub" / "b.py").write_text("from airflow.sdk import dag")
    (tmp_path / "c.py").write_text("nothing of the kind")
    (tmp_path / "notes.md").write_text("airflow dag")
    assert dag_files(tmp_path) == {"a.py", "sub/b.py"}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """Airflow on PostgreSQL alone, with one small DAG."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        dags = Path(folder) / "dags"
        dags.mkdir()
        (dags / "look_around.py").write_text(dedent(DAG))
        stack = LocalStack(Path(folder) / "stack", services=set(), dags_folder=dags)
        try:
            stack.up()
            yield stack
        finally:
            stack.down()


@pytest.fixture
def airflow(stack: LocalStack) -> Airflow:
    assert stack.airflow is not None
    return stack.airflow


def client(airflow: Airflow, user: str = "admin") -> httpx.Client:
    account = airflow.account(user)
    return httpx.Client(
        base_url=f"{airflow.url}/api/v2",
        headers={"Authorization": f"Bearer {account.token()}"},
        timeout=30,
    )


def run_to_its_end(airflow: Airflow, time_limit_s: float = 60) -> str:
    with client(airflow) as api:
        answer = api.post("/dags/look_around/dagRuns", json={"logical_date": None})
        answer.raise_for_status()
        run = answer.json()["dag_run_id"]
        deadline = time.monotonic() + time_limit_s
        while True:
            state = str(api.get(f"/dags/look_around/dagRuns/{run}").json()["state"])
            if state in {"success", "failed"} or time.monotonic() > deadline:
                return state
            time.sleep(0.1)


@pytest.mark.stack
def test_a_task_runs_and_finds_the_project(airflow: Airflow) -> None:
    assert run_to_its_end(airflow) == "success"


@pytest.mark.stack
def test_a_reader_may_look_but_not_start_a_run(airflow: Airflow) -> None:
    with client(airflow, "reader") as api:
        assert api.get("/dags/look_around").status_code == httpx.codes.OK
        refused = api.post("/dags/look_around/dagRuns", json={"logical_date": None})
        assert refused.status_code == httpx.codes.FORBIDDEN


@pytest.mark.stack
def test_the_api_and_the_database_listen_on_loopback_alone(
    airflow: Airflow, stack: LocalStack
) -> None:
    processes = [
        member
        for part in (airflow.api_server, stack.postgres)
        if part.process.record
        for member in part.process.record.members()
    ]
    addresses = {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


@pytest.mark.stack
def test_up_again_changes_nothing_and_needs_no_migration(stack: LocalStack) -> None:
    before = [status.pid for status in stack.status()]
    migration_log = stack.root / "logs" / "airflow-migration.log"
    migrated_at = migration_log.stat().st_mtime_ns
    stack.up()
    assert [status.pid for status in stack.status()] == before
    assert migration_log.stat().st_mtime_ns == migrated_at


@pytest.mark.stack
def test_a_dag_file_that_cannot_be_imported_is_named_with_the_reason(
    airflow: Airflow, stack: LocalStack
) -> None:
    broken = stack.root.parent / "dags" / "broken.py"
    broken.write_text("import airflow\nraise RuntimeError('this dag is broken')\n")
    try:
        with pytest.raises(CommandFailed, match=r"broken\.py(.|\n)*this dag is broken"):
            airflow.wait_until_ready()
    finally:
        broken.unlink()


@pytest.mark.stack
def test_a_killed_scheduler_is_started_again_without_its_old_workers(
    airflow: Airflow, stack: LocalStack
) -> None:
    record = airflow.scheduler.process.record
    assert record is not None
    assert record.pid is not None
    before = record.members()
    lines: list[str] = []
    stop = threading.Event()
    watching = threading.Thread(
        target=_supervise, args=(stack, stop, lines), name="supervision", daemon=True
    )
    watching.start()
    os.kill(record.pid, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while "airflow-scheduler is ready again" not in lines and time.monotonic() < deadline:
        time.sleep(0.2)
    stop.set()
    watching.join(30)
    assert lines[-1] == "airflow-scheduler is ready again"
    assert [process for process in before if process.is_running()] == []
    assert run_to_its_end(airflow) == "success"


def _supervise(stack: LocalStack, stop: threading.Event, lines: list[str]) -> None:
    from include.local.supervision import supervise

    supervise(stack.parts, stop, stack.restart, lines.append, look_interval_s=0.2)


@pytest.mark.stack
def test_nothing_is_left_when_it_is_stopped(stack: LocalStack) -> None:
    members = [
        process
        for part in stack.parts
        if part.process.record
        for process in part.process.record.members()
    ]
    assert len(members) > len(stack.parts)
    stack.down()
    assert [process for process in members if process.is_running()] == []
    assert list((stack.root / "run").glob("*.json")) == []
