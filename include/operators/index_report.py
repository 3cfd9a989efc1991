"""The last task of ``index_buckets``: what the run found and did, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.errors import PreconditionFailed, RunIncomplete
from include.operators.index_history import read_history_with_etag
from include.operators.indexing import IndexOperator, identity, read_found
from include.operators.runs import run_key

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.indexing.report import BucketReport, Line, RemovalReport, RunReport, SliceReport
    from include.indexing.run_plan import BucketPlan, IndexPlan

LINES_IN_REPORT = 2_000
"""Of the run's report; each slice's own report has all of its lines."""

FAILURES_IN_REPORT = 10_000

HISTORY_ATTEMPTS = 5


class ReportIndexRunOperator(IndexOperator):
    """
    Put together what the slices found and what was removed, keep it, and give the buckets back.

    A teardown: it runs however the run went, and is red when anything failed.

    :returns: counts per bucket.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        plan = self.find_plan(context)
        if plan is None:
            raise RunIncomplete("nothing was examined: plan_run failed; its log says why")
        report, rows = self.report(plan, context)
        if not plan.request.dry_run:
            for bucket in rows:
                self.add_to_history(plan, bucket, report.ended_at)
            for name in plan.buckets:
                self.release(name, context)
        for bucket in report.buckets:
            self.log.info("%s: %s", bucket.bucket, bucket.model_dump_json(exclude={"bucket"}))
        report.raise_if_incomplete()
        return {
            bucket.bucket: bucket.model_dump(mode="json", exclude={"cases", "bucket"})
            for bucket in report.buckets
        }

    def report(self, plan: IndexPlan, context: Context) -> tuple[RunReport, list[BucketReport]]:
        """The run's report, kept in the runs bucket."""
        from include.clients.runs_bucket import report_key
        from include.indexing.report import RunReport, bucket_report, count_reasons, failures

        buckets: list[BucketReport] = []
        failed: dict[str, str] = {}
        lines: list[Line] = []
        for bucket in plan.buckets.values():
            found = read_found(self.runs_bucket, bucket, context)
            lost = self.lost_slices(bucket, found, context)
            problem = bucket.problem or "; ".join(lost.values())
            if bucket.problem:
                failed[f"s3://{bucket.bucket}"] = bucket.problem
            failed |= {f"s3://{bucket.bucket} ({name})": why for name, why in lost.items()}
            summary, own = bucket_report(
                bucket.bucket,
                found,
                self.removals(plan, bucket.bucket, context),
                full_pass=bucket.full_pass,
                problem=problem,
            )
            buckets.append(summary)
            lines += own
            failed |= dict(failures(own))
        report = RunReport(
            run_id=plan.run_id,
            dry_run=plan.request.dry_run,
            started_at=plan.started_at,
            ended_at=datetime.now(UTC),
            buckets=tuple(buckets),
            failed=dict(list(failed.items())[:FAILURES_IN_REPORT]),
            skipped=dict(count_reasons(lines)),
            lines=tuple(lines[:LINES_IN_REPORT]),
            lines_total=len(lines),
        )
        key = report_key(context["dag_run"].dag_id, plan.run_key)
        self.runs_bucket.write(key, report.model_dump(mode="json"))
        return report, buckets

    def lost_slices(
        self, bucket: BucketPlan, found: Sequence[SliceReport], context: Context
    ) -> dict[str, str]:
        """Slices without a report, and why."""
        from include.clients.runs_bucket import failure_key

        examined = {report.slice.name for report in found}
        dag_id = context["dag_run"].dag_id
        lost = {}
        for one in bucket.slices:
            if one.name in examined:
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
        return None if content is None else RemovalReport.model_validate(content)

    def add_to_history(self, plan: IndexPlan, report: BucketReport, ended_at: datetime) -> None:
        """Another row of the bucket's history."""
        from include.clients.runs_bucket import history_key
        from include.indexing.history import history_row
        from include.indexing.request import DAG_ID

        row = history_row(
            report,
            run_id=plan.run_id,
            run_key=plan.run_key,
            started_at=plan.started_at,
            ended_at=ended_at,
            is_whole=not plan.request.assets,
        )
        key = history_key(DAG_ID, report.bucket)
        for _ in range(HISTORY_ATTEMPTS):
            history, condition = read_history_with_etag(self.runs_bucket, report.bucket)
            try:
                content = history.with_row(row).model_dump(mode="json")
                self.runs_bucket.write(key, content, **condition)
            except PreconditionFailed:
                continue  # another run's row came between
            return
        self.log.warning("%s: the history of %s keeps changing", key, report.bucket)

    def release(self, bucket: str, context: Context) -> None:
        """Let the next run have the bucket."""
        from include.assets.claim import IndexedBucket, release

        release(self.runs_bucket, IndexedBucket(bucket), identity(context))
