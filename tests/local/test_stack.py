"""The embedded servers as one: together up, together down, beside others, and never half."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError

from include.errors import CommandFailed
from include.local.ports import LOOPBACK
from include.local.process import MARK
from include.local.service import Service
from include.local.services import Mail
from include.local.stack import LocalStack
from include.local.supervision import supervise


def small_stack(root: Path, *services: str) -> LocalStack:
    return LocalStack(root, services=set(services), airflow=False)


@pytest.fixture
def mail_stack(tmp_path: Path) -> Iterator[LocalStack]:
    stack = small_stack(tmp_path, "mail")
    yield stack
    stack.down()


def send(mail: Mail) -> None:
    message = EmailMessage()
    message["To"] = message["From"] = "a@example.org"
    with smtplib.SMTP(mail.host, mail.port, local_hostname="localhost") as client:
        client.send_message(message)


def pid_of(part: Service) -> int:
    record = part.process.record
    assert record is not None
    assert record.pid is not None
    return record.pid


def marked_with(root: Path) -> list[int]:
    """Processes that anything under this root started."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if MARK in environment and str(root) in " ".join(process.cmdline()):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_a_restart_keeps_ports_and_what_was_stored(mail_stack: LocalStack) -> None:
    mail_stack.up()
    port = mail_stack.mail.port
    send(mail_stack.mail)
    mail_stack.down()
    mail_stack.up()
    assert mail_stack.mail.port == port
    assert len(mail_stack.mail.messages()) == 1


def test_a_port_that_somebody_took_meanwhile_is_replaced(mail_stack: LocalStack) -> None:
    mail_stack.up()
    port = mail_stack.mail.port
    mail_stack.down()
    with socket.create_server((LOOPBACK, port)):
        mail_stack.up()
        assert mail_stack.mail.port != port
        send(mail_stack.mail)


def test_up_leaves_alone_what_runs(mail_stack: LocalStack) -> None:
    mail_stack.up()
    before = pid_of(mail_stack.mail)
    small_stack(mail_stack.root, "mail").up()
    assert pid_of(mail_stack.mail) == before


def test_two_stacks_run_side_by_side(tmp_path: Path) -> None:
    first, second = small_stack(tmp_path / "a", "mail"), small_stack(tmp_path / "b", "mail")
    try:
        first.up()
        second.up()
        send(first.mail)
        assert (len(first.mail.messages()), len(second.mail.messages())) == (1, 0)
        first.down()
        send(second.mail)
        assert len(second.mail.messages()) == 1
    finally:
        first.down()
        second.down()


def test_down_from_another_command_leaves_nothing(mail_stack: LocalStack) -> None:
    mail_stack.up()
    assert marked_with(mail_stack.root)
    # Another command need not know which services were started.
    LocalStack(mail_stack.root, services=set(), airflow=False).down()
    assert marked_with(mail_stack.root) == []


def test_status_tells_ready_ended_and_stopped_apart(mail_stack: LocalStack) -> None:
    def state() -> str:
        return mail_stack.status()[0].state

    assert state() == "stopped"
    mail_stack.up()
    (status,) = mail_stack.status()
    assert (status.state, status.pid) == ("ready", pid_of(mail_stack.mail))
    assert status.ports == (mail_stack.mail.port,)
    assert status.pss_mib > 1
    os.kill(pid_of(mail_stack.mail), signal.SIGSTOP)
    assert state() == "not ready"
    os.kill(pid_of(mail_stack.mail), signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid_of(mail_stack.mail))], timeout=5)
    assert state() == "ended"
    mail_stack.down()
    assert state() == "stopped"


def test_a_server_that_dies_at_start_is_named_with_its_log_and_the_rest_is_stopped(
    tmp_path: Path,
) -> None:
    stack = small_stack(tmp_path, "mail", "docdb")
    stack.docdb.folder.mkdir()
    (stack.docdb.folder / "databases").write_text("a file where a folder must be")
    with pytest.raises(CommandFailed, match=r"docdb ended(.|\n)*docdb\.log(.|\n)*\| "):
        stack.up()
    assert [status.state for status in stack.status()] == ["stopped", "stopped"]
    assert marked_with(tmp_path) == []


def test_what_ran_before_a_failed_start_goes_on(mail_stack: LocalStack) -> None:
    mail_stack.up()
    both = small_stack(mail_stack.root, "mail", "docdb")
    both.docdb.folder.mkdir()
    (both.docdb.folder / "databases").write_text("a file where a folder must be")
    with pytest.raises(CommandFailed):
        both.up()
    send(mail_stack.mail)


def test_a_location_has_one_record(tmp_path: Path) -> None:
    stack = small_stack(tmp_path, "docdb")
    try:
        stack.up()
        stack.down()
        stack.up()
        with MongoClient[dict[str, Any]](stack.docdb.uri) as client:
            for name in ("data_assets", "data_assets_v2"):
                records = client["metadata_index"][name]
                records.insert_one({"location": "s3://bucket/name"})
                with pytest.raises(DuplicateKeyError):
                    records.insert_one({"location": "s3://bucket/name"})
    finally:
        stack.down()


def test_buckets_are_made_under_the_names_that_airflow_is_told(tmp_path: Path) -> None:
    variables = {"ASSETFLOW_OPEN_BUCKET": "of-this-lab"}
    stack = LocalStack(tmp_path, services={"s3"}, airflow=False, variables=variables)
    try:
        stack.up()
        names = {bucket["Name"] for bucket in stack.s3.client().list_buckets()["Buckets"]}
    finally:
        stack.down()
    assert names == {"of-this-lab", "assetflow-private-data", "assetflow-runs"}
    assert stack.environment()["ASSETFLOW_OPEN_BUCKET"] == "of-this-lab"


def test_only_services_that_run_have_a_connection(tmp_path: Path) -> None:
    environment = small_stack(tmp_path, "mail", "s3").environment()
    connections = {name for name in environment if name.startswith("AIRFLOW_CONN_")}
    assert connections == {"AIRFLOW_CONN_ASSETFLOW_SMTP", "AIRFLOW_CONN_ASSETFLOW_S3"}


def test_an_unknown_service_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such service: s4"):
        small_stack(tmp_path, "s4")


def test_settings_of_the_callers_shell_do_not_reach_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from include.local.service import inherited_environment

    for name in ("AWS_PROFILE", "AIRFLOW_HOME", "AIRFLOW__CORE__EXECUTOR", "ASSETFLOW_MAIL_FROM"):
        monkeypatch.setenv(name, "of the shell")
    monkeypatch.setenv("LANG", "kept")
    inherited = inherited_environment()
    assert "of the shell" not in inherited.values()
    assert inherited["LANG"] == "kept"


def watch(stack: LocalStack, lines: list[str], errors: list[Exception]) -> threading.Thread:
    def run() -> None:
        try:
            supervise(
                stack.parts, threading.Event(), stack.restart, lines.append, look_interval_s=0.05
            )
        except CommandFailed as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def wait_for_line(lines: list[str], text: str, count: int = 1) -> None:
    met = threading.Event()
    for _ in range(400):
        if sum(text in line for line in lines) >= count:
            return
        met.wait(0.05)
    raise AssertionError(f"never reported: {text}; only {lines}")


def test_one_that_ends_by_itself_is_started_again_but_not_for_ever(mail_stack: LocalStack) -> None:
    lines: list[str] = []
    errors: list[Exception] = []
    mail_stack.up()
    thread = watch(mail_stack, lines, errors)
    for time_number in range(1, 4):
        os.kill(pid_of(mail_stack.mail), signal.SIGKILL)
        wait_for_line(lines, "mail is ready again", time_number)
        send(mail_stack.mail)
    os.kill(pid_of(mail_stack.mail), signal.SIGKILL)
    thread.join(20)
    assert len(errors) == 1
    assert "mail ended 4 times" in str(errors[0])


def test_a_stack_that_another_command_stops_is_not_started_again(mail_stack: LocalStack) -> None:
    lines: list[str] = []
    errors: list[Exception] = []
    mail_stack.up()
    thread = watch(mail_stack, lines, errors)
    small_stack(mail_stack.root, "mail").down()
    thread.join(20)
    assert lines == ["mail was stopped by another command"]
    assert errors == []
