"""The file that registers the portal, which every process of Airflow imports."""

from __future__ import annotations

import asyncio
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

PLUGIN = Path(__file__).parents[2] / "plugins" / "portal_plugin.py"


def test_importing_it_loads_nothing_of_the_project_nor_fastapi():
    # Task processes import it too, and need none of it.
    code = (
        "import airflow.plugins_manager, runpy, sys\n"
        "before = set(sys.modules)\n"
        f"runpy.run_path({str(PLUGIN)!r})\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new & {'include', 'fastapi', 'jinja2', 'boto3'}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("base", ["https://host/", "https://host/airflow/"])
def test_every_view_that_airflow_shows_lies_below_the_mounted_app(base: str):
    # Airflow's page has a base, its address; the frame's address is used as it is.
    plugin = runpy.run_path(str(PLUGIN))["PortalPlugin"]
    [app] = plugin.fastapi_apps
    assert {view["destination"] for view in plugin.external_views} == {"nav", "dag_run"}
    mounted = f"{base.removesuffix('/')}{app['url_prefix']}/"
    shown = [urljoin(base, view["href"]) for view in plugin.external_views]
    assert all(address.startswith(mounted) for address in shown)


@pytest.mark.filterwarnings("ignore:Using `httpx`")  # Airflow's own imports
def test_the_first_request_builds_the_portal_and_meets_its_guard():
    [registered] = runpy.run_path(str(PLUGIN))["PortalPlugin"].fastapi_apps
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/portal/index",
        "root_path": "/portal",
        "query_string": b"",
        "headers": [],
    }
    asyncio.run(registered["app"](scope, receive, send))
    assert sent[0]["status"] == 401
