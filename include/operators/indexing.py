"""What the tasks of ``index_buckets`` have in common: the run's plan, its stores, its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from include.hooks.docdb import docdb_hook
from include.operators.base import PLAN_TASK_ID, is_active
from include.operators.runs import RunOperator, task_states
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.assets.claim import RunIdentity
    from include.assets.core_files import Generation
    from include.assets.location import AssetLocation
    from include.clients.docdb_bulk import DocDbBulk
    from include.clients.runs_bucket import RunsBucket
    from include.indexing.report import SliceReport
    from include.indexing.run_plan import BucketPlan, IndexPlan
    from include.indexing.workplace import Workplace


SLICE_TASK_ID = "index_slice"


class IndexOperator(RunOperator):
    """What the tasks of an index run have in common: its plan, and buckets to work on."""

    def find_plan(self, context: Context) -> IndexPlan | None:
        """The plan of this run, or None when it has none."""
        from include.indexing.run_plan import IndexPlan

        content = self.plan_content(context)
        return None if content is None else IndexPlan.model_validate_json(content)

    def workplace(self, plan: IndexPlan, bucket: str, journal: Callable[[Any], Any]) -> Workplace:
        """One bucket, as a task works on it."""
        from include.indexing.workplace import Workplace

        return Workplace(
            bucket=bucket,
            store=self.asset_store.client,
            lister=self.asset_store.folders(bucket),
            journal=journal,
            copy_folder=plan.request.copy_original_md_subdir,
            threads=settings().index_workers,
            dry_run=plan.request.dry_run,
            busy=plan.buckets[bucket].busy,
        )


def identity(context: Context) -> RunIdentity:
    """Who this run is, for claims."""
    from include.assets.claim import RunIdentity

    dag_run = context["dag_run"]
    return RunIdentity(dag_id=dag_run.dag_id, run_id=dag_run.run_id)


def collections(first: Sequence[Generation]) -> dict[Generation, DocDbBulk]:
    """The collections of every schema generation, those of *first* before the others."""
    from include.assets.core_files import Generation

    return {one: docdb_hook(one).bulk for one in dict.fromkeys([*first, *Generation])}


def is_claimed(runs_bucket: RunsBucket, location: AssetLocation) -> bool:
    """Whether an active run holds the asset."""
    from include.assets.claim import holder_of

    holder = holder_of(runs_bucket, location)
    return holder is not None and is_active(holder.dag_id, holder.run_id)


class Examined:
    """What the slices of a run found, as far as Airflow says that they were examined.

    A report alone is no proof: a run that is cleared may leave those of its earlier slices behind.
    """

    def __init__(self, runs_bucket: RunsBucket, plan: IndexPlan, context: Context) -> None:
        self._runs_bucket = runs_bucket
        self._dag_id = context["dag_run"].dag_id
        self._plan = plan
        self.states = task_states(context)
        self.found: set[str] = set()
        """Names of the slices whose report was given so far."""

        self._done = {
            one.name
            for number, one in enumerate(plan.slices)
            if self.states.get(f"{SLICE_TASK_ID}_{number}") == "success"
        }

    @property
    def is_planned(self) -> bool:
        """Whether the plan is the one of this execution of the run."""
        return self.states.get(PLAN_TASK_ID) == "success"

    def reports(self, bucket: BucketPlan) -> Iterator[SliceReport]:
        """Reports of those slices of a bucket that were examined, one in memory at a time."""
        from include.clients.runs_bucket import found_key
        from include.indexing.report import SliceReport

        for one in bucket.slices:
            if one.name not in self._done:
                continue
            key = found_key(self._dag_id, self._plan.run_key, one.name)
            content = self._runs_bucket.find(key)
            report = None if content is None else SliceReport.model_validate(content)
            if report is not None and report.slice == one:
                self.found.add(one.name)
                yield report
