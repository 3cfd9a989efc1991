"""The pages about index runs, as people meet them inside Airflow."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from include.assets.run_key import run_key_of
from include.indexing.history import BucketHistory
from include.indexing.report import BucketReport
from include.indexing.request import DAG_ID
from include.local.ports import LOOPBACK, Ports
from include.local.process import ManagedProcess
from include.local.service import answers_http, inherited_environment
from include.local.stack import LocalStack
from tests.portal.index_reports import contents_of, make_line, make_plan, make_report, make_row

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page

pytestmark = [pytest.mark.browser, pytest.mark.stack]

START_TIME_LIMIT_S = 120

OTHER_DAG_ID = "transform_and_upload_v2"
HOSTILE = "s3://open-data/ecephys_<b>7</b>_2026-11-18_09-30-00"


@pytest.fixture
def api(local_stack: LocalStack) -> Iterator[httpx.Client]:
    """Airflow's API, asked by somebody who may do everything."""
    assert local_stack.airflow is not None
    token = local_stack.airflow.account("admin").token()
    with httpx.Client(
        base_url=local_stack.airflow.url,
        headers={"authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
    ) as client:
        yield client


def queued_run(api: httpx.Client, dag_id: str) -> Iterator[dict[str, Any]]:
    """A run that nobody works on, since its DAG is paused; gone after the test."""
    dag = f"/api/v2/dags/{dag_id}"
    api.patch(dag, json={"is_paused": True}).raise_for_status()
    body = {"logical_date": None, "dag_run_id": f"pages_{uuid.uuid4().hex[:8]}", "conf": {}}
    if dag_id == OTHER_DAG_ID:
        from tests.acquisitions.jobs import job_conf

        body["conf"] = job_conf()
    answer = api.post(f"{dag}/dagRuns", json=body)
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()
    yield run
    api.delete(f"{dag}/dagRuns/{quote(run['dag_run_id'])}").raise_for_status()
    api.patch(dag, json={"is_paused": False}).raise_for_status()


@pytest.fixture
def run(api: httpx.Client) -> Iterator[dict[str, Any]]:
    """A run of ``index_buckets``."""
    yield from queued_run(api, DAG_ID)


@pytest.fixture
def run_of_another_dag(api: httpx.Client) -> Iterator[dict[str, Any]]:
    yield from queued_run(api, OTHER_DAG_ID)


class Left:
    """What the run left in the runs bucket of the stack."""

    def __init__(self, stack: LocalStack, run: dict[str, Any]) -> None:
        self.run_id: str = run["dag_run_id"]
        self.run_key = run_key_of(self.run_id, datetime.fromisoformat(run["run_after"]))
        self.bucket = f"lab-{uuid.uuid4().hex[:6]}"
        self._runs_bucket = stack.deployment.runs_bucket
        self._s3 = stack.s3.client()
        self._keys: list[str] = []

    def put(self, **parts: Any) -> None:
        for key, content in contents_of(run_key=self.run_key, **parts).items():
            self._s3.put_object(
                Bucket=self._runs_bucket, Key=key, Body=json.dumps(content).encode()
            )
            self._keys.append(key)

    def put_plan(self) -> None:
        now = datetime.now(UTC)
        plan = make_plan((self.bucket,), run_id=self.run_id, run_key=self.run_key, started_at=now)
        names = [one.name for one in plan.slices]
        self.put(plan=plan, found={names[0]: {}})

    def put_report(self) -> None:
        line = make_line(asset=HOSTILE)
        summary = BucketReport(bucket=self.bucket, done=1, unchanged=41, drift=1)
        report = make_report(run_id=self.run_id, buckets=(summary,), lines=(line,))
        row = make_row(run_id=self.run_id, run_key=self.run_key, drift=1, done=1)
        self.put(report=report, histories=(BucketHistory(bucket=self.bucket, rows=(row,)),))

    def remove(self) -> None:
        for key in self._keys:
            self._s3.delete_object(Bucket=self._runs_bucket, Key=key)


@pytest.fixture
def left(local_stack: LocalStack, run: dict[str, Any]) -> Iterator[Left]:
    made = Left(local_stack, run)
    yield made
    made.remove()


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator("iframe")


def address_of_frame(page: Page) -> str:
    address: str = page.locator("iframe").evaluate("frame => frame.src")
    return address


def open_tab(page: Page, dag_id: str, run_id: str) -> FrameLocator:
    """The tab of a run, as one gets there."""
    page.goto(f"/dags/{dag_id}/runs/{run_id}")
    page.get_by_role("link", name="Index report").click()
    return frame_of(page)


def test_a_reader_finds_the_buckets_in_the_menu_and_goes_on_to_a_run_and_out_of_the_frame(
    page_of: Callable[[str], Page], left: Left
) -> None:
    left.put_report()
    page = page_of("reader")
    page.goto("/")
    page.get_by_role("link", name="Index", exact=True).click()
    frame = frame_of(page)
    row = frame.get_by_role("row").filter(has_text=left.bucket).first
    row.wait_for()
    assert row.locator("svg.trend a").count() == 1

    row.get_by_role("link").first.click()
    frame.get_by_text("1 put right").first.wait_for()
    frame.get_by_role("link", name=left.run_id).click()

    page.wait_for_url(f"**/dags/{DAG_ID}/runs/{left.run_id}**")
    assert page.locator("iframe").count() == 0


def test_the_tab_of_a_run_follows_it_from_its_plan_to_its_report(
    page_of: Callable[[str], Page], left: Left
) -> None:
    frame = open_tab(page_of("reader"), DAG_ID, left.run_id)
    frame.get_by_text("No index report yet").wait_for()
    left.put_plan()
    frame.get_by_text("1 of 3 slices examined").wait_for()
    left.put_report()
    frame.get_by_text("1 not in step, of 42 assets in 1 bucket; 1 put right").wait_for()
    assert frame.get_by_text(HOSTILE).is_visible()

    frame.get_by_label("Text").fill("nowhere")
    frame.get_by_role("button", name="Show").click()
    frame.get_by_text("None of 1 line is so.").wait_for()


def test_the_tab_of_another_dags_run_says_that_it_is_none(
    page_of: Callable[[str], Page], run_of_another_dag: dict[str, Any]
) -> None:
    run_id = run_of_another_dag["dag_run_id"]
    frame = open_tab(page_of("reader"), OTHER_DAG_ID, run_id)
    frame.get_by_text(f"{run_id} is a run of {OTHER_DAG_ID}").wait_for()


def test_the_frame_follows_airflows_own_choice_of_light_or_dark(
    page_of: Callable[[str], Page], left: Left
) -> None:
    left.put_report()
    page = page_of("reader")
    page.goto("/plugin/index")
    root = frame_of(page).locator("html")
    frame_of(page).get_by_text(left.bucket).first.wait_for()
    for mode in ("dark", "light", "dark"):
        page.evaluate("mode => document.documentElement.className = mode", mode)
        root.and_(frame_of(page).locator(f"html.{mode}")).wait_for()
    colour = "element => getComputedStyle(element).backgroundColor"
    around = page.locator("html").first.evaluate(colour)
    assert around != "rgb(255, 255, 255)"
    assert root.locator("body").evaluate(colour) == around


def test_alone_the_page_asks_a_stranger_to_sign_in_and_comes_back(
    page_of: Callable[[str], Page], local_stack: LocalStack
) -> None:
    assert local_stack.airflow is not None
    account = local_stack.airflow.account("reader")
    page = page_of("")
    page.goto("/portal/index")
    page.get_by_label("Username").fill(account.user)
    page.locator("input[type=password]").fill(account.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/portal/index")
    page.get_by_role("heading", name="Index of S3 and DocDB").wait_for()


@pytest.fixture
def below_a_path(local_stack: LocalStack) -> Iterator[str]:
    """Address of an API server of the same Airflow that serves it below a path."""
    port = Ports(local_stack.root / "ports.json").claim("api-server-below-a-path")
    url = f"http://{LOOPBACK}:{port}/airflow"
    environment = {
        **inherited_environment(),
        **local_stack.environment(),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__PORT": str(port),
    }
    server = ManagedProcess("api-server-below-a-path", local_stack.root)
    server.start([sys.executable, "-m", "airflow", "api-server"], environment)
    try:
        server.wait_until(lambda: answers_http(port, "/airflow/api/v2/version"), START_TIME_LIMIT_S)
        yield url
    finally:
        server.stop()


def test_below_a_path_the_menu_and_the_tab_lead_to_the_pages(
    page_of: Callable[..., Page], left: Left, below_a_path: str
) -> None:
    left.put_report()
    page = page_of("reader", below_a_path)
    page.goto(f"{below_a_path}/")
    page.get_by_role("link", name="Index", exact=True).click()
    frame_of(page).get_by_role("row").filter(has_text=left.bucket).first.wait_for()

    # Airflow itself would answer above the path, too; what stands before it passes on what is below.
    assert address_of_frame(page).startswith(f"{below_a_path}/portal/index")

    page.goto(f"{below_a_path}/dags/{DAG_ID}/runs/{left.run_id}")
    page.get_by_role("link", name="Index report").click()
    frame_of(page).get_by_text("1 not in step, of 42 assets in 1 bucket; 1 put right").wait_for()
    assert address_of_frame(page).startswith(f"{below_a_path}/portal/index/run?")


def test_programs_are_let_in_by_their_token_only(api: httpx.Client) -> None:
    assert api.get("/portal/index").status_code == 200
    stranger = httpx.Client(base_url=api.base_url, trust_env=False)
    with stranger:
        for path in ("index", f"index/runs/{uuid.uuid4().hex}", "index/run", "static/portal.css"):
            assert stranger.get(f"/portal/{path}").status_code == 401, path
            forged = {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."}
            assert stranger.get(f"/portal/{path}", headers=forged).status_code in {401, 403}, path
        for path in ("docs", "redoc", "openapi.json"):
            assert stranger.get(f"/portal/{path}").status_code == 404, path
