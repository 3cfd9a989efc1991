"""All settings of one run, resolved once, at its start.

See ``docs/design/001-one-run.md``. Every later task reads the plan and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from include.acquisitions.command import ScriptValues, fill_script, fill_settings
from include.acquisitions.job import UploadJob
from include.acquisitions.pipeline import (
    CODE_OCEAN_PIPELINES,
    MODALITY_TASKS,
    SKIPPED_UNLESS_ASKED,
    TASKS,
    TRANSFORMATION,
)
from include.acquisitions.presets import (
    JobTypePresets,
    Preset,
    PresetStore,
    deep_merge,
    load_job_type,
)
from include.acquisitions.secret_settings import find_secrets, hide_secrets
from include.acquisitions.task import Task
from include.assets.location import AssetLocation
from include.errors import InvalidInput, Problem


class TaskPlan(BaseModel):
    """What one task of one run does: preset and request merged."""

    model_config = ConfigDict(frozen=True)

    skip: bool = False
    """Whether the task ends as skipped."""

    image: str | None = None
    image_version: str | None = None
    image_resources: dict[str, Any] | None = None
    job_settings: dict[str, Any] = Field(default_factory=dict)
    command_script: str | None = None

    preset: str | None = None
    """Parameter-store key of the preset that was merged in; None when there was none."""


class RunPlan(BaseModel):
    """Every setting of one run of ``transform_and_upload_v2``."""

    model_config = ConfigDict(frozen=True)

    dag_id: str
    run_id: str
    run_key: str
    """Deterministic name of everything this run makes outside Airflow."""

    job: UploadJob
    """The job as submitted, normalised."""

    bucket: str
    """The real bucket, never an alias."""

    asset_name: str
    staging_folder: Path
    dry_run: bool = False

    tasks: dict[str, TaskPlan]
    """Every named task of the pipeline (see ``pipeline.TASKS``); no other keys."""

    modalities: dict[str, TaskPlan]
    """Modality abbreviation → its part of ``modality_transformation_settings``, in the job's order."""

    pipelines: dict[str, TaskPlan]
    """Modality abbreviation → its part of ``codeocean_pipeline_settings``."""

    warnings: tuple[str, ...] = ()
    """What was accepted but probably not meant: unknown keys, names of other eras."""

    @property
    def location(self) -> AssetLocation:
        """Where the asset will be."""
        return AssetLocation(bucket=self.bucket, name=self.asset_name)

    @property
    def asset_folder(self) -> Path:
        """Mirrors what will be under the location."""
        return self.staging_folder / "asset"

    @property
    def work_folder(self) -> Path:
        """Settings files, logs and process records; never uploaded."""
        return self.staging_folder / "work"

    def shown(self, *, is_public: bool) -> dict[str, Any]:
        """The plan as JSON for people: for logs, the runs bucket and the asset.

        Addresses that only the run may know are ``***``, and fields that say nothing are left out. It
        is still a plan that can be read again.

        Args:
            is_public: whether anybody may read it; then it does not say whom the mails go to.
        """
        shown = self.model_dump(mode="json", exclude_none=True)
        if is_public:
            shown["job"].pop("user_email", None)
        hidden: dict[str, Any] = hide_secrets(shown)
        return hidden


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the plan needs to know about where it will run."""

    buckets: Mapping[str, str]
    """``open``, ``private`` and ``default`` → real bucket."""

    staging_root: Path
    preset_prefix: str


def resolve_plan(
    job: UploadJob,
    *,
    presets: PresetStore,
    deployment: Deployment,
    dag_id: str,
    run_id: str,
    dry_run: bool = False,
) -> RunPlan:
    """Settle every setting of a run: read the presets once, merge, check.

    Raises:
        InvalidInput: everything that is wrong with the job type, its presets and the merged settings.
        AccessDenied, ServiceUnavailable: the presets could not be read.
    """
    stored = load_job_type(presets, deployment.preset_prefix, job.job_type)
    warnings = [*job.warnings, *stored.warnings]
    steps = {task_id: _plan_step(job, stored, task_id, warnings) for task_id in TASKS}
    modalities = _plan_modalities(job, stored, TRANSFORMATION, warnings)
    pipelines = {
        modality: plan
        for modality, plan in _plan_modalities(job, stored, CODE_OCEAN_PIPELINES, warnings).items()
        if plan.job_settings
    }
    problems = [
        *_secrets({f"tasks.{task_id}": plan for task_id, plan in steps.items()}),
        *_secrets({f"tasks.{TRANSFORMATION}.{name}": plan for name, plan in modalities.items()}),
        *_secrets({
            f"tasks.{CODE_OCEAN_PIPELINES}.{name}": plan for name, plan in pipelines.items()
        }),
        *_commands_that_cannot_run(job, modalities),
    ]
    if problems:
        raise InvalidInput(problems)
    run_key = make_run_key(job.s3_prefix, run_id)
    return RunPlan(
        dag_id=dag_id,
        run_id=run_id,
        run_key=run_key,
        job=UploadJob.model_validate(job.normalised()),
        bucket=deployment.buckets[job.s3_bucket],
        asset_name=job.s3_prefix,
        staging_folder=deployment.staging_root / run_key,
        dry_run=dry_run,
        tasks=steps,
        modalities=modalities,
        pipelines=pipelines,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def make_run_key(asset_name: str, run_id: str) -> str:
    """``{asset name}_{10 hex digits of the run}``, in letters that jobs and folders may be named with.

    The digits keep apart what the replaced letters might make equal.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", asset_name).lstrip("._-") or "asset"
    return f"{plain}_{hashlib.sha256(run_id.encode()).hexdigest()[:10]}"


def _plan_step(
    job: UploadJob, stored: JobTypePresets, task_id: str, warnings: list[str]
) -> TaskPlan:
    plan = _merge(task_id, stored.find(task_id), _one(job, task_id), warnings)
    if plan.skip and any(_wants_to_run(task) for task in _named(job, task_id).values()):
        return plan.model_copy(update={"skip": False})
    return plan


def _plan_modalities(
    job: UploadJob, stored: JobTypePresets, step: str, warnings: list[str]
) -> dict[str, TaskPlan]:
    """One plan per modality: those of the job in its order, then those that only its settings name."""
    named = _named(job, step)
    whole_step = _merge(step, stored.find(step), _one(job, step), [])
    listed = dict.fromkeys(modality.abbreviation for modality in job.modalities)
    plans: dict[str, TaskPlan] = {}
    for modality in [*listed, *(name for name in named if name not in listed)]:
        where = f"{step}.{modality}"
        if modality not in listed:
            warnings.append(f"tasks.{where} is used, though not among the job's modalities")
        asked = named.get(modality, Task())
        plan = _merge(where, stored.find(step, modality), asked, warnings)
        if whole_step.skip and not _wants_to_run(asked):
            plan = plan.model_copy(update={"skip": True})
        plans[modality] = plan
    return plans


def _one(job: UploadJob, task_id: str) -> Task:
    given = job.tasks.get(task_id)
    return given if isinstance(given, Task) else Task()


def _named(job: UploadJob, task_id: str) -> dict[str, Task]:
    given = job.tasks.get(task_id)
    return given if isinstance(given, dict) and task_id in MODALITY_TASKS else {}


def _wants_to_run(asked: Task) -> bool:
    return not asked.is_empty and not asked.skip_task


def _merge(what: str, preset: Preset | None, asked: Task, warnings: list[str]) -> TaskPlan:
    """Preset and request in one; the request wins key by key."""
    stored = preset.task.given if preset else {}
    merged = deep_merge(stored, asked.given)
    if not asked.is_empty:
        skip = asked.skip_task
        if stored.get("skip_task") and not skip and "skip_task" not in asked.given:
            warnings.append(f"{what} is skipped by its preset; it runs because the job sets it up")
    else:
        skip = bool(stored.get("skip_task", what in SKIPPED_UNLESS_ASKED))
    return TaskPlan(
        skip=skip,
        image=merged.get("image"),
        image_version=merged.get("image_version"),
        image_resources=merged.get("image_resources"),
        job_settings=merged.get("job_settings") or {},
        command_script=merged.get("command_script"),
        preset=preset.key if preset else None,
    )


def _secrets(plans: Mapping[str, TaskPlan]) -> Iterator[Problem]:
    for where, plan in plans.items():
        settings = {
            "job_settings": plan.job_settings,
            "image_resources": plan.image_resources or {},
            "command_script": plan.command_script,
        }
        for path in find_secrets(settings):
            origin = plan.preset or "the job"
            yield Problem(
                f"{where} ({origin})",
                path,
                "looks like a secret, and settings are shown and stored with the asset",
                "keep it in an Airflow connection, or in the file that %ENV_FILE stands for",
            )


def _commands_that_cannot_run(
    job: UploadJob, modalities: Mapping[str, TaskPlan]
) -> Iterator[Problem]:
    """What will certainly fail when the command is started, found before anything is written."""
    for modality, plan in modalities.items():
        if plan.skip:
            continue
        where = f"tasks.{TRANSFORMATION}.{modality}"
        source = plan.job_settings.get("input_source")
        if source == "%INPUT_SOURCE" or (not source and not plan.command_script):
            yield Problem(
                job.s3_prefix, f"{where}.job_settings.input_source", "is not set", "give the folder"
            )
            continue
        values = ScriptValues(
            job_settings=plan.job_settings,
            image=plan.image,
            image_version=plan.image_version,
            input_source=source if isinstance(source, str) else "/input",
            output_location="/output",
            s3_location=f"s3://bucket/{job.s3_prefix}",
            env_file="/environment",
        )
        try:
            fill_settings(values)
            if plan.command_script:
                fill_script(plan.command_script, values)
        except InvalidInput as error:
            for problem in error.problems:
                field = f"{where}.{problem.item}.{problem.field}"
                yield Problem(plan.preset or job.s3_prefix, field, problem.reason, problem.fix)
