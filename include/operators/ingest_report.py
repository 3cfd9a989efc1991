"""The last task of ``ingest_postgres``: what the run found and did, and the verdict."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.errors import RunIncomplete
from include.operators.ingesting import IngestOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.catalog.report import DatasetReport
    from include.catalog.run_plan import IngestPlan

READERS = 16
"""Reports that are read at a time."""


class ReportIngestOperator(IngestOperator):
    """
    Put together what became of every dataset and deposition, and keep it.

    A teardown: it runs however the run went, and is red when anything failed.

    :returns: how many were asked for, done, unchanged and failed, and counts by table.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from include.catalog.run_report import as_table, ingest_report
        from include.clients.runs_bucket import report_key

        plan = self.ingest_plan(context)
        if plan is None:
            raise RunIncomplete("nothing was imported: plan_run failed; its log says why")
        reports = self.reports(plan, context)
        report = ingest_report(plan, reports, ended_at=datetime.now(UTC))
        key = report_key(context["dag_run"].dag_id, plan.run_key)
        self.runs_bucket.write(key, report.model_dump(mode="json"))
        self.log.info(
            "s3://%s, %s%d datasets and depositions: %d done, %d unchanged, %d failed\n%s",
            report.bucket, "dry run, " if report.dry_run else "",
            report.asked, report.done, report.unchanged, report.failed, as_table(report.tables),
        )  # fmt: skip
        report.raise_if_incomplete()
        return report.model_dump(
            mode="json", include={"asked", "done", "unchanged", "failed", "tables"}
        )

    def reports(self, plan: IngestPlan, context: Context) -> dict[str, DatasetReport | None]:
        """Address of everything that was to be imported → its report, None where there is none."""
        from include.catalog.report import DatasetReport
        from include.clients.runs_bucket import found_key

        def read(name: str) -> DatasetReport | None:
            key = found_key(context["dag_run"].dag_id, plan.run_key, name)
            content = self.runs_bucket.find(key)
            return None if content is None else DatasetReport.model_validate(content)

        subjects = plan.subjects
        with ThreadPoolExecutor(READERS) as pool:
            return dict(zip(subjects.values(), pool.map(read, subjects), strict=True))
