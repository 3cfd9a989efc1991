"""Post alerts to a Teams webhook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from include.errors import ServiceUnavailable

DELIVERED = frozenset({200, 202})
"""Teams answers 200 from connectors and 202 from workflows."""


def post_alert(url: str, body: Mapping[str, Any], *, timeout_s: float = 10) -> None:
    """Post one message.

    Raises:
        ServiceUnavailable: it was not taken. The address, which is a secret, is not named.
    """
    try:
        answer = httpx.post(url, json=dict(body), timeout=timeout_s)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServiceUnavailable(f"the webhook did not answer: {type(error).__name__}") from None
    if answer.status_code not in DELIVERED:
        raise ServiceUnavailable(f"the webhook answered {answer.status_code}")
