"""A run as its tasks see it, without Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from include.acquisitions.plan import Deployment, RunPlan, resolve_plan
from include.operators.base import PLAN_TASK_ID
from tests.acquisitions.jobs import make_job

DAG_ID = "transform_and_upload_v2"
RUN_ID = "manual__2026-11-20T10:00:00+00:00"


class NoPresets:
    """A parameter store with nothing in it."""

    def read_tree(self, prefix: str) -> Mapping[str, str]:
        return {}


class TaskInstance:
    """What operators ask of ``context["ti"]``."""

    dag_id = DAG_ID
    run_id = RUN_ID

    def __init__(self, task_id: str, *, map_index: int = -1, try_number: int = 1) -> None:
        self.task_id = task_id
        self.map_index = map_index
        self.try_number = try_number
        self.max_tries = 3
        self.xcoms: dict[tuple[str, str, int], Any] = {}
        self.states: dict[str, str | None] = {}

    def xcom_pull(self, task_ids: str, key: str = "return_value", map_indexes: int = -1) -> Any:
        return self.xcoms.get((task_ids, key, map_indexes))

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key, self.map_index] = value

    def get_task_states(self, *, dag_id: str, run_ids: list[str]) -> dict[str, Any]:
        return {run_ids[0]: self.states}


class StateStore(dict[str, Any]):
    """What a task instance remembers from try to try."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


def make_plan(root: Path, *, dry_run: bool = False, run_id: str = RUN_ID, **job: Any) -> RunPlan:
    """The plan of a job without presets; its staging folder is below *root*."""
    return resolve_plan(
        make_job(job_type="custom", **job),
        presets=NoPresets(),
        deployment=Deployment(
            buckets={"open": "open", "private": "private", "default": "private"},
            staging_root=root,
            preset_prefix="/presets",
        ),
        dag_id=DAG_ID,
        run_id=run_id,
        dry_run=dry_run,
    )


def make_context(
    plan: RunPlan | None,
    task_id: str,
    *,
    results: Mapping[str, Any] | None = None,
    states: Mapping[str, str | None] | None = None,
    exception: BaseException | None = None,
    clear_number: int = 0,
    **where: int,
) -> Any:
    """The context of one try of one task; *results* are what earlier tasks returned."""
    ti = TaskInstance(task_id, **where)
    if plan is not None:
        ti.xcoms[PLAN_TASK_ID, "return_value", -1] = plan.model_dump(mode="json")
    for name, value in (results or {}).items():
        ti.xcoms[name, "return_value", -1] = value
    ti.states = dict(states or {})
    return {
        "ti": ti,
        "dag_run": SimpleNamespace(
            dag_id=DAG_ID,
            run_id=RUN_ID,
            run_after=datetime.now(UTC),
            clear_number=clear_number,
        ),
        "task_state_store": StateStore(),
        "params": {},
        "exception": exception,
    }
