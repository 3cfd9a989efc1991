"""The mapped task of ``ingest_postgres``: import one dataset, or a share of very many."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from include.operators.ingesting import IngestOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ImportDatasetOperator(IngestOperator):
    """
    Make the rows of a dataset what its folder in S3 says.

    Red when any part of it failed; what could be imported is.

    :param slice_name: which entry of the plan.
    :returns: counts by table.
    """

    def __init__(self, *, slice_name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slice_name = slice_name

    def execute(self, context: Context) -> dict[str, Any]:
        from include.catalog.discovery import DatasetFolder
        from include.catalog.run_plan import dataset_report_name

        cast("dict[str, Any]", context)["slice_name"] = self.slice_name
        plan = self.required_plan(context)
        one = next(found for found in plan.slices if found.name == self.slice_name)
        importer = self.importer(plan, context)
        imports = {
            dataset_report_name(name): partial(importer.import_dataset, DatasetFolder(name))
            for name in one.datasets
        }
        return self.import_each(one.name, imports, plan, context)
