"""The staging folder: made, filled by links, and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowSkipException

from include.operators.base import AcquisitionOperator
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.plan import RunPlan, TaskPlan


class CreateStagingFolderOperator(AcquisitionOperator):
    """Make the folder in which this run prepares its asset; an existing one of this run is kept."""

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> str:
        from include.acquisitions.staging import create

        create(plan.staging_folder, settings().staging_root, plan.run_key)
        return str(plan.staging_folder)


class CopyDerivativesFolderOperator(AcquisitionOperator):
    """Put the folder named by ``input_source`` under ``derivatives`` of the asset, by a link."""

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> str:
        from include.acquisitions.source_folders import resolve_under
        from include.acquisitions.staging import check, link_folder

        source = task.job_settings.get("input_source")
        if not source:
            raise AirflowSkipException("the job has no derivatives folder")
        check(plan.staging_folder, plan.run_key)
        folder = resolve_under(
            source, settings().source_roots, item="derivatives", field="input_source"
        )
        link_folder(folder, plan.asset_folder / "derivatives")
        return str(folder)


class RemoveStagingFolderOperator(AcquisitionOperator):
    """
    Remove the staging folder of a run that came this far.

    A run that fails before leaves it to ``report_run``, which removes it unless
    ``job_settings.keep_for_resume`` is true.
    """

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> str:
        from include.acquisitions.staging import remove

        remove(plan.staging_folder, settings().staging_root, plan.run_key)
        return str(plan.staging_folder)
