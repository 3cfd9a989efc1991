"""The way back: what the journals of a run hold, whatever order they are read in."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.errors import (
    AccessDenied,
    AssetflowError,
    MalformedAnswer,
    NotFound,
    PreconditionFailed,
    RecordChanged,
    ServiceUnavailable,
)
from include.indexing.restore import Restored, RestoredEntry, restore_journals

BUCKET = "assets"
FILE = "one/subject.json"
ADDRESS = f"s3://{BUCKET}/{FILE}"
PLACE = f"s3://{BUCKET}/one"

EARLY, LATE = "2026-11-25T20:00:00.000001+00:00", "2026-11-25T21:30:00+00:00"


def etag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Files:
    """A bucket in memory that keeps to conditions."""

    def __init__(self, content: bytes | None = None) -> None:
        self.content = {} if content is None else {FILE: content}
        self.puts = 0

    def read_with_etag(
        self, bucket: str, key: str, *, if_match: str | None = None
    ) -> tuple[bytes, str]:
        if key not in self.content:
            raise NotFound(key)
        return self.content[key], etag(self.content[key])

    def put_bytes(self, bucket: str, key: str, content: bytes, **condition: Any) -> str:
        self.puts += 1
        held = self.content.get(key)
        if condition["if_none_match"] and held is not None:
            raise PreconditionFailed(key)
        if condition["if_match"] and condition["if_match"] != etag(held or b""):
            raise PreconditionFailed(key)
        self.content[key] = content
        return etag(content)


class FilesThatRepeat(Files):
    """Each write is made, its answer is lost, and the same request is sent once more."""

    def put_bytes(self, bucket: str, key: str, content: bytes, **condition: Any) -> str:
        super().put_bytes(bucket, key, content, **condition)
        return super().put_bytes(bucket, key, content, **condition)


class FilesOfOthers(Files):
    """Somebody else always writes first."""

    def put_bytes(self, bucket: str, key: str, content: bytes, **condition: Any) -> str:
        self.content[key] = b"of somebody else"
        return super().put_bytes(bucket, key, content, **condition)


class Records:
    """A collection in memory."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.held = {record["_id"]: record for record in records}

    def find_by_id(self, ids: Sequence[Any]) -> list[dict[str, Any]]:
        return [self.held[one] for one in ids if one in self.held]

    def known_locations(self, places: Sequence[AssetLocation]) -> set[AssetLocation]:
        held = {AssetLocation.parse(record["location"]) for record in self.held.values()}
        return held & set(places)

    def insert_records(self, records: Sequence[dict[str, Any]]) -> list[AssetflowError | None]:
        errors: list[AssetflowError | None] = []
        for record in records:
            is_there = record["_id"] in self.held
            errors.append(RecordChanged("a duplicate key") if is_there else None)
            self.held.setdefault(record["_id"], record)
        return errors

    def to_json(self, record: Mapping[str, Any]) -> Any:
        return dict(record)

    def from_json(self, content: Any) -> dict[str, Any]:
        return dict(content)


class RecordsThatRepeat(Records):
    """An insert is made, its answer is lost, and it is sent once more."""

    def insert_records(self, records: Sequence[dict[str, Any]]) -> list[AssetflowError | None]:
        super().insert_records(records)
        return super().insert_records(records)


def record(**fields: Any) -> dict[str, Any]:
    return {"_id": "id", "location": PLACE, **fields}


def removed_record(content: dict[str, Any], at: str | None = None) -> dict[str, Any]:
    entry = {"kind": "record", "generation": "v1", "location": PLACE, "record": content}
    return entry if at is None else {**entry, "journalled_at": at}


def file_entry(content: bytes, at: str | None = None, *, over: bytes = b"") -> dict[str, Any]:
    """A file that was removed; with *over*, one that this was written over."""
    entry = {
        "kind": "file",
        "bucket": BUCKET,
        "key": FILE,
        "replaced_by": etag(over) if over else "",
        "content_base64": base64.b64encode(content).decode(),
    }
    return entry if at is None else {**entry, "journalled_at": at}


def back(
    journals: Mapping[str, Any],
    *,
    files: Files | None = None,
    records: Records | None = None,
    order: Iterable[str] = (),
    read: Callable[[str], Any] | None = None,
    **how: bool,
) -> list[RestoredEntry]:
    collections = {Generation.V1: records or Records(), Generation.V2: Records()}
    keys = list(order) or list(journals)
    store: Any = files or Files()
    of: Any = collections
    return list(restore_journals(keys, read or journals.__getitem__, store, of, **how))


def outcomes(results: Sequence[RestoredEntry]) -> list[tuple[str, Restored]]:
    return [(one.item, one.outcome) for one in results]


BOTH_ORDERS = pytest.mark.parametrize(
    "order", [("a", "b"), ("b", "a")], ids=["oldest first", "newest first"]
)


# -- two removals of one thing by one run


@BOTH_ORDERS
@pytest.mark.parametrize("early", [EARLY, None], ids=["both dated", "one of an older run"])
def test_of_two_removals_of_a_record_the_newest_state_comes_back(
    order: tuple[str, str], early: str | None
):
    newest = record(subject="edited")
    journals = {"a": [removed_record(record(), early)], "b": [removed_record(newest, LATE)]}
    records = Records()
    results = back(journals, records=records, order=order)
    assert outcomes(results) == [(PLACE, Restored.RESTORED)]
    assert records.held == {"id": newest}
    again = back(journals, records=records, order=order)
    assert outcomes(again) == [(PLACE, Restored.THERE)]


@BOTH_ORDERS
def test_of_two_removals_of_a_file_the_newest_state_comes_back(order: tuple[str, str]):
    journals = {"a": [file_entry(b"first", EARLY)], "b": [file_entry(b"second", LATE)]}
    files = Files()
    assert outcomes(back(journals, files=files, order=order)) == [(ADDRESS, Restored.RESTORED)]
    assert files.content == {FILE: b"second"}


@BOTH_ORDERS
def test_two_overwrites_are_taken_back_to_what_was_before_both(order: tuple[str, str]):
    journals = {
        "a": [file_entry(b"at first", EARLY, over=b"written")],
        "b": [file_entry(b"written", LATE, over=b"written again")],
    }
    files = Files(b"written again")
    would = back(journals, files=files, order=order, replaced=True, dry_run=True)
    assert outcomes(would) == [(ADDRESS, Restored.RESTORED)]
    assert (files.content, files.puts) == ({FILE: b"written again"}, 0)
    done = back(journals, files=files, order=order, replaced=True)
    assert outcomes(done) == [(ADDRESS, Restored.RESTORED)]
    assert files.content == {FILE: b"at first"}
    again = back(journals, files=files, order=order, replaced=True)
    assert outcomes(again) == [(ADDRESS, Restored.THERE)]


@BOTH_ORDERS
def test_an_edit_between_two_overwrites_is_what_comes_back(order: tuple[str, str]):
    journals = {
        "a": [file_entry(b"at first", EARLY, over=b"written")],
        "b": [file_entry(b"edited", LATE, over=b"written again")],
    }
    files = Files(b"written again")
    done = back(journals, files=files, order=order, replaced=True)
    assert outcomes(done) == [(ADDRESS, Restored.RESTORED)]
    assert files.content == {FILE: b"edited"}


@BOTH_ORDERS
@pytest.mark.parametrize(
    ("replaced", "left"), [(False, b"written"), (True, b"at first")], ids=["", "with overwritten"]
)
def test_a_file_that_was_overwritten_and_then_removed_comes_back_as_it_was_removed(
    order: tuple[str, str], *, replaced: bool, left: bytes
):
    journals = {
        "a": [file_entry(b"at first", EARLY, over=b"written")],
        "b": [file_entry(b"written", LATE)],
    }
    files = Files()
    done = back(journals, files=files, order=order, replaced=replaced)
    assert outcomes(done) == [(ADDRESS, Restored.RESTORED)]
    assert files.content == {FILE: left}


@BOTH_ORDERS
def test_a_removal_before_an_overwrite_says_nothing_of_the_file(order: tuple[str, str]):
    journals = {
        "a": [file_entry(b"removed", EARLY)],
        "b": [file_entry(b"somebody's", LATE, over=b"written")],
    }
    files = Files(b"written")
    assert outcomes(back(journals, files=files, order=order)) == [(ADDRESS, Restored.LEFT)]
    done = back(journals, files=files, order=order, replaced=True)
    assert outcomes(done) == [(ADDRESS, Restored.RESTORED)]
    assert files.content == {FILE: b"somebody's"}


def test_records_of_both_generations_with_one_id_are_two_records():
    other = {**removed_record(record(), LATE), "generation": "v2"}
    results = back({"a": [removed_record(record(), EARLY), other]})
    assert outcomes(results) == [(PLACE, Restored.RESTORED)] * 2


# -- what is in the way


@pytest.mark.parametrize(
    ("held", "outcome"),
    [
        pytest.param(record(), Restored.THERE, id="the same record"),
        pytest.param(record(subject="edited"), Restored.DIFFERS, id="another content"),
        pytest.param({**record(), "location": f"{PLACE}-2"}, Restored.DIFFERS, id="another place"),
        pytest.param({**record(), "_id": "other"}, Restored.DIFFERS, id="its place taken"),
    ],
)
def test_a_record_is_there_only_when_it_is_the_same(held: dict[str, Any], outcome: Restored):
    records = Records(held)
    results = back({"a": [removed_record(record())]}, records=records)
    assert outcomes(results) == [(PLACE, outcome)]
    assert list(records.held.values()) == [held]


# -- a write whose answer was lost


@pytest.mark.parametrize(
    ("entry", "files", "how"),
    [
        pytest.param(file_entry(b"was"), FilesThatRepeat(), {}, id="removed"),
        pytest.param(
            file_entry(b"was", over=b"is"),
            FilesThatRepeat(b"is"),
            {"replaced": True},
            id="overwritten",
        ),
    ],
)
def test_a_file_whose_write_was_sent_twice_is_restored(
    entry: dict[str, Any], files: Files, how: dict[str, bool]
):
    assert outcomes(back({"a": [entry]}, files=files, **how)) == [(ADDRESS, Restored.RESTORED)]
    assert files.content == {FILE: b"was"}


@pytest.mark.parametrize(
    ("entry", "files"),
    [
        (file_entry(b"was"), FilesOfOthers()),
        (file_entry(b"was", over=b"is"), FilesOfOthers(b"is")),
    ],
    ids=["removed", "overwritten"],
)
def test_a_file_that_somebody_else_wrote_first_is_told(entry: dict[str, Any], files: Files):
    results = back({"a": [entry]}, files=files, replaced=True)
    assert outcomes(results) == [(ADDRESS, Restored.DIFFERS)]
    assert files.content == {FILE: b"of somebody else"}


def test_a_record_whose_insert_was_sent_twice_is_restored():
    results = back({"a": [removed_record(record())]}, records=RecordsThatRepeat())
    assert outcomes(results) == [(PLACE, Restored.RESTORED)]


# -- journals that cannot be read


def refusing(
    journals: Mapping[str, Any], bad: str, error: AssetflowError, *, from_read: int = 1
) -> Callable[[str], Any]:
    reads = itertools.count(1)

    def read(key: str) -> Any:
        if key == bad and next(reads) >= from_read:
            raise error
        return journals[key]

    return read


@pytest.mark.parametrize(
    "error",
    [
        MalformedAnswer("b is not JSON"),
        ServiceUnavailable("the runs bucket does not answer"),
        AccessDenied("no"),
    ],
)
@pytest.mark.parametrize("bad", ["a", "b"], ids=["first", "last"])
def test_a_journal_that_cannot_be_read_hides_no_other(error: AssetflowError, bad: str):
    entry = file_entry(b"was")
    journals = {"a": [entry], "b": [entry]}
    files = Files()
    results = back(journals, files=files, read=refusing(journals, bad, error))
    assert outcomes(results) == [(bad, Restored.FAILED), (ADDRESS, Restored.RESTORED)]
    assert results[0].kind == "journal"
    assert str(error) in results[0].reason
    assert files.content == {FILE: b"was"}


def test_what_cannot_be_read_any_more_is_told_of_each_thing_in_it():
    journals = {"a": [file_entry(b"was")], "b": [removed_record(record())]}
    read = refusing(journals, "a", ServiceUnavailable("silence"), from_read=2)
    assert outcomes(back(journals, read=read)) == [
        (ADDRESS, Restored.FAILED),
        (PLACE, Restored.RESTORED),
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"rows": []}, id="no list"),
        pytest.param(["text"], id="an entry that is no object"),
        pytest.param([{"kind": "record"}], id="a record without content"),
        pytest.param([{**file_entry(b"was"), "journalled_at": "soon"}], id="no moment"),
    ],
)
def test_what_is_no_journal_is_told_and_hides_no_other(content: Any):
    results = back({"a": content, "b": [file_entry(b"was")]})
    assert outcomes(results) == [("a", Restored.FAILED), (ADDRESS, Restored.RESTORED)]


@pytest.mark.parametrize(
    "broken",
    [
        {**file_entry(b"was"), "content_base64": "?"},
        {**removed_record(record()), "generation": "v3"},
        removed_record({"_id": "id"}),
    ],
    ids=["content", "generation", "record"],
)
def test_an_entry_that_cannot_be_used_fails_alone(broken: dict[str, Any]):
    other = {**file_entry(b"other"), "key": "two/subject.json"}
    results = back({"a": [broken, other]})
    assert [one.outcome for one in results] == [Restored.FAILED, Restored.RESTORED]


def test_one_journal_is_in_memory_at_a_time_whatever_the_number_of_entries():
    reads: list[str] = []
    one, two = file_entry(b"1", EARLY), {**file_entry(b"2", EARLY), "key": "two/subject.json"}
    journals = {"a": [one, two], "b": [{**one, "key": "three/subject.json"}]}

    def read(key: str) -> Any:
        reads.append(key)
        return journals[key]

    assert len(back(journals, read=read)) == 3
    assert reads == ["a", "b", "a", "b"]
