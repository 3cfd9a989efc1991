"""What became of a failed try: its reason kept in the runs bucket, and one mail about it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from include.errors import AssetflowError, InvalidInput
from include.hooks.mail import MailHook
from include.hooks.s3 import AssetStoreHook
from include.operators.base import PLAN_TASK_ID
from include.operators.runs import task_states
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.job import UploadJob
    from include.acquisitions.mail import Event
    from include.acquisitions.plan import RunPlan
    from include.clients.runs_bucket import RunsBucket

logger = logging.getLogger(__name__)

REASON_LIMIT = 4000
"""Characters of a reason that are kept; the task's log has all of it."""


def tell(event: Event, context: Context) -> None:
    """Keep the reason of a failed try and mail it; one mail per task and try, not per mapped instance.

    A task that was stopped from outside tells nobody: who stopped it knows, and ``report_run`` tells of
    it when the run ends. A dry run tells nobody either, as it writes nothing anywhere.
    """
    ti = context["ti"]
    error = context.get("exception")
    if isinstance(error, SystemExit) or (error and has_ended_for_airflow(context)):
        logger.info("%s was stopped from outside; the report of the run tells of it", ti.task_id)
        return
    reason = (str(error) or type(error).__name__) if error else "the task was killed; see its log"
    plan = find_plan(context)
    if plan is not None and plan.dry_run:
        return
    if plan is None:
        job = find_job(context["params"])
        if job is not None:
            send(event, job, context, reason=reason)
        return
    bucket = AssetStoreHook().runs_bucket(settings().runs_bucket)
    try:
        if event == "fail":
            record_failure(bucket, plan, ti, reason)
        if claim_mail(bucket, plan, f"{event}-{ti.task_id}-try-{ti.try_number}"):
            send(event, plan.job, context, reason=reason, plan=plan)
    except AssetflowError:
        logger.exception("%s: the failure of %s was not recorded", plan.location, ti.task_id)


def has_ended_for_airflow(context: Context) -> bool:
    """Whether Airflow has this task instance as failed while it still runs: somebody stopped it.

    Its process learns that a second or two later. Meanwhile it may fail by itself, over a folder that
    ``report_run`` has already removed. A try that fails of itself is *running* to Airflow until its
    process has gone, or *up_for_retry*.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError

    ti = context["ti"]
    try:
        states = task_states(context)
    except AirflowRuntimeError as error:
        # Telling once too often is better than not at all.
        logger.warning("Whether %s was stopped is not known: %s", instance_name(ti), error)
        return False
    return states.get(instance_name(ti)) == "failed"


def record_failure(bucket: RunsBucket, plan: RunPlan, ti: Any, reason: str) -> None:
    """Write down why a task failed for good; ``report_run`` reads it."""
    from include.clients.runs_bucket import failure_key

    content = {"reason": reason[:REASON_LIMIT], "try_number": ti.try_number}
    bucket.write(failure_key(plan.dag_id, plan.run_key, instance_name(ti)), content)


def recorded_reason(bucket: RunsBucket, plan: RunPlan, name: str) -> str | None:
    """Why that task instance failed, if it could say so."""
    from include.clients.runs_bucket import failure_key

    found = bucket.find(failure_key(plan.dag_id, plan.run_key, name))
    return str(found["reason"]) if isinstance(found, Mapping) and "reason" in found else None


def claim_mail(bucket: RunsBucket, plan: RunPlan, name: str) -> bool:
    """True for the one caller that is to send the mail of that name."""
    from include.clients.runs_bucket import mail_key

    return bucket.put_once(mail_key(plan.dag_id, plan.run_key, name))


def instance_name(ti: Any) -> str:
    """``task`` or ``task_0``: a task instance as Airflow's own state listing names it."""
    return (
        str(ti.task_id)
        if ti.map_index is None or ti.map_index < 0
        else f"{ti.task_id}_{ti.map_index}"
    )


def find_plan(context: Context) -> RunPlan | None:
    """The plan of the run, or None when it has none yet."""
    from include.acquisitions.plan import RunPlan

    content = context["ti"].xcom_pull(task_ids=PLAN_TASK_ID)
    return None if content is None else RunPlan.model_validate(content)


def find_job(params: Mapping[str, Any]) -> UploadJob | None:
    """The job of a run that could not be planned; None when its conf cannot be read as one."""
    from include.acquisitions.trigger_form import job_from_params

    try:
        return job_from_params(params)[0]
    except InvalidInput as error:
        logger.warning("Nobody can be told by mail: %s", error)
        return None


def send(
    event: Event,
    job: UploadJob,
    context: Context,
    *,
    reason: str = "",
    plan: RunPlan | None = None,
) -> bool:
    """Send one mail if the job's owner wants that kind; True when the server took it.

    A mail that cannot be sent is logged and fails nothing.
    """
    from include.acquisitions.mail import compose, wanted

    if not wanted(job, event):
        return False
    ti = context["ti"]
    mail = compose(
        event,
        plan or job,
        run_url=run_url(context),
        task_id=ti.task_id,
        reason=reason,
        support_contact=settings().support_contact,
    )
    try:
        MailHook().send(
            to=mail.to, subject=mail.subject, html=mail.html, sender=settings().mail_from
        )
    except AssetflowError as error:
        logger.warning("The mail %r was not sent: %s", mail.subject, error)
        return False
    return True


def run_url(context: Context) -> str:
    """Address of the run in the Airflow UI."""
    from urllib.parse import quote

    dag_run = context["dag_run"]
    base = settings().airflow_url.rstrip("/")
    return f"{base}/dags/{dag_run.dag_id}/runs/{quote(dag_run.run_id, safe='')}"
