"""What the tasks of ``ingest_postgres`` have in common: the plan, the importer, reports of single imports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from include.errors import AssetflowError, InvalidInput, NotFound, PermanentError, Problem
from include.hooks.postgres import CatalogDatabaseHook
from include.operators.base import is_last_try
from include.operators.runs import RunOperator

if TYPE_CHECKING:
    import psycopg
    from airflow.sdk import Context

    from include.catalog.imports import Importer
    from include.catalog.report import DatasetReport
    from include.catalog.run_plan import IngestPlan


class IngestOperator(RunOperator):
    """What the tasks of an import have in common: its plan, the database, the importer."""

    @cached_property
    def database(self) -> CatalogDatabaseHook:
        """The catalog."""
        return CatalogDatabaseHook()

    def ingest_plan(self, context: Context) -> IngestPlan | None:
        """The plan of this run, or None when it has none."""
        from include.catalog.run_plan import IngestPlan

        content = self.plan_content(context)
        return None if content is None else IngestPlan.model_validate_json(content)

    def required_plan(self, context: Context) -> IngestPlan:
        """The plan of this run.

        Raises:
            NotFound: it is gone.
        """
        plan = self.ingest_plan(context)
        if plan is None:
            raise NotFound(f"the plan of this run is gone from {self.runs_bucket.bucket}")
        return plan

    def connect(self) -> psycopg.Connection[Any]:
        """A connection in autocommit mode, in UTC.

        Raises:
            InvalidInput: Airflow knows no such connection.
            ServiceUnavailable: the database does not answer.
        """
        from airflow.sdk.exceptions import AirflowNotFoundException

        try:
            connection = self.database.connect()
        except AirflowNotFoundException as error:
            name = self.database.postgres_conn_id
            fix = f"make it, or set AIRFLOW_CONN_{name.upper()}"
            raise InvalidInput([Problem(name, "", "there is no such connection", fix)]) from error
        connection.autocommit = True
        return connection

    def importer(self, plan: IngestPlan, context: Context) -> Importer:
        """Imports as this run was asked to."""
        from include.catalog.imports import DeletionLimits, Importer

        request = plan.request
        store, reader = self.asset_store.readers(anonymous=request.anonymous)

        def keep(subject: str, rows: dict[str, list[dict[str, Any]]]) -> str:
            keys: list[str] = []
            name = subject.partition("://")[2].strip("/").replace("/", "-")
            self.journal(context, name, keys)({"subject": subject, "rows": rows})
            return keys[0]

        return Importer(
            bucket=request.s3_bucket,
            store=store,
            reader=reader,
            connect=self.connect,
            journal=keep,
            flags=request.parts,
            https_prefix=request.https_prefix,
            limits=DeletionLimits(request.max_deleted_rows, request.max_deleted_share),
            dry_run=request.dry_run,
        )

    def import_each(
        self,
        what: str,
        imports: Mapping[str, Callable[[], DatasetReport]],
        plan: IngestPlan,
        context: Context,
    ) -> dict[str, Any]:
        """Carry out imports one after another; one that fails stops no other.

        The report of each lies in the runs bucket afterwards, with what earlier tries did; before that, it
        says there that the import did not end.

        Args:
            what: is imported, for the message when some of it fails.
            imports: by the name of their report.

        Returns:
            Counts by table.

        Raises:
            Exception: what ended an import and may pass, when this is not the last try.
            ServiceUnavailable: what is incomplete may be complete at another try, and there is one.
            RunIncomplete: some are incomplete.
        """
        from include.catalog.report import DatasetReport, raise_if_incomplete, total
        from include.catalog.run_report import as_table
        from include.clients.runs_bucket import found_key

        subjects = plan.subjects
        reports: list[DatasetReport] = []
        passing: Exception | None = None
        for name, import_one in imports.items():
            key = found_key(context["dag_run"].dag_id, plan.run_key, name)
            blank = DatasetReport(
                subject=subjects[name],
                dry_run=plan.request.dry_run,
                clear_number=context["dag_run"].clear_number or 0,
            )
            earlier = self.earlier_report(key, blank)
            # What an earlier try found must not be taken for what this one finds.
            killed = (
                f"{blank.subject}: was not imported: its task was killed or stopped; see its log"
            )
            begun = earlier.model_copy(update={"problems": (killed,)})
            self.runs_bucket.write(key, begun.model_dump(mode="json"))
            report, error = self.import_one(blank, import_one)
            if error is not None and not isinstance(error, PermanentError):
                passing = passing or error
            report = report.after(earlier)
            self.runs_bucket.write(key, report.model_dump(mode="json"))
            reports.append(report)
        tables = total(reports)
        self.log.info("%s:\n%s", what, as_table(tables))
        is_tried_again = not is_last_try(context)
        if passing is not None and is_tried_again:
            raise passing
        raise_if_incomplete(
            what,
            [failure for report in reports for failure in report.failures],
            may_pass=is_tried_again and any(report.may_pass for report in reports),
        )
        return {name: counts.model_dump() for name, counts in tables.items()}

    def earlier_report(self, key: str, blank: DatasetReport) -> DatasetReport:
        """What earlier tries of this execution did, over a blank report; a cleared run starts anew.

        A dry run does nothing, however often it is tried.
        """
        from include.catalog.report import DatasetReport

        content = None if blank.dry_run else self.runs_bucket.find(key)
        if content is None:
            return blank
        earlier = DatasetReport.model_validate(content)
        return blank.after(earlier) if earlier.clear_number == blank.clear_number else blank

    def import_one(
        self, blank: DatasetReport, import_one: Callable[[], DatasetReport]
    ) -> tuple[DatasetReport, Exception | None]:
        """The report of one import, and what ended it.

        Args:
            blank: report of nothing.
        """
        subject = blank.subject
        try:
            report = import_one()
            update = {"subject": subject, "clear_number": blank.clear_number}
            return report.model_copy(update=update), None
        except AssetflowError as error:
            self.log.error("%s: %s", subject, error)  # noqa: TRY400  its own words do
            ended_by: Exception = error
        except Exception as error:  # the others of this task are imported all the same
            self.log.exception("%s was not imported", subject)
            ended_by = error
        reason = f"{subject}: was not imported: {type(ended_by).__name__}: {ended_by}"
        found_before = getattr(ended_by, "__notes__", ())
        return blank.model_copy(update={"problems": (reason, *found_before)}), ended_by
