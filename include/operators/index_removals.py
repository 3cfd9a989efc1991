"""The removals of ``index_buckets``: decided on when all slices of a bucket have been examined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.errors import AssetflowError, RunIncomplete, TransientError
from include.operators.indexing import IndexOperator, collections, read_found

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.indexing.report import RemovalReport
    from include.indexing.run_plan import BucketPlan, IndexPlan


class RemoveMissingOperator(IndexOperator):
    """
    Decide on the removals of each bucket as a whole, write them down, carry them out.

    Runs also when slices failed; the buckets of these keep everything.

    :returns: bucket → what was removed, or why not.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        plan = self.find_plan(context)
        if plan is None:
            raise AirflowSkipException("nothing was planned")
        results: dict[str, Any] = {}
        problems: list[str] = []
        for bucket in plan.buckets.values():
            try:
                report = self.remove(plan, bucket, context)
            except TransientError:
                raise
            except AssetflowError as error:
                problems.append(f"{bucket.bucket}: {type(error).__name__}: {error}")
                continue
            if report is not None:
                results[bucket.bucket] = {"removed": report.removed, "refused": report.refused}
                problems += [f"{bucket.bucket}: {report.refused}"] if report.refused else []
        if problems:
            raise RunIncomplete("\n".join(problems))
        return results

    def remove(self, plan: IndexPlan, bucket: BucketPlan, context: Context) -> RemovalReport | None:
        """Removals of one bucket; None when none are proposed.

        Raises:
            RunIncomplete: some slice was not examined, so nothing may be concluded.
        """
        from include.clients.runs_bucket import removals_key
        from include.indexing.removal import RemovalLimits, remove

        found = read_found(self.runs_bucket, bucket, context)
        proposals = [one for report in found for one in report.removals]
        if not proposals:
            return None
        if len(found) < len(bucket.slices):
            lost = len(bucket.slices) - len(found)
            raise RunIncomplete(f"nothing is removed: {lost} of its slices were not examined")
        keys: list[str] = []
        report = remove(
            proposals,
            self.workplace(plan, bucket.bucket, self.journal(context, bucket.bucket, keys)),
            collections(plan.request.schema_generations),
            limits=RemovalLimits(plan.request.max_removals, plan.request.max_removal_share),
            examined=sum(report.examined for report in found),
            bucket_is_empty=bucket.is_empty,
            journals=keys,
        )
        key = removals_key(context["dag_run"].dag_id, plan.run_key, bucket.bucket)
        self.runs_bucket.write(key, report.model_dump(mode="json"))
        return report
