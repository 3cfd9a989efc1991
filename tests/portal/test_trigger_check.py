"""The check in front of the API server: refuses what cannot be used, and is not there for anything else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from include.errors import InvalidInput, Problem
from include.portal.trigger_check import (
    MAX_ANSWER_CHARACTERS,
    MAX_BODY_BYTES,
    TriggerCheck,
    find_problems,
)

PATH = "/api/v2/dags/upload/dagRuns"
BAD = InvalidInput([Problem("job", "a", "is wrong", "mend it"), Problem("job", "b", "as well")])


class Airflow:
    """Stands for the app behind: keeps what reaches it and answers 200."""

    def __init__(self) -> None:
        self.received: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        more = True
        while more:
            self.received.append(await receive())
            more = self.received[-1].get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"from Airflow"})

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.received)


def refuse(conf: Mapping[str, Any]) -> None:
    raise BAD


def accept(conf: Mapping[str, Any]) -> None:
    pass


def ask(
    *bodies: bytes,
    check: Any = refuse,
    allowed: bool = True,
    path: str = PATH,
    method: str = "POST",
    then: Message | None = None,
) -> tuple[int, str, Airflow]:
    """Status and text of the answer to one request sent in pieces, and what Airflow got."""
    pieces = bodies or (json.dumps({"logical_date": None, "conf": {}}).encode(),)
    waiting: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1 or bool(then)}
        for index, piece in enumerate(pieces)
    ]
    waiting += [then] if then else []
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def may_start(request: Request, dag_id: str) -> bool:
        return allowed and dag_id == "upload"

    airflow = Airflow()
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    asyncio.run(TriggerCheck(airflow, {"upload": check}, may_start)(scope, receive, send))
    text = b"".join(message.get("body", b"") for message in sent).decode()
    return sent[0]["status"], text, airflow


def test_a_bad_conf_is_answered_with_every_problem_in_the_shape_of_airflow():
    status, text, airflow = ask()
    assert status == 400
    assert json.loads(text) == {"detail": str(BAD)}
    assert airflow.received == []


def test_a_good_conf_reaches_airflow_unchanged():
    body = b'{"conf": {"a": 1},   "logical_date": null}'
    status, text, airflow = ask(body, check=accept)
    assert (status, text) == (200, "from Airflow")
    assert airflow.body == body


def test_a_body_in_pieces_is_put_together_for_the_check_and_passed_on_in_the_same_pieces():
    seen = []
    pieces = (b'{"conf": {"na', b'me": "', b"", b'\xc3\xa9"}}')
    _, _, airflow = ask(*pieces, check=seen.append)
    assert seen == [{"name": "é"}]
    assert [message["body"] for message in airflow.received] == list(pieces)


@pytest.mark.parametrize("body", [b'{"conf": null}', b"{}"])
def test_no_conf_is_an_empty_one(body):
    seen = []
    ask(body, check=seen.append)
    assert seen == [{}]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"conf": []}', b'{"conf": "x"}', b"\xff", b"[" * 200_000],
)
def test_a_body_that_is_no_trigger_request_is_left_to_airflow(body):
    status, _, airflow = ask(body)
    assert status == 200
    assert airflow.body == body


def test_who_may_not_start_the_dag_learns_nothing_about_the_conf():
    status, text, airflow = ask(allowed=False)
    assert (status, text) == (200, "from Airflow")
    assert airflow.received


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/v2/dags/other/dagRuns", "POST"),
        ("/api/v2/dags/upload/dagRuns/list", "POST"),
        ("/api/v2/dags/~/dagRuns/list", "POST"),
        ("/api/v2/dags/upload/clearTaskInstances", "POST"),
        (PATH, "GET"),
        (PATH, "PATCH"),
        ("/ui/grid", "POST"),
    ],
)
def test_other_requests_are_untouched(path, method):
    assert ask(path=path, method=method)[0] == 200


@pytest.mark.parametrize("path", [PATH + "/", "/airflow" + PATH])
def test_a_slash_at_the_end_or_a_prefix_of_the_deployment_does_not_get_around_the_check(path):
    assert ask(path=path)[0] == 400


def test_what_is_no_http_request_is_untouched():
    reached = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError("not called")

    for kind in ("lifespan", "websocket"):
        asyncio.run(TriggerCheck(app, {}, nothing)({"type": kind}, nothing, nothing))
    assert reached == ["lifespan", "websocket"]


def test_a_body_too_large_is_left_to_airflow_and_not_kept_in_memory_whole():
    piece = b" " * 2**20
    status, _, airflow = ask(*[piece] * 8)
    assert status == 200
    assert len(airflow.body) == 8 * 2**20 > MAX_BODY_BYTES


def test_a_caller_who_hangs_up_gets_no_answer_made_from_half_a_body():
    _, _, airflow = ask(b'{"conf": {}}', then={"type": "http.disconnect"})
    assert [message["type"] for message in airflow.received] == ["http.request", "http.disconnect"]


def test_a_conf_nested_beyond_reason_is_a_problem_and_no_crash():
    def dive(conf: Mapping[str, Any]) -> None:
        dive(conf)

    assert find_problems(dive, b'{"conf": {}}') == "the conf is nested too deeply"


def test_text_that_cannot_be_sent_is_told_in_letters_that_can():
    def echo(conf: Mapping[str, Any]) -> None:
        raise InvalidInput([Problem("job", next(iter(conf)), "is wrong")])

    status, text, _ = ask(b'{"conf": {"\\ud800<b>": 1}}', check=echo)
    assert status == 400
    assert json.loads(text)["detail"].endswith("job: \\ud800<b>: is wrong")


def test_an_answer_has_an_end():
    def complain(conf: Mapping[str, Any]) -> None:
        raise InvalidInput([Problem("job", "field", "is wrong")] * 10_000)

    text = find_problems(complain, b"{}")
    assert text is not None
    assert text.startswith("10000 problems:")
    assert len(text) < MAX_ANSWER_CHARACTERS + 5


def test_a_fault_of_the_check_itself_is_not_hidden():
    def broken(conf: Mapping[str, Any]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(check=broken)
