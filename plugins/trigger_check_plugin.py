"""Registers the check of a run's conf with the API server; nothing else.

Airflow imports this file in every component, so what it needs is imported on first use.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


def trigger_check(app: Any) -> Any:
    """Wrap the API server's app."""
    from include.catalog.request import DAG_ID as INGEST_POSTGRES
    from include.indexing.request import DAG_ID as INDEX_BUCKETS
    from include.operators.planning import this_deployment
    from include.portal.conf_check import (
        DAG_ID,
        IndexBucketsCheck,
        IngestPostgresCheck,
        TransformAndUploadCheck,
        open_parameter_store,
    )
    from include.portal.permission import may_start
    from include.portal.trigger_check import ConfCheck, TriggerCheck

    deployment = this_deployment()
    checks: dict[str, ConfCheck] = {
        DAG_ID: TransformAndUploadCheck(open_parameter_store, deployment),
        INDEX_BUCKETS: IndexBucketsCheck(open_parameter_store, deployment.preset_prefix),
        INGEST_POSTGRES: IngestPostgresCheck(open_parameter_store, deployment.preset_prefix),
    }
    return TriggerCheck(app, checks, may_start)


class TriggerCheckPlugin(AirflowPlugin):
    """A bad conf is refused with all its problems when the run is asked for."""

    name = "trigger_check"
    fastapi_root_middlewares = [{"name": "Trigger check", "middleware": trigger_check}]  # noqa: RUF012
