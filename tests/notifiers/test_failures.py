"""What becomes of a failed try: its reason is kept, and its owner gets one mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from include.clients.runs_bucket import failure_key
from include.errors import CommandFailed, ServiceUnavailable
from include.local.services import Mail
from include.notifiers.failures import recorded_reason
from include.notifiers.job_mail import JobMailNotifier
from tests.acquisitions.jobs import job_conf
from tests.operators.conftest import Buckets
from tests.operators.fakes import make_context, make_plan

ERROR = CommandFailed("Command compress ended with exit code 3")


@pytest.fixture
def plan(tmp_path: Path, deployment: Buckets) -> Any:
    return make_plan(tmp_path, user_email="owner@example.org", email_notification_types=["all"])


def tell(event: Any, plan: Any, task_id: str = "compress_data", **where: Any) -> None:
    context = make_context(plan, task_id, **{"exception": ERROR, **where})
    JobMailNotifier(event).notify(context)


def body(mail: Any) -> str:
    return str(mail.get_body(("html",)).get_content())


def test_the_reason_of_a_failure_is_kept_and_mailed(plan: Any, deployment: Buckets, mails: Mail):
    tell("fail", plan, map_index=1)
    key = failure_key(plan.dag_id, plan.run_key, "compress_data_1")
    assert deployment.runs_bucket.read(key)["reason"] == str(ERROR)
    assert recorded_reason(deployment.runs_bucket, plan, "compress_data_1") == str(ERROR)
    (mail,) = mails.messages()
    assert mail["Subject"] == f"Airflow failed {plan.asset_name}"
    assert "exit code 3" in body(mail)


def test_a_task_whose_instances_all_fail_is_told_of_once(plan: Any, mails: Mail):
    for index in range(3):
        tell("fail", plan, map_index=index)
    assert len(mails.messages()) == 1


def test_every_try_is_told_of(plan: Any, mails: Mail):
    tell("retry", plan, try_number=1, exception=ServiceUnavailable("503"))
    tell("retry", plan, try_number=2, exception=ServiceUnavailable("503"))
    tell("fail", plan, try_number=3, exception=ServiceUnavailable("503"))
    words = [mail["Subject"].split()[1] for mail in mails.messages()]
    assert words == ["retried", "retried", "failed"]


def test_a_retry_is_no_failure_for_the_report(plan: Any, deployment: Buckets, mails: Mail):
    tell("retry", plan)
    assert recorded_reason(deployment.runs_bucket, plan, "compress_data") is None


@pytest.mark.parametrize(
    ("error", "state"),
    [
        pytest.param(SystemExit("the task was stopped"), "running", id="it has learned of it"),
        pytest.param(ERROR, "failed", id="it fails before it has learned of it"),
    ],
)
def test_a_task_that_was_stopped_tells_nobody(
    plan: Any, deployment: Buckets, mails: Mail, error: BaseException, state: str
):
    states = {"compress_data_0": "running", "compress_data_1": state}
    tell("fail", plan, exception=error, states=states, map_index=1)
    assert deployment.runs_keys() == []
    assert mails.messages() == []


def test_a_failure_is_told_when_airflow_does_not_say_whether_it_was_a_stop(
    plan: Any, deployment: Buckets, mails: Mail
):
    context = make_context(plan, "compress_data", exception=ERROR)

    def silent(**_: Any) -> None:
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.GENERIC_ERROR))

    context["ti"].get_task_states = silent
    JobMailNotifier("fail").notify(context)
    assert len(mails.messages()) == 1
    assert recorded_reason(deployment.runs_bucket, plan, "compress_data") == str(ERROR)


def test_a_dry_run_tells_nobody(tmp_path: Path, deployment: Buckets, mails: Mail):
    tell("fail", make_plan(tmp_path, dry_run=True, email_notification_types=["all"]))
    assert deployment.runs_keys() == []
    assert mails.messages() == []


@pytest.mark.parametrize(("error", "words"), [(ValueError(), "ValueError"), (None, "was killed")])
def test_a_failure_without_words_is_still_named(
    plan: Any, deployment: Buckets, mails: Mail, error: Exception | None, words: str
):
    tell("fail", plan, exception=error)
    assert words in str(recorded_reason(deployment.runs_bucket, plan, "compress_data"))


def test_who_did_not_ask_gets_no_mail_but_the_reason_is_kept(
    tmp_path: Path, deployment: Buckets, mails: Mail
):
    plan = make_plan(tmp_path, email_notification_types=["end"])
    tell("fail", plan)
    assert recorded_reason(deployment.runs_bucket, plan, "compress_data") == str(ERROR)
    assert mails.messages() == []


def test_a_run_that_could_not_be_planned_is_told_of(deployment: Buckets, mails: Mail):
    context = make_context(None, "plan_run", exception=ERROR)
    context["params"] = job_conf(email_notification_types=["fail"])
    JobMailNotifier("fail").notify(context)
    (mail,) = mails.messages()
    assert "exit code 3" in body(mail)
    assert deployment.runs_keys() == []


def test_a_conf_that_cannot_be_read_has_nobody_to_tell(deployment: Buckets, mails: Mail):
    context = make_context(None, "plan_run", exception=ERROR)
    context["params"] = {"subject_id": 1}
    JobMailNotifier("fail").notify(context)
    assert mails.messages() == []


def test_a_mail_server_that_is_down_loses_the_mail_but_not_the_reason(
    plan: Any, deployment: Buckets, no_mail_server: None
):
    tell("fail", plan)
    assert recorded_reason(deployment.runs_bucket, plan, "compress_data") == str(ERROR)


def test_a_mail_links_to_the_run(plan: Any, mails: Mail):
    tell("fail", plan)
    (mail,) = mails.messages()
    assert "/dags/transform_and_upload_v2/runs/manual__2026-11-20T10%3A00%3A00%2B00%3A00" in body(
        mail
    )
