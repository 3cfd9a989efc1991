"""What the tasks of ``index_buckets`` have in common: the run's plan, its stores, its journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from include.hooks.docdb import docdb_hook
from include.operators.base import is_active
from include.operators.runs import RunOperator, run_key
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


def read_found(runs_bucket: RunsBucket, bucket: BucketPlan, context: Context) -> list[SliceReport]:
    """Reports of those slices of a bucket that were examined."""
    from include.clients.runs_bucket import found_key
    from include.indexing.report import SliceReport

    dag_id, key = context["dag_run"].dag_id, run_key(context)
    contents = (runs_bucket.find(found_key(dag_id, key, one.name)) for one in bucket.slices)
    return [SliceReport.model_validate(content) for content in contents if content is not None]
