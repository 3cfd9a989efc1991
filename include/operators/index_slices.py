"""The mapped task of ``index_buckets``: examine one slice of a bucket."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from include.errors import NotFound
from include.hooks.docdb import docdb_hook
from include.operators.indexing import IndexOperator, collections, is_claimed
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.assets.location import AssetLocation
    from include.indexing.new_assets import StatusCheck
    from include.indexing.report import Slice, SliceReport
    from include.indexing.run_plan import IndexPlan

logger = logging.getLogger(__name__)


class IndexSliceOperator(IndexOperator):
    """
    Examine one slice, of records or of folders, and bring its assets in step.

    What it finds lies in the runs bucket afterwards, one line per asset that was not simply in step. An asset
    that fails fails alone; the task fails when a store as a whole does not answer.

    :param slice_name: which slice of the plan.
    :returns: how many assets were examined, and how many were in step.
    """

    def __init__(self, *, slice_name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slice_name = slice_name

    def execute(self, context: Context) -> dict[str, Any]:
        from include.clients.runs_bucket import failure_key, found_key, slice_key
        from include.indexing.report import Half

        cast("dict[str, Any]", context)["slice_name"] = self.slice_name
        plan = self.find_plan(context)
        if plan is None:
            raise NotFound(f"the plan of this run is gone from {self.runs_bucket.bucket}")
        one = next(found for found in plan.slices if found.name == self.slice_name)
        dag_id, key = context["dag_run"].dag_id, plan.run_key
        about = self.runs_bucket.read(slice_key(dag_id, key, one.name))
        try:
            if one.half is Half.RECORDS:
                report = self.sync_records(plan, one, about, context)
            else:
                report = self.sync_prefixes(plan, one, about, context)
        except Exception as error:
            # A task cannot read another's exception; the report tells it.
            reason = {"reason": f"{type(error).__name__}: {error}"}
            self.runs_bucket.write(failure_key(dag_id, key, one.name), reason)
            raise
        self.runs_bucket.write(found_key(dag_id, key, one.name), report.model_dump(mode="json"))
        return {
            "slice": one.name,
            "examined": report.examined,
            "in_step": report.unchanged,
            "counts": report.counts,
        }

    def sync_records(
        self, plan: IndexPlan, one: Slice, about: Sequence[str], context: Context
    ) -> SliceReport:
        """DocDB → S3."""
        from include.assets.core_files import Generation
        from include.indexing.records import RecordSync

        generation = one.generation or Generation.V1
        elder = docdb_hook(Generation.V1).bulk if generation is Generation.V2 else None
        at = self.workplace(plan, one.bucket, self.journal(context, one.name, []))
        return RecordSync(at, generation, docdb_hook(generation).bulk, elder=elder).run(one, about)

    def sync_prefixes(
        self, plan: IndexPlan, one: Slice, about: Sequence[str], context: Context
    ) -> SliceReport:
        """S3 → DocDB."""
        from include.indexing.prefixes import PrefixSync

        with status_check() as status_of:
            return PrefixSync(
                self.workplace(plan, one.bucket, self.journal(context, one.name, [])),
                collections(plan.request.schema_generations),
                generations=plan.request.schema_generations,
                insert_built=plan.request.insert_built_records,
                is_busy=lambda location: is_claimed(self.runs_bucket, location),
                status_of=status_of,
            ).run(one, about)


@contextmanager
def status_check() -> Iterator[StatusCheck | None]:
    """Validates core files of generation 1 while it lasts; None where its environment is not built."""
    from include.clients.metadata_status_v1 import AssetToCheck, StatusCheckerV1
    from include.indexing.prefixes import forgiving_status
    from include.transformations.environment_paths import FOLDER
    from include.transformations.environments import find_environment

    try:
        python = find_environment("metadata-status-v1", settings().environments_root)
    except NotFound as error:
        logger.warning("Records of generation 1 get no status: %s", error)
        yield None
        return
    with StatusCheckerV1(python, FOLDER.parents[1]) as checker:

        def status_of(location: AssetLocation, contents: Mapping[str, Any]) -> str:
            asset = AssetToCheck(location.name, str(location), contents)
            return checker.check([asset])[0].status

        yield forgiving_status(status_of)
