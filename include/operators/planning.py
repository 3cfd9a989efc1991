"""The task before the named ones: settle every setting of the run and take hold of the asset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from include.hooks.parameter_store import ParameterStoreHook
from include.hooks.s3 import AssetStoreHook
from include.operators.base import is_active, run_identity
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.plan import Deployment, RunPlan


class PlanRunOperator(BaseOperator):
    """
    Turn the run's conf, the presets and the deployment's settings into one plan.

    A conf that cannot be used fails here, with all its problems and before anything is written. Unless
    it is a dry run, the asset is claimed: a second run of the same asset fails here too.

    :returns: the plan as JSON; every later task reads it and nothing else.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from include.acquisitions.plan_checks import check_plan
        from include.assets.claim import acquire
        from include.clients.runs_bucket import plan_key

        plan = self.resolve(context)
        plan = plan.model_copy(update={"warnings": (*plan.warnings, *check_plan(plan))})
        for warning in plan.warnings:
            self.log.warning("%s: %s", plan.location, warning)
        shown = plan.shown(is_public=False)
        self.log.info("Plan of %s:\n%s", plan.location, json.dumps(shown, indent=2))
        if not plan.dry_run:
            runs_bucket = AssetStoreHook().runs_bucket(settings().runs_bucket)
            acquire(runs_bucket, plan.location, run_identity(plan), is_active)
            runs_bucket.write(plan_key(plan.dag_id, plan.run_key), shown)
        return plan.model_dump(mode="json", exclude_none=True)

    def resolve(self, context: Context) -> RunPlan:
        """Conf, presets and deployment, merged."""
        from include.acquisitions.plan import resolve_plan
        from include.acquisitions.trigger_form import job_from_params

        job, dry_run = job_from_params(context["params"])
        return resolve_plan(
            job,
            presets=ParameterStoreHook().client,
            deployment=this_deployment(),
            dag_id=context["dag_run"].dag_id,
            run_id=context["dag_run"].run_id,
            dry_run=dry_run,
        )


def this_deployment() -> Deployment:
    """What a plan needs to know of the settings."""
    from include.acquisitions.plan import Deployment

    buckets = {"open": settings().open_bucket, "private": settings().private_bucket}
    return Deployment(
        buckets={**buckets, "default": buckets[settings().default_bucket]},
        staging_root=settings().staging_root,
        preset_prefix=settings().preset_prefix,
    )
