"""DocDB → S3: the rows of the eight cases, and what else can be true of a record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.assets.core_files import CORE_FIELDS, Generation
from include.assets.record import iso_moment
from include.errors import RecordRefused
from include.indexing.plan import CASES, Presence
from tests.indexing.lab import NAME, Lab, text

SUBJECT = {"subject_id": "712345", "sex": "Female"}
OTHER = {"subject_id": "999999"}
COPY = "original_metadata/subject.20240102.json"


def in_lab(lab: Lab, presence: Presence, root: Any = OTHER) -> None:
    lab.record(**({"subject": SUBJECT} if presence.in_record else {"subject": None}))
    lab.put(NAME, {"data/recording.bin": b"\0\1"})
    if presence.in_root:
        lab.put(NAME, {"subject.json": root})
    if presence.in_copy:
        lab.put(NAME, {COPY: {"first": True}})


def metadata(lab: Lab) -> dict[str, bytes]:
    """Files of the asset but its data and its aggregate."""
    return {
        key: content
        for key, content in lab.objects(NAME).items()
        if not key.startswith("data/") and key != "metadata.nd.json"
    }


def test_every_combination_has_its_case():
    assert sorted(number for number, _ in CASES.values()) == list(range(1, 9))


@pytest.mark.parametrize("presence", CASES, ids=lambda found: f"case {CASES[found][0]}")
def test_the_eight_cases(lab: Lab, presence: Presence):
    in_lab(lab, presence)
    dated = (
        f"original_metadata/subject.{lab.stamp(f'{NAME}/subject.json')}.json"
        if presence.in_root
        else ""
    )
    ran = lab.run(halves=["records"])
    files, record = metadata(lab), lab.records()[lab.location()]
    today = [key for key in files if key.startswith("original_metadata/")]
    number = CASES[presence][0]
    assert ran.report.cases[str(number)] >= 1
    match number:
        case 1 | 3:
            assert files == {"subject.json": text(SUBJECT), COPY: b'{"first": true}'}
        case 2:
            assert files == {"subject.json": text(SUBJECT), dated: b'{"subject_id": "999999"}'}
        case 4:
            assert files == {"subject.json": text(SUBJECT), today[0]: text(SUBJECT)}
        case 5:
            assert files == {COPY: b'{"first": true}'}
            assert record["subject"] is None
        case 6:
            assert files == {"subject.json": text(OTHER), dated: b'{"subject_id": "999999"}'}
            assert record["subject"] == OTHER
        case 7:
            assert files == {COPY: b'{"first": true}'}
        case 8:
            assert files == {}
    assert ran.failed == {}
    assert lab.objects(NAME)["metadata.nd.json"] == text(record)
    again = lab.run()
    assert (again.report.drift, again.lines) == (0, [])


def test_a_root_file_of_the_same_meaning_in_another_layout_is_rewritten(lab: Lab):
    in_lab(lab, Presence(True, True, True), root=SUBJECT)
    lab.run()
    assert metadata(lab)["subject.json"] == text(SUBJECT)


def test_a_canonical_root_file_is_left_alone(lab: Lab):
    in_lab(lab, Presence(True, True, True), root=text(SUBJECT))
    before = lab.boto.head_object(Bucket=lab.bucket, Key=f"{NAME}/subject.json")["LastModified"]
    ran = lab.run()
    assert ran.report.counts == {"aggregates_written": 1}
    after = lab.boto.head_object(Bucket=lab.bucket, Key=f"{NAME}/subject.json")["LastModified"]
    assert after == before


@pytest.mark.parametrize("value", [{}, [], "", 0, False, [1, {"b": 2, "a": 1}], "text", 1.5])
def test_everything_but_null_is_held_by_a_record_and_taken_from_a_root_file(lab: Lab, value: Any):
    lab.record(subject=value)
    lab.put(NAME, {"rig.json": value})
    lab.run()
    files = lab.objects(NAME)
    assert files["subject.json"] == text(value)
    assert lab.records()[lab.location()]["rig"] == value
    assert lab.run().report.drift == 0


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"null", id="null"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order mark"),
        pytest.param(b'{"a": 1', id="cut short"),
        pytest.param(b'{"a": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"a": "\\ud800"}', id="half a surrogate pair"),
    ],
)
def test_a_root_file_that_cannot_be_read_goes_after_its_copy(lab: Lab, content: bytes):
    in_lab(lab, Presence(False, True, False), root=content)
    dated = f"original_metadata/subject.{lab.stamp(f'{NAME}/subject.json')}.json"
    ran = lab.run()
    assert metadata(lab) == {dated: content}
    assert lab.records()[lab.location()]["subject"] is None
    assert ran.removals.removed == {"core_files_removed": 1}
    line = ran.line(NAME)
    assert line is not None
    assert "subject.json" in line.reason


def test_the_copy_of_a_corrupt_file_that_is_overwritten_is_byte_for_byte(lab: Lab):
    in_lab(lab, Presence(True, True, False), root=b'{"broken')
    dated = f"original_metadata/subject.{lab.stamp(f'{NAME}/subject.json')}.json"
    lab.run()
    assert metadata(lab) == {"subject.json": text(SUBJECT), dated: b'{"broken'}


@pytest.mark.parametrize(
    "name",
    [
        "subject.json",
        "subject.2024-01-02.json",
        "subject.202401023.json",
        "Subject.20240102.json",
        "subject.20240102.json.bak",
        "deeper/subject.20240102.json",
    ],
)
def test_what_only_looks_like_a_copy_is_none(lab: Lab, name: str):
    in_lab(lab, Presence(True, True, False))
    lab.put(NAME, {f"original_metadata/{name}": b"{}"})
    assert lab.run().report.cases["2"] == 1


def test_any_eight_digits_are_a_copy(lab: Lab):
    in_lab(lab, Presence(True, True, False))
    lab.put(NAME, {"original_metadata/subject.99999999.json": b"{}"})
    assert lab.run().report.cases["1"] == 1


def test_a_file_that_was_sent_in_parts_is_compared_by_its_bytes(lab: Lab):
    subject = {"blob": "x" * (6 * 2**20)}
    lab.record(subject=subject)
    key = f"{NAME}/subject.json"
    upload = lab.boto.create_multipart_upload(Bucket=lab.bucket, Key=key)["UploadId"]
    content = text(subject)
    parts = []
    for number, part in enumerate((content[: 5 * 2**20], content[5 * 2**20 :]), 1):
        answer = lab.boto.upload_part(
            Bucket=lab.bucket, Key=key, UploadId=upload, PartNumber=number, Body=part
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    lab.boto.complete_multipart_upload(
        Bucket=lab.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    etag = lab.boto.head_object(Bucket=lab.bucket, Key=key)["ETag"]
    assert etag.endswith('-2"')
    ran = lab.run()
    assert "core_files_written" not in ran.report.counts
    assert lab.boto.head_object(Bucket=lab.bucket, Key=key)["ETag"] == etag


@pytest.mark.parametrize(
    "location",
    ["s3://{bucket}/{name}/", "s3://{bucket}//{name}", "s3://{bucket}/{name}"],
)
def test_slashes_around_the_name_do_not_matter(lab: Lab, location: str):
    lab.record(subject=SUBJECT, location=location.format(bucket=lab.bucket, name=NAME))
    lab.put(NAME, {"data.bin": b"x"})
    lab.run()
    assert metadata(lab)["subject.json"] == text(SUBJECT)
    assert len(lab.records()) == 1
    assert lab.run().report.drift == 0


@pytest.mark.parametrize("location", ["s3://{bucket}/a/b", "s3://{bucket}/", "s3://{bucket}//"])
def test_a_location_that_is_none_is_left_alone_with_a_warning(lab: Lab, location: str):
    lab.record(subject=SUBJECT, location=location.format(bucket=lab.bucket))
    lab.put("a", {"b/data.bin": b"x"})
    ran = lab.run(halves=["records"])
    assert ran.report.skipped == 1
    assert len(lab.records()) == 1
    assert "not a location" in ran.lines[0].reason


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a b+c", "é_東京", "results-6", "a&b=c"])
def test_any_name_is_indexed_under_itself(lab: Lab, name: str):
    lab.record(name, subject=SUBJECT)
    lab.put(name, {"data.bin": b"x"})
    lab.put("a", {"subject.json": OTHER})
    assert lab.run(halves=["records"]).failed == {}
    assert lab.objects(name)["subject.json"] == text(SUBJECT)
    assert "original_metadata" not in str(lab.objects("a").keys())


def test_records_of_a_bucket_whose_name_only_begins_the_same_are_not_looked_at(lab: Lab):
    for longer in (f"{lab.bucket}-archive", f"{lab.bucket}2"):
        lab.record(f"x{longer}", location=f"s3://{longer}/{NAME}", subject=SUBJECT)
    ran = lab.run()
    assert ran.report.asked == 0
    assert len(lab.records()) == 2


def test_the_look_back_leaves_out_what_has_not_changed_or_has_no_date(lab: Lab):
    from datetime import UTC, datetime

    since = datetime(2026, 1, 1, tzinfo=UTC)
    dates = {
        "new": "2026-01-01T00:00:00.000000Z",
        "old": "2025-12-31T23:59:59.999999Z",
        "none": None,
        "date": datetime(2026, 6, 1, tzinfo=UTC),
    }
    for name, moment in dates.items():
        lab.record(name, last_modified=moment, subject=SUBJECT)
        lab.put(name, {"data.bin": b"x"})
    lab.run(since=since, halves=["records"])
    assert {name for name in dates if "subject.json" in lab.objects(name)} == {"new"}
    lab.run(halves=["records"])
    assert {name for name in dates if "subject.json" in lab.objects(name)} == set(dates)


def test_every_record_is_examined_exactly_once_also_while_others_are_removed(lab: Lab):
    names = [f"asset_{number:04}" for number in range(450)]
    lab.v1.insert_many([
        {
            "_id": number if number % 3 else f"{number}",
            "name": name,
            "location": lab.location(name),
            "last_modified": "2026",
        }
        for number, name in enumerate(names)
    ])
    for name in names[::2]:
        lab.put(name, {"data.bin": b"x"})
    from include.indexing.removal import RemovalLimits

    ran = lab.run(halves=["records"], limits=RemovalLimits(1000, 1.0))
    assert sum(found.examined for found in ran.slices) == 450
    assert ran.removals.removed == {"records_removed": 225}
    assert sorted(lab.records()) == [lab.location(name) for name in names[::2]]
    assert all("metadata.nd.json" in lab.objects(name) for name in names[:20:2])


def test_two_records_of_one_location_are_told_and_neither_is_used(lab: Lab):
    lab.record(subject=SUBJECT)
    lab.record(_id="second", subject=OTHER, location=f"{lab.location()}/")
    lab.put(NAME, {"subject.json": b"{}"})
    ran = lab.run()
    assert "2 records" in next(iter(ran.failed.values()))
    assert metadata(lab) == {"subject.json": b"{}"}


def test_a_name_that_differs_from_the_folder_is_told_and_the_files_are_written(lab: Lab):
    lab.record(subject=SUBJECT)
    lab.v1.update_one({}, {"$set": {"name": "another"}})
    lab.put(NAME, {"data.bin": b"x"})
    ran = lab.run()
    line = ran.line(NAME)
    assert line is not None
    assert "'another'" in line.reason
    assert metadata(lab)["subject.json"] == text(SUBJECT)


def test_each_generation_has_its_own_core_files(lab: Lab):
    fields = dict.fromkeys({*CORE_FIELDS[Generation.V1], *CORE_FIELDS[Generation.V2]}, 1)
    lab.record("one", **fields)
    lab.add(lab.v2, "two", **fields)
    for name in ("one", "two"):
        lab.put(name, {"data.bin": b"x"})
    lab.run(generations=[Generation.V1, Generation.V2])
    for name, generation in (("one", Generation.V1), ("two", Generation.V2)):
        root = {key for key in lab.objects(name) if "/" not in key}
        wanted = {f"{field}.json" for field in CORE_FIELDS[generation]}
        assert root == wanted | {"metadata.nd.json", "data.bin"}


def test_a_run_of_the_first_generation_leaves_records_of_the_second_alone(lab: Lab):
    lab.add(lab.v2, NAME, subject=SUBJECT)
    lab.put(NAME, {"data.bin": b"x", "metadata.nd.json": {"_id": "x", "name": NAME}})
    before = lab.objects()
    ran = lab.run(generations=[Generation.V1])
    assert lab.objects() == before
    assert lab.records() == {}
    assert ran.report.folders_known == 1


def test_files_follow_the_elder_record_where_both_generations_have_one(lab: Lab):
    lab.record(subject=SUBJECT)
    lab.add(lab.v2, NAME, subject=OTHER)
    lab.put(NAME, {"data.bin": b"x"})
    both = [Generation.V1, Generation.V2]
    lab.run(generations=both)
    assert metadata(lab)["subject.json"] == text(SUBJECT)
    assert lab.run(generations=both).report.drift == 0


def test_one_field_that_docdb_refuses_does_not_cost_a_healthy_one_its_place(lab: Lab):
    lab.record()
    big = {"too large a number": 2**70}
    lab.put(NAME, {"subject.json": SUBJECT, "rig.json": big})
    ran = lab.run(halves=["records"])
    assert "rig.json cannot be stored" in ran.failed[lab.location()]
    assert lab.records()[lab.location()]["subject"] == SUBJECT
    files = metadata(lab)
    assert files["subject.json"] == text(SUBJECT)
    assert "rig.json" in files
    assert not any(key.startswith("original_metadata/rig") for key in files)


def test_what_a_busy_run_uploads_into_is_left_for_the_next_run(lab: Lab):
    lab.record(subject=SUBJECT)
    lab.put(NAME, {"data.bin": b"x"})
    ran = lab.run(busy=frozenset({NAME}))
    assert ran.report.skipped == 1
    assert metadata(lab) == {"data.bin": b"x"}


def test_a_dry_run_tells_everything_and_writes_nothing(lab: Lab):
    in_lab(lab, Presence(True, True, False))
    lab.record("gone")
    lab.put("other", {"data_description.json": {"data_level": "derived"}})
    files, records = lab.objects(), lab.records()
    ran = lab.run(dry_run=True)
    assert (lab.objects(), lab.records()) == (files, records)
    stamp = lab.stamp(f"{NAME}/subject.json")
    line = ran.line(NAME)
    assert line is not None
    assert line.steps == (
        f"copy subject.json to original_metadata/subject.{stamp}.json",
        "overwrite subject.json: it differs",
        "write metadata.nd.json: there is none",
    )
    gone, other = ran.line("gone"), ran.line("other")
    assert gone is not None
    assert other is not None
    assert gone.steps == ("remove its record: nothing is left of the asset in S3",)
    assert other.steps[0] == "insert a record made of its core files"
    assert lab.journal == []


def test_of_an_asset_that_is_gone_the_records_of_both_generations_go_in_one_run(lab: Lab):
    lab.put("other", {"data.bin": b"x"})
    for collection in (lab.v1, lab.v2):
        lab.add(collection, NAME)
    both = [Generation.V1, Generation.V2]
    assert lab.run(generations=both, halves=["records"]).removals.removed == {"records_removed": 2}
    assert lab.run(generations=both, halves=["records"]).lines == []


def test_a_record_that_cannot_be_fetched_fails_alone(lab: Lab):
    for name in ("good", "unreadable"):
        lab.record(name, subject=SUBJECT)
        lab.put(name, {"data.bin": b"x"})

    def around(inner: Any) -> Any:
        class Refusing:
            def __getattr__(self, name: str) -> Any:
                return getattr(inner, name)

            def find_at(self, locations: Any) -> Any:
                if lab.location("unreadable") in (wanted := list(locations)):
                    raise RecordRefused("invalid UTF-8")
                return inner.find_at(wanted)

        return Refusing()

    lab.wrap_records = around
    ran = lab.run(halves=["records"])
    assert ran.failed == {lab.location("unreadable"): "RecordRefused: invalid UTF-8"}
    assert lab.objects("good")["subject.json"] == text(SUBJECT)


@pytest.mark.parametrize("newest", ["the record", "the file"])
def test_the_age_of_a_change_is_that_of_what_changed_last(lab: Lab, newest: str):
    """An old record whose file somebody overwrote today is not years behind."""
    now = datetime.now(UTC)
    later = now + timedelta(days=1)
    changed_at = iso_moment(later) if newest == "the record" else "2020-01-01T00:00:00.000000Z"
    lab.record(subject=SUBJECT, last_modified=changed_at)
    lab.put(NAME, {"subject.json": OTHER})
    found_at = lab.run(halves=["records"]).report.oldest_found_at
    assert found_at is not None
    assert found_at == later if newest == "the record" else abs(found_at - now).total_seconds() < 60


def test_removals_of_records_whatever_became_of_them_meanwhile(lab: Lab):
    """One has an id that is an object, one has lost its location since it was looked at."""
    lab.put("other", {"data.bin": b"x"})
    lab.record("odd", _id={"a": 1})
    lab.record("moved")

    def around(inner: Any) -> Any:
        class Moving:
            def __getattr__(self, name: str) -> Any:
                return getattr(inner, name)

            def find_by_id(self, ids: Any) -> Any:
                lab.v1.update_one({"name": "moved"}, {"$set": {"location": None}})
                return inner.find_by_id(ids)

        return Moving()

    lab.wrap_records = around
    ran = lab.run(halves=["records"])
    assert ran.removals.removed == {"records_removed": 1}
    assert list(ran.removals.skipped) == [lab.location("moved")]
