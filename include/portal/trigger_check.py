"""Refuse a bad conf when the run is asked for, with every problem at once.

Airflow checks a conf against the DAG's params before it makes a run, but names only the first problem
and cannot check what lies between fields. This ASGI middleware looks at the one request that starts a run
(``POST …/api/v2/dags/{dag_id}/dagRuns``, which the trigger form sends too) and answers 400 in Airflow's
own shape, ``{"detail": "text"}``. Everything else is passed on untouched, and so is the request of a
caller who may not start the DAG: Airflow refuses it, and nothing is said about its conf.

Runs that are started from inside (a schedule, another DAG) do not come this way; their first task
makes the same check.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.errors import InvalidInput

logger = logging.getLogger(__name__)

TRIGGER_PATH = re.compile(r"/api/v2/dags/(?P<dag_id>[^/]+)/dagRuns/?$")

MAX_BODY_BYTES = 5 * 2**20
"""A larger body is left to Airflow; fifty jobs with long settings stay far below."""

MAX_ANSWER_CHARACTERS = 10_000

ConfCheck = Callable[[Mapping[str, Any]], object]
"""Takes the conf of a run; raises :class:`InvalidInput` when it cannot be used."""

Permission = Callable[[Request, str], Awaitable[bool]]
"""Whether the caller of a request is known and may start runs of the DAG of that id."""


class TriggerCheck:
    """ASGI middleware: one check per DAG id."""

    def __init__(
        self, app: ASGIApp, checks: Mapping[str, ConfCheck], may_start: Permission
    ) -> None:
        self._app = app
        self._checks = checks
        self._may_start = may_start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        dag_id = asked_for(scope)
        check = self._checks.get(dag_id) if dag_id else None
        if not dag_id or check is None or not await self._may_start(Request(scope), dag_id):
            await self._app(scope, receive, send)
            return
        messages, body = await read_body(receive)
        text = None if body is None else await run_in_threadpool(find_problems, check, body)
        if text is None:
            await self._app(scope, replay(messages, receive), send)
            return
        logger.info("Refused a run of %s: %s", dag_id, text.splitlines())
        await JSONResponse({"detail": text}, status_code=400)(scope, receive, send)


def asked_for(scope: Scope) -> str | None:
    """Id of the DAG that a run is asked of; None for every other request."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    path = TRIGGER_PATH.search(scope["path"])
    return path["dag_id"] if path else None


def find_problems(check: ConfCheck, body: bytes) -> str | None:
    """Every problem of the conf as one text, or None; a body that is no trigger request is Airflow's."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    conf = {} if request.get("conf") is None else request["conf"]
    if not isinstance(conf, dict):
        return None
    try:
        check(conf)
    except InvalidInput as error:
        text = str(error)
    except RecursionError:
        text = "the conf is nested too deeply"
    else:
        return None
    if len(text) > MAX_ANSWER_CHARACTERS:
        text = f"{text[:MAX_ANSWER_CHARACTERS]}\n…"
    # Half a surrogate pair is a fine JSON string, but nothing that can be sent.
    return text.encode(errors="backslashreplace").decode()


async def read_body(receive: Receive) -> tuple[list[Message], bytes | None]:
    """The messages read, and the body; None when it is too large or the caller has gone."""
    messages: list[Message] = []
    chunks: list[bytes] = []
    size_bytes = 0
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request":
            return messages, None
        chunks.append(message.get("body", b""))
        size_bytes += len(chunks[-1])
        if size_bytes > MAX_BODY_BYTES:
            return messages, None
        if not message.get("more_body", False):
            return messages, b"".join(chunks)


def replay(messages: list[Message], receive: Receive) -> Receive:
    """A ``receive`` that gives the messages once more, then whatever comes after them."""
    waiting = iter(messages)

    async def again() -> Message:
        for message in waiting:
            return message
        return await receive()

    return again
