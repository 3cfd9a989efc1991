"""The first task of ``ingest_postgres``: settle the settings, look at the database, find the datasets."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from include.errors import InvalidInput, Problem
from include.hooks.parameter_store import ParameterStoreHook
from include.operators.ingesting import IngestOperator
from include.operators.runs import run_key
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.catalog.request import IngestRequest


class PlanIngestOperator(IngestOperator):
    """
    Settle the settings, make sure that the database is at this version, and find the datasets.

    A folder that cannot be looked into, and a dataset that was asked for and is not there, are in the
    report; the others are imported.

    :returns: one entry per dataset, or per share of very many, for the mapped task that imports them.
    """

    def execute(self, context: Context) -> list[dict[str, str]]:
        from include.catalog.discovery import find_datasets
        from include.catalog.run_plan import IngestPlan, discovery_problems, share_datasets
        from include.clients.runs_bucket import plan_key

        request = self.request(context)
        dag_run = context["dag_run"]
        started_at = datetime.now(UTC)
        self.log.info("Settings of this run:\n%s", request.model_dump_json(indent=2))
        if request.import_depositions and not request.deposition_ids:
            self.log.warning("import_depositions does nothing without deposition_ids")
        self.require_current_database()
        store, _ = self.asset_store.readers(anonymous=request.anonymous)
        find = partial(
            find_datasets,
            store,
            request.s3_bucket,
            prefix=request.s3_prefix,
            only=request.filter_datasets,
        )
        found = find(exclude=request.excluded)
        # Who leaves out all that was asked for misses nothing.
        asked = request.model_copy(update={"exclude_datasets": []}).excluded
        are_left_out = not found and asked != request.excluded and bool(find(exclude=asked))
        plan = IngestPlan(
            run_id=dag_run.run_id,
            run_key=run_key(context),
            started_at=started_at,
            request=request,
            slices=share_datasets([one.name for one in found if one.unknown is None]),
            problems=discovery_problems(request, found, are_left_out=are_left_out),
        )
        for problem in plan.problems:
            self.log.error("%s", problem)
        self.runs_bucket.write(plan_key(dag_run.dag_id, plan.run_key), plan.model_dump(mode="json"))
        self.log.info(
            "%d depositions, %d datasets in %d tasks",
            len(request.deposition_ids), len(plan.datasets), len(plan.slices),
        )  # fmt: skip
        return [{"slice_name": one.name} for one in plan.slices]

    def request(self, context: Context) -> IngestRequest:
        """Defaults, under the preset, under what the caller chose."""
        from include.acquisitions.presets import load_dag_preset, merge_params
        from include.assets.run_settings import by_todays_names
        from include.catalog.request import (
            ALIASES,
            DAG_ID,
            FIELDS,
            defaults,
            preset_that_counts,
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
        return read_request(
            merge_params(preset_that_counts(preset, params), params, defaults()),
            usual_bucket=settings().open_bucket,
            usual_https_prefix=settings().catalog_https_prefix,
        )

    def require_current_database(self) -> None:
        """Do nothing when the database is at the revision of this version.

        Raises:
            InvalidInput: it is not.
            ServiceUnavailable: it does not answer.
        """
        from include.catalog.migrate import is_current

        with self.connect() as connection:
            if is_current(connection):
                return
        name = self.database.postgres_conn_id
        reason = "the database is not at the revision of this version"
        raise InvalidInput([Problem(name, "", reason, "run `assetflow catalog migrate`")])
