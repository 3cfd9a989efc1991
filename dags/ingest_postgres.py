"""Import the metadata of the portal's bucket into its PostgreSQL database.

The bucket is the truth: rows are created, updated and deleted until the database says what the documents in
the bucket say. Rows that are found again keep their ids. Trigger it when data has changed, or let it run by
the schedule in `ASSETFLOW_INGEST_SCHEDULE`. Safe to re-run: a second run over what is in step writes nothing.

**Plan first:** with *Dry run* everything is read and compared, and the log of `report_run` shows per table
what would be created, updated and deleted.

**If it is red:** the log of `report_run` ends with everything that failed, with bucket, key, field and
reason. What could be imported is; rows below a document that cannot be read are kept. Mend the document and
trigger the DAG for it with *Only these datasets*, or clear its instance of `import_dataset`. *Rows would be
deleted, of … only … may be* means that the limits held back deletions: look at a dry run before you raise
them. *Run `assetflow catalog migrate`* means that the database has an older schema than this version.
"""

from airflow.sdk import Param, dag

from include.catalog.request import FIELDS
from include.defaults import DEFAULT_ARGS
from include.operators.ingest_datasets import ImportDatasetOperator
from include.operators.ingest_depositions import ImportDepositionsOperator
from include.operators.ingest_planning import PlanIngestOperator
from include.operators.ingest_report import ReportIngestOperator
from include.schedules import schedule_of
from include.settings import settings


@dag(
    schedule=schedule_of("ASSETFLOW_INGEST_SCHEDULE", settings().ingest_schedule),
    catchup=False,
    max_active_runs=4,  # two imports of one dataset come one after the other: each holds its lock
    default_args=DEFAULT_ARGS,
    params={name: Param(**field) for name, field in FIELDS.items()},
    tags=["catalog"],
    doc_md=__doc__,
)
def ingest_postgres() -> None:
    plan = PlanIngestOperator(task_id="plan_run")
    depositions = ImportDepositionsOperator(task_id="import_depositions")
    datasets = ImportDatasetOperator.partial(
        task_id="import_dataset",
        map_index_template="{{ slice_name }}",
        max_active_tis_per_dagrun=4,  # each keeps the database busy by itself
        trigger_rule="all_done",  # also without depositions, and when some of them failed
    ).expand_kwargs(plan.output)
    report = ReportIngestOperator(task_id="report_run").as_teardown(on_failure_fail_dagrun=True)
    plan >> depositions >> datasets
    [plan, depositions, datasets] >> report


ingest_postgres()
