"""Refuse a bad conf when the run is asked for, with every problem at once.

Airflow checks a conf against the DAG's params before it makes a run, but names only the first problem
and cannot check what lies between fields. This middleware looks at the one request that starts a run
(``POST /api/v2/dags/{dag_id}/dagRuns``, which the trigger form sends too) and answers 400 in Airflow's
own shape. Callers who may not start the DAG are passed on untouched: Airflow refuses them.

Runs that are started from inside (a schedule, another DAG) do not come this way; their first task
makes the same check.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import resolve_user_from_token
from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.errors import InvalidInput

logger = logging.getLogger(__name__)

TRIGGER_PATH = re.compile(r"^/api/v2/dags/(?P<dag_id>[^/]+)/dagRuns/?$")
MAX_BODY_BYTES = 5 * 2**20
"""A larger body is left to Airflow; fifty jobs with long settings stay far below."""

ConfCheck = Callable[[Mapping[str, Any]], object]
"""Takes the conf of a run; raises :class:`InvalidInput` when it cannot be used."""


class TriggerCheck:
    """ASGI middleware: one check per DAG id."""

    def __init__(self, app: ASGIApp, checks: Mapping[str, ConfCheck]) -> None:
        self._app = app
        self._checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        check = self._check_for(scope)
        if check is None or not await may_start(Request(scope), scope["path"]):
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        problem = find_problem(check, body)
        if problem is not None:
            logger.info("Refused a run: %s", problem)
            await JSONResponse({"detail": problem}, status_code=400)(scope, receive, send)
            return
        await self._app(scope, replay(body, receive), send)

    def _check_for(self, scope: Scope) -> ConfCheck | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path = TRIGGER_PATH.match(scope["path"])
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if path is None or not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return None
        return self._checks.get(path["dag_id"])


def find_problem(check: ConfCheck, body: bytes) -> str | None:
    """Every problem of the conf as one text, or None; a body that is no trigger request is Airflow's."""
    try:
        request = json.loads(body)
    except ValueError:
        return None
    conf = request.get("conf") if isinstance(request, dict) else None
    if not isinstance(conf, dict):
        conf = {}
    try:
        check(conf)
    except InvalidInput as error:
        return str(error)
    return None


async def may_start(request: Request, path: str) -> bool:
    """Whether the caller is known and may start this DAG."""
    header = request.headers.get("authorization", "")
    scheme, _, credentials = header.partition(" ")
    token = credentials if scheme.lower() == "bearer" else request.cookies.get("_token")
    try:
        user = await resolve_user_from_token(token)
    except HTTPException:
        return False
    found = TRIGGER_PATH.match(path)
    details = DagDetails(id=found["dag_id"] if found else None)
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user
    )


async def read_body(receive: Receive) -> bytes:
    """The whole request body."""
    chunks = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


def replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives the body once more, then whatever comes after it."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again
