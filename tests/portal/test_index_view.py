"""What the pages about index runs show."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include.indexing.history import BucketHistory
from include.indexing.plan import CASES
from include.indexing.report import BucketReport, Outcome
from include.portal import index_view as view
from tests.portal.index_reports import NOW, make_line, make_plan, make_report, make_row


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (11_520, "3 h 12 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
    ],
)
def test_ages_are_told_in_their_two_largest_units(seconds, text):
    assert view.age_text(seconds) == text


def test_a_moment_of_seconds_ago_is_just_now_even_by_a_clock_that_runs_behind():
    assert view.ago_text(NOW, NOW - timedelta(seconds=3)) == "just now"
    assert view.ago_text(NOW - timedelta(hours=2), NOW) == "2 h ago"


def test_counts_have_separators_and_the_right_number_of_the_word():
    assert view.count_text(1204) == "1,204"
    assert view.count_text(1, "asset") == "1 asset"
    assert view.count_text(0, "asset") == "0 assets"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        pytest.param({}, "in step", id="nothing to do"),
        pytest.param({"drift": 3, "done": 3}, "in step", id="all put right"),
        pytest.param({"lag_left_s": 11_520.0}, "3 h 12 min", id="something left"),
        pytest.param({"failed": 1}, "not known", id="what failed has no date"),
        pytest.param({"drift": 3, "done": 2}, "not known", id="what was left has no date"),
        pytest.param({"is_whole": False}, "not known", id="not all was looked at"),
    ],
)
def test_a_bucket_is_in_step_only_when_that_is_known(row, text):
    assert view.freshness(make_row(**row)).text == text


def test_a_run_that_looked_at_a_part_is_not_called_ok():
    assert view.state_of(make_row()).tone == "ok"
    assert view.state_of(make_row(is_whole=False)).tone == "warn"
    assert view.state_of(make_row(is_whole=False, failed=2)).tone == "bad"


# --------------------------------------------------------------------------- the drawing


def test_the_newest_run_stands_at_the_right_edge_of_the_drawing():
    rows = [make_row(started_at=NOW + timedelta(hours=n)) for n in range(60)]
    drawn = view.draw_trend(rows)
    assert len(drawn.bars) == view.RUNS_DRAWN
    last = drawn.bars[-1]
    assert last.run_key == rows[-1].run_key
    assert last.x == pytest.approx(view.TREND.width * 49 / 50)
    [only] = view.draw_trend(rows[:1]).bars
    assert only.x == last.x


def test_bars_fill_their_strips_on_one_scale_and_a_single_failure_is_still_seen():
    drawn = view.draw_trend([
        make_row(drift=1000, failed=1, lag_left_s=7200.0),
        make_row(drift=500, lag_left_s=3600.0),
        make_row(),
    ])
    most, half, nothing = drawn.bars
    assert (most.drift_height, half.drift_height, nothing.drift_height) == (36, 18, 0)
    assert (most.failed_height, half.failed_height) == (view.SMALLEST_BAR_PX, 0)
    assert (most.lag_height, half.lag_height, nothing.lag_height) == (18, 9, 0)
    for bar in drawn.bars:
        assert bar.drift_y + bar.drift_height == view.TREND.drift
        assert bar.failed_y + bar.failed_height <= view.TREND.lag_base - view.TREND.lag
        assert bar.lag_y + bar.lag_height == view.TREND.lag_base


def test_more_failures_than_drift_stay_within_their_strip():
    [bar] = view.draw_trend([make_row(drift=10, failed=1000)]).bars
    assert bar.failed_height == view.TREND.failed


def test_no_runs_make_an_empty_drawing():
    assert view.draw_trend([]).bars == ()
    assert view.draw_trend([make_row()]).most_drift == 0


def test_buckets_are_summed_up_by_name_newest_run_first_with_the_unreadable_among_them():
    rows = (make_row(started_at=NOW - timedelta(hours=5), drift=9), make_row(drift=4, done=4))
    found = view.summarise({
        "b": BucketHistory(bucket="b", rows=rows),
        "a": "is no history",
        "c": BucketHistory(bucket="c", rows=(make_row(drift=8),)),
        "d": BucketHistory(bucket="d"),
    })
    assert [one.bucket for one in found] == ["a", "b", "c", "d"]
    assert found[0].problem == "is no history"
    assert found[1].last == rows[1]
    assert [one.drift_share for one in found] == [0, 0.5, 1, 0]
    assert found[3].last is None


# --------------------------------------------------------------------------- one run


@pytest.mark.parametrize(
    ("changed", "tone", "text"),
    [
        ({}, "ok", "1 not in step, of 5,000 assets in 1 bucket; 1 put right"),
        (
            {"dry_run": True},
            "ok",
            "1 not in step, of 5,000 assets in 1 bucket; 1 would be put right",
        ),
        ({"failed": {"x": "y"}}, "bad", "1 failed, of 5,000 assets in 1 bucket; 1 put right"),
        (
            {"failed": {"x": "y"}, "dry_run": True},
            "bad",
            "1 would fail, of 5,000 assets in 1 bucket; 1 would be put right",
        ),
        (
            {"buckets": (BucketReport(bucket="b", unchanged=7),)},
            "ok",
            "Nothing to do: none of 7 assets in 1 bucket was out of step",
        ),
        ({"buckets": ()}, "warn", "No asset was looked at"),
    ],
)
def test_the_verdict_is_one_sentence(changed, tone, text):
    found = view.verdict(make_report(**changed))
    assert (found.tone, found.text) == (tone, text)


def test_every_outcome_that_happened_can_be_seen_and_all_fill_the_bar():
    shares = view.outcome_shares(BucketReport(bucket="b", unchanged=1_000_000, failed=1))
    assert sum(one.share for one in shares) == pytest.approx(1)
    assert {one.name: one.share > 0.005 for one in shares} == {
        "failed": True, "skipped": False, "done": False, "unchanged": True,
    }  # fmt: skip
    assert sum(one.share for one in view.outcome_shares(BucketReport(bucket="b"))) == 0


def test_changes_are_ordered_by_their_number():
    found = view.amounts({"copies_made": 5, "core_files_written": 10, "aggregates_built": 0})
    assert [(one.name, one.share) for one in found] == [
        ("core_files_written", 1),
        ("copies_made", 0.5),
    ]


def test_all_eight_cases_are_explained():
    found = view.case_counts({"2": 4, "8": 8})
    assert [one.number for one in found] == list(range(1, 9))
    assert len(found) == len(CASES)
    assert found[1].where == "in the record and the root"
    assert found[1].what == (
        "copy the root file to a dated copy, then write the root file from the record"
    )
    assert (found[1].count, found[1].share) == (4, 0.5)
    assert (found[7].where, found[7].what) == ("nowhere", "nothing to do")


def test_the_lag_is_told_from_the_beginning_and_from_the_end():
    began, ended = NOW, NOW + timedelta(minutes=10)
    left = BucketReport(
        bucket="b",
        drift=2,
        done=1,
        oldest_found_at=NOW - timedelta(hours=1),
        oldest_left_at=NOW - timedelta(minutes=5),
    )
    assert [one.text for one in view.lag_words(left, began, ended)] == ["1 h", "15 min"]
    step = BucketReport(bucket="b", drift=1, done=1, oldest_found_at=NOW - timedelta(hours=1))
    assert [one.text for one in view.lag_words(step, began, ended)] == ["1 h", "in step"]
    lost = BucketReport(bucket="b", problem="1000 records were not examined")
    assert [one.text for one in view.lag_words(lost, began, ended)] == ["not known", "not known"]


def test_failures_of_one_reason_are_one_group_and_the_largest_comes_first():
    groups = view.group_failures({"a": "alone", "b": "refused", "c": "refused"})
    assert [(one.reason, one.items) for one in groups] == [
        ("refused", ("b", "c")),
        ("alone", ("a",)),
    ]


def test_settings_are_called_as_the_trigger_form_calls_them():
    request = make_plan(("a", "b")).request.model_copy(update={"lookback_days": None})
    words = view.setting_words(request)
    assert words["Buckets"] == "a, b"
    assert words["Only these assets"] == "all"
    assert words["Look back"] == "no limit"
    assert words["Dry run"] == "no"
    assert words["Removals at most"] == "200"


# --------------------------------------------------------------------------- lists

LINES = (
    make_line(1),
    make_line(2, Outcome.SKIPPED, reason="A run uploads into it"),
    make_line(3, Outcome.FAILED, reason="AccessDenied"),
)


@pytest.mark.parametrize(
    ("outcome", "text", "found"),
    [
        ("", "", [3, 1, 2]),
        ("skipped", "", [2]),
        ("no such outcome", "", [3, 1, 2]),
        ("", " UPLOADS into ", [2]),
        ("", "subject.json", [3, 1]),
        ("failed", "subject.json", [3]),
        ("", "712302", [2]),
        ("done", "uploads", []),
    ],
)
def test_lines_are_chosen_by_outcome_and_text_with_the_failed_ones_first(outcome, text, found):
    chosen = view.LineFilter.of(outcome, text).choose(LINES)
    assert [LINES.index(line) + 1 for line in chosen] == found


@pytest.mark.parametrize(
    ("asked", "number", "first", "last"),
    [
        ("", 1, 1, 200),
        ("2", 2, 201, 400),
        ("3", 3, 401, 450),
        ("99", 3, 401, 450),
        ("0", 1, 1, 200),
        ("-1", 1, 1, 200),
        ("two", 1, 1, 200),
        ("²", 1, 1, 200),
        ("9" * 5000, 1, 1, 200),
    ],
)
def test_a_page_is_the_nearest_that_there_is(asked, number, first, last):
    page = view.page_of(range(1, 451), asked)
    assert (page.number, page.first, page.last) == (number, first, last)
    assert (page.items[0], page.items[-1]) == (first, last)


def test_an_empty_list_has_one_empty_page():
    page = view.page_of([], "3")
    assert (page.number, page.pages, page.first, page.last) == (1, 1, 0, 0)


# --------------------------------------------------------------------------- progress


def test_progress_counts_the_slices_with_a_report():
    plan = make_plan(("a", "b"))
    names = [one.name for one in plan.buckets["a"].slices]
    found = view.progress(plan, {names[0], "of another run"}, {names[1]})
    assert (found.done, found.total, found.failed) == (1, 6, 1)
    assert found.share == pytest.approx(1 / 6)
    a, b = found.buckets
    assert (a.assets_done, a.assets_total, b.done) == (3000, 5000, 0)


def test_a_slice_that_failed_and_was_examined_after_all_is_no_failure():
    plan = make_plan()
    names = {one.name for one in plan.slices}
    found = view.progress(plan, names, names)
    assert (found.failed, found.share) == (0, 1)
    assert found.doing == "deciding on the removals, then writing the report"


def test_a_run_without_slices_has_nothing_left_to_examine():
    assert view.progress(make_plan(buckets=("b",)), (), ()).share == 0
    empty = make_plan().model_copy(update={"buckets": {}})
    assert view.progress(empty, (), ()).share == 1


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        (timedelta(seconds=-3), 5),
        (timedelta(minutes=9), 5),
        (timedelta(minutes=10), 30),
        (timedelta(hours=2), 300),
        (timedelta(days=1), None),
        (timedelta(days=40), None),
    ],
)
def test_the_longer_a_run_takes_the_less_often_its_page_looks_again(age, seconds):
    assert view.look_again_s(NOW - age, NOW) == seconds
