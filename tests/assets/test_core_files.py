"""Core files: their names, their one text form, and what is not a core file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.assets.canonical import canonical_text
from include.assets.core_files import (
    ALL_CORE_FIELDS,
    CORE_FIELDS,
    Generation,
    generation_of,
    parse_core_file,
    read_core_file,
    schema_class,
    schema_problems,
    write_core_file,
)
from include.errors import InvalidInput, TransientError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_the_schema_library_has_the_same_fields_in_the_same_order() -> None:
    from aind_data_schema.core import metadata

    assert CORE_FIELDS[Generation.V2] == tuple(metadata.CORE_FILES)


@pytest.mark.parametrize("field", CORE_FIELDS[Generation.V2])
def test_every_field_has_a_schema_class_that_names_its_file(field: str) -> None:
    assert schema_class(field).default_filename() == f"{field}.json"
    assert schema_problems(field, {}), "an empty object is no valid core file"


def test_generation_one_fields_have_no_schema_class() -> None:
    with pytest.raises(KeyError):
        schema_class("rig")


@pytest.mark.parametrize(
    ("contents", "generation"),
    [
        pytest.param({}, Generation.V2, id="nothing at all"),
        pytest.param({"rig": {}}, Generation.V1, id="a rig"),
        pytest.param({"session": {}, "instrument": {}}, Generation.V1, id="a session"),
        pytest.param(
            {"data_description": {"schema_version": "1.0.4"}}, Generation.V1, id="old version"
        ),
        pytest.param(
            {"data_description": {"schema_version": "2.4.2"}}, Generation.V2, id="new version"
        ),
        pytest.param({"data_description": {}}, Generation.V2, id="no version"),
    ],
)
def test_the_generation_is_told_by_rig_session_or_version(
    contents: dict[str, dict[str, Any]], generation: Generation
) -> None:
    assert generation_of(contents) is generation


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        ({}, "99914b932bd37a50b983c5e7c90ae93b"),
        ([], "d751713988987e9331980363e24189ce"),
        ({"b": 1, "a": [1.0, 2.5, 1e20, 1e-7]}, "e702d32fca0e1f8293c1c9aa27ebfb91"),
        (
            {"é": "東京", "Z": None, "a": True, "nested": {"b": [], "a": {}}},
            "04bd1e265e8f8d167bdcdf93bc74e66c",
        ),
        ({"q": 'a"b\\c\n\t/', "u": "\u2028"}, "c5eb8414cc219d3d3572a853f626865b"),
        ([1, {"b": 2, "a": 1}], "6a134b9c555455a20760635e4c75ec06"),
    ],
)
def test_the_canonical_text_is_the_one_that_the_indexing_jobs_compare(
    content: Any, digest: str
) -> None:
    assert hashlib.md5(canonical_text(content).encode()).hexdigest() == digest


@given(st.dictionaries(st.text(), JSON))
def test_an_object_written_and_parsed_is_the_same(content: dict[str, Any]) -> None:
    text = canonical_text(content).encode()
    assert canonical_text(parse_core_file("x.json", text)).encode() == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b" \n", "empty", id="only white space"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', "byte-order mark", id="BOM"),
        pytest.param('{"a": "é"}'.encode("latin-1"), "not UTF-8", id="latin-1"),
        pytest.param('{"a": 1}'.encode("utf-16"), "not UTF-8", id="UTF-16"),
        pytest.param(b'{"a": {"b": 1', "does not parse as JSON", id="truncated"),
        pytest.param(b'{"a": 1}}', "does not parse as JSON", id="something behind it"),
        pytest.param(b"[{}]", "a list, not a JSON object", id="list"),
        pytest.param(b"null", "null, not a JSON object", id="null"),
        pytest.param(b'"text"', "a str, not a JSON object", id="text"),
        pytest.param(b'{"a": ' + b"[" * 100_000, "does not parse as JSON", id="too deep"),
        pytest.param(b'{"a": "\\ud800"}', "not UTF-8", id="half a surrogate pair"),
    ],
)
def test_what_is_no_core_file_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_core_file("/source/subject.json", text)
    [problem] = refused.value.problems
    assert problem.item == "/source/subject.json"
    assert reason in problem.reason
    assert problem.fix


@given(st.binary(max_size=40))
def test_any_bytes_are_either_an_object_or_refused(text: bytes) -> None:
    try:
        content = parse_core_file("x.json", text)
    except InvalidInput:
        return
    assert isinstance(content, dict)


@given(content=st.dictionaries(st.text(max_size=5), st.integers()), cut=st.integers(1, 10))
def test_a_file_cut_short_is_never_taken_for_whole(content: dict[str, int], cut: int) -> None:
    text = json.dumps(content).encode()
    with pytest.raises(InvalidInput):
        parse_core_file("x.json", text[: max(0, len(text) - cut)])


def test_a_file_that_is_not_there_is_absent(tmp_path: Path) -> None:
    assert read_core_file(tmp_path / "subject.json") is None


def test_a_broken_link_a_folder_and_a_path_through_a_file_are_not_absences(
    tmp_path: Path,
) -> None:
    (tmp_path / "subject.json").symlink_to(tmp_path / "gone.json")
    (tmp_path / "procedures.json").mkdir()
    (tmp_path / "file").write_text("")
    for path in ("subject.json", "procedures.json", "file/rig.json"):
        with pytest.raises(InvalidInput, match=path):
            read_core_file(tmp_path / path)


def test_a_file_system_that_does_not_answer_is_asked_again(tmp_path: Path) -> None:
    loop = tmp_path / "subject.json"
    loop.symlink_to(loop)
    with pytest.raises(TransientError, match=r"subject\.json could not be read"):
        read_core_file(loop)


def test_writing_leaves_one_whole_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path, work = tmp_path / "asset" / "subject.json", tmp_path / "work"
    assert write_core_file(path, b"{}", work_folder=work)
    assert not write_core_file(path, b"{}", work_folder=work), "unchanged: nothing to write"
    assert write_core_file(path, b'{"a": 1}', work_folder=work)
    assert path.read_bytes() == b'{"a": 1}'
    assert [entry.name for entry in path.parent.iterdir()] == ["subject.json"]


def test_writing_replaces_a_link_and_spares_what_it_points_to(tmp_path: Path) -> None:
    source, path = tmp_path / "raw.json", tmp_path / "asset" / "subject.json"
    source.write_text("raw")
    path.parent.mkdir()
    path.symlink_to(source)
    write_core_file(path, b"{}", work_folder=tmp_path / "work")
    assert not path.is_symlink()
    assert source.read_text() == "raw"


def test_all_fields_of_both_generations_are_known_once() -> None:
    assert sorted(ALL_CORE_FIELDS) == sorted({f for fields in CORE_FIELDS.values() for f in fields})
