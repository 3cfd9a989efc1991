"""Mails as they arrive: composed, sent through the hook, caught by a mail server."""

from __future__ import annotations

import pytest

from include.acquisitions.mail import compose
from include.hooks.mail import MailHook
from include.local import connections as to
from tests.acquisitions.jobs import make_job


@pytest.fixture
def inbox(mail_server, monkeypatch):
    monkeypatch.setenv(*to.as_variable(MailHook.default_conn_name, to.smtp_connection(mail_server)))
    mail_server.clear()
    return mail_server


def deliver(inbox, **changes):
    mail = compose("fail", make_job(**changes), run_url="http://airflow/runs/1", reason="ü → 🐭")
    MailHook().send(to=mail.to, subject=mail.subject, html=mail.html, sender="flow@example.org")
    [message] = inbox.messages()
    return mail, message


def test_the_headers_say_who_to_whom_and_about_what(inbox):
    mail, message = deliver(inbox)
    assert message["From"] == "flow@example.org"
    assert message["To"] == message["X-RcptTo"] == "someone@example.com"
    assert message["Subject"] == mail.subject
    assert message["Date"]


def test_text_of_any_language_arrives_as_it_was(inbox):
    mail, message = deliver(inbox, subject_id="маус-7", project_name="Größe")
    assert message["Subject"] == "Airflow failed маус-7_2024-05-27_16-07-59"
    body = message.get_body(("html",))
    assert body.get_content().strip() == mail.html.strip()
    assert "ü → 🐭" in body.get_content()
    assert "Größe" in body.get_content()
