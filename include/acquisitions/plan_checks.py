"""Settings of single tasks, checked when the run is planned instead of when the task comes to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from include.acquisitions.metadata_settings import GatherSettings
from include.acquisitions.pipeline import (
    CODE_OCEAN_PIPELINES,
    MAPPED_TASKS,
    MODALITY_TASKS,
    REMOVE_SOURCES,
    TRANSFORMATION,
)
from include.acquisitions.pipeline_settings import plan_pipelines
from include.acquisitions.plan import RunPlan, TaskPlan
from include.acquisitions.registration import TASK as REGISTRATION
from include.acquisitions.registration import RegistrationSettings, read_settings
from include.acquisitions.source_removal import DERIVATIVES
from include.acquisitions.task_settings import (
    SETTINGS_OF,
    SourceFolderSettings,
    SourceRemovalSettings,
    TaskSettings,
    misspelt_keys,
    time_limit_s,
)
from include.errors import InvalidInput, Problem

GATHERING = "gather_preliminary_metadata"
COPY_DERIVATIVES = "copy_derivatives_folder"
COMPRESS = "compress_data"

NOT_YET_REGISTERED = "00000000-0000-0000-0000-000000000000"
"""Stands for the asset that the pipelines will be given."""


def check_plan(plan: RunPlan) -> tuple[str, ...]:
    """Read the settings of every task that will run, as the task will read them.

    Returns:
        Warnings: keys that no task knows, or that have no effect.

    Raises:
        InvalidInput: every problem of every task.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    for task_id, task in plan.tasks.items():
        if not task.skip:
            problems += _problems_of(task_id, task, warnings)
    problems += _problems_of_removal(plan)
    problems += _problems_of_modalities(plan)
    problems += _problems_of_pipelines(plan)
    if problems:
        raise InvalidInput(problems)
    return tuple(warnings)


def _problems_of(task_id: str, task: TaskPlan, warnings: list[str]) -> Iterator[Problem]:
    if task_id == GATHERING:
        yield from _found_by(GatherSettings.parse, task.job_settings)
    elif task_id == REGISTRATION:
        yield from _found_by(read_settings, task.job_settings)
        yield from _about(
            task_id, misspelt_keys(task.job_settings, RegistrationSettings.model_fields)
        )
    elif task_id not in MODALITY_TASKS and task_id not in MAPPED_TASKS:
        try:
            settings = SETTINGS_OF.get(task_id, TaskSettings).parse(task.job_settings)
        except InvalidInput as error:
            yield from _about(task_id, error.problems)
        else:
            warnings += [f"tasks.{task_id}.job_settings: {text}" for text in settings.warnings]


def _problems_of_removal(plan: RunPlan) -> Iterator[Problem]:
    """Folders to remove that the job does not have."""
    task = plan.tasks[REMOVE_SOURCES]
    if task.skip:
        return
    try:
        wanted = SourceRemovalSettings.parse(task.job_settings).modalities_to_delete or ()
    except InvalidInput:
        return  # told with the task's other problems
    known = source_labels(plan)
    for label in wanted:
        if label not in known:
            yield Problem(
                f"tasks.{REMOVE_SOURCES}",
                "job_settings.modalities_to_delete",
                f"the job has no source for {label!r}; it has {', '.join(known) or 'nothing'}",
            )


def source_labels(plan: RunPlan) -> tuple[str, ...]:
    """What a run has source folders for: modality abbreviations, and ``derivatives``."""
    labels = [
        modality
        for modality, task in plan.modalities.items()
        if not (plan.tasks[COMPRESS].skip or task.skip) and task.job_settings.get("input_source")
    ]
    derivatives = plan.tasks[COPY_DERIVATIVES]
    if not derivatives.skip and derivatives.job_settings.get("input_source"):
        labels.append(DERIVATIVES)
    return tuple(labels)


def _problems_of_modalities(plan: RunPlan) -> Iterator[Problem]:
    if plan.tasks[COMPRESS].skip:
        return
    for modality, task in plan.modalities.items():
        if task.skip:
            continue
        where = f"{TRANSFORMATION}.{modality}"
        yield from _about(where, _found_by(time_limit_s, task.image_resources or {}))
        given = {key: value for key, value in task.job_settings.items() if key == "input_source"}
        # All other settings are the command's own; but without a source the modality is left out.
        yield from _about(where, _found_by(SourceFolderSettings.parse, given))
        if not given.get("input_source"):
            yield from _about(where, misspelt_keys(task.job_settings, ["input_source"]))


def _problems_of_pipelines(plan: RunPlan) -> Iterator[Problem]:
    if plan.tasks[CODE_OCEAN_PIPELINES].skip:
        return
    is_registered = not plan.tasks[REGISTRATION].skip
    try:
        plan_pipelines(
            plan.pipelines,
            asset_id=NOT_YET_REGISTERED if is_registered else None,
            asset_name=plan.asset_name,
        )
    except InvalidInput as error:
        yield from error.problems


def _found_by(
    read: Callable[[Mapping[str, Any]], object], settings: Mapping[str, Any]
) -> tuple[Problem, ...]:
    try:
        read(settings)
    except InvalidInput as error:
        return error.problems
    return ()


def _about(task: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    """The same problems, told of the task; what they were told of becomes part of the field."""
    for found in problems:
        yield replace(found, item=f"tasks.{task}", field=f"{found.item}.{found.field}")
