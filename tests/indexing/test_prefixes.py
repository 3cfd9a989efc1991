"""S3 → DocDB: which folder gets a record, which, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from include.assets.core_files import CORE_FIELDS, Generation
from include.assets.location import AssetLocation
from include.assets.record import record_id
from include.errors import ServiceUnavailable
from include.indexing.prefixes import forgiving_status
from tests.indexing.lab import NAME, OLD, Lab, text

V1, V2 = Generation.V1, Generation.V2
DERIVED = {"data_level": "derived", "name": "x"}
SUBJECT = {"subject_id": "712345"}


def aggregate(lab: Lab, **fields: Any) -> dict[str, Any]:
    """A generation 1 aggregate of the asset, as the upload leaves it."""
    return {
        "_id": "id-of-the-aggregate",
        "name": NAME,
        "location": lab.location(),
        "created": OLD,
        "last_modified": OLD,
        "external_links": {},
        **fields,
    }


def only_record(lab: Lab, collection: Any = None) -> dict[str, Any]:
    records = lab.records(collection)
    assert list(records) == [lab.location()]
    return records[lab.location()]


def assert_in_step(lab: Lab, **how: Any) -> None:
    before = lab.objects()
    again = lab.run(**how)
    assert (again.report.drift, again.report.failed, lab.objects()) == (0, 0, before)


# A folder with a record ----------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["derived", "raw"])
@pytest.mark.parametrize("has_aggregate", [True, False])
@pytest.mark.parametrize("generation", [V1, V2])
def test_a_folder_with_a_record_of_any_generation_is_never_rebuilt(
    lab: Lab, generation: Generation, level: str, *, has_aggregate: bool
):
    lab.add(lab.v1 if generation is V1 else lab.v2, NAME)
    lab.put(NAME, {"data_description.json": {"data_level": level}})
    if has_aggregate:
        lab.put(NAME, {"metadata.nd.json": aggregate(lab)})
    before = lab.objects()
    ran = lab.run(halves=["prefixes"])
    assert (lab.objects(), ran.report.folders_known, ran.lines) == (before, 1, [])


@pytest.mark.parametrize("spelling", ["s3://{}/{}/", "s3://{}//{}"])
def test_a_record_is_known_however_it_spells_its_location(lab: Lab, spelling: str):
    lab.record(location=spelling.format(lab.bucket, NAME))
    lab.put(NAME, {"metadata.nd.json": aggregate(lab)})
    assert lab.run(halves=["prefixes"]).report.folders_known == 1
    assert len(lab.records()) == 1


# A folder without a record, with an aggregate ------------------------------------------------------


@pytest.mark.parametrize("level", ["raw", "derived", None])
def test_an_aggregate_becomes_the_record(lab: Lab, level: str | None):
    lab.put(NAME, {"metadata.nd.json": aggregate(lab, subject=SUBJECT, custom=[1])})
    if level:
        lab.put(NAME, {"data_description.json": {"data_level": level}})
    lab.run(halves=["prefixes"])
    record = only_record(lab)
    assert (record["_id"], record["subject"], record["custom"]) == (
        "id-of-the-aggregate",
        SUBJECT,
        [1],
    )
    assert (record["created"], record["last_modified"] > OLD) == (OLD, True)
    assert lab.objects(NAME)["metadata.nd.json"] == text(record)
    assert_in_step(lab)


def test_files_of_a_new_record_are_copied_then_brought_in_step_field_by_field(lab: Lab):
    lab.put(
        NAME,
        {
            "metadata.nd.json": aggregate(lab, subject=SUBJECT, rig={"rig_id": "1"}, session={}),
            "subject.json": {"as": "uploaded"},  # differs, has a copy already
            "original_metadata/subject.20240102.json": {"first": True},
            "rig.json": {"as": "uploaded"},  # differs
            "procedures.json": {"as": "uploaded"},  # not in the aggregate
            "processing.json": {"late": True},  # not in the aggregate, has a copy already
            "original_metadata/processing.20240102.json": {"late": True},
            "session.json": b"{}",  # as it is to be
        },
    )
    stamp = lab.stamp(f"{NAME}/rig.json")
    lab.run()
    files = lab.objects(NAME)
    assert files.pop("metadata.nd.json") == text(only_record(lab))
    assert files == {
        "subject.json": text(SUBJECT),
        "original_metadata/subject.20240102.json": b'{"first": true}',
        "rig.json": text({"rig_id": "1"}),
        f"original_metadata/rig.{stamp}.json": b'{"as": "uploaded"}',
        f"original_metadata/procedures.{stamp}.json": b'{"as": "uploaded"}',
        "original_metadata/processing.20240102.json": b'{"late": true}',
        "session.json": b"{}",
        f"original_metadata/session.{stamp}.json": b"{}",
    }
    assert_in_step(lab)


@pytest.mark.parametrize(
    "location",
    [
        "s3://another-bucket/" + NAME,
        "s3://{bucket}/another",
        "s3://{bucket}/a/b",
        "nonsense",
        None,
        7,
    ],
)
def test_a_copied_asset_gets_its_real_location_and_an_id_of_its_own(lab: Lab, location: Any):
    place = location.format(bucket=lab.bucket) if isinstance(location, str) else location
    lab.put(NAME, {"metadata.nd.json": aggregate(lab, location=place)})
    ran = lab.run()
    assert only_record(lab)["_id"] == record_id(lab.location())
    line = ran.line(NAME)
    assert line is not None
    assert "an id of its own" in line.reason
    assert_in_step(lab)


@pytest.mark.parametrize("own_id", [None, "", {"$oid": "65"}, 7])
def test_a_right_location_without_an_id_gets_one(lab: Lab, own_id: Any):
    lab.put(NAME, {"metadata.nd.json": aggregate(lab, _id=own_id)})
    lab.run()
    assert only_record(lab)["_id"] == record_id(lab.location())
    assert_in_step(lab)


def test_a_slash_at_the_end_of_the_location_is_left_out(lab: Lab):
    lab.put(NAME, {"metadata.nd.json": aggregate(lab, location=f"{lab.location()}/")})
    lab.run()
    assert only_record(lab)["_id"] == "id-of-the-aggregate"
    assert_in_step(lab)


def test_an_id_that_another_record_has_is_left_to_it(lab: Lab):
    lab.record("original", _id="id-of-the-aggregate")
    lab.put("original", {"data.bin": b"x"})
    lab.put(NAME, {"metadata.nd.json": aggregate(lab)})
    ran = lab.run()
    assert lab.records()[lab.location()]["_id"] == record_id(lab.location())
    assert ran.failed == {}
    assert_in_step(lab)


def test_two_new_folders_with_one_id_get_two(lab: Lab):
    for name in ("copy_1", "copy_2"):
        lab.put(name, {"metadata.nd.json": aggregate(lab, location=lab.location(name))})
    assert lab.run().failed == {}
    assert len({record["_id"] for record in lab.records().values()}) == 2
    assert_in_step(lab)


# A folder without a record and without a usable aggregate ------------------------------------------

UNUSABLE = [
    pytest.param(None, id="no aggregate"),
    pytest.param(b'{"broken', id="broken"),
    pytest.param(b"null", id="null"),
    pytest.param(b"{}", id="empty object"),
    pytest.param(b"[]", id="empty list"),
    pytest.param(b'[{"name": 1}]', id="list"),
    pytest.param(b'{"a": "\xff"}', id="not UTF-8"),
]

NOT_DERIVED = [
    pytest.param(None, id="no file"),
    pytest.param(b'{"data_level": "raw"}', id="raw"),
    pytest.param(b'{"data_level": "simulated"}', id="simulated"),
    pytest.param(b'{"data_level": "Derived"}', id="another case"),
    pytest.param(b'{"data_level": ["derived"]}', id="a list of it"),
    pytest.param(b"{}", id="empty"),
    pytest.param(b"null", id="null"),
    pytest.param(b'["derived"]', id="list"),
    pytest.param(b'{"data_level": "derived"', id="broken"),
    pytest.param(b"\xff", id="not UTF-8"),
]


@pytest.mark.parametrize("content", UNUSABLE)
def test_a_derived_asset_gets_a_record_built_of_its_core_files(lab: Lab, content: bytes | None):
    lab.put(
        NAME,
        {
            "data_description.json": DERIVED,
            "subject.json": SUBJECT,
            "rig.json": b'{"broken',
            "procedures.json": b"null",
            "processing.json": [1, 2],
            "data.bin": b"x",
        },
    )
    if content is not None:
        lab.put(NAME, {"metadata.nd.json": content})
    stamp = lab.stamp(f"{NAME}/rig.json")
    ran = lab.run()
    record = only_record(lab)
    absent = {"rig", "procedures", "session", "acquisition", "instrument", "quality_control"}
    assert {name: record[name] for name in CORE_FIELDS[V1]} == {
        "data_description": DERIVED,
        "subject": SUBJECT,
        "processing": [1, 2],
        **dict.fromkeys(absent),
    }
    assert record["_id"] == record_id(lab.location())
    assert record["external_links"] == {}
    assert record["metadata_status"] == "Unknown"
    files = lab.objects(NAME)
    assert files["metadata.nd.json"] == text(record)
    assert files["subject.json"] == text(SUBJECT)
    assert files[f"original_metadata/rig.{stamp}.json"] == b'{"broken'
    assert "rig.json" not in files
    assert "procedures.json" not in files
    kept = files.get(f"original_metadata/metadata.nd.{stamp}.json")
    assert kept == content
    assert ran.report.counts["aggregates_built"] == 1
    assert_in_step(lab)


@pytest.mark.parametrize("description", NOT_DERIVED)
@pytest.mark.parametrize("content", UNUSABLE)
def test_any_other_asset_is_left_alone_and_the_reason_told(
    lab: Lab, content: bytes | None, description: bytes | None
):
    files = {"metadata.nd.json": content, "data_description.json": description, "data.bin": b"x"}
    lab.put(NAME, {key: value for key, value in files.items() if value is not None})
    before = lab.objects()
    ran = lab.run()
    assert (lab.objects(), lab.records()) == (before, {})
    line = ran.line(NAME)
    assert line is not None
    assert line.outcome == "skipped"
    assert "not derived" in line.reason


def test_the_name_does_not_matter_only_the_level(lab: Lab):
    derived = f"{NAME}_sorted_2026-11-20_00-00-00"
    lab.put(derived, {"data_description.json": {"data_level": "raw"}})
    lab.put("results-6", {"data_description.json": DERIVED})
    lab.run()
    assert list(lab.records()) == [lab.location("results-6")]


def test_a_built_record_may_be_left_to_the_next_run(lab: Lab):
    lab.put(NAME, {"data_description.json": DERIVED})
    lab.run(insert_built=False)
    assert lab.records() == {}
    assert "metadata.nd.json" in lab.objects(NAME)
    lab.run(insert_built=False)
    assert only_record(lab)["data_description"] == DERIVED
    assert_in_step(lab)


# Generations ---------------------------------------------------------------------------------------

OF_V1 = {"data_description.json": {**DERIVED, "schema_version": "1.0.4"}}
OF_V2 = {"data_description.json": {**DERIVED, "schema_version": "2.4.2"}}


@pytest.mark.parametrize(
    ("files", "configured", "goes_to"),
    [
        pytest.param(OF_V1, [V1], V1, id="v1 files in a v1 run"),
        pytest.param(OF_V2, [V2], V2, id="v2 files in a v2 run"),
        pytest.param(OF_V2, [V1], None, id="v2 files in a v1 run"),
        pytest.param(OF_V1, [V2], None, id="v1 files in a v2 run"),
        pytest.param(OF_V1, [V1, V2], V1, id="v1 files in a run of both"),
        pytest.param(OF_V2, [V1, V2], V2, id="v2 files in a run of both"),
        pytest.param({"data_description.json": DERIVED}, [V1, V2], V1, id="no sign, both"),
        pytest.param({"data_description.json": DERIVED}, [V2, V1], V2, id="no sign, v2 first"),
        pytest.param(
            {**OF_V2, "session.json": {}, "rig.json": {}}, [V1, V2], V1, id="only v1 has a rig"
        ),
    ],
)
def test_one_collection_never_holds_both_generations(
    lab: Lab, files: Mapping[str, Any], configured: list[Generation], goes_to: Generation | None
):
    lab.put(NAME, files)
    ran = lab.run(generations=configured)
    held = {V1: len(lab.records(lab.v1)), V2: len(lab.records(lab.v2))}
    assert held == {one: int(one is goes_to) for one in (V1, V2)}
    if goes_to is None:
        line = ran.line(NAME)
        assert line is not None
        assert "schema generation" in line.reason
    else:
        assert_in_step(lab, generations=configured)


@pytest.mark.parametrize(
    ("fields", "generation"),
    [
        ({"object_type": "Metadata", "schema_version": "2.7.6"}, V2),
        ({"schema_version": "2.7.6"}, V2),
        ({"schema_version": "1.1.1"}, V1),
        ({"metadata_status": "Valid"}, V1),
    ],
)
def test_an_aggregate_goes_where_its_generation_is_kept(
    lab: Lab, fields: dict[str, Any], generation: Generation
):
    content = {"name": NAME, "location": lab.location(), "subject": SUBJECT, **fields}
    lab.put(NAME, {"metadata.nd.json": content})
    lab.run(generations=[V1, V2])
    assert only_record(lab, lab.v1 if generation is V1 else lab.v2)["subject"] == SUBJECT
    assert_in_step(lab, generations=[V1, V2])


def test_a_record_of_generation_2_is_validated_and_the_status_told(lab: Lab):
    lab.put(NAME, OF_V2)
    ran = lab.run(generations=[V2])
    line = ran.line(NAME)
    assert line is not None
    assert "its metadata is Invalid" in line.reason
    record = only_record(lab, lab.v2)
    assert record["object_type"] == "Metadata"
    assert "metadata_status" not in record


def test_a_record_of_generation_1_gets_the_status_that_its_check_gives(lab: Lab):
    lab.put(NAME, OF_V1)
    asked = []

    def check(location: AssetLocation, contents: Mapping[str, Any]) -> str:
        asked.append((location.name, set(contents)))
        return "Missing"

    lab.run(status_of=forgiving_status(check))
    assert only_record(lab)["metadata_status"] == "Missing"
    assert asked == [(NAME, {"data_description"})]


def test_a_status_that_cannot_be_had_is_unknown_and_stops_nothing(lab: Lab):
    lab.put(NAME, OF_V1)

    def check(location: AssetLocation, contents: Mapping[str, Any]) -> str:
        raise ServiceUnavailable("the program was killed")

    lab.run(status_of=forgiving_status(check))
    assert only_record(lab)["metadata_status"] == "Unknown"


# The bucket ----------------------------------------------------------------------------------------


def test_objects_at_the_top_and_nameless_folders_are_no_assets(lab: Lab):
    lab.boto.put_object(Bucket=lab.bucket, Key="README.txt", Body=b"x")
    lab.put(NAME, {"metadata.nd.json": aggregate(lab)})
    ran = lab.run()
    assert list(lab.records()) == [lab.location()]
    assert ran.failed == {}


def test_an_empty_bucket_is_no_failure(lab: Lab):
    ran = lab.run()
    assert (ran.slices, ran.report.asked, ran.failed) == ([], 0, {})


@pytest.mark.parametrize("content", [[1, 2], 5, False, "text", None], ids=str)
@pytest.mark.parametrize("version", ["1.0.4", "2.0.3"])
def test_a_core_file_that_is_no_object_goes_into_the_record_as_it_stands(
    lab: Lab, version: str, content: Any
):
    """It makes the metadata invalid, and stops neither this folder nor the others."""
    for name in (NAME, "another"):
        lab.put(name, {"data_description.json": {**DERIVED, "schema_version": version}})
    lab.put(NAME, {"processing.json": content})
    ran = lab.run(halves=["prefixes"], generations=[V1, V2])
    assert ran.failed == {}
    collection = lab.v2 if version.startswith("2") else lab.v1
    assert lab.records(collection)[lab.location()]["processing"] == content
    assert lab.location("another") in lab.records(collection)
