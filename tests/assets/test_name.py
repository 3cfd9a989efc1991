"""Names of raw and derived assets: parsing and printing are one pair."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.assets.name import (
    DerivedAssetName,
    RawAssetName,
    parse_asset_name,
    unsafe_part,
)
from include.assets.platform import PLATFORMS
from include.errors import InvalidInput

ACQUIRED = datetime(2024, 3, 5, 14, 22, 10)  # noqa: DTZ001
RAW = "ecephys_712345_2024-03-05_14-22-10"
DERIVED = f"{RAW}_sorted_2024-03-06_01-02-03"

moments = st.datetimes(min_value=datetime(1, 1, 1)).map(lambda m: m.replace(microsecond=0))  # noqa: DTZ001
parts = (
    st.text(st.sampled_from("ab_-19é. "), min_size=1, max_size=12)
    | st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), min_size=1)
).filter(lambda text: unsafe_part(text) is None)


@given(parts, moments)
def test_a_raw_name_is_read_back_as_it_was_printed(label, acquired):
    name = RawAssetName(label, acquired)
    assert parse_asset_name(str(name)) == name


@given(parts, moments, st.lists(st.tuples(parts, moments), min_size=1, max_size=3))
def test_a_chain_of_derived_names_is_read_back_as_it_was_printed(label, acquired, steps):
    name = RawAssetName(label, acquired)
    for process, created in steps:
        name = DerivedAssetName(name, process, created)
    read = parse_asset_name(str(name))
    assert read == name
    assert read.raw == RawAssetName(label, acquired)


@given(st.text(max_size=40) | st.from_regex(r"\A[a-z_]{1,9}_2024-0[1-3]-3[01]_1[0-9]-60-00\Z"))
def test_any_text_is_read_and_printed_the_same_or_refused(text):
    with suppress(InvalidInput):
        assert str(parse_asset_name(text)) == text


def test_platform_and_subject_are_seen_in_a_former_name():
    name = RawAssetName.parse(RAW)
    assert name.platform is PLATFORMS["ecephys"]
    assert name.subject_id == "712345"


@pytest.mark.parametrize("label", ["712345", "mouse_7", "ecephys"])
def test_without_a_platform_the_label_is_the_subject(label):
    name = RawAssetName(label, ACQUIRED)
    assert name.platform is None
    assert name.subject_id == label


def test_a_derived_name_is_tried_first_and_on_the_whole_text():
    assert isinstance(parse_asset_name(DERIVED), DerivedAssetName)
    with pytest.raises(InvalidInput):
        parse_asset_name(f"{DERIVED}.zarr")
    with pytest.raises(InvalidInput, match="expected <label>"):
        RawAssetName.parse(DERIVED)


def test_the_input_of_a_derived_name_may_be_derived():
    name = parse_asset_name(f"{DERIVED}_curated_2024-03-07_00-00-00")
    assert str(name.input) == DERIVED
    assert name.process == "curated"
    assert str(name.raw) == RAW


@pytest.mark.parametrize(
    "moment",
    [
        ACQUIRED.replace(tzinfo=UTC),
        ACQUIRED.replace(tzinfo=timezone(timedelta(hours=-8))),
        ACQUIRED.replace(microsecond=999_999),
    ],
    ids=["zone", "offset", "fraction"],
)
def test_the_wall_clock_digits_are_taken_as_they_are(moment):
    assert str(RawAssetName.of("712345", moment)) == "712345_2024-03-05_14-22-10"


@pytest.mark.parametrize(
    "text", ["", "712345", "_2024-03-05_14-22-10", "712345_2024-02-30_14-22-10", "s3://b/c"]
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(InvalidInput):
        parse_asset_name(text)


@pytest.mark.parametrize(
    "label",
    [
        "",
        "  ",
        " 7",
        "7 ",
        ".7",
        "-7",
        "a/b",
        "a\\b",
        "a..b",
        "a\x00b",
        "a\nb",
        "a\u200bb",
        "\ud800",
        "a" * 181,
        "2024-01-01_00-00-00",
        "a_2024-01-01_00-00-00_b",
    ],
)
def test_a_label_that_would_not_be_safe_as_a_folder_is_refused(label):
    with pytest.raises(InvalidInput, match="label"):
        RawAssetName(label, ACQUIRED)
