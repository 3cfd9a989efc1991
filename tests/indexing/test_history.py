"""How the runs over a bucket went: when a full pass is due, and what earlier runs left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from include.assets.core_files import Generation
from include.indexing.history import ROWS_KEPT, BucketHistory, HistoryRow, history_row
from include.indexing.report import BucketReport

V1, V2 = Generation.V1, Generation.V2
NOW = datetime(2026, 11, 25, tzinfo=UTC)
DAY = timedelta(days=1)


def row(
    at: datetime,
    *,
    full_pass: bool = False,
    is_whole: bool = True,
    generations: Sequence[Generation] = (V1, V2),
    left_at: datetime | None = None,
    left_before: datetime | None = None,
) -> HistoryRow:
    return history_row(
        BucketReport(bucket="b", full_pass=full_pass, oldest_left_at=left_at),
        run_id=f"run {at}",
        run_key=f"key {at}",
        started_at=at,
        ended_at=at,
        is_whole=is_whole,
        generations=generations,
        left_before=left_before,
    )


def history(*rows: HistoryRow) -> BucketHistory:
    found = BucketHistory(bucket="b")
    for one in rows:
        found = found.with_row(one)
    return found


@pytest.mark.parametrize(
    ("generations", "is_due"),
    [([V1], False), ([V2], True), ([V1, V2], True)],
    ids=["the one that had it", "the other", "both"],
)
def test_a_full_pass_of_one_generation_is_none_of_the_other(
    generations: list[Generation], *, is_due: bool
):
    found = history(row(NOW - DAY, full_pass=True, generations=[V1]))
    assert found.is_full_pass_due(7, NOW, generations) is is_due


def test_a_pass_that_lost_a_slice_does_not_count():
    found = history(row(NOW - DAY, full_pass=True, is_whole=False))
    assert found.is_full_pass_due(7, NOW, [V1])
    assert not found.is_full_pass_due(None, NOW, [V1])


def test_the_last_full_pass_is_remembered_however_many_runs_came_since():
    found = history(row(NOW - 60 * DAY, full_pass=True, generations=[V1]))
    for hour in range(ROWS_KEPT + 20):
        found = found.with_row(row(NOW + hour * timedelta(hours=1)))
    assert len(found.rows) == ROWS_KEPT + 1
    assert not found.is_full_pass_due(90, NOW, [V1])
    assert found.last_full_pass(V2) is None


def test_the_row_of_a_run_that_was_cleared_takes_the_place_of_its_first():
    first = row(NOW)
    assert history(first, row(NOW - DAY), first).rows == (row(NOW - DAY), first)


@pytest.mark.parametrize(
    ("left_at", "since", "seen"),
    [
        pytest.param(NOW - 20 * DAY, NOW - 14 * DAY, NOW - 20 * DAY, id="out of the look-back now"),
        pytest.param(NOW - 10 * DAY, NOW - 14 * DAY, None, id="the run sees for itself"),
        pytest.param(NOW - 20 * DAY, None, None, id="a full pass sees everything"),
        pytest.param(None, NOW - 14 * DAY, None, id="nothing was left"),
    ],
)
def test_what_was_left_and_fell_out_of_the_look_back_is_not_in_step(
    left_at: datetime | None, since: datetime | None, seen: datetime | None
):
    found = history(row(NOW - DAY, left_at=left_at))
    assert found.left_before(since, generations=[V1, V2], run_key="this run's") == seen
    later = row(NOW, left_before=seen)
    assert later.left_at == seen
    then = found.with_row(later)
    assert then.left_before(since, generations=[V1, V2], run_key="the next run's") == seen


def test_a_run_that_is_cleared_does_not_believe_its_own_row():
    earlier = row(NOW - DAY, left_at=NOW - 20 * DAY)
    since, both = NOW - 14 * DAY, [V1, V2]
    assert history(earlier).left_before(since, generations=both, run_key=earlier.run_key) is None


@pytest.mark.parametrize("generations", [[], [V2]], ids=["folders only", "of the other generation"])
@pytest.mark.parametrize("since", [None, NOW - 14 * DAY])
def test_what_was_left_stays_left_for_a_run_that_looks_at_other_records(
    generations: list[Generation], since: datetime | None
):
    left_at = NOW - 2 * DAY
    found = history(row(NOW - DAY, left_at=left_at, generations=[V1]))
    assert found.left_before(since, generations=generations, run_key="this run's") == left_at
