"""Registers the check of a run's conf with the API server; nothing else.

Airflow imports this file in every component, so what it needs is imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin


def check_transform_and_upload(conf: Mapping[str, Any]) -> None:
    """Raise ``InvalidInput`` with every problem of a ``transform_and_upload_v2`` conf."""
    from include.acquisitions.trigger_form import FIELDS, job_from_params

    defaults = {name: field.get("default") for name, field in FIELDS.items()}
    job_from_params({**defaults, **conf})


def trigger_check(app: Any) -> Any:
    """Wrap the API server's app."""
    from include.portal.trigger_check import TriggerCheck

    return TriggerCheck(app, {"transform_and_upload_v2": check_transform_and_upload})


class TriggerCheckPlugin(AirflowPlugin):
    """A bad conf is refused with all its problems when the run is asked for."""

    name = "trigger_check"
    fastapi_root_middlewares = [{"name": "Trigger check", "middleware": trigger_check}]  # noqa: RUF012
