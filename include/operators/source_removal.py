"""Source folders, removed only when asked for and only after S3 has been proven to hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from include.operators.base import AcquisitionOperator
from include.operators.checks import source_folders
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.plan import RunPlan, TaskPlan
    from include.acquisitions.source_matching import LosslessProof


class RemoveSourceFoldersOperator(AcquisitionOperator):
    """
    Match every source file with what S3 holds now, then remove; one mismatch keeps everything.

    Skipped unless asked for, and even then only a look unless ``job_settings.dry_run`` is false. The
    journal of what goes is in the runs bucket before the first file goes.

    :returns: files and bytes that went (or would go), and what stayed.
    """

    needs_claim: ClassVar[bool] = True

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.source_removal import DERIVATIVES, RemovalRequest, remove_sources
        from include.acquisitions.task_settings import SourceRemovalSettings
        from include.clients.runs_bucket import journal_key

        chosen = SourceRemovalSettings.parse(task.job_settings)
        folders = source_folders(plan)
        derivatives = folders.pop(DERIVATIVES, None)
        gather = plan.tasks["gather_preliminary_metadata"]
        result = remove_sources(
            RemovalRequest(
                modality_sources=folders,
                derivatives_dir=derivatives,
                metadata_dir=None if gather.skip else gather.job_settings.get("metadata_dir"),
                modalities_to_delete=chosen.modalities_to_delete,
                dry_run=chosen.dry_run,
            ),
            plan.location,
            store=self.asset_store.client,
            journals=self.runs_bucket,
            journal_key=journal_key(plan.dag_id, plan.run_key, "source_folders"),
            allowed_roots=settings().source_roots,
            proofs=self.proofs(plan),
        )
        for reason in result.kept:
            self.log.info("%s: kept %s", plan.location, reason)
        return result.model_dump(mode="json")

    def proofs(self, plan: RunPlan) -> dict[str, LosslessProof]:
        """Modality → what its transformation was proven for, as kept with the asset."""
        from include.acquisitions.lossless_proof import proof_name
        from include.acquisitions.source_matching import LosslessProof
        from include.errors import NotFound

        found = {}
        for modality in plan.modalities:
            key = f"{plan.location.key_prefix}{proof_name(modality)}"
            try:
                content = self.asset_store.client.read_json(plan.bucket, key)
            except NotFound:
                continue
            found[modality] = LosslessProof.model_validate(content)
        return found
