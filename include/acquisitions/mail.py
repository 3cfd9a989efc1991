"""Mails about a run: when one is wanted, and what it says.

The subject is the one people filter by: ``Airflow {started|finished|failed|retried} {asset name}``. The
body says first what a reader wants to know (what happened, why, where to look), then what was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from include.acquisitions.job import Notification, UploadJob
from include.acquisitions.pipeline import TRANSFORMATION
from include.acquisitions.plan import RunPlan
from include.acquisitions.secret_settings import hide_secrets

Event = Literal["begin", "end", "fail", "retry"]

VERBS: dict[Event, str] = {
    "begin": "started",
    "end": "finished",
    "fail": "failed",
    "retry": "retried",
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
    text: str
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
    title = f"Airflow {VERBS[event]} {job.s3_prefix}"
    summary = _summary(plan, job, task_id)
    why = _shortened(reason.strip())
    warnings = plan.warnings if isinstance(plan, RunPlan) else job.warnings
    settings = json.dumps(hide_secrets(job.normalised()["tasks"]), indent=2, ensure_ascii=False)
    help_line = f"Questions: {support_contact}" if support_contact and event == "fail" else ""
    return Mail(
        to=job.user_email,
        subject=title,
        text="\n".join(_text(title, summary, why, run_url, warnings, settings, help_line)),
        html="\n".join(_html(title, summary, why, run_url, warnings, settings, help_line)),
    )


def _summary(plan: RunPlan | UploadJob, job: UploadJob, task_id: str | None) -> Rows:
    rows: Rows = [("Task", task_id)] if task_id else []
    rows.append(("Asset", str(plan.location) if isinstance(plan, RunPlan) else job.s3_prefix))
    rows += [
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


def _shortened(reason: str) -> str:
    if len(reason) <= MAX_REASON_CHARACTERS:
        return reason
    half = MAX_REASON_CHARACTERS // 2
    left_out = len(reason) - 2 * half
    return f"{reason[:half]}\n… {left_out} characters left out …\n{reason[-half:]}"


def _text(
    title: str,
    summary: Rows,
    why: str,
    run_url: str,
    warnings: Sequence[str],
    settings: str,
    help_line: str,
) -> Iterator[str]:
    yield from (title, "", run_url, "")
    if why:
        yield from ("Reason:", why, "")
    width = max(len(name) for name, _ in summary) + 2
    yield from (f"{name + ':':<{width}}{value}" for name, value in summary)
    if warnings:
        yield from ("", "Warnings:", *(f"- {warning}" for warning in warnings))
    yield from ("", "Settings of the job:", settings)
    if help_line:
        yield from ("", help_line)


def _html(
    title: str,
    summary: Rows,
    why: str,
    run_url: str,
    warnings: Sequence[str],
    settings: str,
    help_line: str,
) -> Iterator[str]:
    yield f"<h2>{escape(title)}</h2>"
    yield f'<p><a href="{escape(run_url)}">Open the run</a></p>'
    if why:
        yield f"<h3>Reason</h3><pre>{escape(why)}</pre>"
    yield "<table>"
    for name, value in summary:
        yield f'<tr><th align="left">{escape(name)}</th><td>{escape(value)}</td></tr>'
    yield "</table>"
    if warnings:
        yield "<h3>Warnings</h3><ul>"
        yield from (f"<li>{escape(warning)}</li>" for warning in warnings)
        yield "</ul>"
    yield f"<h3>Settings of the job</h3><pre>{escape(settings)}</pre>"
    if help_line:
        yield f"<p>{escape(help_line)}</p>"
