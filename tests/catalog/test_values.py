"""What converters let through, the database can store; all else is told as one value's problem."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.catalog.enums import TomogramProcessing
from include.catalog.values import (
    DEEPEST,
    Converter,
    UnusableValue,
    as_it_stands,
    one_of,
    shown,
    to_integer,
    to_text,
    walk,
)


def nested(depth: int) -> Any:
    """A list in a list in a list …"""
    return json.loads("[" * depth + "]" * depth)


@pytest.mark.parametrize("value", [["raw"], {"raw": "raw"}, [], {}, 7, True, "RAW", ""], ids=repr)
def test_an_enum_refuses_whatever_is_none_of_its_words(value: Any):
    with pytest.raises(UnusableValue, match="expected one of denoised"):
        one_of([str(word) for word in TomogramProcessing])(value)


@pytest.mark.parametrize(
    ("convert", "value", "words"),
    [
        pytest.param(to_text, "a\0b", "NUL", id="NUL in a text"),
        pytest.param(to_text, ["a", ["b\0"]], "NUL", id="NUL in a list"),
        pytest.param(to_text, nested(DEEPEST + 1), "inside one another", id="a deep list as text"),
        pytest.param(as_it_stands, float("nan"), "nan", id="NaN"),
        pytest.param(as_it_stands, [0.5, {"a": float("-inf")}], "-inf", id="an infinity within"),
        pytest.param(as_it_stands, "a\0b", "NUL", id="NUL in JSON"),
        pytest.param(as_it_stands, {"a": [{"b\0": 1}]}, "NUL", id="NUL in the key of an object"),
        pytest.param(as_it_stands, nested(DEEPEST + 1), "inside one another", id="deep JSON"),
    ],
)
def test_what_the_database_would_refuse_is_refused_before(
    convert: Converter, value: Any, words: str
):
    with pytest.raises(UnusableValue, match=words):
        convert(value)


@pytest.mark.parametrize(
    "value", [None, 0, "x", [], {}, [1, [2.5, None]], {"a": {"b": [True]}}, nested(DEEPEST)]
)
def test_json_is_stored_as_it_stands(value: Any):
    assert as_it_stands(value) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param([[1, 0, 0.5], [0, 1.0, 2.25]], "{{1,0,0.5},{0,1,2.25}}", id="numbers"),
        pytest.param(["a b", 'c"d', "NULL", None, True], '{"a b","c\\"d","NULL",NULL,t}', id="mixed"),
        pytest.param([], "{}", id="nothing"),
        pytest.param(999_999, "999999", id="a number"),
        pytest.param(1.0, "1", id="an integral number"),
    ],
)  # fmt: skip
def test_lists_and_numbers_become_text_as_postgresql_prints_them(value: Any, text: str):
    assert to_text(value) == text


@pytest.mark.parametrize("value", [1, 1.0, "1", " +1 "], ids=repr)
def test_a_whole_number_is_the_same_however_it_is_written(value: Any):
    assert to_integer(value) == 1


@pytest.mark.parametrize(
    "value", ["", [], {"a": 1}, True, 1.5, 2**31, "9" * 20, float("inf")], ids=repr
)
def test_what_is_no_whole_number_of_32_bits_is_refused(value: Any):
    with pytest.raises(UnusableValue, match="expected a whole number"):
        to_integer(value)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"a": {"b": 0}}, 0),
        ({"a": ""}, ""),
        ({"a": {}}, None),
        ({"a": None}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_falsy_value_on_the_way_is_what_is_found(data: Any, found: Any):
    assert walk(data, ("a", "b")) == found


def test_a_message_shows_any_value_in_a_few_words():
    assert len(shown("x" * 1000)) < 70
    assert len(shown(nested(900))) < 70
