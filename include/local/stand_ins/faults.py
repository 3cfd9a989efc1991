"""Make a stand-in fail on purpose, and see what it was asked.

Both stand-ins wear a :class:`Switchboard`. Its control routes need no sign-in and are not logged:

====================================  ====================================================
``POST /_control/faults``             add one :class:`Fault`, or a list of them
``GET``, ``DELETE /_control/faults``  the faults still armed; disarm all
``GET /_control/requests``            requests seen, oldest first (``?method=``, ``?path=`` pattern)
``DELETE /_control/requests``         forget them
``GET``, ``PATCH /_control/settings`` how the stand-in behaves; a PATCH changes the keys it names
``POST /_control/reset``              no faults, no requests, default settings, no state
====================================  ====================================================
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Body
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS_KEPT = 50_000
"""Requests the log remembers, so that a stack left running for weeks does not grow."""

BODY_KEPT_BYTES = 64 * 2**10
"""Longest request body the log keeps."""

UNWATCHED = ("/_control/", "/health")
"""Paths that no fault touches and no log shows."""


class Fault(BaseModel):
    """One thing that goes wrong, and when. Without any effect named, the answer is only delayed."""

    model_config = ConfigDict(extra="forbid")

    method: str = "*"
    """Request method, or ``*``."""

    path: str = "*"
    """Shell-style pattern of the whole path; ``*`` also matches slashes."""

    times: int | None = Field(1, ge=1)
    """How many matching requests fail; None is every one, until disarmed."""

    skip: int = Field(0, ge=0)
    """How many matching requests pass before the first that fails."""

    carried_out: bool = False
    """Whether the request takes effect before its answer is spoilt, like a time-out at a gateway."""

    delay_s: float = Field(0, ge=0)
    """Time before anything else happens, seconds."""

    status: int | None = Field(None, ge=200, le=599)
    """Answer with this status and `body`."""

    body: Any = None
    """JSON answered with `status`; None gives ``{"message": …, "detail": …}``."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Headers answered with `status`, such as ``Retry-After``."""

    garbage: bool = False
    """Answer 200 with a page of HTML, as a proxy or a sign-in page does."""

    truncate: bool = False
    """Send half of the real answer, then close the connection."""

    close: bool = False
    """Close the connection without an answer."""

    def matches(self, method: str, path: str) -> bool:
        """Whether the fault is about such a request."""
        return self.method in {"*", method} and fnmatchcase(path, self.path)


class SeenRequest(BaseModel):
    """One request as it arrived; no headers, so no credentials."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    """Parsed JSON, text when it is not JSON, None when empty."""

    status: int | None = None
    """Status answered; None while under way, and when the connection was closed instead."""


class StandInSettings(BaseModel):
    """How a stand-in behaves; each adds its own."""

    model_config = ConfigDict(extra="forbid")

    delay_s: float = Field(0, ge=0)
    """Time every answer takes, seconds."""


S = TypeVar("S", bound=StandInSettings)


class Behaviour(Protocol[S]):
    """What the switchboard needs of a stand-in."""

    settings: S

    def forget(self) -> None:
        """Drop all state."""


class Switchboard(Generic[S]):
    """ASGI middleware around a stand-in: logs each request, then spoils it when a fault says so."""

    def __init__(self, behaviour: Behaviour[S]) -> None:
        self._behaviour = behaviour
        self._faults: list[Fault] = []
        self._requests: deque[SeenRequest] = deque(maxlen=REQUESTS_KEPT)

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app with faults in front of it."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"].startswith(UNWATCHED):
                await app(scope, receive, send)
            else:
                await self._answer(app, scope, receive, send)

        return watched

    async def _answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        seen = SeenRequest(
            method=scope["method"],
            path=scope["path"],
            query=dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True)),
            body=_readable(body),
        )
        self._requests.append(seen)
        fault = self._next_fault(seen.method, seen.path)
        await asyncio.sleep(self._behaviour.settings.delay_s + (fault.delay_s if fault else 0))

        async def note_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
            await send(message)

        if fault is None:
            await app(scope, _replay(body, receive), note_status)
        elif fault.truncate:
            await _send_half(await _collect(app, scope, body, receive), note_status)
            await _close_connection(receive)
        elif fault.close or fault.garbage or fault.status is not None:
            if fault.carried_out:
                await _collect(app, scope, body, receive)
            if fault.close:
                await _close_connection(receive)
            else:
                await _send_fault(fault, note_status)
        else:
            await app(scope, _replay(body, receive), note_status)

    def _next_fault(self, method: str, path: str) -> Fault | None:
        """The first armed fault about this request, counted down."""
        for fault in self._faults:
            if not fault.matches(method, path):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
            return fault
        return None

    def routes(self) -> APIRouter:
        """The control routes."""
        router = APIRouter(prefix="/_control", tags=["control"])

        @router.post("/faults", status_code=204)
        async def arm(faults: Fault | list[Fault]) -> None:
            self._faults.extend(faults if isinstance(faults, list) else [faults])

        @router.get("/faults")
        async def list_faults() -> list[Fault]:
            return self._faults

        @router.delete("/faults", status_code=204)
        async def disarm() -> None:
            self._faults.clear()

        @router.get("/requests")
        async def list_requests(method: str = "*", path: str = "*") -> list[SeenRequest]:
            wanted = Fault(method=method, path=path)
            return [seen for seen in self._requests if wanted.matches(seen.method, seen.path)]

        @router.delete("/requests", status_code=204)
        async def forget_requests() -> None:
            self._requests.clear()

        @router.get("/settings")
        async def show_settings() -> dict[str, Any]:
            return self._behaviour.settings.model_dump(mode="json")

        @router.patch("/settings")
        async def change_settings(changes: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
            self._change_settings(changes)
            return self._behaviour.settings.model_dump(mode="json")

        @router.post("/reset", status_code=204)
        async def reset() -> None:
            self._faults.clear()
            self._requests.clear()
            self._behaviour.settings = type(self._behaviour.settings)()
            self._behaviour.forget()

        return router

    def _change_settings(self, changes: dict[str, Any]) -> None:
        settings = self._behaviour.settings
        try:
            self._behaviour.settings = type(settings).model_validate({
                **settings.model_dump(),
                **changes,
            })
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand the body out once more; after it, whatever the client does."""
    handed_out = False

    async def receive_again() -> Message:
        nonlocal handed_out
        if handed_out:
            return await receive()
        handed_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _readable(body: bytes) -> Any:
    if not body:
        return None
    text = body[:BODY_KEPT_BYTES].decode(errors="replace")
    try:
        return TypeAdapter(Any).validate_json(body) if len(body) <= BODY_KEPT_BYTES else text
    except ValidationError:
        return text


async def _collect(app: ASGIApp, scope: Scope, body: bytes, receive: Receive) -> list[Message]:
    """Carry the request out and keep its answer."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, _replay(body, receive), keep)
    return messages


async def _send_half(messages: list[Message], send: Callable[[Message], Any]) -> None:
    start, *rest = messages
    content = b"".join(message.get("body", b"") for message in rest)
    await send(start)
    await send({
        "type": "http.response.body",
        "body": content[: len(content) // 2],
        "more_body": True,
    })


async def _send_fault(fault: Fault, send: Callable[[Message], Any]) -> None:
    if fault.garbage:
        content, content_type = b"<html><body>Please sign in.</body></html>", b"text/html"
    else:
        reason = f"fault: {fault.status}"
        body = {"message": reason, "detail": reason} if fault.body is None else fault.body
        content, content_type = json.dumps(body).encode(), b"application/json"
    headers = [(b"content-type", content_type), (b"content-length", str(len(content)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in fault.headers.items()]
    await send(
        {"type": "http.response.start", "status": fault.status or 200, "headers": headers},
    )
    await send({"type": "http.response.body", "body": content, "more_body": False})


async def _close_connection(receive: Receive) -> None:
    """Hang up. ASGI has no word for it; the request cycle of uvicorn holds the transport."""
    cycle: Any = getattr(receive, "__self__", None)
    if cycle is None or not hasattr(cycle, "transport"):
        raise ConnectionError("this server cannot hang up; serve the stand-in with uvicorn")
    cycle.transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass
