"""Pages about the runs of ``index_buckets``: how each bucket went, and what one run found and did."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse

from include.errors import MalformedAnswer
from include.indexing.report import Line, Outcome, RemovalReport, RunReport, settle
from include.indexing.request import DAG_ID
from include.indexing.run_plan import IndexPlan
from include.portal import index_view as view
from include.portal.index_runs import IndexRuns, is_run_key, started_anew
from include.portal.rendering import home, query_text, render

T = TypeVar("T")

OUTCOMES = (Outcome.FAILED, Outcome.SKIPPED, Outcome.DONE, Outcome.UNCHANGED)

router = APIRouter(prefix="/index", default_response_class=HTMLResponse)


def index_runs(request: Request) -> IndexRuns:
    """What index runs left; opened on first use."""
    runs: IndexRuns = request.app.state.index_runs.get()
    return runs


Runs = Annotated[IndexRuns, Depends(index_runs)]


@dataclass(frozen=True)
class Asked:
    """What of a report is wanted, as the query says it; what makes no sense there is passed over."""

    outcome: str = ""
    text: str = ""
    page: str = ""
    """Of the assets."""

    reasons: str = ""
    """Page of the failures."""

    part: str = ""
    """Name of the one slice whose assets to list."""


AskedDep = Annotated[Asked, Depends()]


@router.get("")
def show_buckets(request: Request, runs: Runs) -> HTMLResponse:
    """All buckets that have a history."""
    return render(
        request,
        "index_overview.html.jinja",
        buckets=view.summarise(runs.histories()),
        size=view.TREND,
        runs_drawn=view.RUNS_DRAWN,
        now=_now(request),
        view=view,
    )


@router.get("/run")
def find_run(
    request: Request,
    runs: Runs,
    asked: AskedDep,
    run_id: str = "",
    dag_id: str = DAG_ID,
    since: str = "",
) -> HTMLResponse:
    """One run, by the names that Airflow has for it; scheduled runs of two DAGs may have the same id.

    *since* is when the page was asked for first, in seconds since 1970: it looks again by itself, and is not
    to do so for ever.
    """
    run_key = runs.find_run_key(run_id) if dag_id == DAG_ID else None
    if run_key is not None:
        return show_run(request, runs, asked, run_key)
    if dag_id != DAG_ID:
        return _words(
            request,
            f"No run of {DAG_ID}",
            f"{run_id} is a run of {dag_id}. Only runs of {DAG_ID} have an index report.",
        )
    now = _now(request)
    first = _moment(since, now)
    address = f"{home(request)}/index/run"
    names = {"run_id": run_id, "dag_id": dag_id}
    refresh_s = view.look_again_s(first, now, at_most=view.NOT_BEGUN)
    return _words(
        request,
        "No index report yet",
        f"There is nothing of a run {run_id}. Either it is none of {DAG_ID}, or it has not planned its "
        "work: it waits, plan_run is at work, or plan_run failed and its log says why.",
        hint="" if refresh_s else "This page has looked for an hour, and does so no more.",
        again="" if refresh_s else f"{address}{query_text(**names)}",
        refresh_s=refresh_s,
        refresh_to=f"{address}{query_text(**names, since=str(int(first.timestamp())))}",
    )


def _moment(text: str, now: datetime) -> datetime:
    """A moment of the past; now, when the text is none."""
    is_number = text.isascii() and text.isdigit() and len(text) < 12
    return min(datetime.fromtimestamp(int(text), UTC), now) if is_number else now


@router.get("/runs/{run_key}")
def show_run(request: Request, runs: Runs, asked: AskedDep, run_key: str) -> HTMLResponse:
    """One run, by the name of what it left."""
    if is_run_key(run_key):
        report = runs.find_report(run_key)
        if report is not None:
            return _show_report(request, runs, asked, run_key, report)
        plan = runs.find_plan(run_key)
        if plan is not None:
            return _show_progress(request, runs, run_key, plan)
    raise HTTPException(404, f"No index run has left anything under the name {run_key}")


def _show_progress(
    request: Request, runs: IndexRuns, run_key: str, plan: IndexPlan
) -> HTMLResponse:
    now = _now(request)
    return render(
        request,
        "index_progress.html.jinja",
        plan=plan,
        run_id=plan.run_id,
        dag_id=DAG_ID,
        progress=view.progress(plan, runs.examined(run_key), runs.failed(run_key)),
        ago=view.ago_text(plan.started_at, now),
        refresh_s=view.look_again_s(plan.started_at, now),
    )


def _show_report(
    request: Request,
    runs: IndexRuns,
    asked: Asked,
    run_key: str,
    report: RunReport,
) -> HTMLResponse:
    unreadable: list[str] = []
    plan = _unless_unreadable(unreadable, runs.find_plan, run_key)
    names = [bucket.bucket for bucket in report.buckets]
    decided = {
        name: _unless_unreadable(unreadable, runs.find_removals, run_key, name) for name in names
    }
    # Of a run that was cleared, what its first execution decided may still be there.
    removals = {
        name: one
        for name, one in decided.items()
        if one is not None and _is_of(plan, one.planned_at)
    }
    slices = [one.name for one in plan.slices] if plan else []
    part = asked.part if asked.part in slices else ""
    wanted = view.LineFilter.of(asked.outcome, asked.text)
    lines = report.lines
    if part:
        lines = _lines_of_slice(runs, run_key, part, plan, removals, unreadable)
    chosen = wanted.choose(lines)
    address = f"runs/{run_key}"
    filters = {"outcome": wanted.outcome or "", "text": wanted.text, "part": part}
    return render(
        request,
        "index_run.html.jinja",
        report=report,
        run_id=report.run_id,
        dag_id=DAG_ID,
        plan=plan,
        verdict=view.verdict(report),
        took=view.age_text((report.ended_at - report.started_at).total_seconds()),
        ago=view.ago_text(report.ended_at, _now(request)),
        began_anew=started_anew(plan, report),
        unreadable=unreadable,
        buckets=[_shown(bucket, report, removals.get(bucket.bucket)) for bucket in report.buckets],
        removals=[one for one in removals.values() if view.has_removals(one)],
        restore=f"assetflow restore {shlex.quote(run_key)}",
        failures=view.page_of(
            view.group_failures(report.failed), asked.reasons, view.REASONS_ON_PAGE
        ),
        failures_address=lambda number: (
            f"{address}{query_text(**filters, page=asked.page, reasons=str(number))}#failures"
        ),
        skipped=view.page_of(view.amounts(report.skipped), "", view.REASONS_ON_PAGE),
        words=view.outcome_words(dry_run=report.dry_run),
        tones=view.OUTCOME_TONES,
        restorable=any(one.journals for one in removals.values()) and not report.dry_run,
        settings=view.setting_words(plan.request) if plan else {},
        lines=view.page_of(chosen, asked.page),
        lines_address=lambda number: (
            f"{address}{query_text(**filters, reasons=asked.reasons, page=str(number))}#assets"
        ),
        lines_held=len(lines),
        wanted=wanted,
        outcomes=OUTCOMES,
        slices=slices,
        part=part,
        address=address,
        view=view,
    )


def _unless_unreadable(problems: list[str], read: Callable[..., T | None], *names: str) -> T | None:
    """What is found under these names; None, and a problem more, when it cannot be read."""
    try:
        return read(*names)
    except MalformedAnswer as error:
        problems.append(str(error))
        return None


def _is_of(plan: IndexPlan | None, planned_at: datetime | None) -> bool:
    """Whether what says that it was planned then is of this plan; what says nothing is taken to be."""
    return plan is None or planned_at in {None, plan.started_at}


def _lines_of_slice(
    runs: IndexRuns,
    run_key: str,
    name: str,
    plan: IndexPlan | None,
    removals: Mapping[str, RemovalReport],
    problems: list[str],
) -> tuple[Line, ...]:
    """All lines of one slice, as its removals ended them."""
    is_known = not problems  # else the removals may be what could not be read
    found = _unless_unreadable(problems, runs.find_slice, run_key, name)
    if found is None or not _is_of(plan, found.slice.planned_at):
        return ()
    own = removals.get(found.slice.bucket)
    return tuple(settle(line, own) if own or is_known else line for line in found.lines)


def _shown(bucket: Any, report: RunReport, removals: RemovalReport | None) -> dict[str, Any]:
    """One bucket of a report, with all that is drawn of it."""
    found, left = view.lag_words(bucket, report.started_at, report.ended_at)
    return {
        "report": bucket,
        "pass": view.kind_of_pass(full_pass=bucket.full_pass),
        "shares": view.outcome_shares(bucket),
        "amounts": view.amounts({**bucket.counts, **view.would_be_removed(removals)}),
        "cases": view.case_counts(bucket.cases),
        "lag_found": found,
        "lag_left": left,
    }


def _words(request: Request, title: str, text: str, **more: Any) -> HTMLResponse:
    values = {"hint": "", "again": "", "tone": "idle", "offers_login": False, **more}
    return render(request, "message.html.jinja", title=title, text=text, **values)


def _now(request: Request) -> datetime:
    now: datetime = request.app.state.clock()
    return now
