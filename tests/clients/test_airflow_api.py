"""The REST client reads Airflow's answers and names what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from include.clients.airflow_api import PAGE_SIZE, AirflowApi
from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    MalformedAnswer,
    NotFound,
    ServiceUnavailable,
)

Answer = Callable[[httpx.Request], httpx.Response]


def api(answer: Answer) -> AirflowApi:
    return AirflowApi(
        httpx.Client(base_url="http://airflow.test", transport=httpx.MockTransport(answer))
    )


def entry(number: int) -> dict[str, Any]:
    return {
        "task_id": "compress_data",
        "map_index": number,
        "rendered_map_index": "ecephys" if number == 0 else None,
        "state": "running",
        "try_number": 1,
        "start_date": "2026-11-21T04:00:00Z",
        "end_date": None,
    }


def test_a_run_is_asked_for_without_a_logical_date() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"dag_run_id": "r+1"})

    assert api(answer).start_run("transform_and_upload_v2", {"a": 1}, run_id="r+1") == "r+1"
    assert seen[0].url.path == "/api/v2/dags/transform_and_upload_v2/dagRuns"
    assert seen[0].read() == b'{"logical_date":null,"conf":{"a":1},"dag_run_id":"r+1"}'


def test_run_ids_are_escaped_in_paths() -> None:
    paths: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, json={"state": "running"})

    assert api(answer).run_state("d", "manual__2026-11-21T04:00:00+00:00") == "running"
    assert paths == [b"/api/v2/dags/d/dagRuns/manual__2026-11-21T04%3A00%3A00%2B00%3A00"]


def test_all_pages_of_the_task_instances_are_read() -> None:
    total = PAGE_SIZE + 5

    def answer(request: httpx.Request) -> httpx.Response:
        offset = int(request.url.params["offset"])
        page = [entry(number) for number in range(offset, min(offset + PAGE_SIZE, total))]
        return httpx.Response(200, json={"task_instances": page, "total_entries": total})

    states = api(answer).task_states("d", "r")
    assert [state.map_index for state in states] == list(range(total))
    assert states[0].label == "compress_data [ecephys]"
    assert states[1].label == "compress_data"


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        pytest.param(400, {"detail": "Invalid input for param n"}, InvalidInput, "param n", id="text"),
        pytest.param(409, {"detail": {"reason": "Unique constraint violation"}}, InvalidInput, "Unique", id="object"),
        pytest.param(422, {"detail": [{"loc": ["body", "conf"], "msg": "Field required"}]}, InvalidInput, "body.conf: Field required", id="list"),
        pytest.param(401, {"detail": "Not authenticated"}, AccessDenied, "Not authenticated", id="unknown"),
        pytest.param(403, {"detail": "Forbidden"}, AccessDenied, "Forbidden", id="not allowed"),
        pytest.param(404, {"detail": "no such run"}, NotFound, "no such run", id="absent"),
        pytest.param(503, "<html>", ServiceUnavailable, "503", id="not now"),
        pytest.param(429, {"detail": "slow down"}, ServiceUnavailable, "slow down", id="throttled"),
    ],
)  # fmt: skip
def test_every_shape_of_error_is_named(
    status: int, body: Any, error: type[AssetflowError], words: str
) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body)

    with pytest.raises(error, match=words):
        api(answer).start_run("d", {})


def test_an_answer_that_is_no_json_is_not_taken_for_a_state() -> None:
    with pytest.raises(MalformedAnswer):
        api(lambda _: httpx.Response(200, text="<html>")).run_state("d", "r")


def test_a_refused_connection_may_be_tried_again() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ServiceUnavailable, match="refused"):
        api(answer).run_state("d", "r")
