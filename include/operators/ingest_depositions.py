"""The depositions of ``ingest_postgres`` that were asked for, before the datasets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.operators.ingesting import IngestOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ImportDepositionsOperator(IngestOperator):
    """
    Import each deposition that was asked for, whether it has a row or not.

    Skipped when none was. One that fails stops neither the others nor the datasets.

    :returns: counts by table.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from include.catalog.run_plan import deposition_report_name

        plan = self.required_plan(context)
        numbers = plan.request.deposition_ids
        if not numbers:
            raise AirflowSkipException("no depositions were asked for")
        importer = self.importer(plan, context)
        imports = {
            deposition_report_name(one): partial(importer.import_depositions, [one])
            for one in numbers
        }
        return self.import_each(f"{len(numbers)} depositions", imports, plan, context)
