"""From a template to an answer: one set of templates, and the headers that every page has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.portal import index_view

FOLDER = Path(__file__).parent

STATIC_TYPES = MappingProxyType({"portal.css": "text/css", "portal.js": "text/javascript"})
"""Every static file there is."""

HEADERS = MappingProxyType({
    # Styles and script only from here, none in the page: text from outside cannot become either.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
})


@cache
def static_file(name: str) -> str:
    """Content of one of :data:`STATIC_TYPES`."""
    return (FOLDER / "static" / name).read_text()


@cache
def _static_query(name: str) -> str:
    """Part of its address, so that a changed file is fetched anew."""
    return hashlib.sha256(static_file(name).encode()).hexdigest()[:12]


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "age": index_view.age_text,
        "count": index_view.count_text,
        "moment": index_view.moment_text,
        "part": lambda text: quote(text, safe=""),  # of a path: a slash in it is no slash
    }
    return environment


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    refresh_s: int | None = None,
    refresh_to: str = "",
    **values: Any,
) -> HTMLResponse:
    """One page.

    Args:
        template: file name below ``templates/``.
        refresh_s: seconds after which the browser asks again; None: never.
        refresh_to: address to ask for then; ``""``: this one.
        values: what the template shows.
    """
    text = (
        _templates()
        .get_template(template)
        .render(
            home=home(request),
            airflow=airflow_home(request),
            login=login_address(request),
            static={
                name: f"{home(request)}/static/{name}?{_static_query(name)}"
                for name in STATIC_TYPES
            },
            refresh_s=refresh_s,
            refresh_to=refresh_to,
            **values,
        )
    )
    return HTMLResponse(text, status_code=status, headers=dict(HEADERS))


def home(request: Request) -> str:
    """Path of the portal, without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def airflow_home(request: Request) -> str:
    """Path of Airflow, which the portal is mounted directly below."""
    return home(request).rpartition("/")[0]


def login_address(request: Request) -> str:
    """Where one signs in and comes back to this page."""
    query = f"?{request.url.query}" if request.url.query else ""
    target = urlencode({"next": f"{request.url.path}{query}"})
    return f"{airflow_home(request)}/api/v2/auth/login?{target}"


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks, not a program."""
    return "text/html" in request.headers.get("accept", "")


def query_text(**parts: str) -> str:
    """A query of those parts that are not empty."""
    given: Mapping[str, str] = {name: value for name, value in parts.items() if value}
    return f"?{urlencode(given)}" if given else ""
