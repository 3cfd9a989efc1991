"""Core files before the transformation, processing and the aggregate after it, and their check."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.hooks.metadata_service import MetadataServiceHook
from include.operators.base import AcquisitionOperator
from include.operators.commands import command_environment, command_script, follow
from include.settings import VERSION, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from include.acquisitions.data_description import Acquired
    from include.acquisitions.mapper import MetadataMapper
    from include.acquisitions.metadata_settings import GatherSettings
    from include.acquisitions.plan import RunPlan, TaskPlan
    from include.acquisitions.runner import Command, Outcome

PIPELINE_NAME = "Assetflow"


class GatherPreliminaryMetadataOperator(AcquisitionOperator):
    """
    Put subject, procedures, data_description, instrument and acquisition into the staging folder.

    A file of the user's ``metadata_dir`` wins over what the metadata service says. A service that does
    not answer fails the task for another try; ``on_service_failure: continue`` goes on without.

    :returns: per core file where it came from and how good it is.
    """

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.metadata import gather_preliminary_metadata
        from include.acquisitions.metadata_settings import GatherSettings
        from include.acquisitions.staging import check

        check(plan.staging_folder, plan.run_key)
        gather_settings = GatherSettings.parse(task.job_settings)
        service = MetadataServiceHook()
        gathered = gather_preliminary_metadata(
            acquired(plan),
            gather_settings,
            service.client,
            asset_folder=plan.asset_folder,
            work_folder=plan.work_folder,
            source_roots=settings().source_roots,
            mapper=self.mapper(plan, task, gather_settings, service.address),
        )
        return gathered.model_dump(mode="json")

    def mapper(
        self, plan: RunPlan, task: TaskPlan, gather_settings: GatherSettings, service_url: str
    ) -> MetadataMapper | None:
        """aind-metadata-mapper in its own environment, when its options are set."""
        from include.acquisitions.mapper import MetadataMapper, settings_shape, wants_mapper
        from include.transformations.environments import find_environment

        own_command = task.command_script is not None
        if not own_command and not wants_mapper(gather_settings, image=task.image):
            return None

        def script(chosen: Mapping[str, Any]) -> str:
            return command_script(plan, task, job_settings=dict(chosen))

        def run(command: Command) -> Outcome:
            return follow(command, self.log)

        return MetadataMapper(
            acquired=acquired(plan),
            settings=gather_settings,
            work_folder=plan.work_folder,
            service_url=service_url,
            name=f"{plan.run_key}_gather_preliminary_metadata",
            run=run,
            python=(
                None
                if own_command
                else find_environment("metadata-mapper", settings().environments_root)
            ),
            script=script if own_command else None,
            shape=settings_shape(task.image, task.image_version),
            environment=command_environment(plan),
            resources=task.image_resources or {},
        )


class GatherFinalMetadataOperator(AcquisitionOperator):
    """
    Write ``processing.json`` from what really ran, and ``metadata.nd.json`` from all core files.

    :returns: status of the aggregate and everything the schema says against it.
    """

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.processing import (
            Pipeline,
            read_process_records,
            staged_generation,
            write_processing,
        )
        from include.acquisitions.staging import check
        from include.assets.aggregate import write_aggregate

        check(plan.staging_folder, plan.run_key)
        records = read_process_records(plan.work_folder / "processes")
        write_processing(
            plan.asset_folder,
            plan.work_folder,
            records,
            pipeline=Pipeline(name=PIPELINE_NAME, url="", version=VERSION),
            generation=staged_generation(plan.asset_folder),
        )
        report = write_aggregate(
            plan.asset_folder, plan.work_folder, plan.location, now=datetime.now(UTC)
        )
        return report.model_dump(mode="json")


class CheckMetadataFilesOperator(AcquisitionOperator):
    """
    Look at the core files about to be uploaded: the required ones, one of each exclusive pair, JSON.

    ``job_settings.level`` ``schema`` also asks what the schema demands of each.
    """

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.metadata_checks import check_metadata_files
        from include.acquisitions.staging import check
        from include.acquisitions.task_settings import MetadataCheckSettings

        check(plan.staging_folder, plan.run_key)
        checked = check_metadata_files(
            plan.asset_folder, level=MetadataCheckSettings.parse(task.job_settings).level
        )
        return checked.model_dump(mode="json")


def acquired(plan: RunPlan) -> Acquired:
    """What the job says about the acquisition."""
    from include.acquisitions.data_description import Acquired

    return Acquired(
        asset_name=plan.asset_name,
        subject_id=plan.job.subject_id,
        project_name=plan.job.project_name,
        modalities=tuple(modality.abbreviation for modality in plan.job.modalities),
        acq_datetime=plan.job.acq_datetime,
    )
