"""The portal: pages inside Airflow, an ordinary FastAPI app that Airflow mounts.

Airflow does not guard the pages of a plugin. Here nobody gets anything without signing in, and each group
of pages asks for the permission that its content needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from include.errors import AssetflowError, MalformedAnswer
from include.indexing.request import DAG_ID
from include.portal import index_pages
from include.portal.index_runs import IndexRuns, Opener, open_index_runs
from include.portal.rendering import STATIC_TYPES, login_address, render, static_file, wants_page

logger = logging.getLogger(__name__)

may_read_index_runs = requires_access_dag("GET", DagAccessEntity.RUN, param_dag_id=DAG_ID)
"""The caller is known and may read runs of ``index_buckets``; answers 401 or 403 otherwise."""

A_YEAR = "private, max-age=31536000, immutable"
"""For files whose address changes with their content."""


def create_app(
    *,
    open_index: Callable[[], IndexRuns] = open_index_runs,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> FastAPI:
    """The portal.

    Args:
        open_index: connects to what index runs left.
        clock: now.
    """
    app = FastAPI(
        title="Assetflow portal",
        openapi_url=None,  # nor any page of documentation, which would be open to anyone
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(get_user)],
    )
    app.state.index_runs = Opener(open_index)
    app.state.clock = clock
    app.add_api_route("/static/{name}", send_static, include_in_schema=False)
    app.include_router(index_pages.router, dependencies=[Depends(may_read_index_runs)])
    app.add_exception_handler(StarletteHTTPException, answer_refusal)
    app.add_exception_handler(AssetflowError, answer_silence)
    app.add_exception_handler(Exception, answer_fault)
    return app


def send_static(name: str) -> Response:
    """A style sheet or script."""
    if name not in STATIC_TYPES:
        raise HTTPException(404, "There is no such file")
    return Response(
        static_file(name),
        media_type=STATIC_TYPES[name],
        headers={"Cache-Control": A_YEAR, "X-Content-Type-Options": "nosniff"},
    )


async def answer_refusal(request: Request, error: Exception) -> Response:
    """401, 403 and 404: a way on for people, plain words for programs."""
    if not isinstance(error, StarletteHTTPException):
        raise error
    if not wants_page(request):
        return JSONResponse(
            {"detail": error.detail}, status_code=error.status_code, headers=error.headers
        )
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        return RedirectResponse(login_address(request), status_code=HTTPStatus.SEE_OTHER)
    titles = {403: "You may not see this", 404: "There is no such page"}
    hints = {403: "It takes the permission to read runs of this DAG."}
    return _words(
        request,
        error.status_code,
        titles.get(error.status_code, HTTPStatus(error.status_code).phrase),
        error.detail,
        hint=hints.get(error.status_code, ""),
        offers_login=error.status_code == HTTPStatus.FORBIDDEN,
    )


async def answer_silence(request: Request, error: Exception) -> Response:
    """The runs bucket did not answer, refused, or holds what cannot be read."""
    logger.error("%s: %s: %s", request.url.path, type(error).__name__, error)
    if isinstance(error, MalformedAnswer):
        hint = "What lies there was not written by this version, or was changed by hand."
        return _words(request, 500, "This cannot be read", str(error), hint=hint)
    request.app.state.index_runs.forget()
    return _words(
        request,
        503,
        "The runs bucket does not answer",
        str(error),
        hint="Nothing is known to be wrong with the runs themselves. Try again in a moment.",
    )


async def answer_fault(request: Request, error: Exception) -> Response:
    """A fault of the portal itself; the log has the trace."""
    hint = "The log of the API server says where."
    return _words(request, 500, "The portal failed", type(error).__name__, hint=hint)


def _words(request: Request, status: int, title: str, text: str, **more: Any) -> Response:
    if not wants_page(request):
        return JSONResponse({"detail": f"{title}: {text}"}, status_code=status)
    values = {"hint": "", "again": "", "offers_login": False, **more}
    return render(
        request, "message.html.jinja", status=status, title=title, text=text, tone="bad", **values
    )
