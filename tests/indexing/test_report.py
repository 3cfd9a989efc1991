"""One bucket's report: what its slices and its removals come to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.indexing.report import (
    Half,
    Line,
    Outcome,
    RemovalReport,
    Slice,
    SliceReport,
    bucket_report,
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
    report, _ = bucket_report("b", [found(early), found(late)], None, full_pass=False)
    assert (report.oldest_found_at, report.oldest_left_at) == (oldest_found, oldest_left)


@pytest.mark.parametrize(
    ("removals", "outcome"),
    [
        (None, Outcome.FAILED),
        (RemovalReport(bucket="b", dry_run=False), Outcome.DONE),
        (RemovalReport(bucket="b", dry_run=False, failed={"a": "503"}), Outcome.FAILED),
        (RemovalReport(bucket="b", dry_run=False, skipped={"a": "is back"}), Outcome.SKIPPED),
    ],
    ids=["never decided", "removed", "failed", "came back"],
)
def test_a_proposed_removal_ends_as_the_bucket_decided(
    removals: RemovalReport | None, outcome: Outcome
):
    pending = line("a", Outcome.PENDING, EARLY, "remove its record")
    report, lines = bucket_report("b", [found(pending)], removals, full_pass=True)
    assert [one.outcome for one in lines] == [outcome]
    assert report.oldest_left_at == (None if outcome is Outcome.DONE else EARLY)
