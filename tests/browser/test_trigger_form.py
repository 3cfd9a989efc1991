"""The trigger form in Airflow's UI, as a scientist meets it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from include.clients.airflow_api import FINAL_STATES, AirflowApi
from include.local.stack import LocalStack

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.stack]

DAG_ID = "transform_and_upload_v2"
RUN_TIME_LIMIT_S = 90


@pytest.fixture
def page(page_of: Callable[[str], Page]) -> Page:
    """A page of a person who may start runs."""
    return page_of("submitter")


@pytest.fixture
def form(page: Page) -> Locator:
    """The open trigger form."""
    page.goto(f"/dags/{DAG_ID}")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog").filter(has=page.locator("#element_job_type"))
    dialog.locator("#element_job_type").wait_for()
    return dialog


def fill(form: Locator, **values: str) -> None:
    for name, value in values.items():
        form.locator(f"#element_{name}").fill(value)


def choose(form: Locator, name: str, *options: str) -> None:
    """Pick options of a multi-select by the beginning of their labels."""
    field = form.locator("[data-scope=field]").filter(
        has=form.page.locator(f"[name=element_{name}]")
    )
    for option in options:
        field.get_by_label("Select one or multiple values").fill(option)
        form.page.get_by_role("option", name=option).first.click()


def send(form: Locator) -> dict[str, Any]:
    """Press the button; Airflow's answer."""
    with form.page.expect_response(lambda answer: answer.url.endswith("/dagRuns")) as sent:
        form.get_by_role("button", name="Trigger").click()
    answer = sent.value
    return {"status": answer.status, **answer.json()}


def test_a_filled_form_starts_a_run_of_the_job_that_was_typed(
    form: Locator, local_stack: LocalStack
) -> None:
    assert local_stack.airflow is not None
    account = local_stack.airflow.account("submitter")
    source = make_source(local_stack.source_roots[0] / "from the form")
    fill(
        form,
        job_type="default",
        project_name="Ephys Platform",
        subject_id="712345",
        acq_datetime="2026-11-20T10:00:00",
        input_sources=f"behavior={source}",
        user_email="scientist@example.org",
    )
    choose(form, "modalities", "behavior: Behavior")
    choose(form, "email_notification_types", "all: ")
    form.locator("label").filter(has=form.page.locator("[name=element_dry_run]")).click()

    started = send(form)

    assert started["status"] == 200, started
    assert started["conf"]["modalities"] == ["behavior"]
    assert started["conf"]["input_sources"] == [f"behavior={source}"]
    assert started["conf"]["email_notification_types"] == ["all"]
    assert started["conf"]["dry_run"] is True
    form.page.wait_for_url(f"**/dags/{DAG_ID}/runs/**")
    api = AirflowApi.sign_in(account.url, account.user, account.password)
    assert wait_until_ended(api, started["dag_run_id"]) == "success"
    plan = api.xcom(DAG_ID, started["dag_run_id"], "plan_run")
    assert plan["asset_name"] == "712345_2026-11-20_10-00-00"
    assert plan["modalities"]["behavior"]["job_settings"]["input_source"] == str(source)


def test_a_bad_form_shows_every_problem_as_text_on_a_line_of_its_own(form: Locator) -> None:
    fill(
        form,
        job_type="defaullt",
        project_name="Ephys Platform",
        subject_id="<b>71/2345</b>",
        acq_datetime="yesterday",
        input_sources="nonsense",
        user_email="nobody",
    )
    choose(form, "modalities", "behavior: Behavior")

    assert send(form)["status"] == 400

    alert = form.get_by_text("5 problems:")
    alert.wait_for()
    lines = [line.strip() for line in alert.inner_text().splitlines()]
    assert [line.split(":")[0] for line in lines if line.startswith("- ")] == [
        "- Job type",
        "- Subject",
        "- Acquired at",
        "- Source folders",
        "- E-mail",
    ]
    assert "did you mean default?" in alert.inner_text()
    assert "<b>71/2345</b>" in alert.inner_text()
    assert alert.locator("b").count() == 0


def make_source(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "trials.csv").write_text("trial,start_s\n1,0.5\n")
    return folder


def wait_until_ended(api: AirflowApi, run_id: str) -> str:
    deadline = time.monotonic() + RUN_TIME_LIMIT_S
    while time.monotonic() < deadline:
        state = api.run_state(DAG_ID, run_id)
        if state in FINAL_STATES:
            return state
        time.sleep(0.5)
    raise TimeoutError(f"{run_id} is not over after {RUN_TIME_LIMIT_S} s")
