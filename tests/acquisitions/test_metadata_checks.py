"""The check before the data is transformed: every problem at once, in the words labs know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.acquisitions.metadata_checks import check_metadata_files
from include.assets.core_files import ALL_CORE_FIELDS, EXCLUSIVE_FIELDS, REQUIRED_FIELDS, Generation
from include.errors import InvalidInput
from include.local.sample_metadata import sample_acquisition
from tests.acquisitions.metadata_fakes import ACQUISITION, INSTRUMENT, STARTED_AT, Place

COMPLETE: dict[str, Any] = {
    field: {}
    for field in ("subject", "procedures", "data_description", "instrument", "acquisition")
}


def put(folder: Path, files: dict[str, Any]) -> Path:
    for field, content in files.items():
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / f"{field}.json").write_bytes(text)
    return folder


def reasons(folder: Path, **choices: Any) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        check_metadata_files(folder, **choices)
    return [problem.reason for problem in refused.value.problems]


def test_the_required_files_and_one_of_each_pair_are_enough(tmp_path: Path) -> None:
    (put(tmp_path, COMPLETE) / "notes.json").write_text("not a core file, not our business")
    checked = check_metadata_files(tmp_path)
    assert set(checked.present) == COMPLETE.keys()
    assert checked.generation is Generation.V2


def test_generation_one_is_as_good(tmp_path: Path) -> None:
    files = COMPLETE | {"rig": {}, "session": {}}
    for newer in ("instrument", "acquisition"):
        del files[newer]
    assert check_metadata_files(put(tmp_path, files)).generation is Generation.V1


def test_an_empty_folder_has_every_problem_in_the_known_words(tmp_path: Path) -> None:
    assert reasons(tmp_path) == [
        "Missing required files: {'data_description.json', 'subject.json', 'procedures.json'}",
        "Neither of the files in {'instrument.json', 'rig.json'} exist!",
        "Neither of the files in {'acquisition.json', 'session.json'} exist!",
    ]


def test_both_of_a_pair_are_too_many(tmp_path: Path) -> None:
    put(tmp_path, COMPLETE | {"rig": {}})
    assert reasons(tmp_path) == ["Only one of {'instrument.json', 'rig.json'} can be present!"]


def test_an_acquisition_recorded_elsewhere_needs_no_instrument(tmp_path: Path) -> None:
    external = sample_acquisition("632269", STARTED_AT, ["pophys"])
    files = COMPLETE | {"acquisition": external}
    del files["instrument"]
    assert "instrument" not in check_metadata_files(put(tmp_path, files)).present


def test_an_unusable_file_is_present_but_refused(tmp_path: Path) -> None:
    put(tmp_path, COMPLETE | {"subject": b"[1]", "quality_control": b"{", "instrument": b""})
    found = reasons(tmp_path)
    assert len(found) == 3
    assert not any("Missing" in reason or "Neither" in reason for reason in found)


def test_the_schema_level_says_what_the_schema_says(tmp_path: Path) -> None:
    put(tmp_path, COMPLETE | {"instrument": INSTRUMENT, "acquisition": ACQUISITION})
    found = reasons(tmp_path, level="schema")
    assert "subject_id: Field required" in found
    assert not any("instrument_id" in reason for reason in found)


def test_what_was_gathered_passes_the_schema_level(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.give(acquisition=ACQUISITION, instrument=INSTRUMENT)
    place.gather()
    assert check_metadata_files(place.asset, level="schema").generation is Generation.V2


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(present=st.sets(st.sampled_from(ALL_CORE_FIELDS)))
def test_any_set_of_files_passes_exactly_when_it_is_complete(
    tmp_path_factory: pytest.TempPathFactory, present: set[str]
) -> None:
    folder = put(tmp_path_factory.mktemp("asset"), {field: {} for field in present})
    complete = set(REQUIRED_FIELDS) <= present and all(
        len(present & set(pair)) == 1 for pair in EXCLUSIVE_FIELDS
    )
    if complete:
        assert set(check_metadata_files(folder).present) == present
    else:
        assert reasons(folder)
