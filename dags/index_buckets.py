"""Keep the metadata of assets the same in S3 and in DocDB, bucket by bucket.

Records that changed are written to the files of their assets; folders without a record get one; records
whose asset is gone are removed. Every hour the records of the last 14 days are compared, and all of them
once a week. Safe to re-run: a second run over what is in step writes nothing.

**Plan first:** with *Dry run* nothing is written. The tab *Index report* of a run shows each asset that was
not in step, with the reason, and how drift went over the last runs.

**If it is red:** the log of `report_run` ends with the assets, or buckets, that failed and why. An asset
that was not in step stays so and is looked at again by the next run: mend the cause and wait, or trigger the
DAG for it with *Only these assets*. *Would be removed, but … only … may be* means that the limits held back
removals: look at the plan before you raise them. What a run removed comes back with
`assetflow restore RUN`.
"""

from airflow.sdk import Param, dag

from include.defaults import DEFAULT_ARGS
from include.indexing.request import FIELDS
from include.operators.index_planning import PlanIndexRunOperator
from include.operators.index_removals import RemoveMissingOperator
from include.operators.index_report import ReportIndexRunOperator
from include.operators.index_slices import IndexSliceOperator
from include.schedules import schedule_of
from include.settings import settings


@dag(
    schedule=schedule_of("ASSETFLOW_INDEX_SCHEDULE", settings().index_schedule),
    catchup=False,
    max_active_runs=1,  # two runs over one bucket would wait for each other's claim
    default_args=DEFAULT_ARGS,
    params={name: Param(**field) for name, field in FIELDS.items()},
    tags=["indexing"],
    doc_md=__doc__,
)
def index_buckets() -> None:
    plan = PlanIndexRunOperator(task_id="plan_run")
    slices = IndexSliceOperator.partial(
        task_id="index_slice",
        map_index_template="{{ slice_name }}",
        max_active_tis_per_dagrun=8,  # more writers at once and DocDB only gets slower
    ).expand_kwargs(plan.output)
    # Also when slices failed: the other buckets' removals are decided on all the same.
    removals = RemoveMissingOperator(task_id="remove_missing", trigger_rule="all_done")
    report = ReportIndexRunOperator(task_id="report_run").as_teardown(on_failure_fail_dagrun=True)
    plan >> slices >> removals
    [plan, slices, removals] >> report


index_buckets()
