"""The removals of ``index_buckets``: decided on when all slices of a bucket have been examined."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.errors import AssetflowError, RunIncomplete, TransientError
from include.operators.indexing import Examined, IndexOperator, collections

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.indexing.report import Removal, RemovalReport, SliceReport
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
        examined = Examined(self.runs_bucket, plan, context)
        if not examined.is_planned:
            raise AirflowSkipException("nothing was planned")
        results: dict[str, Any] = {}
        problems: list[str] = []
        for bucket in plan.buckets.values():
            try:
                report = self.remove(plan, bucket, examined, context)
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

    def remove(
        self, plan: IndexPlan, bucket: BucketPlan, examined: Examined, context: Context
    ) -> RemovalReport | None:
        """Removals of one bucket; None when none are proposed.

        Raises:
            RunIncomplete: some slice was not examined, so nothing may be concluded.
        """
        from include.clients.runs_bucket import journal_key, removals_key
        from include.indexing.removal import RemovalLimits, remove
        from include.indexing.report import RemovalReport, examined_by_kind

        dag_id = context["dag_run"].dag_id
        key = removals_key(dag_id, plan.run_key, bucket.bucket)
        proposals: list[Removal] = []
        counted: list[SliceReport] = []
        for found in examined.reports(bucket):
            proposals += found.removals
            counted.append(found.model_copy(update={"lines": (), "removals": ()}))
        if not proposals:
            if self.runs_bucket.find(key) is not None:  # before the run was cleared there were some
                empty = RemovalReport(bucket=bucket.bucket, dry_run=plan.request.dry_run)
                self.runs_bucket.write(key, empty.model_dump(mode="json"))
            return None
        if len(counted) < len(bucket.slices):
            lost = len(bucket.slices) - len(counted)
            raise RunIncomplete(f"nothing is removed: {lost} of its slices were not examined")
        journal = f"removals-{bucket.bucket}"
        report = remove(
            proposals,
            self.workplace(plan, bucket.bucket, self.journal(context, journal, [])),
            collections(plan.request.schema_generations),
            limits=RemovalLimits(plan.request.max_removals, plan.request.max_removal_share),
            examined=examined_by_kind(counted),
            bucket_is_empty=bucket.is_empty,
        )
        # Also what earlier tries wrote down, and nothing of a bucket whose name begins like this.
        prefix = journal_key(dag_id, plan.run_key, journal).removesuffix(".json")
        journals = tuple(
            key
            for key in self.runs_bucket.list_keys(prefix)
            if re.fullmatch(r"-[0-9a-f]+\.json", key.removeprefix(prefix))
        )
        report = report.model_copy(update={"journals": journals, "planned_at": plan.started_at})
        self.runs_bucket.write(key, report.model_dump(mode="json"))
        return report
