"""The switchboard, around the smallest app there is, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import ASGIApp

from include.local.stand_ins.control import StandInControl
from include.local.stand_ins.faults import StandInSettings, Switchboard
from include.local.stand_ins.serving import serve_in_thread


class Counting:
    """Counts what took effect."""

    def __init__(self) -> None:
        self.settings = StandInSettings()
        self.effects = 0

    def forget(self) -> None:
        self.effects = 0

    def app(self) -> ASGIApp:
        switchboard = Switchboard(self)
        app = FastAPI()
        app.include_router(switchboard.routes())

        @app.get("/health")
        async def health() -> str:
            return "ok"

        @app.post("/things/{name:path}")
        async def make(name: str, request: Request) -> dict[str, str]:
            self.effects += 1
            return {"made": name, "from": (await request.body()).decode()}

        return switchboard.around(app)


@pytest.fixture(scope="module")
def counting() -> Counting:
    return Counting()


@pytest.fixture(scope="module")
def http(counting: Counting) -> Iterator[httpx.Client]:
    with serve_in_thread(counting.app()) as url, httpx.Client(base_url=url) as session:
        yield session


@pytest.fixture(scope="module")
def control(http: httpx.Client) -> Iterator[StandInControl]:
    with StandInControl(str(http.base_url)) as control:
        yield control


@pytest.fixture(autouse=True)
def _reset(control: StandInControl) -> None:
    control.reset()


def test_without_faults_a_request_passes_as_it_is(http: httpx.Client, counting: Counting) -> None:
    answer = http.post("/things/a", content="x" * 100_000)
    assert answer.json() == {"made": "a", "from": "x" * 100_000}
    assert counting.effects == 1


def test_a_fault_is_spent_after_its_times(http: httpx.Client, control: StandInControl) -> None:
    control.fail(status=503, times=2, skip=1)
    statuses = [http.post("/things/a").status_code for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]


@pytest.mark.parametrize(
    ("method", "path", "hits"),
    [
        ("*", "*", True),
        ("POST", "/things/*", True),
        ("*", "/things/a/?", True),
        ("GET", "*", False),
        ("*", "/things/a", False),
        ("*", "/thing*s", False),
    ],
)
def test_a_fault_is_about_a_method_and_a_path(
    http: httpx.Client, control: StandInControl, method: str, path: str, hits: bool
) -> None:
    control.fail(method, path, status=418)
    assert (http.post("/things/a/b").status_code == 418) is hits


@pytest.mark.parametrize(("carried_out", "effects"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("effect", [{"status": 502}, {"garbage": True}, {"close": True}], ids=str)
def test_a_spoilt_request_takes_effect_only_when_told(
    http: httpx.Client,
    control: StandInControl,
    counting: Counting,
    effect: dict[str, Any],
    carried_out: bool,
    effects: int,
) -> None:
    control.fail(carried_out=carried_out, **effect)
    if "close" in effect:
        with pytest.raises(httpx.RemoteProtocolError):
            http.post("/things/a")
    else:
        http.post("/things/a")
    assert counting.effects == effects


def test_half_an_answer_is_half_and_took_effect(
    http: httpx.Client, control: StandInControl, counting: Counting
) -> None:
    control.fail(truncate=True)
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/things/a")
    assert counting.effects == 1


def test_an_answer_can_be_told(http: httpx.Client, control: StandInControl) -> None:
    control.fail(status=429, body=[1, None], headers={"Retry-After": "7"})
    answer = http.post("/things/a")
    assert (answer.status_code, answer.json()) == (429, [1, None])
    assert answer.headers["Retry-After"] == "7"


def test_garbage_looks_like_a_page(http: httpx.Client, control: StandInControl) -> None:
    control.fail(garbage=True)
    answer = http.post("/things/a")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")


def test_a_slow_answer_is_still_the_answer(http: httpx.Client, control: StandInControl) -> None:
    control.fail(delay_s=0.05)
    control.set(delay_s=0.05)
    before = time.monotonic()
    assert http.post("/things/a").json()["made"] == "a"
    assert time.monotonic() - before >= 0.1


def test_requests_are_logged_with_their_answers(
    http: httpx.Client, control: StandInControl
) -> None:
    control.fail(close=True, skip=1)
    http.post("/things/a?b=c&d=", json={"e": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/things/f", content=b"\xff")
    http.get("/health")
    assert control.requests() == [
        {
            "method": "POST",
            "path": "/things/a",
            "query": {"b": "c", "d": ""},
            "body": {"e": 1},
            "status": 200,
        },
        {"method": "POST", "path": "/things/f", "query": {}, "body": "�", "status": None},
    ]
    assert len(control.requests("POST", "*/f")) == 1
    assert control.requests("GET") == []
    control.forget_requests()
    assert control.requests() == []


def test_a_misspelt_fault_is_refused(control: StandInControl) -> None:
    with pytest.raises(RuntimeError, match="statsu"):
        control.fail(statsu=503)


def test_a_misspelt_setting_is_refused_and_changes_nothing(
    http: httpx.Client, control: StandInControl
) -> None:
    with pytest.raises(RuntimeError, match="delay"):
        control.set(delay_s=-1)
    assert http.get("/_control/settings").json() == {"delay_s": 0}


def test_disarmed_faults_do_nothing(http: httpx.Client, control: StandInControl) -> None:
    control.fail(status=503, times=None)
    assert len(http.get("/_control/faults").json()) == 1
    control.delete("faults")
    assert http.post("/things/a").status_code == 200
