"""What the named tasks of ``transform_and_upload_v2`` have in common."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.hooks.s3 import AssetStoreHook
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.plan import RunPlan, TaskPlan
    from include.assets.claim import RunIdentity
    from include.clients.runs_bucket import RunsBucket

STOPPED = "the task was stopped from outside"

PLAN_TASK_ID = "plan_run"
"""The task whose XCom is the plan of the run."""


class AcquisitionOperator(BaseOperator):
    """
    One named task of a run: read the plan, honour ``skip_task``, then do the work.

    A skipped task ends as *skipped* and what comes after it still runs (``none_failed``). In a dry run
    only tasks that write nothing do their work.
    """

    runs_in_dry_run: ClassVar[bool] = False
    """Whether the task writes nothing and says something worth knowing before a real run."""

    needs_claim: ClassVar[bool] = False
    """Whether the task writes to a store, so that its run must still hold the asset."""

    @cached_property
    def asset_store(self) -> AssetStoreHook:
        """S3."""
        return AssetStoreHook()

    @cached_property
    def runs_bucket(self) -> RunsBucket:
        """Plans, reports, claims and journals."""
        return self.asset_store.runs_bucket(settings().runs_bucket)

    def execute(self, context: Context) -> Any:
        plan = read_plan(context)
        task = self.task_plan(plan)
        if task.skip:
            raise AirflowSkipException(f"skip_task is set for {self.task_id}")
        if plan.dry_run and not self.runs_in_dry_run:
            raise AirflowSkipException("dry run: nothing is written")
        if self.needs_claim:
            from include.assets.claim import acquire

            # Not only looked at but taken: a resumed run gave the asset back when it failed.
            acquire(self.runs_bucket, plan.location, run_identity(plan), is_active)
        return self.carry_out(plan, task, context)

    def on_kill(self) -> None:
        """End this process when Airflow asks for it: a person stopped the task, or the worker shuts down.

        Airflow calls this from its signal handler and then lets the task go on for five more seconds.
        The exit unwinds what is under way, which ends commands and uploads; where Airflow still wants
        the task done, it is tried again.
        """
        raise SystemExit(STOPPED)

    def task_plan(self, plan: RunPlan) -> TaskPlan:
        """The part of the plan that is this task's."""
        return plan.tasks[self.task_id]

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> Any:
        """Do the work and return something small."""
        raise TypeError(f"{type(self).__name__} does not say what it does")


def read_plan(context: Context) -> RunPlan:
    """The plan that ``plan_run`` made for this run."""
    from include.acquisitions.plan import RunPlan

    return RunPlan.model_validate(context["ti"].xcom_pull(task_ids=PLAN_TASK_ID))


def run_identity(plan: RunPlan) -> RunIdentity:
    """Who this run is, for claims."""
    from include.assets.claim import RunIdentity

    return RunIdentity(dag_id=plan.dag_id, run_id=plan.run_id)


def recall(context: Context, key: str) -> str | None:
    """What an earlier try of this task instance stored under *key*, such as the id of outside work."""
    value = context["task_state_store"].get(key)
    return None if value is None else str(value)


def store(context: Context, key: str, value: str) -> None:
    """Keep *value* for later tries of this task instance."""
    context["task_state_store"].set(key, value)


def label_instance(context: Context, modality: str) -> None:
    """Show a mapped task instance under its modality instead of its number."""
    cast("dict[str, Any]", context)["modality"] = modality


def is_last_try(context: Context) -> bool:
    """Whether this task will not be tried again by itself."""
    ti = context["ti"]
    return int(ti.try_number) > int(ti.max_tries)


def is_active(dag_id: str, run_id: str) -> bool:
    """Whether Airflow knows that run and has not finished it."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return (
        RuntimeTaskInstance.get_dr_count(
            dag_id=dag_id, run_ids=[run_id], states=["queued", "running"]
        )
        > 0
    )
