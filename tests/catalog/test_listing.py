"""One listing answers as a naive search through all keys would."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.assets.stored_object import StoredObject
from include.catalog.listing import DatasetListing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATTERNS = [
    "*",
    "*/x",
    "*/*",
    "*[0-9]",
    "*/*[0-9].json",
    "x/*/x",
    "*_a*",
    "a*",
    "x",
    "a/x",
    "[!0-9]*",
]
PARTS = st.one_of(
    st.sampled_from([
        "a",
        "a-b",
        "a0",
        "a.json",
        "1.json",
        "x",
        "x_a",
        "TS [1]",
        "*",
        "?",
        "",
        "é",
        "\n",
    ]),
    st.text("a/*[].-0\U0010ffff\x00", max_size=4),
)
KEYS = st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "30001/" + "/".join(parts))
CONTENTS = st.dictionaries(KEYS, st.integers(0, 2**40), max_size=25)


def listing(sizes: dict[str, int], prefix: str = "30001/") -> DatasetListing:
    return DatasetListing(
        prefix, (StoredObject(key, size, "e", NOW) for key, size in sizes.items())
    )


def prefixes_of(sizes: dict[str, int]) -> set[str]:
    parts = (key.split("/") for key in sizes)
    return {"/".join(one[:n]) + "/" for one in parts for n in range(1, len(one))} | {"30001/"}


@given(CONTENTS, KEYS)
def test_sizes_and_existence_are_those_of_a_search_through_all_keys(
    sizes: dict[str, int], other: str
):
    found = listing(sizes)
    assert len(found) == len(sizes)
    for path in {*sizes, *prefixes_of(sizes), other, *(one + "/" for one in sizes)}:
        below = path if path.endswith("/") else path + "/"
        expected = sum(size for key, size in sizes.items() if key == path or key.startswith(below))
        assert found.size_of(path) == expected
        assert found.has(path) == (path in sizes)
    assert found.size_of("30001/") == sum(sizes.values())


@given(CONTENTS, KEYS)
def test_children_are_those_of_a_search_through_all_keys(sizes: dict[str, int], other: str):
    found = listing(sizes)
    for prefix in {*prefixes_of(sizes), other + "/"}:
        rests = [key.removeprefix(prefix) for key in sizes if key.startswith(prefix)]
        folders = {rest.partition("/")[0] + "/" for rest in rests if "/" in rest}
        assert found.folders(prefix) == [name[:-1] for name in sorted(folders)]
        assert found.files(prefix) == sorted(rest for rest in rests if rest and "/" not in rest)


@given(CONTENTS, st.sampled_from(PATTERNS))
def test_matches_are_those_of_a_search_through_all_keys(sizes: dict[str, int], pattern: str):
    expression = re.compile(translate(pattern).replace(".*", "[^/]*"), re.DOTALL)
    found = listing(sizes)
    for prefix in prefixes_of(sizes):
        expected = sorted(
            key
            for key in sizes
            if key.startswith(prefix)
            and not key.endswith("/")
            and key.count("/") == prefix.count("/") + pattern.count("/")
            and expression.match(key[len(prefix) :])
        )
        assert found.match(prefix, pattern) == expected


def test_a_path_ends_where_its_name_ends():
    found = listing({
        "30001/frame1": 1,
        "30001/frame10": 10,
        "30001/frame1.bak": 100,
        "30001/frame1/x": 1000,
    })
    assert found.size_of("30001/frame1") == 1001
    assert found.size_of("30001/frame1/") == 1000
    assert found.size_of("30001/frame") == 0


@pytest.mark.parametrize("run", ["TS [1]", "a*", "a?b", "50%_x", "{x}", r"back\slash", "a b"])
def test_a_run_may_have_any_name(run: str):
    tail = "Alignments/100/alignment_metadata.json"
    found = listing({f"30001/{run}/{tail}": 5, f"30001/other/{tail}": 5})
    assert found.match(f"30001/{run}/", "Alignments/*/alignment_metadata.json") == [
        f"30001/{run}/{tail}"
    ]
    assert found.folders("30001/") == sorted([run, "other"])


def test_what_ends_a_bracket_is_a_name_where_there_is_no_class():
    found = listing({"30001/a[b": 1, "30001/a]": 1, "30001/[]": 1})
    assert found.match("30001/", "a[b") == ["30001/a[b"]
    assert found.match("30001/", "*]") == ["30001/[]", "30001/a]"]


def test_folders_come_in_the_order_of_their_keys():
    found = listing({"30001/v9/x": 1, "30001/v12/x": 1, "30001/v12.3/x": 1})
    assert found.folders("30001/") == ["v12.3", "v12", "v9"]


def test_the_marker_of_a_folder_is_no_file():
    found = listing({"30001/a/": 0, "30001/a/x": 1})
    assert (found.files("30001/a/"), found.match("30001/", "a/*")) == (["x"], ["30001/a/x"])


def test_an_object_listed_twice_counts_once():
    objects = [StoredObject("30001/a", size, "e", NOW) for size in (1, 2)]
    found = DatasetListing("30001/", objects)
    assert (len(found), found.size_of("30001/")) == (1, 2)


@pytest.mark.parametrize("path", ["30002/x", "3000", "30001", "300010/x", ""])
def test_what_was_not_listed_is_never_called_absent(path: str):
    found = listing({"30001/a": 1})
    assert not found.covers(path)
    for ask in (found.has, found.size_of):
        with pytest.raises(ValueError, match="not below"):
            ask(path)


def test_a_whole_bucket_covers_everything():
    found = listing({"30001/a": 1, "30002/b": 2, "c": 4}, prefix="")
    assert (found.folders(""), found.files(""), found.size_of("")) == (["30001", "30002"], ["c"], 7)
    assert found.match("", "*/[ab]") == ["30001/a", "30002/b"]


def test_prefixes_end_with_a_slash():
    with pytest.raises(ValueError, match="slash"):
        listing({}, prefix="30001")
    for ask in (listing({}).folders, listing({}).files, lambda text: listing({}).match(text, "*")):
        with pytest.raises(ValueError, match="slash"):
            ask("30001/a")
    with pytest.raises(ValueError, match="not lie below"):
        listing({"30002/a": 1})
