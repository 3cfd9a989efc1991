"""What must be true before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from include.operators.base import AcquisitionOperator
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.plan import RunPlan, TaskPlan


class CheckS3FolderExistsOperator(AcquisitionOperator):
    """
    Refuse a target that is not empty.

    Objects that this very run uploaded before it was killed or cleared do not count. Skipping this task
    (``force_cloud_sync``) means: upload what differs, overwrite same keys, delete nothing.
    """

    runs_in_dry_run: ClassVar[bool] = True

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.provenance import check_target

        state = check_target(self.asset_store.client, plan.location, plan.run_key)
        self.log.info("%s is %s", plan.location, state)
        return {"location": str(plan.location), "state": str(state)}


class CheckSourceFoldersExistOperator(AcquisitionOperator):
    """
    Walk every source folder, the metadata folder and the derivatives folder.

    Missing, empty or unreadable folders and files, broken links, links out of the allowed roots and
    names that no S3 key can carry are all named at once.

    :returns: files and bytes per folder.
    """

    runs_in_dry_run: ClassVar[bool] = True

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.source_folders import check_source_folders

        gather = plan.tasks["gather_preliminary_metadata"]
        metadata_dir = None if gather.skip else gather.job_settings.get("metadata_dir")
        summary = check_source_folders(
            source_folders(plan),
            settings().source_roots,
            metadata_dir=Path(metadata_dir) if metadata_dir else None,
            key_prefix=plan.location.key_prefix,
        )
        for label, folder in summary.folders.items():
            self.log.info("%s: %d files, %d bytes", label, folder.files, folder.size_bytes)
        return {
            label: {"files": folder.files, "bytes": folder.size_bytes}
            for label, folder in summary.folders.items()
        }


def source_folders(plan: RunPlan) -> dict[str, Path]:
    """Every folder whose files this run uploads: modality abbreviation or ``derivatives`` → path."""
    folders: dict[str, Path] = {}
    is_left_out = plan.tasks["compress_data"].skip
    for modality, settings_of in plan.modalities.items():
        source = settings_of.job_settings.get("input_source")
        if source and not settings_of.skip and not is_left_out:
            folders[modality] = Path(source)
    derivatives = plan.tasks["copy_derivatives_folder"]
    if derivatives.job_settings.get("input_source") and not derivatives.skip:
        folders["derivatives"] = Path(derivatives.job_settings["input_source"])
    return folders
