"""What an index run can be asked: defaults, names of the original job, and every mistake at once."""

from __future__ import annotations

from typing import Any

import pytest

from include.acquisitions.presets import merge_params
from include.assets.core_files import Generation
from include.assets.run_settings import by_todays_names
from include.errors import InvalidInput
from include.indexing.request import (
    ALIASES,
    ELSEWHERE,
    FIELDS,
    NULLABLE,
    IndexRequest,
    defaults,
    read_request,
)

USUAL = ["open", "private"]


def read(**params: Any) -> IndexRequest:
    return read_request(params, usual_buckets=USUAL)


def test_nothing_given_is_the_usual_run():
    request = read()
    assert request.s3_buckets == USUAL
    assert (request.lookback_days, request.full_pass_days) == (14, 7)
    assert request.schema_generations == [Generation.V1]
    assert (request.max_removals, request.max_removal_share) == (200, 0.05)
    assert not request.dry_run


def test_the_form_with_nothing_changed_is_the_usual_run():
    assert read(**defaults()) == read()


def test_the_settings_of_the_original_job_are_understood():
    request = read(
        s3_buckets=["one", "two"],
        n_partitions=5,
        lookback_days=None,
        copy_original_md_subdir="/original_metadata/",
        run_docdb_sync=True,
        run_s3_sync=False,
    )
    assert request.s3_buckets == ["one", "two"]
    assert request.lookback_days is None
    assert request.copy_original_md_subdir == "original_metadata"
    assert read(s3_bucket="one").s3_buckets == ["one"]
    assert read(s3_bucket="one", s3_buckets=["two", "", " "]).s3_buckets == ["two", "one"]
    assert read(s3_buckets=[""]).s3_buckets == USUAL


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_setting_that_is_said_elsewhere_tells_where(name: str):
    with pytest.raises(InvalidInput) as refused:
        read(**{name: "x"})
    assert ELSEWHERE[name] in str(refused.value)


def test_every_mistake_is_told_at_once():
    with pytest.raises(InvalidInput) as refused:
        read(
            lookbck_days=3,
            lookback_days=0,
            s3_buckets=["s3://one/"],
            schema_generations=["v1", "v3"],
            max_removal_share=2,
            n_partitions="20",
            copy_original_md_subdir="..",
            doc_db_host="x",
        )
    text = str(refused.value)
    assert "8 problems" in text
    for words in (
        "did you mean lookback_days?",
        "lookback_days: Input should be greater than or equal to 1",
        "without s3:// and slashes",
        "no such generation: 'v3'",
        "max_removal_share: Input should be less than or equal to 1",
        "n_partitions: Input should be a valid integer",
        "must be the name of a folder",
        "assetflow_docdb",
    ):
        assert words in text


def test_a_run_that_would_do_nothing_is_refused():
    with pytest.raises(InvalidInput, match="both off"):
        read(run_docdb_sync=False, run_s3_sync=False)


def test_every_field_of_the_form_is_one_of_the_request():
    assert set(FIELDS) == set(IndexRequest.model_fields)
    for name, field in FIELDS.items():
        assert {"title", "description", "type", "default"} <= field.keys(), name


@pytest.mark.parametrize("named", [{"s3_bucket": "x"}, {"s3_buckets": ["x", ""]}])
def test_a_bucket_that_is_named_hides_those_of_the_preset(named: dict[str, Any]):
    conf = by_todays_names(named, ALIASES)
    merged = merge_params({"s3_buckets": ["a", "b"]}, conf, defaults(), nullable=NULLABLE)
    assert read(**merged).s3_buckets == ["x"]


def test_a_bucket_that_is_no_text_is_refused():
    with pytest.raises(InvalidInput, match="s3_buckets"):
        read(s3_bucket=7)
