"""Settings of single tasks, checked when the run is planned instead of when the task comes to them."""

from __future__ import annotations

from include.acquisitions.metadata_settings import GatherSettings
from include.acquisitions.pipeline_settings import plan_pipelines
from include.acquisitions.plan import RunPlan
from include.acquisitions.registration import TASK as REGISTRATION
from include.acquisitions.registration import read_settings
from include.errors import InvalidInput, Problem

NOT_YET_REGISTERED = "00000000-0000-0000-0000-000000000000"
"""Stands for the asset that the pipelines will be given."""


def check_plan(plan: RunPlan) -> None:
    """Do nothing for a plan whose tasks can all read their settings.

    Raises:
        InvalidInput: every problem of every task that will run.
    """
    problems: list[Problem] = []
    for task_id, check in (
        ("gather_preliminary_metadata", GatherSettings.parse),
        (REGISTRATION, read_settings),
    ):
        task = plan.tasks[task_id]
        if task.skip:
            continue
        try:
            check(task.job_settings)
        except InvalidInput as error:
            problems += error.problems
    is_registered = not plan.tasks[REGISTRATION].skip
    if not plan.tasks["codeocean_pipeline_settings"].skip:
        try:
            plan_pipelines(
                plan.pipelines,
                asset_id=NOT_YET_REGISTERED if is_registered else None,
                asset_name=plan.asset_name,
            )
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
