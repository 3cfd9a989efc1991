"""Registers the portal with the API server; nothing else.

Airflow imports this file in every component, so the portal is built at its first request.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/portal"

VIEWS = URL_PREFIX.removeprefix("/")
"""Where the pages are for the browser: below the base of Airflow's own page, which may be below a path."""


class Portal:
    """ASGI app that becomes the portal on first use."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from include.portal.app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


class PortalPlugin(AirflowPlugin):
    """Pages of this project inside Airflow."""

    name = "portal"
    fastapi_apps = [{"name": "Portal", "url_prefix": URL_PREFIX, "app": Portal()}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Index",
            "href": f"{VIEWS}/index",
            "url_route": "index",
            "destination": "nav",
            "nav_top_level": True,
        },
        {
            # A scheduled run of another DAG may have the same id, so both names are given.
            "name": "Index report",
            "href": f"{VIEWS}/index/run?run_id={{RUN_ID}}&dag_id={{DAG_ID}}",
            "url_route": "index_report",
            "destination": "dag_run",
        },
    ]
