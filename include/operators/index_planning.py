"""The first task of ``index_buckets``: settle the settings, hold the buckets, share out the work."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.errors import AssetflowError, MalformedAnswer, RunIncomplete, TransientError
from include.hooks.docdb import docdb_hook
from include.hooks.parameter_store import ParameterStoreHook
from include.operators.base import is_active, is_last_try
from include.operators.index_history import read_history
from include.operators.indexing import IndexOperator, identity, is_claimed
from include.operators.runs import run_key
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.indexing.report import Slice
    from include.indexing.request import IndexRequest
    from include.indexing.run_plan import BucketPlan

MOST_SLICES = 1_000
"""Airflow maps no task over more than 1,024 items."""


class PlanIndexRunOperator(IndexOperator):
    """
    Settle the settings, take hold of each bucket, and share out its records and folders.

    A bucket that cannot be listed, or that another run indexes, is left out with its reason; the others go
    on. Each slice is an object in the runs bucket that says what it is about.

    :returns: one entry per slice, for the mapped task that examines them.
    """

    def execute(self, context: Context) -> list[dict[str, str]]:
        from include.clients.runs_bucket import plan_key
        from include.indexing.run_plan import IndexPlan

        request = self.request(context)
        dag_run = context["dag_run"]
        started_at = datetime.now(UTC)
        self.log.info("Settings of this run:\n%s", request.model_dump_json(indent=2))
        buckets = {
            bucket: self.plan_bucket(bucket, request, started_at, context)
            for bucket in request.s3_buckets
        }
        plan = IndexPlan(
            run_id=dag_run.run_id,
            run_key=run_key(context),
            started_at=started_at,
            request=request,
            buckets=buckets,
        )
        slices = list(plan.slices)
        self.log.info("%d slices in %d buckets", len(slices), len(buckets))
        if len(slices) > MOST_SLICES:
            raise RunIncomplete(
                f"{len(slices)} slices are more than the {MOST_SLICES} that one run can have; "
                "index fewer buckets in a run"
            )
        self.runs_bucket.write(plan_key(dag_run.dag_id, plan.run_key), plan.model_dump(mode="json"))
        return [{"slice_name": one.name} for one in slices]

    def request(self, context: Context) -> IndexRequest:
        """Defaults, under the preset, under what the caller chose."""
        from include.acquisitions.presets import load_dag_preset, merge_params
        from include.assets.run_settings import by_todays_names
        from include.indexing.request import (
            ALIASES,
            DAG_ID,
            FIELDS,
            NULLABLE,
            defaults,
            read_request,
        )

        params = by_todays_names(context["params"], ALIASES)
        preset = load_dag_preset(
            ParameterStoreHook().client,
            settings().preset_prefix.rstrip("/"),
            DAG_ID,
            str(params.get("preset") or "default"),
            known_params=list(FIELDS),
        )
        merged = merge_params(preset, params, defaults(), nullable=NULLABLE)
        return read_request(merged, usual_buckets=usual_buckets())

    def plan_bucket(
        self, bucket: str, request: IndexRequest, now: datetime, context: Context
    ) -> BucketPlan:
        """One bucket's slices, or why there are none."""
        from include.indexing.run_plan import BucketPlan

        try:
            return self._plan_bucket(bucket, request, now, context)
        except AssetflowError as error:
            if isinstance(error, TransientError) and not is_last_try(context):
                raise
            self.log.error("%s is not examined: %s", bucket, error)  # noqa: TRY400  its own words do
            return BucketPlan(
                bucket=bucket, problem=f"not examined: {type(error).__name__}: {error}"
            )

    def _plan_bucket(
        self, bucket: str, request: IndexRequest, now: datetime, context: Context
    ) -> BucketPlan:
        from include.assets.claim import IndexedBucket, acquire
        from include.indexing.run_plan import BucketPlan
        from include.indexing.slices import share_prefixes, share_records, since_when

        store = self.asset_store.client
        is_empty = next((False for names in store.iterate_folders(bucket) if names), True)
        if not request.dry_run:
            acquire(self.runs_bucket, IndexedBucket(bucket), identity(context), is_active)
        lookback_days = request.lookback_days
        if context["dag_run"].run_type == "scheduled" and self.is_full_pass_due(
            bucket, request, now
        ):
            lookback_days = None
        since = since_when(lookback_days, now)
        slices: list[Slice] = []
        if request.run_docdb_sync:
            for generation in request.schema_generations:
                shares = share_records(
                    bucket,
                    generation,
                    docdb_hook(generation).bulk,
                    since=since,
                    at_most=request.n_partitions,
                    only=request.assets,
                )
                slices += (self.keep_slice(one, about, now, context) for one, about in shares)
        if request.run_s3_sync:
            shares = share_prefixes(
                bucket, store, at_most=request.n_partitions, only=request.assets
            )
            slices += (self.keep_slice(one, about, now, context) for one, about in shares)
        return BucketPlan(
            bucket=bucket,
            full_pass=lookback_days is None and request.run_docdb_sync and not request.assets,
            since=since,
            is_empty=is_empty,
            busy=self.busy_assets(bucket),
            slices=tuple(slices),
        )

    def is_full_pass_due(self, bucket: str, request: IndexRequest, now: datetime) -> bool:
        """Whether it is time to examine every record; a history that cannot be read does not say so."""
        try:
            history = read_history(self.runs_bucket, bucket)
        except MalformedAnswer as error:
            self.log.error("%s: no full pass is made: %s", bucket, error)  # noqa: TRY400  its own words do
            return False
        return history.is_full_pass_due(request.full_pass_days, now, request.schema_generations)

    def keep_slice(self, one: Slice, about: list[str], now: datetime, context: Context) -> Slice:
        """Write down what a slice is about."""
        from include.clients.runs_bucket import slice_key

        key = slice_key(context["dag_run"].dag_id, run_key(context), one.name)
        self.runs_bucket.write(key, about)
        return one.model_copy(update={"planned_at": now})

    def busy_assets(self, bucket: str) -> frozenset[str]:
        """Names of the assets that an active run holds."""
        from include.assets.claim import claim_prefix
        from include.assets.location import AssetLocation

        prefix = claim_prefix(bucket)
        names = [
            key.removeprefix(prefix).removesuffix(".json")
            for key in self.runs_bucket.list_keys(prefix)
        ]
        return frozenset(
            name for name in names if is_claimed(self.runs_bucket, AssetLocation(bucket, name))
        )


def usual_buckets() -> list[str]:
    """The buckets of this deployment that hold assets."""
    return list(dict.fromkeys([settings().open_bucket, settings().private_bucket]))
