"""Mails at the start and the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.local.services import Mail
from include.operators.notifications import SendJobEndEmailOperator, SendJobStartEmailOperator
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context, make_plan

EVENTS = [
    (SendJobStartEmailOperator, "send_job_start_email", "begin", "started"),
    (SendJobEndEmailOperator, "send_job_end_email", "end", "finished"),
]


@pytest.mark.parametrize(("kind", "task_id", "event", "word"), EVENTS)
def test_a_mail_goes_out_once_however_often_the_task_runs(
    tmp_path: Path, deployment: Buckets, mails: Mail, kind, task_id, event, word
):
    plan = make_plan(tmp_path, user_email="owner@example.org", email_notification_types=[event])
    operator = kind(task_id=task_id)
    assert operator.execute(make_context(plan, task_id)) == {"sent": True}
    assert operator.execute(make_context(plan, task_id))["sent"] is False
    (mail,) = mails.messages()
    assert mail["Subject"] == f"Airflow {word} {plan.asset_name}"
    assert mail["X-RcptTo"] == "owner@example.org"


@pytest.mark.parametrize(("kind", "task_id", "event", "word"), EVENTS)
def test_who_did_not_ask_gets_none(
    tmp_path: Path, deployment: Buckets, mails: Mail, kind, task_id, event, word
):
    plan = make_plan(tmp_path, email_notification_types=["fail"])
    with pytest.raises(AirflowSkipException):
        kind(task_id=task_id).execute(make_context(plan, task_id))
    assert mails.messages() == []


@pytest.mark.parametrize(("kind", "task_id", "event", "word"), EVENTS)
def test_a_mail_server_that_is_down_fails_nothing(
    tmp_path: Path, deployment: Buckets, no_mail_server, kind, task_id, event, word
):
    plan = make_plan(tmp_path, email_notification_types=["all"])
    operator = kind(task_id=task_id)
    assert operator.execute(make_context(plan, task_id)) == {"sent": False}
