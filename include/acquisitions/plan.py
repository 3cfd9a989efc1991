"""All settings of one run, resolved once, at its start.

See ``docs/design/001-one-run.md``. Every later task reads the plan and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from include.acquisitions.job import UploadJob
from include.assets.location import AssetLocation


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
