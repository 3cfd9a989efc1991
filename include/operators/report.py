"""The verdict of a run: what was asked, what the stores hold, and what did not work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from include.errors import (
    AssetflowError,
    CommandInterrupted,
    RunIncomplete,
    TransientError,
    VerificationFailed,
)
from include.hooks.code_ocean import CodeOceanHook
from include.hooks.s3 import AssetStoreHook
from include.operators.base import PLAN_TASK_ID, is_last_try, run_identity
from include.operators.runs import task_states as all_states
from include.operators.waiting import wait_here
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.plan import RunPlan
    from include.assets.report import Report
    from include.clients.runs_bucket import RunsBucket

NO_REASON = "it was killed or stopped before it could say why; see its log"
SEE_LOG = "see its log; a dry run keeps no reasons"
NOT_REACHED = "not reached: a task before it failed"
STOPPED_BEFORE = "not reached: the run was stopped before"

MAY_SKIP_ITSELF = frozenset({
    "send_job_start_email",  # nobody asked for it
    "copy_derivatives_folder",  # there is none
    "compress_data",  # mapped over nothing
    "run_codeocean_pipeline",  # the same
    "send_job_end_email",
})

COMMANDS_END_WITHIN_S = 30.0
"""A task's process learns after a second that it was stopped; its command has ten more to end."""


class ReportRunOperator(BaseOperator):
    """
    Compare what was asked with what the stores hold, write the report, and clean up after a failure.

    A teardown: it runs however the run went, also when a person stopped it, and it is red whenever
    something failed, so that *Clear → only failed tasks* runs it again at the end of a resumed run.
    A store that does not answer is asked again by the next try; at the last one that is a failure.

    :returns: the report.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from include.notifiers.failures import find_plan

        plan = find_plan(context)
        if plan is None:
            raise RunIncomplete(f"nothing was done: {PLAN_TASK_ID} failed; its log says why")
        try:
            report = self.conclude(plan, context)
        except AssetflowError:
            # The stores do not answer, which may be why the run failed: the folder goes all the same.
            states = task_states(context, without=self.task_id)
            if is_last_try(context) and not {"failed", "upstream_failed"}.isdisjoint(
                states.values()
            ):
                self.remove_staging(plan)
            raise
        if report.failed:
            self.remove_staging(plan)
        report.raise_if_incomplete()
        return report.model_dump(mode="json")

    def conclude(self, plan: RunPlan, context: Context) -> Report:
        """Make the report, keep it, and do what it asks for outside of this machine."""
        runs_bucket = AssetStoreHook().runs_bucket(settings().runs_bucket)
        report = self.report(plan, runs_bucket, context)
        if not plan.dry_run:
            self.keep(plan, report, runs_bucket)
        if report.failed:
            self.stop_left_computations(report, context)
            self.tell_of_silent_failures(plan, report, runs_bucket, context)
        return report

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
                failed[name] = (
                    SEE_LOG
                    if plan.dry_run
                    else recorded_reason(runs_bucket, plan, name) or NO_REASON
                )
            elif state == "upstream_failed":
                failed[name] = NOT_REACHED
            elif state != "skipped":
                failed[name] = (
                    f"ended as {state or 'not started'}, which says nothing about its work"
                )
            elif must_run(name, plan):
                failed[name] = STOPPED_BEFORE
            else:
                skipped.append(name)
        for name, check in self.store_checks(plan, context).items():
            if name not in {*done, *unchanged}:
                continue
            try:
                check()
            except TransientError as error:
                if not is_last_try(context):
                    raise
                failed[name] = str(error)
            except AssetflowError as error:
                failed[name] = str(error)
        return Report(
            subject=str(plan.location),
            done=tuple(name for name in done if name not in failed),
            unchanged=tuple(name for name in unchanged if name not in failed),
            skipped=tuple(skipped),
            # What went wrong before what was therefore not reached.
            failed=dict(sorted(failed.items(), key=lambda entry: entry[1] == NOT_REACHED)),
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
            key = pulled["upload_data_to_s3"].get("receipt_key")
            if key is None:
                raise VerificationFailed(f"nothing says what was uploaded to {plan.location}")
            AssetStoreHook().client.head(plan.bucket, key)

        def asset_is_ready() -> None:
            if asset_id is None:
                raise VerificationFailed(f"nothing says which data asset {plan.location} is")
            state = CodeOceanHook().client.data_asset(asset_id).state
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
        from include.assets.claim import release
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

    def stop_left_computations(self, report: Report, context: Context) -> None:
        """Stop computations that nobody waits for any more.

        A task that is stopped while it is on its way to or from the triggerer has no process and no
        trigger that could do it.
        """
        from include.operators.pipelines import COMPUTATION_KEY, PIPELINE_TASK_ID

        for name, reason in report.failed.items():
            task_id, _, index = name.rpartition("_")
            if task_id != PIPELINE_TASK_ID or reason != NO_REASON:
                continue
            computation_id = context["ti"].xcom_pull(
                task_ids=task_id, key=COMPUTATION_KEY, map_indexes=int(index)
            )
            if computation_id and CodeOceanHook().client.stop_computation(str(computation_id)):
                self.log.info("Stopped computation %s of %s", computation_id, name)

    def tell_of_silent_failures(
        self, plan: RunPlan, report: Report, runs_bucket: RunsBucket, context: Context
    ) -> None:
        """Mail about tasks that were killed and so could not tell of their failure themselves."""
        from include.notifiers.failures import claim_mail, send

        if plan.dry_run:
            return
        silent = [
            name for name, reason in report.failed.items() if reason in {NO_REASON, STOPPED_BEFORE}
        ]
        # Once each time the run ends: its own next try, to remove the folder after all, tells nothing new.
        name = f"fail-{self.task_id}-cleared-{context['dag_run'].clear_number or 0}"
        if silent and claim_mail(runs_bucket, plan, name):
            reason = "\n".join(f"{name}: {report.failed[name]}" for name in silent)
            send("fail", plan.job, context, reason=reason, plan=plan)

    def remove_staging(self, plan: RunPlan) -> None:
        """Remove what a failed run prepared, unless it is kept for a resume."""
        from include.acquisitions.staging import remove
        from include.acquisitions.task_settings import StagingRemovalSettings

        task = plan.tasks["remove_staging_folder"]
        if task.skip or StagingRemovalSettings.parse(task.job_settings).keep_for_resume:
            self.log.info("%s is kept: clear the failed tasks to go on", plan.staging_folder)
            return
        if not wait_here(lambda: not running_commands(plan), for_s=COMMANDS_END_WITHIN_S):
            names = ", ".join(running_commands(plan))
            raise CommandInterrupted(f"{plan.staging_folder} is still written to by {names}")
        if not plan.dry_run and remove(plan.staging_folder, settings().staging_root, plan.run_key):
            self.log.info("Removed %s", plan.staging_folder)


def must_run(name: str, plan: RunPlan) -> bool:
    """Whether only a person can have skipped that task instance, by hand or by stopping the run."""
    task = plan.tasks.get(name)
    if task is None:  # an instance of a mapped task, which never skips itself
        return name != PLAN_TASK_ID and not plan.dry_run
    return not task.skip and not plan.dry_run and name not in MAY_SKIP_ITSELF


def running_commands(plan: RunPlan) -> list[str]:
    """Commands of the run that have not ended; one that was stopped takes up to ten seconds."""
    from include.acquisitions.runner import CommandState
    from include.clients.local_runner import LocalRunner

    runner = LocalRunner()
    folders = [lock.parent for lock in plan.work_folder.glob("commands/*/commands/*/lock")]
    return [folder.name for folder in folders if runner.poll(str(folder)) is CommandState.RUNNING]


def task_states(context: Context, *, without: str) -> dict[str, str | None]:
    """State of every task instance of the run but one; mapped ones as ``task_0``."""
    ordered = sorted(all_states(context).items(), key=lambda entry: place_in_run(entry[0]))
    return {name: state for name, state in ordered if name != without}


def place_in_run(name: str) -> tuple[int, str]:
    """Sorts task instances in the order in which they run."""
    from include.acquisitions.pipeline import TASKS

    task_id = name if name in TASKS else name.rpartition("_")[0]
    return (TASKS.index(task_id) if task_id in TASKS else -1, name)


def check_record(plan: RunPlan, asset_id: str | None) -> None:
    """Make sure that DocDB has the asset's record, with its Code Ocean id.

    Raises:
        VerificationFailed: it has not.
    """
    from include.assets.core_files import Generation
    from include.assets.record import link_ids
    from include.hooks.docdb import docdb_hook

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
