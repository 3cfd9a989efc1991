"""Valid jobs and requests; a test says only what it is about."""

from __future__ import annotations

from typing import Any

from include.acquisitions.job import UploadJob, job_from_conf

NAME = "712345_2024-05-27_16-07-59"
SOURCE = {"job_settings": {"input_source": "/allen/aind/stage/s/ecephys"}}


def job_conf(**changes: Any) -> dict[str, Any]:
    """The conf of a job with one modality."""
    return {
        "job_type": "ecephys",
        "user_email": "someone@example.com",
        "project_name": "Learning",
        "modalities": [{"abbreviation": "ecephys"}],
        "subject_id": "712345",
        "acq_datetime": "2024-05-27T16:07:59",
        "tasks": {"modality_transformation_settings": {"ecephys": SOURCE}},
        **changes,
    }


def make_job(**changes: Any) -> UploadJob:
    return job_from_conf(job_conf(**changes))


def request_body(*jobs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"upload_jobs": list(jobs) or [job_conf()], **changes}
