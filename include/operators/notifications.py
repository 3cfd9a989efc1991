"""Mails at the start and at the end of a run, for who asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowSkipException

from include.operators.base import AcquisitionOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.mail import Event
    from include.acquisitions.plan import RunPlan, TaskPlan


class JobMailOperator(AcquisitionOperator):
    """Send one mail about the run, if its owner asked for it; a lost mail fails nothing."""

    event: ClassVar[Event]

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.mail import wanted
        from include.notifiers.failures import claim_mail, send

        if not wanted(plan.job, self.event):
            raise AirflowSkipException(f"nobody asked for a mail at the {self.event} of this job")
        # A task that is run again after its mail went out sends no second one.
        if not claim_mail(self.runs_bucket, plan, self.event):
            return {"sent": False, "reason": "sent before"}
        return {"sent": send(self.event, plan.job, context, plan=plan)}


class SendJobStartEmailOperator(JobMailOperator):
    """Tell the job's owner that its run has started."""

    event: ClassVar[Event] = "begin"


class SendJobEndEmailOperator(JobMailOperator):
    """Tell the job's owner that its run has ended well."""

    event: ClassVar[Event] = "end"
