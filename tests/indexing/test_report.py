"""One bucket's report: what its slices and its removals come to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.errors import RunIncomplete
from include.indexing.report import (
    FAILURES_KEPT,
    LINES_KEPT,
    REASONS_KEPT,
    Half,
    Line,
    Outcome,
    RemovalReport,
    RunLines,
    RunReport,
    Slice,
    SliceReport,
    bucket_report,
    examined_by_kind,
)

EARLY, LATE = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)


def line(asset: str, outcome: Outcome, at: datetime | None, *steps: str) -> Line:
    return Line(asset=asset, outcome=outcome, steps=steps, changed_at=at)


def found(*lines: Line) -> SliceReport:
    place = Slice(bucket="b", half=Half.RECORDS, number=0, size=len(lines))
    return SliceReport(slice=place, dry_run=False, examined=len(lines), unchanged=0, lines=lines)


@pytest.mark.parametrize(
    ("early", "oldest_found", "oldest_left"),
    [
        (line("a", Outcome.DONE, EARLY, "write"), EARLY, LATE),
        (line("a", Outcome.SKIPPED, EARLY, "write"), EARLY, EARLY),
        (line("a", Outcome.FAILED, EARLY, "write"), EARLY, EARLY),
        (line("a", Outcome.FAILED, EARLY), LATE, EARLY),
        (line("a", Outcome.SKIPPED, EARLY), LATE, LATE),
    ],
    ids=["put right", "changed meanwhile", "failed midway", "not even looked at", "left alone"],
)
def test_the_oldest_change_found_and_the_oldest_left_are_told(
    early: Line, oldest_found: datetime, oldest_left: datetime
):
    late = line("b", Outcome.FAILED, LATE, "write")
    report = bucket_report("b", [found(early), found(late)], None, full_pass=False)
    assert (report.oldest_found_at, report.oldest_left_at) == (oldest_found, oldest_left)


@pytest.mark.parametrize(
    ("removals", "outcome"),
    [
        (None, Outcome.FAILED),
        (RemovalReport(bucket="b", dry_run=False), Outcome.DONE),
        (RemovalReport(bucket="b", dry_run=False, failed={"a": "503"}), Outcome.FAILED),
        (RemovalReport(bucket="b", dry_run=False, skipped={"a": "is back"}), Outcome.SKIPPED),
        (RemovalReport(bucket="b", dry_run=False, refused="too many"), Outcome.FAILED),
    ],
    ids=["never decided", "removed", "failed", "came back", "refused"],
)
def test_a_proposed_removal_ends_as_the_bucket_decided(
    removals: RemovalReport | None, outcome: Outcome
):
    pending = line("a", Outcome.PENDING, EARLY, "remove its record")
    lines: list[Line] = []
    report = bucket_report("b", [found(pending)], removals, full_pass=True, each=lines.append)
    assert [one.outcome for one in lines] == [outcome]
    assert report.oldest_left_at == (None if outcome is Outcome.DONE else EARLY)


def test_an_asset_counts_once_and_a_folder_with_a_record_apart():
    records = found(line("a", Outcome.DONE, EARLY, "write")).model_copy(
        update={"examined": 3, "unchanged": 2}
    )
    folders = SliceReport(
        slice=Slice(bucket="b", half=Half.PREFIXES, number=0, size=4),
        dry_run=False,
        examined=4,
        unchanged=3,
        lines=(line("new", Outcome.SKIPPED, None),),
    )
    report = bucket_report("b", [records, folders], None, full_pass=True)
    assert (report.asked, report.unchanged, report.folders_known) == (4, 2, 3)
    assert examined_by_kind([records, folders]) == {"record": 3, "file": 4}


def test_a_run_of_very_many_failures_keeps_the_first_and_counts_all():
    lines = RunLines()
    for number in range(FAILURES_KEPT + 5):
        lines.add(Line(asset=f"a{number}", outcome=Outcome.FAILED, reason="503"))
        lines.add(Line(asset=f"b{number}", outcome=Outcome.SKIPPED, reason=f"key {number}"))
    lines.fail("s3://b", "cannot be listed")
    assert (lines.total, len(lines.kept)) == (2 * FAILURES_KEPT + 10, LINES_KEPT)
    assert (lines.failed_total, len(lines.failed)) == (FAILURES_KEPT + 6, FAILURES_KEPT)
    assert next(iter(lines.failed)) == "s3://b"
    assert lines.skipped["for other reasons"] == 5
    assert len(lines.skipped) == REASONS_KEPT
    with pytest.raises(RunIncomplete, match=f"{FAILURES_KEPT + 6} failed"):
        RunReport(
            run_id="x",
            dry_run=False,
            started_at=EARLY,
            ended_at=LATE,
            buckets=(),
            failed=lines.failed,
            failed_total=lines.failed_total,
        ).raise_if_incomplete()
