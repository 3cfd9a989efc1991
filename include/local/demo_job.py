"""The upload job of the demo: three modalities, every kind of mail, one Code Ocean pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

DAG_ID = "transform_and_upload_v2"
SUBJECT_ID = "712345"
PROJECT = "Ephys Platform"
USER_EMAIL = "scientist@example.org"

PIPELINE_ID = "2d5c0b7e-1f6a-4b58-9c3e-6a1d0f8e7b42"
"""A spike-sorting pipeline, as far as the stand-in is concerned: it knows every id."""

PROVEN = ("ecephys", "behavior")
"""Modalities that arrive without loss, so that each source file can be matched with what S3 holds."""


def demo_job(
    sources: Mapping[str, Path], metadata_dir: Path, started_at: datetime, *, results_bucket: str
) -> dict[str, Any]:
    """The ``conf`` of the run.

    Args:
        sources: modality abbreviation → its source folder.
        metadata_dir: core files of the rig.
        started_at: of the acquisition, in UTC.
        results_bucket: where Code Ocean is to put the captured result.
    """
    return {
        "job_type": "ecephys",
        "project_name": PROJECT,
        "subject_id": SUBJECT_ID,
        "acq_datetime": f"{started_at:%Y-%m-%dT%H:%M:%S}",
        "modalities": [{"abbreviation": modality} for modality in sources],
        "user_email": USER_EMAIL,
        "email_notification_types": ["all"],
        "tasks": {
            "gather_preliminary_metadata": {"job_settings": {"metadata_dir": str(metadata_dir)}},
            "modality_transformation_settings": {
                modality: {"job_settings": {"input_source": str(source)}}
                for modality, source in sources.items()
            },
            "codeocean_pipeline_settings": {"ecephys": {"job_settings": _pipeline(results_bucket)}},
            # Only a look: what could be removed because S3 has been proven to hold it.
            "remove_source_folders": {
                "skip_task": False,
                "job_settings": {"dry_run": True, "modalities_to_delete": list(PROVEN)},
            },
        },
    }


def _pipeline(results_bucket: str) -> dict[str, Any]:
    return {
        "pipeline_monitor_settings": {
            "run_params": {"pipeline_id": PIPELINE_ID},
            "capture_settings": {
                "tags": ["derived", "ecephys"],
                "target": {"aws": {"bucket": results_bucket}},
                "docdb_settings": {"docdb_version": "v2", "results_bucket": results_bucket},
            },
        }
    }
