"""Debian's Chromium in front of a whole stack."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from include.local.stack import LocalStack

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SLOWEST_PAGE_S = 30


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    chromium = shutil.which("chromium")
    if chromium is None and os.environ.get("ASSETFLOW_REQUIRE_SYSTEM_PACKAGES") == "1":
        pytest.fail("Chromium is not installed: apt-get install chromium")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page_of(browser: Browser, local_stack: LocalStack) -> Iterator[Callable[..., Page]]:
    """Makes a page of a signed-in person: ``admin``, ``submitter``, ``reader``; ``""`` is a stranger.

    A second argument is the address of Airflow, where that is not the stack's own.
    """
    airflow = local_stack.airflow
    assert airflow is not None
    with ExitStack() as opened:

        def open_page(user: str, url: str = airflow.url) -> Page:
            context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 900})
            opened.callback(context.close)
            context.set_default_timeout(SLOWEST_PAGE_S * 1000)
            if user:
                token = airflow.account(user).token()
                context.add_cookies([{"name": "_token", "value": token, "url": url}])
            return context.new_page()

        yield open_page
