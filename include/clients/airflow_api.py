"""Start and read runs through Airflow's public REST API.

API: the ``/api/v2`` routes of Airflow 3.3. Its errors come in three shapes: ``{"detail": "text"}``,
``{"detail": {"reason": …}}`` and ``{"detail": [{"loc", "msg", …}]}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

import httpx

from include.errors import (
    AccessDenied,
    InvalidInput,
    MalformedAnswer,
    NotFound,
    PermanentError,
    Problem,
    ServiceUnavailable,
)

PAGE_SIZE = 100
"""The most that Airflow gives at once with its default settings."""

FINAL_STATES = frozenset({"success", "failed"})


@dataclass(frozen=True, slots=True)
class TaskState:
    """One task instance of a run."""

    task_id: str
    map_index: int
    """-1 when the task is not mapped."""

    label: str
    """What the mapped instance is about, or the task id."""

    state: str | None
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Self:
        """Read one entry of a task instance list."""
        rendered = answer.get("rendered_map_index")
        return cls(
            task_id=answer["task_id"],
            map_index=answer["map_index"],
            label=f"{answer['task_id']} [{rendered}]" if rendered else answer["task_id"],
            state=answer["state"],
            try_number=answer["try_number"],
            started_at=_moment(answer["start_date"]),
            ended_at=_moment(answer["end_date"]),
        )


class AirflowApi:
    """Airflow, as one user."""

    def __init__(self, http: httpx.Client) -> None:
        """Take a client whose base URL is Airflow's and which carries the user's token."""
        self._http = http

    @classmethod
    def sign_in(cls, base_url: str, username: str, password: str, *, timeout_s: float = 30) -> Self:
        """Get a token and hand out a client that uses it.

        Raises:
            AccessDenied: the name or the password is wrong.
            ServiceUnavailable: Airflow does not answer.
        """
        http = httpx.Client(base_url=base_url, timeout=timeout_s)
        api = cls(http)
        answer = api._call("POST", "/auth/token", {"username": username, "password": password})
        http.headers["authorization"] = f"Bearer {answer['access_token']}"
        return api

    def start_run(
        self, dag_id: str, conf: Mapping[str, Any], *, run_id: str | None = None, note: str = ""
    ) -> str:
        """Ask for a run and return its id.

        Raises:
            InvalidInput: Airflow refused the conf; carries its words.
        """
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf)}
        if run_id:
            body["dag_run_id"] = run_id
        if note:
            body["note"] = note
        answer = self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        return str(answer["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """``queued``, ``running``, ``success`` or ``failed``."""
        return str(self._call("GET", self._run_path(dag_id, run_id))["state"])

    def task_states(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Every task instance of the run, mapped ones included, all pages."""
        path = f"{self._run_path(dag_id, run_id)}/taskInstances"
        states: list[TaskState] = []
        while True:
            page = self._call("GET", f"{path}?limit={PAGE_SIZE}&offset={len(states)}")
            states += [TaskState.from_answer(entry) for entry in page["task_instances"]]
            if not page["task_instances"] or len(states) >= page["total_entries"]:
                return states

    def log_lines(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1
    ) -> list[str]:
        """The messages a task logged in one try."""
        path = (
            f"{self._run_path(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}"
            f"?map_index={map_index}&full_content=true"
        )
        content = self._call("GET", path)["content"]
        return [str(line.get("event", "")) for line in content if isinstance(line, dict)]

    def xcom(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *,
        key: str = "return_value",
        map_index: int = -1,
    ) -> Any:
        """What a task returned."""
        path = (
            f"{self._run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
            f"?map_index={map_index}"
        )
        return self._call("GET", path)["value"]

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """Stop the run: running tasks are killed, waiting ones skipped, teardowns still run."""
        self._call(
            "PATCH", f"{self._run_path(dag_id, run_id)}?update_mask=state", {"state": "failed"}
        )

    def clear_failed(self, dag_id: str, run_id: str) -> None:
        """Let the failed tasks of the run, and what waited for them, run again."""
        body = {"dry_run": False, "only_failed": True}
        self._call("POST", f"{self._run_path(dag_id, run_id)}/clear", body)

    def clear_tasks(self, dag_id: str, run_id: str, task_ids: list[str]) -> None:
        """Let these tasks of the run run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self._call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)

    def page_url(self, dag_id: str, run_id: str) -> str:
        """Address of the run in the Airflow UI."""
        base = str(self._http.base_url).rstrip("/")
        return f"{base}/dags/{dag_id}/runs/{quote(run_id, safe='')}"

    @staticmethod
    def _run_path(dag_id: str, run_id: str) -> str:
        return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise ServiceUnavailable(f"Airflow did not answer {method} {path}: {error}") from error
        if answer.is_error:
            raise _error(answer, f"{method} {path}")
        try:
            return answer.json()
        except ValueError as error:
            raise MalformedAnswer(f"Airflow's answer to {method} {path} is no JSON") from error


def _error(answer: httpx.Response, call: str) -> Exception:
    text = _detail(answer)
    status = answer.status_code
    if status in {401, 403}:
        return AccessDenied(f"Airflow refused {call}: {text}")
    if status == 404:
        return NotFound(f"{call}: {text}")
    if status in {400, 409, 422}:
        return InvalidInput([Problem(call, "", text)])
    if status == 429 or status >= 500:
        return ServiceUnavailable(f"Airflow answered {status} to {call}: {text}")
    return PermanentError(f"Airflow answered {status} to {call}: {text}")


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]
    if isinstance(detail, list):
        return "; ".join(
            f"{'.'.join(str(part) for part in entry.get('loc', []))}: {entry.get('msg', entry)}"
            for entry in detail
        )
    if isinstance(detail, dict):
        return str(detail.get("reason") or detail)
    return str(detail)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
