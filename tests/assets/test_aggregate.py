"""``metadata.nd.json``: always written, nothing lost, everything wrong with it said."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.assets.aggregate import (
    AggregateReport,
    MetadataStatus,
    aggregate_v1,
    aggregate_v2,
    write_aggregate,
)
from include.assets.canonical import canonical_text
from include.assets.core_files import CORE_FIELDS, Generation, core_file_name
from include.assets.location import AssetLocation
from include.local.sample_metadata import sample_acquisition
from tests.acquisitions.metadata_fakes import (
    ACQUISITION,
    INSTRUMENT,
    PROCEDURES,
    STARTED_AT,
    SUBJECT,
    Place,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOCATION = AssetLocation("private", "ecephys_632269_2023-04-03_18-17-07")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """With all files of a valid asset."""
    place = Place(tmp_path)
    place.give(acquisition=ACQUISITION, instrument=INSTRUMENT)
    place.gather()
    return place


def write(place: Place, now: datetime = NOW) -> AggregateReport:
    return write_aggregate(place.asset, place.work, LOCATION, now=now)


def put(place: Place, field: str, content: Any) -> None:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (place.asset / core_file_name(field)).write_bytes(text)


def test_a_valid_asset_gives_a_valid_record_that_validates_again(place: Place) -> None:
    from aind_data_schema.core.metadata import Metadata

    report = write(place)
    assert report == AggregateReport(status=MetadataStatus.VALID, generation=Generation.V2)
    record = place.content("metadata.nd")
    assert record["name"] == LOCATION.name
    assert record["location"] == str(LOCATION)
    assert Metadata.model_validate(deepcopy(record)).subject is not None
    text = (place.asset / "metadata.nd.json").read_text()
    assert text == canonical_text(record)


def test_the_same_files_give_the_same_bytes(place: Place) -> None:
    write(place)
    before = place.snapshot()
    write(place, NOW + timedelta(days=1))
    assert place.snapshot() == before


def test_every_field_is_there_even_when_its_file_is_not(place: Place) -> None:
    write(place)
    fields = {*CORE_FIELDS[Generation.V2], "name", "location", "other_identifiers"}
    assert fields <= place.content("metadata.nd").keys()
    put(place, "acquisition", {"subject_id": "632269"})
    write(place)
    assert fields <= place.content("metadata.nd").keys()


def test_an_invalid_core_file_goes_in_as_it_stands(place: Place) -> None:
    odd = SUBJECT | {"misspelt_key": {"kept": True}}
    put(place, "subject", odd)
    report = write(place)
    assert report.status is MetadataStatus.INVALID
    assert report.fields.keys() == {"subject"}
    assert place.content("metadata.nd")["subject"] == odd
    assert place.content("metadata.nd")["instrument"]["instrument_id"]


def test_rules_between_files_are_reported_and_nothing_is_dropped(place: Place) -> None:
    put(place, "instrument", INSTRUMENT | {"instrument_id": "another"})
    report = write(place)
    assert report.status is MetadataStatus.INVALID
    assert report.fields == {}
    assert any("Instrument ID" in problem for problem in report.problems)
    assert place.content("metadata.nd")["instrument"]["instrument_id"] == "another"


def test_a_rule_of_the_schema_that_crashes_is_a_problem_like_any_other(place: Place) -> None:
    put(place, "acquisition", sample_acquisition("632269", STARTED_AT, ["pophys"]))
    report = write(place)
    assert report.status is MetadataStatus.INVALID
    assert any("AttributeError" in problem for problem in report.problems)
    assert place.content("metadata.nd")["acquisition"]["subject_id"] == "632269"


def test_an_unusable_file_is_left_out_and_said(place: Place) -> None:
    put(place, "procedures", b'{"subject_id": "63')
    report = write(place)
    assert report.status is MetadataStatus.INVALID
    assert "does not parse" in report.fields["procedures"][0]
    assert place.content("metadata.nd")["procedures"] is None


@pytest.mark.parametrize("left", [{}, {"procedures": PROCEDURES}, {"acquisition": ACQUISITION}])
def test_without_subject_the_status_is_missing(left: dict[str, dict[str, Any]]) -> None:
    record, report = aggregate_v2(LOCATION, left)
    assert report.status is MetadataStatus.MISSING
    assert record["subject"] is None
    assert record["name"] == LOCATION.name


def test_missing_companions_are_warnings_only() -> None:
    _, report = aggregate_v2(LOCATION, {"subject": SUBJECT})
    assert report.status is MetadataStatus.VALID
    assert "Metadata missing required file: procedures" in report.warnings
    assert report.problems == ()


def test_ids_of_other_platforms_are_kept() -> None:
    record, report = aggregate_v2(
        LOCATION, {"subject": SUBJECT}, other_identifiers={"Code Ocean": ["abc"]}
    )
    assert report.status is MetadataStatus.VALID
    assert record["other_identifiers"] == {"Code Ocean": ["abc"]}


def test_what_is_handed_in_is_not_written_into() -> None:
    contents = {"subject": SUBJECT, "acquisition": ACQUISITION, "instrument": INSTRUMENT}
    before = deepcopy(contents)
    aggregate_v2(LOCATION, contents)
    aggregate_v1(LOCATION, contents, now=NOW)
    assert contents == before


def test_generation_one_keeps_its_own_shape_and_its_moments(place: Place) -> None:
    for field in ("instrument", "acquisition"):
        (place.asset / core_file_name(field)).unlink()
    put(place, "rig", {"rig_id": "447"})
    put(place, "session", {"session_type": "x"})
    report = write(place)
    assert report.generation is Generation.V1
    first = place.content("metadata.nd")
    assert first["metadata_status"] == "Unknown"
    assert first["external_links"] == {}
    assert first["rig"] == {"rig_id": "447"}
    assert first["acquisition"] is None
    assert first["subject"] == SUBJECT

    write(place, NOW + timedelta(days=1))
    assert place.content("metadata.nd") == first, "unchanged: no new moment"

    put(place, "rig", {"rig_id": "448"})
    write(place, NOW + timedelta(days=2))
    changed = place.content("metadata.nd")
    assert changed["created"] == first["created"]
    assert changed["last_modified"] > first["last_modified"]
    assert changed["_id"] == first["_id"]


def test_a_broken_generation_one_aggregate_is_written_again(place: Place) -> None:
    put(place, "rig", {"rig_id": "447"})
    (place.asset / "metadata.nd.json").write_text("{")
    write(place)
    assert place.content("metadata.nd")["rig"] == {"rig_id": "447"}


def test_generation_one_without_subject_is_missing() -> None:
    record, report = aggregate_v1(LOCATION, {"rig": {}}, now=NOW)
    assert report.status is MetadataStatus.MISSING
    assert record["metadata_status"] == "Missing"
