"""The verdict of a run: what was asked, what the stores hold, and what did not work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from include.errors import AssetflowError, RunIncomplete, VerificationFailed
from include.hooks.code_ocean import CodeOceanHook
from include.hooks.s3 import AssetStoreHook
from include.operators.base import PLAN_TASK_ID, run_identity
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.plan import RunPlan
    from include.assets.report import Report
    from include.clients.runs_bucket import RunsBucket

NO_REASON = "it was killed or stopped before it could say why; see its log"
NOT_REACHED = "not reached: a task before it failed"


class ReportRunOperator(BaseOperator):
    """
    Compare what was asked with what the stores hold, write the report, and clean up after a failure.

    A teardown: it runs however the run went, also when a person stopped it, and it is red whenever
    something failed, so that *Clear → only failed tasks* runs it again at the end of a resumed run.

    :returns: the report.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from include.notifiers.failures import find_plan

        plan = find_plan(context)
        if plan is None:
            raise RunIncomplete(f"nothing was done: {PLAN_TASK_ID} failed; its log says why")
        runs_bucket = AssetStoreHook().runs_bucket(settings().runs_bucket)
        report = self.report(plan, runs_bucket, context)
        if not plan.dry_run:
            self.keep(plan, report, runs_bucket)
        if report.failed:
            self.tell_of_silent_failures(plan, report, runs_bucket, context)
            self.remove_staging(plan)
        report.raise_if_incomplete()
        return report.model_dump(mode="json")

    def report(self, plan: RunPlan, runs_bucket: RunsBucket, context: Context) -> Report:
        """Every task instance's end, with the reasons that were kept and what the stores say."""
        from include.assets.report import Report
        from include.notifiers.failures import recorded_reason

        states = task_states(context, without=self.task_id)
        done: list[str] = []
        unchanged: list[str] = []
        skipped: list[str] = []
        failed: dict[str, str] = {}
        for name, state in states.items():
            if state == "success":
                (unchanged if self.is_unchanged(name, context) else done).append(name)
            elif state == "failed":
                failed[name] = recorded_reason(runs_bucket, plan, name) or NO_REASON
            elif state == "upstream_failed":
                failed[name] = NOT_REACHED
            else:
                skipped.append(name)
        for name, check in self.store_checks(plan, context).items():
            if name not in {*done, *unchanged}:
                continue
            try:
                check()
            except AssetflowError as error:
                failed[name] = str(error)
        return Report(
            subject=str(plan.location),
            done=tuple(name for name in done if name not in failed),
            unchanged=tuple(name for name in unchanged if name not in failed),
            skipped=tuple(skipped),
            failed=failed,
        )

    def is_unchanged(self, name: str, context: Context) -> bool:
        """Whether the task found everything as it should be and wrote nothing."""
        if name != "upload_data_to_s3":
            return False
        receipt = context["ti"].xcom_pull(task_ids=name) or {}
        return receipt.get("put") == 0

    def store_checks(self, plan: RunPlan, context: Context) -> Mapping[str, Callable[[], None]]:
        """Task → a look at what its store holds now; raises when that is not what the task said."""
        pulled = {
            name: context["ti"].xcom_pull(task_ids=name) or {}
            for name in ("upload_data_to_s3", "register_data_asset_to_codeocean")
        }
        asset_id: str | None = pulled["register_data_asset_to_codeocean"].get("asset_id")

        def receipt_is_there() -> None:
            AssetStoreHook().client.head(plan.bucket, pulled["upload_data_to_s3"]["receipt_key"])

        def asset_is_ready() -> None:
            state = CodeOceanHook().client.data_asset(str(asset_id)).state
            if state != "ready":
                raise VerificationFailed(f"Code Ocean shows data asset {asset_id} as {state}")

        def record_is_there() -> None:
            check_record(plan, asset_id)

        return {
            "upload_data_to_s3": receipt_is_there,
            "register_data_asset_to_codeocean": asset_is_ready,
            "update_docdb_record": record_is_there,
        }

    def keep(self, plan: RunPlan, report: Report, runs_bucket: RunsBucket) -> None:
        """Write the report into the runs bucket and give the asset back."""
        from include.acquisitions.claim import release
        from include.clients.runs_bucket import report_key

        runs_bucket.write(report_key(plan.dag_id, plan.run_key), report.model_dump(mode="json"))
        release(runs_bucket, plan.location, run_identity(plan))
        self.log.info(
            "%s: %d done, %d unchanged, %d skipped, %d failed",
            plan.location,
            len(report.done),
            len(report.unchanged),
            len(report.skipped),
            len(report.failed),
        )

    def tell_of_silent_failures(
        self, plan: RunPlan, report: Report, runs_bucket: RunsBucket, context: Context
    ) -> None:
        """Mail about tasks that were killed and so could not tell of their failure themselves."""
        from include.notifiers.failures import claim_mail, send

        silent = [name for name, reason in report.failed.items() if reason == NO_REASON]
        name = f"fail-{self.task_id}-try-{context['ti'].try_number}"
        if silent and claim_mail(runs_bucket, plan, name):
            reason = f"{', '.join(silent)}: {NO_REASON}"
            send("fail", plan.job, context, reason=reason, plan=plan)

    def remove_staging(self, plan: RunPlan) -> None:
        """Remove what a failed run prepared, unless it is kept for a resume."""
        from include.acquisitions.staging import remove

        task = plan.tasks["remove_staging_folder"]
        if task.skip or task.job_settings.get("keep_for_resume"):
            self.log.info("%s is kept: clear the failed tasks to go on", plan.staging_folder)
            return
        if not plan.dry_run and remove(plan.staging_folder, settings().staging_root, plan.run_key):
            self.log.info("Removed %s", plan.staging_folder)


def task_states(context: Context, *, without: str) -> dict[str, str | None]:
    """State of every task instance of the run but one; mapped ones as ``task_0``."""
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    return {name: state for name, state in sorted(states.items()) if name != without}


def check_record(plan: RunPlan, asset_id: str | None) -> None:
    """Make sure that DocDB has the asset's record, with its Code Ocean id.

    Raises:
        VerificationFailed: it has not.
    """
    from include.assets.core_files import Generation
    from include.assets.record import link_ids
    from include.operators.registration import docdb_hook

    for generation in (Generation.V2, Generation.V1):
        record = docdb_hook(generation).client.find_record(str(plan.location))
        if record is None:
            continue
        if asset_id is not None and asset_id not in link_ids(record):
            raise VerificationFailed(
                f"record {record['_id']} of {plan.location} has no link to data asset {asset_id}"
            )
        return
    raise VerificationFailed(f"DocDB has no record of {plan.location}")
