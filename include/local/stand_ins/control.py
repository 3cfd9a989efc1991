"""Steer a running stand-in from a test or a demo."""

from __future__ import annotations

from typing import Any, Self

import httpx


class StandInControl:
    """The control routes of one stand-in (see :mod:`include.local.stand_ins.faults`).

    Args:
        url: address of the stand-in, such as ``http://127.0.0.1:40123``.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/_control", timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def fail(self, method: str = "*", path: str = "*", **effects: Any) -> None:
        """Arm one fault; the effects are the fields of :class:`~include.local.stand_ins.faults.Fault`."""
        self._send("POST", "faults", {"method": method, "path": path, **effects})

    def requests(self, method: str = "*", path: str = "*") -> list[dict[str, Any]]:
        """Requests seen, oldest first; *path* is a shell-style pattern."""
        answer = self._http.get("requests", params={"method": method, "path": path})
        answer.raise_for_status()
        seen: list[dict[str, Any]] = answer.json()
        return seen

    def forget_requests(self) -> None:
        """Start counting requests anew."""
        self._send("DELETE", "requests")

    def set(self, **settings: Any) -> None:
        """Change how the stand-in behaves."""
        self._send("PATCH", "settings", settings)

    def put(self, path: str, content: Any) -> None:
        """Use a control route that only this stand-in has."""
        self._send("PUT", path, content)

    def post(self, path: str) -> None:
        """Use a control route that only this stand-in has."""
        self._send("POST", path)

    def delete(self, path: str) -> None:
        """Use a control route that only this stand-in has."""
        self._send("DELETE", path)

    def reset(self) -> None:
        """Back to how it started, without state."""
        self._send("POST", "reset")

    def _send(self, method: str, path: str, content: Any = None) -> None:
        answer = self._http.request(method, path, json=content)
        if answer.is_error:
            raise RuntimeError(f"{method} /_control/{path}: {answer.status_code} {answer.text}")
