"""The check as the API server runs it, asked by programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from include.local.stack import LocalStack
from tests.acquisitions.jobs import job_conf

pytestmark = pytest.mark.stack

PATH = "/api/v2/dags/transform_and_upload_v2/dagRuns"


class Caller:
    """Somebody who asks for runs."""

    def __init__(self, stack: LocalStack) -> None:
        assert stack.airflow is not None
        self._airflow = stack.airflow
        self.http = httpx.Client(base_url=stack.airflow.url, timeout=60)

    def header(self, user: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self._airflow.account(user).token()}"}

    def ask(self, conf: Any, *, user: str = "submitter", path: str = PATH) -> tuple[int, Any]:
        """Status and ``detail`` of the answer."""
        body = {"logical_date": None, "conf": conf}
        return self._read(self.http.post(path, json=body, headers=self.header(user)))

    def send(self, body: Any, **headers: str) -> tuple[int, Any]:
        """The same, for a body that is not as it should be."""
        headers = {"content-type": "application/json", **(headers or self.header("submitter"))}
        return self._read(self.http.post(PATH, content=body, headers=headers))

    def _read(self, answer: httpx.Response) -> tuple[int, Any]:
        return answer.status_code, answer.json().get("detail")


@pytest.fixture(scope="module")
def caller(local_stack: LocalStack) -> Iterator[Caller]:
    found = Caller(local_stack)
    yield found
    found.http.close()


def test_a_bad_conf_is_refused_with_all_its_problems_and_makes_no_run(caller):
    before = caller.http.get(PATH, headers=caller.header("reader")).json()["total_entries"]
    status, detail = caller.ask(
        job_conf(job_type="ecephyz", dry_run="no", s3_bucket="x", api_token="hunter2")
    )
    assert status == 400
    assert detail.startswith("4 problems:\n  - Job type: job_type: there is no job type 'ecephyz'")
    assert "did you mean ecephys?" in detail
    assert "hunter2" not in detail
    after = caller.http.get(PATH, headers=caller.header("reader")).json()["total_entries"]
    assert after == before


def test_a_good_conf_passes(caller):
    status, _ = caller.ask(job_conf(dry_run=True))
    assert status == 200


def test_a_reader_is_refused_by_airflow_and_learns_nothing(caller):
    assert caller.ask({}, user="reader") == (403, "Forbidden")


def test_without_a_token_or_with_a_wrong_one_airflow_answers(caller):
    body = json.dumps({"logical_date": None, "conf": {}})
    assert caller.send(body, authorization="") == (401, "Not authenticated")
    assert caller.send(body, authorization="Bearer x") == (403, "Invalid JWT token")


def test_the_cookie_of_the_ui_counts_as_a_token(caller):
    cookie = f"_token={caller.header('submitter')['authorization'].removeprefix('Bearer ')}"
    status, detail = caller.send('{"logical_date": null, "conf": {}}', cookie=cookie)
    assert status == 400
    assert detail.startswith("5 problems:")


def test_what_is_no_json_is_answered_by_airflow(caller):
    status, detail = caller.send("{no json")
    assert status == 422
    assert detail[0]["type"] == "json_invalid"


def test_another_dag_is_none_of_our_business(caller):
    status, detail = caller.ask({}, path=PATH.replace("transform_and_upload_v2", "nope"))
    assert status == 404
    assert "nope" in detail


def test_a_body_in_chunks_is_checked_too(caller):
    body = json.dumps({"logical_date": None, "conf": {}}).encode()
    status, detail = caller.send(iter([body[:10], body[10:]]))
    assert status == 400
    assert detail.startswith("5 problems:")


@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_huge_body_is_left_to_the_params_of_airflow(caller, in_chunks):
    body = json.dumps({"logical_date": None, "conf": {"x": "y" * 6 * 2**20}}).encode()
    status, detail = caller.send(iter([body]) if in_chunks else body)
    assert (status, detail) == (400, "Invalid input for param job_type: No value passed")


@pytest.mark.parametrize("value", ["a\0b", "\ud800", float("nan")])
def test_what_airflow_could_not_store_is_a_problem_and_not_an_error_of_the_server(caller, value):
    conf = job_conf(project_name=value) if isinstance(value, str) else job_conf(extra=value)
    status, detail = caller.send(json.dumps({"logical_date": None, "conf": conf}))
    assert status == 400
    assert detail.startswith("1 problem:")
