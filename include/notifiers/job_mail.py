"""Tell the owner of a job that one of its tasks failed or is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.mail import Event


class JobMailNotifier(BaseNotifier):
    """
    One mail per failed try of a task, however many of its mapped instances fail.

    Runs as a task callback. The reason of a failure is kept in the runs bucket as well, where
    ``report_run`` reads it.

    :param event: ``fail`` or ``retry``.
    """

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event: Event = event

    def notify(self, context: Context) -> None:
        from include.notifiers.failures import tell

        tell(self.event, context)
