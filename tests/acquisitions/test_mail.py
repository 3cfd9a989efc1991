"""Mails about runs: who gets one, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.acquisitions.mail import MAX_REASON_CHARACTERS, compose, wanted
from include.acquisitions.plan import Deployment, resolve_plan
from tests.acquisitions.jobs import NAME, make_job

URL = "https://airflow.example.com/dags/x/runs/a%2Bb?x=1&y=2"


class Nothing:
    def read_tree(self, path: str) -> dict[str, str]:
        return {}


def make_plan(**changes: object):
    return resolve_plan(
        make_job(job_type="default", **changes),
        presets=Nothing(),
        deployment=Deployment({"default": "bucket"}, Path("/staging"), "/p"),
        dag_id="transform_and_upload_v2",
        run_id="r",
    )


@pytest.mark.parametrize(
    ("types", "events"),
    [
        (None, {"fail"}),
        ([], set()),
        (["all"], {"begin", "end", "fail", "retry"}),
        (["begin", "retry"], {"begin", "retry"}),
    ],
)
def test_a_mail_is_wanted_at_the_chosen_events(types, events):
    job = make_job(email_notification_types=types)
    assert {event for event in ("begin", "end", "fail", "retry") if wanted(job, event)} == events


def test_without_an_address_no_mail_is_wanted_nor_made():
    job = make_job(user_email=None, email_notification_types=["all"])
    assert not wanted(job, "fail")
    with pytest.raises(ValueError, match="nobody to write to"):
        compose("fail", job, run_url=URL)


@pytest.mark.parametrize(
    ("event", "verb"),
    [("begin", "started"), ("end", "finished"), ("fail", "failed"), ("retry", "retried")],
)
def test_the_subject_is_the_one_people_filter_by(event, verb):
    assert compose(event, make_plan(), run_url=URL).subject == f"Airflow {verb} {NAME}"


def test_a_mail_says_what_happened_why_and_where_to_look():
    plan = make_plan(foo=1)
    mail = compose(
        "fail",
        plan,
        run_url=URL,
        task_id="upload_data_to_s3",
        reason="403 for s3://bucket/<key>",
        support_contact="help@example.com",
    )
    assert mail.to == "someone@example.com"
    for said in (
        "upload_data_to_s3",
        f"s3://bucket/{NAME}",
        "Learning",
        "/allen/aind/stage/s/ecephys",
        "remove_source_folders",
        "foo is not a field",
        "help@example.com",
    ):
        assert said in mail.html
    assert 'href="https://airflow.example.com/dags/x/runs/a%2Bb?x=1&amp;y=2"' in mail.html
    assert "403 for s3://bucket/&lt;key&gt;" in mail.html


def test_nothing_that_was_typed_becomes_markup_or_a_header():
    evil = '<script>alert("x")</script>'
    job = make_job(project_name=evil, tasks={"compress_data": {"job_settings": {"a": evil}}})
    mail = compose("fail", job, run_url=f'x" onclick="{evil}', reason=evil, support_contact=evil)
    assert "<script" not in mail.html
    assert '" onclick="' not in mail.html
    assert "\n" not in mail.subject


def test_no_secret_of_the_settings_is_mailed():
    job = make_job(
        tasks={
            "compress_data": {
                "job_settings": {"api_key": "hunter2"},
                "image_resources": {"environment": ["DB_PASSWORD=hunter2"]},
            }
        }
    )
    mail = compose("fail", job, run_url=URL)
    assert "hunter2" not in mail.html
    assert "***" in mail.html


@pytest.mark.parametrize(
    "line",
    ["GET https://me:hunter2@example.org/x: 500", "DB_PASSWORD=hunter2", "  DB_PASSWORD=hunter2"],
)
def test_no_secret_of_a_reason_is_mailed(line):
    mail = compose("fail", make_job(), run_url=URL, reason=f"before\n{line}\nafter")
    assert "hunter2" not in mail.html
    assert "before" in mail.html
    assert "after" in mail.html


def test_a_job_without_settings_has_no_empty_box():
    assert "Settings of single tasks" not in compose("begin", make_job(tasks={}), run_url=URL).html


def test_of_a_long_reason_both_ends_are_kept():
    reason = "start" + "x" * 3 * MAX_REASON_CHARACTERS + "the last line"
    mail = compose("fail", make_job(), run_url=URL, reason=reason)
    assert "start" in mail.html
    assert "the last line" in mail.html
    assert "characters left out" in mail.html
    assert len(mail.html) < 2 * MAX_REASON_CHARACTERS


def test_a_start_mail_has_no_reason_and_no_call_for_help():
    mail = compose("begin", make_plan(), run_url=URL, support_contact="help@example.com")
    assert "Reason" not in mail.html
    assert "help@example.com" not in mail.html
