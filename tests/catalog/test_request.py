"""What an import can be asked: names of the original's tools, parts, and every mistake at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from include.catalog.discovery import DatasetFolder
from include.catalog.documents import UnreadableDocument
from include.catalog.imports import DeletionLimits
from include.catalog.parts import ALWAYS, PARTS, with_needed
from include.catalog.report import DatasetReport, TableReport
from include.catalog.request import (
    ALIASES,
    ELSEWHERE,
    FIELDS,
    PART_FIELDS,
    IngestRequest,
    defaults,
    preset_that_counts,
    read_request,
)
from include.catalog.run_plan import (
    MOST_ALONE,
    SHARES,
    IngestPlan,
    IngestSlice,
    discovery_problems,
    share_datasets,
)
from include.catalog.run_report import as_table, ingest_report
from include.errors import InvalidInput, RunIncomplete


def read(**params: Any) -> IngestRequest:
    return read_request(params, usual_bucket="open", usual_https_prefix="https://usual.example")


def test_nothing_given_is_datasets_alone_from_the_usual_bucket():
    request = read()
    assert (request.s3_bucket, request.https_prefix) == ("open", "https://usual.example")
    assert request.parts == ALWAYS
    assert not request.dry_run
    limits = DeletionLimits()
    assert (request.max_deleted_rows, request.max_deleted_share) == (limits.rows, limits.share)


def test_the_form_with_nothing_changed_is_the_usual_import():
    assert read(**defaults()) == read()


def test_blank_lines_of_the_form_ask_for_nothing():
    """An expression of nothing would match every dataset."""
    lists = {name: ["", " "] for name, field in FIELDS.items() if "items" in field}
    assert read(**lists) == read()
    assert read(match_datasets=["10.*", ""]) == read(match_datasets=["10.*"])


@pytest.mark.parametrize("name", FIELDS)
def test_an_empty_field_is_none(name: str):
    empty: Any = [] if "items" in FIELDS[name] else None
    assert read(**{name: empty}) == read()
    assert read(https_prefix="") == read()


def test_every_field_of_the_form_is_one_of_the_request():
    assert set(FIELDS) == set(IngestRequest.model_fields)
    assert set(PART_FIELDS.values()) == set(PARTS)
    for name, field in FIELDS.items():
        assert {"title", "description", "type", "default"} <= field.keys(), name


def test_everything_is_every_part():
    assert read(import_everything=True).parts == with_needed(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_brings_what_it_needs(part: str):
    assert read(**{f"import_{part}": True}).parts == with_needed([part])


def test_without_an_address_it_is_the_usual_one():
    assert read(https_prefix=None).https_prefix == "https://usual.example"
    assert read(https_prefix="https://foo.com/").https_prefix == "https://foo.com"


def test_names_of_datasets_come_with_or_without_slash():
    assert read(filter_datasets=["30001/", "30001", "2"]).filter_datasets == ["30001", "2"]
    assert read(s3_prefix="30001/").s3_prefix == "30001/"


@pytest.mark.parametrize("alias", ALIASES)
def test_one_entry_of_a_list_may_be_called_as_the_original_did(alias: str):
    value = 300 if alias == "deposition_id" else "300"
    assert getattr(read(**{alias: value}), ALIASES[alias]) == [value]


def test_what_several_names_of_one_list_say_comes_together():
    request = read(filter_datasets=["1"], include_datasets=["2"], include_dataset="3")
    assert sorted(request.filter_datasets) == ["1", "2", "3"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_setting_that_is_said_elsewhere_tells_where_and_repeats_no_secret(name: str):
    with pytest.raises(InvalidInput) as refused:
        read(**{name: "postgresql://me:hunter2@host/db"})
    assert ELSEWHERE[name] in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_every_mistake_is_told_at_once():
    with pytest.raises(InvalidInput) as refused:
        read(
            import_tomogramms=True,
            s3_bucket="s3://one/",
            https_prefix="foo.com",
            s3_prefix="30001/RUN1",
            filter_datasets=["a/b"],
            match_datasets=["("],
            exclude_datasets=["*"],
            deposition_ids=["300"],
            import_runs="yes",
            max_deleted_rows=-1,
            max_deleted_share=2,
            postgres_url="x",
        )
    text = str(refused.value)
    assert text.startswith("12 problems")
    for words in (
        "did you mean import_tomograms?",
        "without s3:// and slashes",
        "'foo.com' is no address",
        "not the beginning of a name",
        "'a/b' is not the name of one dataset",
        "match_datasets: '(' is no regular expression",
        "exclude_datasets: '*' is no regular expression",
        "deposition_ids.0: Input should be a valid integer",
        "import_runs: Input should be a valid boolean",
        "max_deleted_rows: Input should be greater than or equal to 0",
        "max_deleted_share: Input should be less than or equal to 1",
        "assetflow_postgres",
    ):
        assert words in text


def test_whoever_chooses_parts_does_not_get_everything_because_a_preset_says_so():
    preset = {"import_everything": True, "anonymous": True}
    assert preset_that_counts(preset, {"import_gains": True}) == {"anonymous": True}
    assert preset_that_counts(preset, defaults()) == preset


# -- the plan


def plan(
    request: IngestRequest, *slices: IngestSlice, problems: tuple[str, ...] = ()
) -> IngestPlan:
    return IngestPlan(
        run_id="r",
        run_key="k",
        started_at=datetime(2026, 11, 25, tzinfo=UTC),
        request=request,
        slices=slices,
        problems=problems,
    )


def test_a_plan_survives_being_written_down():
    before = plan(read(deposition_ids=[300], max_deleted_share=1), *share_datasets(["1", "2"]))
    assert IngestPlan.model_validate_json(before.model_dump_json()) == before
    assert before.subjects == {
        "deposition-300": "s3://open/depositions_metadata/300/",
        "dataset-1": "s3://open/1/",
        "dataset-2": "s3://open/2/",
    }


@pytest.mark.parametrize(
    ("count", "tasks"), [(0, 0), (1, 1), (MOST_ALONE, MOST_ALONE), (1001, 48), (10_000, SHARES)]
)
def test_ten_thousand_datasets_are_tens_of_tasks(count: int, tasks: int):
    names = [f"{number:05}" for number in range(count)]
    slices = share_datasets(names)
    assert len(slices) == tasks
    assert len({one.name for one in slices}) == tasks
    assert [name for one in slices for name in one.datasets] == names


def found(*names: str) -> list[DatasetFolder]:
    return [DatasetFolder(name) for name in names]


def test_datasets_that_were_asked_for_and_are_not_there_are_told_by_name():
    request = read(filter_datasets=["1", "2"])
    (problem,) = discovery_problems(request, found("1"))
    assert problem == "2: there is no such dataset: s3://open/2/dataset_metadata.json is not there"
    assert discovery_problems(request, found("1", "2")) == ()


def test_what_was_left_out_on_purpose_is_not_missed():
    request = read(filter_datasets=["1", "2"], exclude_datasets=["2"], s3_prefix="1")
    assert discovery_problems(request, found("1")) == ()
    assert discovery_problems(read(exclude_datasets=[".*"]), [], are_left_out=True) == ()


@pytest.mark.parametrize("exclude", [[], ["9"]])
def test_no_dataset_at_all_is_told(exclude: list[str]):
    (problem,) = discovery_problems(read(s3_prefix="3000l", exclude_datasets=exclude), [])
    assert problem == "s3://open/3000l: there is no dataset that was asked for"


def test_a_folder_that_could_not_be_looked_into_is_told():
    unknown = UnreadableDocument("open", "1/dataset_metadata.json", "AccessDenied: 403", False)  # type: ignore[misc]
    (problem,) = discovery_problems(read(), [DatasetFolder("1", unknown)])
    assert "could not be looked into" in problem
    assert "AccessDenied" in problem


def test_expressions_choose_datasets_from_the_start_of_their_names():
    import re

    patterns = read(match_datasets=["10", "2.$"], exclude_datasets=["103"]).excluded
    left = [
        name
        for name in ("101", "103", "110", "21", "210")
        if not any(re.match(one, name) for one in patterns)
    ]
    assert left == ["101", "21"]


# -- the report


def test_a_report_accounts_for_everything_that_was_asked_for():
    counts = TableReport(created=2, unchanged=1)
    at = plan(read(), *share_datasets(["1", "2", "3", "4"]), problems=("5: is not there",))
    report = ingest_report(
        at,
        {
            "s3://open/1/": DatasetReport(subject="s3://open/1/", tables={"run": counts}),
            "s3://open/2/": DatasetReport(
                subject="s3://open/2/", tables={"run": TableReport(unchanged=4)}
            ),
            "s3://open/3/": DatasetReport(
                subject="s3://open/3/", problems=("a broken document",), refused="too many"
            ),
            "s3://open/4/": None,
        },
        ended_at=datetime(2026, 11, 26, tzinfo=UTC),
    )
    assert (report.asked, report.done, report.unchanged, report.failed) == (5, 1, 1, 3)
    assert report.tables == {"run": TableReport(created=2, unchanged=5)}
    assert [line.subject for line in report.lines] == ["s3://open/1/", "s3://open/3/"]
    with pytest.raises(RunIncomplete) as told:
        report.raise_if_incomplete()
    for words in ("5: is not there", "a broken document", "too many", "s3://open/4/: was not"):
        assert words in str(told.value)


def test_the_table_of_a_log_is_aligned():
    text = as_table({"run": TableReport(created=1234), "tomogram": TableReport(stale=2)})
    assert text.splitlines() == [
        "table     created  updated  unchanged  deleted  stale",
        "run         1,234        0          0        0      0",
        "tomogram        0        0          0        0      2",
    ]
