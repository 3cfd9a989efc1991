"""``codeocean_pipeline_settings``: what to run in Code Ocean, and how to capture the result.

One entry per modality, in the shape that ``aind-codeocean-pipeline-monitor`` takes::

    {"pipeline_monitor_capsule_id": …,            (accepted; the monitoring is done here)
     "pipeline_monitor_settings": {
        "run_params": {"pipeline_id" or "capsule_id", "data_assets": [{"id", "mount"}], …},
        "computation_polling_interval": 180, …    (seconds)
        "capture_settings": null or {"tags": […], "target": {"aws": {"bucket"}}, …}}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from include.assets.core_files import Generation
from include.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from codeocean.models.components import Permissions
    from codeocean.models.computation import RunParams
    from codeocean.models.data_asset import ResultsInfo

    from include.acquisitions.plan import TaskPlan

TASK = "codeocean_pipeline_settings"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AssetInput(_Settings):
    """One data asset given to a run."""

    id: str = ""
    """Empty: the asset of this job."""

    mount: str | None = None


class NamedParameter(_Settings):
    """One parameter by its internal name; all values are text."""

    param_name: str
    value: str


class ProcessParameters(_Settings):
    """Parameters of one process of a pipeline."""

    name: str
    parameters: list[str] | None = None
    named_parameters: list[NamedParameter] | None = None


class RunSettings(_Settings):
    """What to run; exactly one of capsule and pipeline."""

    capsule_id: str | None = None
    pipeline_id: str | None = Field(None, validate_default=True)
    version: int | None = None
    resume_run_id: str | None = None
    nextflow_profile: str | None = None
    data_assets: list[AssetInput] | None = None
    parameters: list[str] | None = None
    named_parameters: list[NamedParameter] | None = None
    processes: list[ProcessParameters] | None = None

    # Field validators, not model validators: those keep silent beside other problems.
    @field_validator("capsule_id", "pipeline_id", mode="after")
    @classmethod
    def _empty_is_absent(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("pipeline_id", mode="after")
    @classmethod
    def _exactly_one(cls, value: str | None, found: ValidationInfo) -> str | None:
        if "capsule_id" in found.data and (value is None) == (found.data["capsule_id"] is None):
            raise ValueError("give exactly one of capsule_id and pipeline_id")
        return value

    @property
    def runs(self) -> str:
        """Id of the capsule or pipeline."""
        return str(self.pipeline_id or self.capsule_id)

    def with_asset(self, asset_id: str, asset_name: str) -> RunSettings:
        """The same run, given the asset wherever no other is named; mounts are kept."""
        inputs = self.data_assets or [AssetInput()]
        filled = [
            one if one.id else AssetInput(id=asset_id, mount=one.mount or asset_name)
            for one in inputs
        ]
        return self.model_copy(update={"data_assets": filled})

    @property
    def needs_asset(self) -> bool:
        """Whether the run is to get the asset of this job."""
        return not self.data_assets or any(not one.id for one in self.data_assets)

    def as_params(self) -> RunParams:
        """The same in the SDK's words."""
        from codeocean.models.computation import RunParams

        return TypeAdapter(RunParams).validate_python(self.model_dump())


class AwsTarget(_Settings):
    """Our bucket; the prefix is always the result's name."""

    bucket: str
    endpoint_name: str | None = None
    prefix: str | None = None


class Target(_Settings):
    """Where Code Ocean puts the files of a captured result."""

    aws: AwsTarget | None = None


class DocDbSettings(_Settings):
    """Which collection gets the record of a captured result."""

    docdb_version: Generation = Generation.V1
    results_bucket: str
    """Code Ocean's own bucket, where results without a target lie under their asset id."""

    docdb_api_gateway: str | None = None
    """Accepted; records are written to DocDB itself."""

    docdb_database: str | None = None
    docdb_collection: str | None = None


class UserPermission(_Settings):
    """What one person may do with the result."""

    email: str
    role: Literal["owner", "editor", "viewer"]


class GroupPermission(_Settings):
    """What one group may do with the result."""

    group: str
    role: Literal["owner", "editor", "viewer", "discoverable"]


class PermissionSettings(_Settings):
    """Who may see the captured result."""

    users: list[UserPermission] | None = None
    groups: list[GroupPermission] | None = None
    everyone: Literal["viewer", "discoverable", "none"] | None = None
    share_assets: bool | None = None

    def as_permissions(self) -> Permissions:
        """The same in the SDK's words."""
        from codeocean.models.components import Permissions

        return TypeAdapter(Permissions).validate_python(self.model_dump())


class ReportedParameter(_Settings):
    """One parameter as a finished run reports it."""

    name: str | None = None
    param_name: str | None = None
    value: str | None = None


class ReportedProcess(_Settings):
    """One process of a finished pipeline."""

    name: str
    capsule_id: str
    version: int | None = None
    public: bool | None = None
    parameters: list[ReportedParameter] | None = None


class ResultsSettings(_Settings):
    """Where results that were made elsewhere come from."""

    capsule_id: str | None = None
    pipeline_id: str | None = None
    version: int | None = None
    commit: str | None = None
    run_script: str | None = None
    data_assets: list[str] | None = None
    parameters: list[ReportedParameter] | None = None
    nextflow_profile: str | None = None
    processes: list[ReportedProcess] | None = None

    def as_results_info(self) -> ResultsInfo:
        """The same in the SDK's words."""
        from codeocean.models.data_asset import ResultsInfo

        return TypeAdapter(ResultsInfo).validate_python(self.model_dump())


class CaptureSettings(_Settings):
    """How the result of a computation becomes a data asset."""

    tags: list[str]
    name: str | None = Field(None, pattern=r"^[^/]+$")
    mount: str | None = None
    description: str | None = None
    custom_metadata: dict[str, Any] | None = None
    results_info: ResultsSettings | None = None
    data_asset_ids: list[str] | None = None
    target: Target | None = None
    permissions: PermissionSettings = PermissionSettings(everyone="viewer")
    process_name_suffix: str = Field("processed", min_length=1)
    process_name_suffix_tz: str = "UTC"
    docdb_settings: DocDbSettings | None = None
    source: None = None
    data_description_file_name: Literal["data_description.json"] = "data_description.json"

    @field_validator("process_name_suffix_tz", mode="after")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"{value!r} is not a time zone such as 'America/Los_Angeles'"
            ) from error
        return value


class PipelineMonitorSettings(_Settings):
    """One run and what becomes of it; times in seconds."""

    run_params: RunSettings
    alert_url: str | None = None
    computation_polling_interval: float = Field(180, ge=5)
    computation_timeout: float | None = None
    data_asset_ready_polling_interval: float = Field(10, ge=5)
    data_asset_ready_timeout: float | None = None
    capture_settings: CaptureSettings | None = None

    @field_validator("computation_timeout", "data_asset_ready_timeout", mode="after")
    @classmethod
    def _time_for_a_second_look(cls, value: float | None, found: ValidationInfo) -> float | None:
        interval_name = str(found.field_name).replace("timeout", "polling_interval")
        interval_s = found.data.get(interval_name, 0)
        if value is not None and value <= interval_s:
            raise ValueError(f"must exceed {interval_name}, which is {interval_s:g} s")
        return value


class PipelineSettings(_Settings):
    """``job_settings`` of one modality's pipeline."""

    pipeline_monitor_settings: PipelineMonitorSettings
    pipeline_monitor_capsule_id: str | None = None
    """Accepted; the monitoring is done here, not in a capsule."""


@dataclass(frozen=True, slots=True)
class PlannedPipelines:
    """The runs of one job, by modality abbreviation, in the job's order."""

    runs: dict[str, PipelineMonitorSettings]
    warnings: tuple[str, ...] = ()


def plan_pipelines(
    pipelines: Mapping[str, TaskPlan], *, asset_id: str | None, asset_name: str
) -> PlannedPipelines:
    """Every run that is not skipped, with the registered asset filled in.

    Two modalities that ask for the same run share it: a second one would compute the same again,
    and after a crash nothing could tell whose computation is whose.

    Args:
        pipelines: the run plan's entries by modality abbreviation.
        asset_id: Code Ocean's id of the asset; None when it was not registered.
        asset_name: its name, the mount where none is given.

    Raises:
        InvalidInput: every problem of every entry.
    """
    problems: list[Problem] = []
    runs: dict[str, PipelineMonitorSettings] = {}
    warnings: list[str] = []
    for modality, task in pipelines.items():
        if task.skip:
            continue
        item = f"{TASK}.{modality}"
        try:
            settings = PipelineSettings.model_validate(task.job_settings).pipeline_monitor_settings
        except ValidationError as error:
            problems += _problems_of(item, error)
            continue
        run = settings.run_params
        if run.needs_asset and asset_id is None:
            problems.append(_no_asset(item))
            continue
        if run.needs_asset:
            run = run.with_asset(str(asset_id), asset_name)
            settings = settings.model_copy(update={"run_params": run})
        twin = next((name for name, other in runs.items() if _look_alike(run, other)), None)
        if twin is None:
            runs[modality] = settings
        elif (run, settings.capture_settings) == (
            runs[twin].run_params,
            runs[twin].capture_settings,
        ):
            warnings.append(f"{item}: the same run as for {twin}; it is started once")
        else:
            problems.append(_too_alike(item, twin))
    if problems:
        raise InvalidInput(problems)
    return PlannedPipelines(runs, tuple(warnings))


def _problems_of(item: str, error: ValidationError) -> Sequence[Problem]:
    return [
        Problem(item, ".".join(["job_settings", *map(str, found["loc"])]), found["msg"])
        for found in error.errors(include_url=False, include_input=False)
    ]


def _no_asset(item: str) -> Problem:
    field = "job_settings.pipeline_monitor_settings.run_params.data_assets"
    reason = "wants this job's asset, which was not registered in Code Ocean"
    return Problem(item, field, reason, "register the asset, or name the assets by their ids")


def _look_alike(run: RunSettings, other: PipelineMonitorSettings) -> bool:
    """Whether Code Ocean's computations of the two could not be told apart."""
    unreported = {"version": None, "resume_run_id": None}
    return run.model_copy(update=unreported) == other.run_params.model_copy(update=unreported)


def _too_alike(item: str, twin: str) -> Problem:
    field = "job_settings.pipeline_monitor_settings"
    reason = f"the run differs from that for {twin} only in its version or how it is captured"
    return Problem(item, field, reason, "make the two the same, or skip one")
