"""Made runs of ``index_buckets``: what they would leave in a runs bucket."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from include.assets.core_files import Generation
from include.assets.run_key import run_key_of
from include.clients.runs_bucket import (
    found_key,
    history_key,
    plan_key,
    removals_key,
    report_key,
)
from include.errors import AssetflowError, NotFound
from include.indexing.history import BucketHistory, HistoryRow
from include.indexing.report import (
    BucketReport,
    Half,
    Line,
    Outcome,
    RemovalReport,
    RunReport,
    Slice,
)
from include.indexing.request import DAG_ID, read_request
from include.indexing.run_plan import BucketPlan, IndexPlan
from include.portal.index_runs import IndexRuns

NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
RUN_ID = "scheduled__2026-11-20T10:00:00+00:00"
RUN_KEY = run_key_of(RUN_ID, datetime(2026, 11, 20, 10, tzinfo=UTC))
REFUSED = (
    "412 records would be removed, but of 5480 assets compared only 200 may be (max_removals 200, "
    "max_removal_share 0.05): look at the plan, then raise the limits for one run"
)


class FakeObjects:
    """A runs bucket in memory."""

    def __init__(self, contents: Mapping[str, Any] | None = None) -> None:
        self.contents = dict(contents or {})
        self.error: AssetflowError | None = None
        """Raised instead of every answer."""

    def read(self, key: str) -> Any:
        if self.error:
            raise self.error
        if key not in self.contents:
            raise NotFound(f"GET s3://runs/{key}: 404")
        return self.contents[key]

    def list_keys(self, prefix: str) -> Iterator[str]:
        if self.error:
            raise self.error
        return (key for key in sorted(self.contents) if key.startswith(prefix))

    def list_folders(self, prefix: str) -> set[str]:
        found = (key.removeprefix(prefix) for key in self.list_keys(prefix))
        return {name.split("/")[0] for name in found if "/" in name}

    def runs(self) -> IndexRuns:
        return IndexRuns(self, self.list_folders)


def make_row(**changed: Any) -> HistoryRow:
    """A run over one bucket that found all in step."""
    started_at = changed.get("started_at", NOW - timedelta(minutes=30))
    return HistoryRow.model_validate({
        "run_id": RUN_ID,
        "run_key": run_key_of(changed.get("run_id", RUN_ID), started_at),
        "started_at": started_at,
        "ended_at": started_at + timedelta(minutes=4),
        "full_pass": False,
        "is_whole": True,
        "asked": 5000,
        "drift": 0,
        "done": 0,
        "failed": 0,
        "skipped": 0,
        **changed,
    })


def make_history(bucket: str, *, runs: int, drift: int, failing: float, seed: int) -> BucketHistory:
    """Hourly runs until :data:`NOW`; the last one fails where *failing* is above 0.2."""
    dice = random.Random(seed)
    rows = []
    for hours in range(runs, 0, -1):
        started_at = NOW - timedelta(hours=hours - 1, minutes=30)
        found = int(dice.expovariate(1 / drift)) if dice.random() < 0.8 else 0
        failed = (
            dice.randint(1, max(1, drift // 4))
            if dice.random() < failing or (hours == 1 and failing > 0.2)
            else 0
        )
        rows.append(
            make_row(
                run_id=f"scheduled__{started_at.isoformat()}",
                started_at=started_at,
                ended_at=started_at + timedelta(minutes=dice.randint(2, 9)),
                full_pass=hours % 24 == 0,
                asked=dice.randint(4000, 6000),
                drift=found,
                done=max(0, found - failed),
                failed=failed,
                skipped=dice.randint(0, 40),
                lag_found_s=dice.randint(60, 4000) if found else None,
                lag_left_s=dice.randint(1000, 20000) if failed else None,
            )
        )
    return BucketHistory(bucket=bucket, rows=tuple(rows))


def make_plan(buckets: tuple[str, ...] = ("open-data",), **changed: Any) -> IndexPlan:
    """A plan of three slices per bucket."""
    request = read_request(
        {"s3_buckets": list(buckets), "dry_run": changed.pop("dry_run", False)}, usual_buckets=[]
    )
    plans = {
        bucket: BucketPlan(
            bucket=bucket,
            slices=(
                Slice(
                    bucket=bucket,
                    half=Half.RECORDS,
                    number=0,
                    size=3000,
                    generation=Generation.V1,
                ),
                *(Slice(bucket=bucket, half=Half.PREFIXES, number=n, size=1000) for n in range(2)),
            ),
        )
        for bucket in buckets
    }
    values = {"run_id": RUN_ID, "run_key": RUN_KEY, "started_at": NOW - timedelta(minutes=20)}
    return IndexPlan(request=request, buckets=plans, **{**values, **changed})


def make_line(number: int = 0, outcome: Outcome = Outcome.DONE, **changed: Any) -> Line:
    """An asset that was not in step."""
    values: dict[str, Any] = {
        "asset": f"s3://open-data/ecephys_7123{number:02}_2026-11-18_09-30-00",
        "outcome": outcome,
        "steps": (
            ("overwrite subject.json: it differs", "overwrite metadata.nd.json: it differs")
            if outcome is not Outcome.SKIPPED
            else ()
        ),
        "changed_at": NOW - timedelta(hours=3, minutes=12)
        if outcome is not Outcome.SKIPPED
        else None,
    }
    return Line(**{**values, **changed})


def make_report(**changed: Any) -> RunReport:
    """A run over one bucket that put one asset right."""
    values: dict[str, Any] = {
        "run_id": RUN_ID,
        "dry_run": False,
        "started_at": NOW - timedelta(minutes=20),
        "ended_at": NOW - timedelta(minutes=14),
        "buckets": (
            BucketReport(
                bucket="open-data",
                done=1,
                unchanged=4999,
                cases={"1": 9},
                counts={"core_files_written": 1, "aggregates_written": 1},
                drift=1,
                oldest_found_at=NOW - timedelta(hours=3, minutes=12),
            ),
        ),
        "lines": (make_line(),),
        "lines_total": 1,
    }
    return RunReport(**{**values, **changed})


def make_rich_report(*, dry_run: bool = False) -> tuple[RunReport, RemovalReport]:
    """A run over three buckets: failures, a refusal, skipped folders; and the refused removals."""
    gone = [
        f"s3://private-data/behavior_68{n:04}_2025-03-0{n % 9 + 1}_10-00-00" for n in range(412)
    ]
    failed = {
        "s3://open-data/ecephys_712345_2026-11-18_09-30-00": "AccessDenied: GET s3://open-data/"
        "ecephys_712345_2026-11-18_09-30-00/subject.json: 403 AccessDenied",
        "s3://open-data/SmartSPIM_709392_2026-10-02_12-00-00": "DuplicateRecords: 2 records have this "
        "location: keep one of them",
        **dict.fromkeys(gone, f"not removed: {REFUSED}"),
    }
    skipped = {
        "no metadata.nd.json and no core file: nothing to make a record of": 37,
        "a run uploads into it at this moment": 4,
        "changed by somebody else meanwhile; left for the next run (its record changed)": 2,
    }
    lines = [
        *(make_line(n) for n in range(86)),
        *(
            make_line(
                asset=asset,
                outcome=Outcome.FAILED,
                reason=reason,
                steps=()
                if "not removed" not in reason
                else ("remove its record: its asset is gone",),
            )
            for asset, reason in failed.items()
        ),
        *(
            make_line(90, Outcome.SKIPPED, asset=f"s3://scratch/notes_{n:02}", reason=reason)
            for reason, count in skipped.items()
            for n in range(count)
        ),
        make_line(
            7,
            asset="s3://open-data/multiplane-ophys_<b>7</b>_2026-11-19_08-00-00",
            steps=(
                "take rig.json into the record",
                "copy rig.json to original_metadata/rig.20261119.json",
                "write procedures.json: there is none, and copy it",
                "overwrite subject.json: it differs",
                "overwrite metadata.nd.json: it differs",
            ),
        ),
    ]
    report = make_report(
        dry_run=dry_run,
        buckets=(
            BucketReport(
                bucket="open-data",
                done=87,
                unchanged=5204,
                failed=2,
                folders_known=5290,
                cases={"1": 40210, "2": 311, "4": 86, "6": 12, "8": 5117},
                counts={
                    "core_files_written": 174,
                    "aggregates_written": 87,
                    "copies_made": 61,
                    "fields_adopted": 12,
                    "records_inserted": 9,
                    "aggregates_built": 3,
                },
                drift=89,
                oldest_found_at=NOW - timedelta(hours=5, minutes=2),
                oldest_left_at=NOW - timedelta(hours=3, minutes=12),
            ),
            BucketReport(
                bucket="private-data",
                full_pass=True,
                unchanged=5068,
                failed=412,
                cases={"1": 45000, "8": 612},
                drift=412,
                oldest_found_at=NOW - timedelta(days=2, hours=4),
                oldest_left_at=NOW - timedelta(days=2, hours=4),
                removals_refused=REFUSED,
            ),
            BucketReport(bucket="scratch", unchanged=210, skipped=43),
        ),
        failed=failed,
        skipped=skipped,
        lines=tuple(lines),
        lines_total=len(lines),
    )
    refused = RemovalReport(
        bucket="private-data",
        dry_run=dry_run,
        refused=REFUSED,
        failed=dict.fromkeys(gone, f"not removed: {REFUSED}"),
    )
    return report, refused


def contents_of(
    *,
    plan: IndexPlan | None = None,
    report: RunReport | None = None,
    removals: tuple[RemovalReport, ...] = (),
    histories: tuple[BucketHistory, ...] = (),
    found: Mapping[str, Any] | None = None,
    run_key: str = RUN_KEY,
) -> dict[str, Any]:
    """Key → content of one run, and of histories."""
    contents: dict[str, Any] = {}
    if plan is not None:
        contents[plan_key(DAG_ID, run_key)] = plan.model_dump(mode="json")
    if report is not None:
        contents[report_key(DAG_ID, run_key)] = report.model_dump(mode="json")
    for one in removals:
        contents[removals_key(DAG_ID, run_key, one.bucket)] = one.model_dump(mode="json")
    for history in histories:
        contents[history_key(DAG_ID, history.bucket)] = history.model_dump(mode="json")
    for name, content in (found or {}).items():
        contents[found_key(DAG_ID, run_key, name)] = content
    return contents


def many_histories() -> tuple[BucketHistory, ...]:
    """Fifty runs over each of several buckets."""
    return (
        make_history("open-data", runs=50, drift=60, failing=0.15, seed=1),
        make_history("private-data", runs=50, drift=400, failing=0.3, seed=2),
        make_history("scratch", runs=50, drift=4, failing=0.0, seed=3),
        make_history("code-ocean-results", runs=18, drift=20, failing=0.05, seed=5),
    )
