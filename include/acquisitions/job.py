"""Upload jobs as they are submitted, compatible on the wire with the V2 request.

A request holds up to fifty jobs; each job becomes one run of ``transform_and_upload_v2``, whose conf is
the job. What arrives is validated here, once, and trusted afterwards. Texts and locations of the errors
that clients know are kept; what the former service dropped in silence is accepted with a warning
(:attr:`UploadJob.warnings`). Stricter than before, and why:

* the asset name becomes a folder, so a subject id must be a safe part of one;
* a number as ``acq_datetime`` is refused: read as Unix time, ``20240527`` was a day in 1970;
* two jobs are duplicates when they would write the same, whoever submits them (:meth:`UploadJob.work`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from include.acquisitions import task as reading
from include.acquisitions.job_parts import read_modality, read_moment, read_platform
from include.acquisitions.task import Task, TaskValue
from include.assets.modality import FORMER_ABBREVIATIONS, Modality
from include.assets.name import RawAssetName
from include.assets.platform import Platform
from include.errors import InvalidInput, Problem

__all__ = [
    "Notification",
    "SubmitJobRequest",
    "Task",
    "UploadJob",
    "job_from_conf",
    "problems_from",
    "request_from_json",
]

MAX_JOBS = 50

FORMER_KEYS = {
    "codeocean_configs": "tasks.codeocean_pipeline_settings",
    "derivatives_dir": "tasks.copy_derivatives_folder.job_settings.input_source",
    "force_cloud_sync": "tasks.check_s3_folder_exists.skip_task",
    "input_data_mount": "tasks.codeocean_pipeline_settings",
    "metadata_configs": "tasks.gather_preliminary_metadata.job_settings",
    "metadata_dir": "tasks.gather_preliminary_metadata.job_settings.metadata_dir",
    "process_capsule_id": "tasks.codeocean_pipeline_settings",
    "script": "tasks.modality_transformation_settings.<modality>.command_script",
}
"""Keys of V1 jobs and of spreadsheets → where a V2 job says the same."""


class Notification(StrEnum):
    """When a mail is wanted."""

    BEGIN = "begin"
    END = "end"
    FAIL = "fail"
    RETRY = "retry"
    ALL = "all"


class UploadJob(BaseModel):
    """One acquisition to carry: the conf of one run of ``transform_and_upload_v2``."""

    model_config = ConfigDict(frozen=True)

    job_type: str
    """Whose presets are used."""

    user_email: EmailStr | None = None
    email_notification_types: set[Notification] | None = None
    """None: as the request says, or ``fail`` for a job that is submitted alone; empty: no mails."""

    s3_bucket: Literal["private", "open", "default"] = "default"
    project_name: str
    platform: Annotated[Platform, BeforeValidator(read_platform)] | None = None
    modalities: list[Annotated[Modality, BeforeValidator(read_modality)]] = Field(min_length=1)
    subject_id: str
    acq_datetime: Annotated[datetime, BeforeValidator(read_moment)]
    """As given, with or without a zone; the name takes its wall-clock digits."""

    tasks: dict[str, TaskValue]
    """Under today's names, whatever era's names were given."""

    _warnings: tuple[str, ...] = PrivateAttr(())

    @computed_field  # type: ignore[prop-decorator]  # pydantic's documented order
    @property
    def s3_prefix(self) -> str:
        """Asset name: the folder, key prefix and record name of what is uploaded."""
        return str(RawAssetName.of(self.subject_id, self.acq_datetime, self.platform))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was accepted when the job was read, but was probably not meant."""
        return self._warnings

    def normalised(self) -> dict[str, Any]:
        """The job as JSON: defaults filled in, nulls of the models left out, ``s3_prefix`` added."""
        return self.model_dump(mode="json", exclude_none=True)

    def work(self) -> dict[str, Any]:
        """What the job would do, without who asked for it: equal for duplicates."""
        said = self.normalised()
        work = {key: said[key] for key in ("s3_prefix", "s3_bucket", "job_type", "tasks")}
        work["modalities"] = sorted({modality.abbreviation for modality in self.modalities})
        return work

    @field_validator("job_type", "project_name")
    @classmethod
    def _must_be_known(cls, value: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get(f"{info.field_name}s")
        if known is not None and value not in known:
            raise ValueError(f"{value} must be one of {list(known)}")
        return value

    @field_validator("subject_id")
    @classmethod
    def _must_be_part_of_a_name(cls, value: str) -> str:
        try:
            RawAssetName(value, datetime.min)  # noqa: DTZ901  only the label is looked at
        except InvalidInput as error:
            raise ValueError(error.problems[0].reason) from error
        return value

    @field_validator("tasks", mode="before")
    @classmethod
    def _read_names(cls, value: object) -> object:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            return value
        mixed = list(reading.mixtures(value))
        if mixed:
            raise ValueError(" ".join(mixed))
        return reading.rename(value)

    @field_validator("tasks")
    @classmethod
    def _must_name_modalities(cls, value: dict[str, TaskValue]) -> dict[str, TaskValue]:
        wrong = list(reading.misplaced(value))
        if wrong:
            raise ValueError(" ".join(wrong))
        return value

    @field_serializer("email_notification_types")
    def _print_in_order(self, value: set[Notification] | None) -> list[str] | None:
        return None if value is None else [str(word) for word in Notification if word in value]

    @model_validator(mode="after")
    def _must_have_a_name(self) -> Self:
        try:
            RawAssetName.of(self.subject_id, self.acq_datetime, self.platform)
        except InvalidInput as error:
            raise ValueError(error.problems[0].reason) from error
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _keep_warnings(cls, given: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        job = read(given)
        if isinstance(given, Mapping):
            job._warnings = tuple(_warnings_about(given, job))
        return job


class SubmitJobRequest(BaseModel):
    """Up to fifty jobs, submitted together: the conf of one run of ``run_list_of_jobs``."""

    dag_id: Literal["transform_and_upload_v2"] = "transform_and_upload_v2"
    user_email: EmailStr | None = None
    """For jobs that have none."""

    email_notification_types: set[Notification] = Field(default={Notification.FAIL})
    """For jobs that say nothing."""

    upload_jobs: list[UploadJob] = Field(min_length=1, max_length=MAX_JOBS)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of all jobs, each with its place in the request."""
        return tuple(
            f"upload_jobs[{index}]: {warning}"
            for index, job in enumerate(self.upload_jobs)
            for warning in job.warnings
        )

    def normalised(self) -> dict[str, Any]:
        """The request as JSON, its jobs as in :meth:`UploadJob.normalised`."""
        return self.model_dump(mode="json", exclude_none=True)

    @field_serializer("email_notification_types")
    def _print_in_order(self, value: set[Notification]) -> list[str]:
        return [str(word) for word in Notification if word in value]

    @field_validator("upload_jobs")
    @classmethod
    def _hand_down_mail(cls, jobs: list[UploadJob], info: ValidationInfo) -> list[UploadJob]:
        inherited = {
            key: info.data[key]
            for key in ("user_email", "email_notification_types")
            if key in info.data
        }
        return [
            job.model_copy(
                update={key: v for key, v in inherited.items() if getattr(job, key) is None}
            )
            for job in jobs
        ]

    @model_validator(mode="after")
    def _must_be_sendable_and_new(self, info: ValidationInfo) -> Self:
        wrong = [
            f"No user_email set for job {job.s3_prefix}. Either set user_email in the job config "
            "or in the SubmitJobRequestV2."
            for job in self.upload_jobs
            if job.user_email is None
        ]
        if wrong:
            raise ValueError(" ".join(wrong))
        wrong = [f"Duplicate jobs found for {name}" for name in _repeated(self.upload_jobs)]
        if wrong:
            raise ValueError(" ".join(wrong))
        running = list(_running(self.upload_jobs, (info.context or {}).get("current_jobs") or ()))
        if running:
            raise PydanticCustomError(
                "value_error",
                "Value error, {text}",
                {
                    "text": " ".join(
                        f"Job is already running/queued for {name}" for name, _ in running
                    ),
                    "submitted_by": {name: email for name, email in running if email},
                },
            )
        return self


def job_from_conf(
    conf: Mapping[str, Any],
    *,
    job_types: Sequence[str] | None = None,
    project_names: Sequence[str] | None = None,
) -> UploadJob:
    """Read the conf of one run; without a list of known names, that name is not checked.

    Raises:
        InvalidInput: every problem of the conf.
    """
    context = {"job_types": job_types, "project_names": project_names}
    try:
        return UploadJob.model_validate(conf, context=context)
    except ValidationError as error:
        raise InvalidInput(problems_from(error, "job")) from error


def request_from_json(
    body: Mapping[str, Any],
    *,
    job_types: Sequence[str] | None = None,
    project_names: Sequence[str] | None = None,
    current_jobs: Sequence[Mapping[str, Any]] | None = None,
) -> SubmitJobRequest:
    """Read a request; *current_jobs* are the confs (jobs or requests) of runs queued or running now.

    Raises:
        InvalidInput: every problem of every job.
    """
    context = {
        "job_types": job_types,
        "project_names": project_names,
        "current_jobs": current_jobs,
    }
    try:
        return SubmitJobRequest.model_validate(body, context=context)
    except ValidationError as error:
        raise InvalidInput(problems_from(error, "request")) from error


def problems_from(error: ValidationError, item: str) -> list[Problem]:
    """The errors of a validation in our own words; the values that were given are not repeated."""
    problems = []
    for entry in error.errors(include_url=False, include_input=False):
        steps = [str(step) for step in entry["loc"] if step not in {reading.ONE, reading.NAMED}]
        reason = entry["msg"].removeprefix("Value error, ")
        submitters = entry.get("ctx", {}).get("submitted_by") or {}
        fix = "; ".join(f"{name} was submitted by {email}" for name, email in submitters.items())
        problems.append(Problem(item, ".".join(steps), reason, fix))
    return problems


def _warnings_about(given: Mapping[str, Any], job: UploadJob) -> Iterator[str]:
    for key in given:
        if key not in UploadJob.model_fields and key != "s3_prefix":
            instead = FORMER_KEYS.get(key)
            hint = f"; say it as {instead}" if instead else ""
            yield f"{key} is not a field of an upload job and has no effect{hint}"
    name = given.get("s3_prefix")
    if name is not None and name != job.s3_prefix:
        yield f"s3_prefix {name!r} was given but the asset is named {job.s3_prefix}"
    if isinstance(given.get("acq_datetime"), str) and len(given["acq_datetime"].strip()) <= 10:
        yield f"acq_datetime has no time of day; the asset is named {job.s3_prefix}"
    for entry in given["modalities"]:
        former = entry.get("abbreviation") if isinstance(entry, Mapping) else None
        if isinstance(former, str) and former in FORMER_ABBREVIATIONS:
            yield f"modality {former} is called {FORMER_ABBREVIATIONS[former]} today"
    yield from reading.warnings_about(given["tasks"])


def _repeated(jobs: Iterable[UploadJob]) -> Iterator[str]:
    seen: list[dict[str, Any]] = []
    told: set[str] = set()
    for job in jobs:
        work = job.work()
        if work in seen and job.s3_prefix not in told:
            told.add(job.s3_prefix)
            yield job.s3_prefix
        seen.append(work)


def _running(
    jobs: Iterable[UploadJob], confs: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Asset name and submitter of each job that a current run does already."""
    current = list(_readable_jobs(confs))
    for job in jobs:
        for other in current:
            if job.work() == other.work():
                yield job.s3_prefix, other.user_email or ""
                break


def _readable_jobs(confs: Iterable[Mapping[str, Any]]) -> Iterator[UploadJob]:
    for conf in confs:
        entries = conf.get("upload_jobs")
        for entry in entries if isinstance(entries, list) else [conf]:
            if not isinstance(entry, Mapping) or not entry.get("s3_prefix"):
                continue
            try:
                yield UploadJob.model_validate(entry)
            except ValidationError:
                continue  # a conf this service would refuse does not do what a valid job does
