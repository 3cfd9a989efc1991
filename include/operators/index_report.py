"""The last task of ``index_buckets``: what the run found and did, and the verdict."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.errors import MalformedAnswer, PreconditionFailed, RunIncomplete
from include.operators.index_history import read_history_with_etag
from include.operators.indexing import Examined, IndexOperator, identity
from include.operators.runs import run_key

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.indexing.report import BucketReport, RemovalReport, RunLines, RunReport
    from include.indexing.run_plan import BucketPlan, IndexPlan

HISTORY_ATTEMPTS = 5

REMOVAL_TASK_ID = "remove_missing"


class ReportIndexRunOperator(IndexOperator):
    """
    Put together what the slices found and what was removed, keep it, and give the buckets back.

    A teardown: it runs however the run went, and is red when anything failed.

    :returns: counts per bucket.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        plan = self.find_plan(context)
        examined = None if plan is None else Examined(self.runs_bucket, plan, context)
        if plan is None or examined is None or not examined.is_planned:
            raise RunIncomplete("nothing was examined: plan_run failed; its log says why")
        report = self.report(plan, examined, context)
        if not plan.request.dry_run:
            for name in plan.buckets:
                self.release(name, context)
        for bucket in report.buckets:
            self.log.info("%s: %s", bucket.bucket, bucket.model_dump_json(exclude={"bucket"}))
        report.raise_if_incomplete()
        return {
            bucket.bucket: bucket.model_dump(mode="json", exclude={"cases", "bucket"})
            for bucket in report.buckets
        }

    def report(self, plan: IndexPlan, examined: Examined, context: Context) -> RunReport:
        """The run's report, kept in the runs bucket; of a real run, each bucket's history goes on."""
        from include.clients.runs_bucket import report_key
        from include.indexing.report import RunLines, RunReport

        lines = RunLines()
        ended_at = datetime.now(UTC)
        buckets = []
        for bucket in plan.buckets.values():
            found = self.bucket_report(plan, bucket, examined, lines, context)
            buckets.append(found)
            if not plan.request.dry_run and (why := self.add_to_history(plan, found, ended_at)):
                lines.fail(f"s3://{bucket.bucket} (history)", why)
        if not lines.failed and examined.states.get(REMOVAL_TASK_ID) != "success":
            lines.fail(REMOVAL_TASK_ID, "it did not come to its end; its log says why")
        report = RunReport(
            run_id=plan.run_id,
            dry_run=plan.request.dry_run,
            started_at=plan.started_at,
            ended_at=ended_at,
            buckets=tuple(buckets),
            failed=lines.failed,
            failed_total=lines.failed_total,
            skipped=lines.skipped,
            lines=tuple(lines.kept),
            lines_total=lines.total,
        )
        key = report_key(context["dag_run"].dag_id, plan.run_key)
        self.runs_bucket.write(key, report.model_dump(mode="json"))
        return report

    def bucket_report(
        self,
        plan: IndexPlan,
        bucket: BucketPlan,
        examined: Examined,
        lines: RunLines,
        context: Context,
    ) -> BucketReport:
        """One bucket of the report; its lines, and why parts were not examined, go to *lines*."""
        from include.indexing.report import bucket_report

        report = bucket_report(
            bucket.bucket,
            examined.reports(bucket),
            self.removals(plan, bucket.bucket, context),
            full_pass=bucket.full_pass,
            each=lines.add,
        )
        lost = self.lost_slices(bucket, examined, context)
        if bucket.problem:
            lines.fail(f"s3://{bucket.bucket}", bucket.problem)
        for name, why in lost.items():
            lines.fail(f"s3://{bucket.bucket} ({name})", why)
        problem = bucket.problem or "; ".join(lost.values())
        return report.model_copy(update={"problem": problem})

    def lost_slices(
        self, bucket: BucketPlan, examined: Examined, context: Context
    ) -> dict[str, str]:
        """Slices without a report, and why; to be asked when all reports have been read."""
        from include.clients.runs_bucket import failure_key

        dag_id = context["dag_run"].dag_id
        lost = {}
        for one in bucket.slices:
            if one.name in examined.found:
                continue
            failure = self.runs_bucket.find(failure_key(dag_id, run_key(context), one.name))
            reason = failure["reason"] if failure else "it was killed or stopped; see its log"
            lost[one.name] = f"{one.size} {one.half} were not examined: {reason}"
        return lost

    def removals(self, plan: IndexPlan, bucket: str, context: Context) -> RemovalReport | None:
        """What became of the proposed removals of a bucket; None when that was not decided."""
        from include.clients.runs_bucket import removals_key
        from include.indexing.report import RemovalReport

        key = removals_key(context["dag_run"].dag_id, plan.run_key, bucket)
        content = self.runs_bucket.find(key)
        report = None if content is None else RemovalReport.model_validate(content)
        return report if report is not None and report.planned_at == plan.started_at else None

    def add_to_history(self, plan: IndexPlan, report: BucketReport, ended_at: datetime) -> str:
        """Another row of the bucket's history; why there is none, or ``""``."""
        from include.clients.runs_bucket import history_key
        from include.indexing.history import history_row
        from include.indexing.request import DAG_ID

        key = history_key(DAG_ID, report.bucket)
        for _ in range(HISTORY_ATTEMPTS):
            try:
                history, condition = read_history_with_etag(self.runs_bucket, report.bucket)
            except MalformedAnswer as error:
                return str(error)
            since = plan.buckets[report.bucket].since
            left_before = history.left_before(
                since,
                generations=plan.request.schema_generations if plan.request.run_docdb_sync else (),
                run_key=plan.run_key,
            )
            row = history_row(
                report,
                run_id=plan.run_id,
                run_key=plan.run_key,
                started_at=plan.started_at,
                ended_at=ended_at,
                is_whole=not plan.request.assets,
                generations=plan.request.schema_generations,
                left_before=left_before,
            )
            try:
                content = history.with_row(row).model_dump(mode="json")
                self.runs_bucket.write(key, content, **condition)
            except PreconditionFailed:
                continue  # another run's row came between
            return ""
        return f"{key} keeps changing"

    def release(self, bucket: str, context: Context) -> None:
        """Let the next run have the bucket."""
        from include.assets.claim import IndexedBucket, release

        release(self.runs_bucket, IndexedBucket(bucket), identity(context))
