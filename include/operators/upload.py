"""The asset's files to S3, with proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from include.operators.base import AcquisitionOperator
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.plan import RunPlan, TaskPlan
    from include.acquisitions.upload_progress import Progress


class UploadDataToS3Operator(AcquisitionOperator):
    """
    Bring S3 to hold every file of the staging folder and compare each with what S3 holds then.

    Unchanged objects are not sent again, nothing is deleted. The plan of the run is the first object,
    the receipt with every file's size and digest the last.

    :returns: counts and bytes; the list of files is in the receipt.
    """

    needs_claim: ClassVar[bool] = True

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.provenance import PLAN_NAME, check_target, plan_text, uploaded_by
        from include.acquisitions.staging import check
        from include.acquisitions.upload import Upload

        check(plan.staging_folder, plan.run_key)
        check_is_complete(plan)
        if not plan.tasks["check_s3_folder_exists"].skip:
            # Looked at before, but a run that was resumed may find that another one was faster.
            check_target(self.asset_store.client, plan.location, plan.run_key)
        deployment = settings()
        provenance = plan.asset_folder / PLAN_NAME
        provenance.parent.mkdir(parents=True, exist_ok=True)
        provenance.write_bytes(plan_text(plan, is_public=plan.bucket == deployment.open_bucket))
        writer = self.asset_store.writer(
            plan.bucket, part_size_bytes=deployment.upload_part_mib * 2**20
        )
        # First of all objects, and once: a run that is tried again writes nothing that is there.
        if uploaded_by(self.asset_store.client, plan.location) != plan.run_key:
            writer.put_bytes(f"{plan.location.key_prefix}{PLAN_NAME}", provenance.read_bytes())
        receipt = Upload(
            plan.asset_folder,
            plan.location,
            store=self.asset_store.client,
            writer=writer,
            allowed_roots=deployment.source_roots,
            workers=deployment.upload_workers,
            on_progress=self.show,
        ).run()
        return receipt.model_dump(mode="json")

    def show(self, progress: Progress) -> None:
        """One line in the task's log."""
        self.log.info("%s", progress)


def check_is_complete(plan: RunPlan) -> None:
    """Do nothing when every modality of the plan, and the derivatives, are in the staging folder.

    Raises:
        StagingMissing: names what is not there.
    """
    from include.errors import StagingMissing
    from include.operators.checks import source_folders

    missing = [label for label in source_folders(plan) if not (plan.asset_folder / label).exists()]
    if missing:
        raise StagingMissing(
            f"{plan.asset_folder} has no {', '.join(missing)}; "
            "clear create_staging_folder and everything after"
        )
