"""Mails about a run: when one is wanted, and what it says.

The subject is the one people filter by: ``Airflow {started|finished|failed|retried} {asset name}``. The
body says first what a reader wants to know (what happened, why, where to look), then what was asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from include.acquisitions.job import Notification, UploadJob
from include.acquisitions.pipeline import TRANSFORMATION
from include.acquisitions.plan import RunPlan
from include.acquisitions.secret_settings import hide_secrets
from include.acquisitions.secret_text import HIDDEN

if TYPE_CHECKING:
    from jinja2 import Template

Event = Literal["begin", "end", "fail", "retry"]

VERBS: dict[Event, str] = {
    "begin": "started",
    "end": "finished",
    "fail": "failed",
    "retry": "retried",
}

COLOURS: dict[Event, str] = {
    "begin": "#2f6fde",
    "end": "#1a7f37",
    "fail": "#c62828",
    "retry": "#b26a00",
}

MAX_REASON_CHARACTERS = 4_000
"""Of a long reason the beginning and the end are kept: a traceback says what matters last."""

UNLESS_SAID = frozenset({Notification.FAIL})
"""For jobs that name an address but no occasion."""

Rows = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail, ready to send."""

    to: str
    subject: str
    html: str


def wanted(job: UploadJob, event: Event) -> bool:
    """Whether the job's owner asked for a mail at this event."""
    if job.user_email is None:
        return False
    chosen = job.email_notification_types
    words = UNLESS_SAID if chosen is None else chosen
    return Notification.ALL in words or Notification(event) in words


def compose(
    event: Event,
    plan: RunPlan | UploadJob,
    *,
    run_url: str,
    task_id: str | None = None,
    reason: str = "",
    support_contact: str = "",
) -> Mail:
    """The mail about *event*.

    Args:
        plan: the run's plan; the job alone when the run failed before it had one.
        run_url: where the run is seen.
        task_id: which task failed or is tried again.
        reason: why, in the words of the error.
        support_contact: whom to ask; ``""`` for nobody.

    Raises:
        ValueError: the job names no address; ask :func:`wanted` first.
    """
    job = plan.job if isinstance(plan, RunPlan) else plan
    if job.user_email is None:
        raise ValueError(f"{job.s3_prefix} has nobody to write to")
    subject = f"Airflow {VERBS[event]} {job.s3_prefix}"
    settings = hide_secrets(job.normalised()["tasks"])
    html = _template().render(
        subject=subject,
        colour=COLOURS[event],
        run_url=run_url,
        task_id=task_id,
        reason=_shortened(_without_secrets(reason.strip())),
        support_contact=support_contact if event == "fail" else "",
        summary=_summary(plan, job),
        warnings=plan.warnings if isinstance(plan, RunPlan) else job.warnings,
        settings=json.dumps(settings, indent=2, ensure_ascii=False) if settings else "",
    )
    return Mail(to=job.user_email, subject=subject, html=html)


def _summary(plan: RunPlan | UploadJob, job: UploadJob) -> Rows:
    rows: Rows = [
        ("Asset", str(plan.location) if isinstance(plan, RunPlan) else job.s3_prefix),
        ("Job type", job.job_type),
        ("Project", job.project_name),
        ("Subject", job.subject_id),
        ("Acquired", job.acq_datetime.isoformat(sep=" ")),
    ]
    sources = job.tasks.get(TRANSFORMATION)
    for modality in job.modalities:
        task = sources.get(modality.abbreviation) if isinstance(sources, dict) else None
        source = ((task.job_settings if task else None) or {}).get("input_source")
        shown = f"from {source}" if source else "source folder from the preset"
        rows.append((modality.name, shown))
    if isinstance(plan, RunPlan):
        skipped = [name for name, task in plan.tasks.items() if task.skip]
        rows.append(("Skipped tasks", ", ".join(skipped) or "none"))
    return rows


def _without_secrets(text: str) -> str:
    return "\n".join(
        line if hide_secrets(line.strip()) == line.strip() else HIDDEN for line in text.splitlines()
    )


def _shortened(reason: str) -> str:
    if len(reason) <= MAX_REASON_CHARACTERS:
        return reason
    half = MAX_REASON_CHARACTERS // 2
    left_out = len(reason) - 2 * half
    return f"{reason[:half]}\n… {left_out} characters left out …\n{reason[-half:]}"


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=folder, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("mail.html.jinja")
