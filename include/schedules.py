"""Schedules that a deployment chooses."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable

from include.errors import InvalidInput, Problem


def schedule_of(variable: str, text: str) -> CronTriggerTimetable | None:
    """The schedule that a cron text says, in UTC; None for an empty one.

    Args:
        variable: where the text stands, for the message.
        text: five fields, or a word such as ``@daily``.

    Raises:
        InvalidInput: it is no such text. Airflow shows that as the import error of the DAG.
    """
    from croniter import croniter  # type: ignore[import-untyped]

    expression = text.strip()
    if not expression:
        return None
    is_cron = expression.startswith("@") or len(expression.split()) == 5
    if not is_cron or not croniter.is_valid(expression):
        fix = "give five fields, such as 0 2 * * *, or leave it empty"
        raise InvalidInput([Problem(variable, "", f"{text!r} is no cron expression", fix)])
    # The first run is at the next moment that it says, not at once, as long as the DAG has no start date.
    return CronTriggerTimetable(expression, timezone="UTC", run_immediately=False)
