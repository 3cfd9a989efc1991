"""The canonical text: the sheet of check values, and equality with what Python's own encoder writes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.assets.canonical import canonical_text, digest, object_of_texts

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def reference(value: Any) -> str:
    return json.dumps(value, indent=3, sort_keys=True, ensure_ascii=False, default=str)


@pytest.mark.parametrize(
    ("value", "size_bytes", "md5"),
    [
        ({}, 2, "99914b932bd37a50b983c5e7c90ae93b"),
        ([], 2, "d751713988987e9331980363e24189ce"),
        ("", 2, "9d4568c009d203ab10e33ea9953a0264"),
        (False, 5, "68934a3e9455fa72420237eb05902327"),
        ({"b": 1, "a": [1.0, 2.5, 1e20, 1e-7]}, 76, "e702d32fca0e1f8293c1c9aa27ebfb91"),
        (
            {"é": "東京", "Z": None, "a": True, "nested": {"b": [], "a": {}}},
            99,
            "04bd1e265e8f8d167bdcdf93bc74e66c",
        ),
        ({"q": 'a"b\\c\n\t/', "u": "\u2028"}, 41, "c5eb8414cc219d3d3572a853f626865b"),
        ([1, {"b": 2, "a": 1}], 46, "6a134b9c555455a20760635e4c75ec06"),
    ],
)
def test_the_check_values_of_the_original(value: Any, size_bytes: int, md5: str):
    content = canonical_text(value).encode()
    assert (len(content), digest(content)) == (size_bytes, md5)


@given(value=JSON_VALUES)
def test_any_json_value_is_written_as_python_itself_would(value: Any):
    assert canonical_text(value) == reference(value)


@pytest.mark.parametrize(
    "value",
    [
        {1: 2, 3: {"a": []}},
        {None: [{}]},
        {True: [1, {}]},
        {1.5: [{}]},
        {"a": date(2020, 1, 1), "b": [datetime(2020, 1, 1, tzinfo=UTC), {}]},
        (1, (2, [3])),
        [(), {}],
        date(2020, 1, 1),
    ],
    ids=repr,
)
def test_what_is_no_json_becomes_text_as_python_itself_would(value: Any):
    assert canonical_text(value) == reference(value)


@given(value=st.dictionaries(st.text(), JSON_VALUES))
def test_an_object_can_be_put_together_from_the_texts_of_its_values(value: dict[str, Any]):
    texts = {key: canonical_text(one) for key, one in value.items()}
    assert object_of_texts(texts) == reference(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [([float("nan")], "[\n   NaN\n]"), ({"a": "\ud800"}, '{\n   "a": "\ud800"\n}')],
    ids=["NaN", "half a surrogate pair"],
)
def test_what_no_json_can_hold_is_written_as_python_itself_would(value: Any, text: str):
    assert canonical_text(value) == text == reference(value)


def test_nesting_without_end_is_an_error_of_its_own():
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecursionError):
        canonical_text(value)


def test_keys_that_cannot_be_sorted_together_are_an_error():
    with pytest.raises(TypeError, match="not supported between"):
        canonical_text({"a": 1, 2: 3})
