"""Many records at a time: few requests, and an answer for each record."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient, monitoring
from pymongo.errors import OperationFailure

from include.assets.location import AssetLocation
from include.assets.record_state import FieldChange, RecordState
from include.clients.docdb import DocDbClient
from include.clients.docdb_bulk import FEW, DocDbBulk
from include.errors import RecordChanged, RecordRefused, ServiceUnavailable


class Counting(monitoring.CommandListener):
    """Counts the commands that reach the server."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: Any) -> None:
        self.count += 1

    def succeeded(self, event: Any) -> None: ...
    def failed(self, event: Any) -> None: ...


@pytest.fixture
def commands() -> Counting:
    return Counting()


@pytest.fixture
def records(docdb_server: Any, commands: Counting) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](
        docdb_server.uri, tz_aware=True, event_listeners=[commands]
    ) as client:
        collection = client["tests"][f"test_{uuid.uuid4().hex[:12]}"]
        DocDbClient(collection).ensure_indexes()
        yield collection
        collection.drop()


@pytest.fixture
def bulk(records: Any, commands: Counting) -> DocDbBulk:
    bulk = DocDbBulk(records)
    commands.count = 0
    return bulk


def place(number: int, bucket: str = "open") -> AssetLocation:
    return AssetLocation(bucket, f"asset_{number:05}")


def fill(records: Any, count: int, **fields: Any) -> None:
    records.insert_many([
        {
            "_id": f"id{n}",
            "location": str(place(n)),
            "last_modified": f"2026-{n % 12 + 1:02}",
            **fields,
        }
        for n in range(count)
    ])


def test_locations_of_one_bucket_only_however_alike_the_names(bulk: DocDbBulk, records: Any):
    fill(records, 3)
    for bucket in ("open-data", "open2", "ope"):
        records.insert_one({"location": str(place(1, bucket))})
    for odd in ({"location": "s3://open"}, {"location": None}, {"location": 7}):
        records.insert_one(odd)
    assert sorted(bulk.iterate_locations("open")) == [str(place(n)) for n in range(3)]


def test_the_look_back_compares_texts(bulk: DocDbBulk, records: Any):
    fill(records, 12)
    records.insert_one({"location": "s3://open/date", "last_modified": datetime.now(UTC)})
    records.insert_one({"location": "s3://open/none"})
    found = set(bulk.iterate_locations("open", since="2026-11"))
    assert found == {str(place(10)), str(place(11))}


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 1000])
def test_known_locations_take_one_request_when_all_are_known(
    bulk: DocDbBulk, records: Any, commands: Counting, count: int
):
    fill(records, count)
    commands.count = 0
    places = [place(number) for number in range(count)]
    assert bulk.known_locations(places) == set(places)
    assert commands.count == 1


@pytest.mark.parametrize("count", [3, FEW + 50])
def test_known_locations_are_found_in_every_spelling_and_no_other(
    bulk: DocDbBulk, records: Any, commands: Counting, count: int
):
    spelled = [place(0).spellings[1], place(1).spellings[2], str(place(2))]
    records.insert_many([{"location": text} for text in spelled])
    records.insert_one({"location": f"{place(count + 5)}"})
    commands.count = 0
    found = bulk.known_locations([place(number) for number in range(count)])
    assert found == {place(0), place(1), place(2)}
    assert commands.count == 2
    assert bulk.known_locations([]) == set()


def test_two_hundred_whole_records_are_one_request(
    bulk: DocDbBulk, records: Any, commands: Counting
):
    fill(records, 200, subject={"a": "x" * 5000})
    commands.count = 0
    assert len(bulk.find_at(str(place(number)) for number in range(200))) == 200
    assert commands.count == 1


def change(record: dict[str, Any], *if_null: str, **fields: Any) -> FieldChange:
    return FieldChange(RecordState.of(record), {"last_modified": "2027", **fields}, if_null)


def test_each_update_is_answered_for_itself(bulk: DocDbBulk, records: Any, commands: Counting):
    fill(records, 6, filled=1)
    found = sorted(bulk.find_at(str(place(n)) for n in range(6)), key=lambda one: one["_id"])
    records.update_one({"_id": "id1"}, {"$set": {"last_modified": "changed"}})
    records.delete_one({"_id": "id2"})
    commands.count = 0
    errors = bulk.update_records([
        change(found[0], subject={"a": 1}),
        change(found[1], subject={"a": 1}),
        change(found[2], subject={"a": 1}),
        change(found[3], subject=2**70),
        change(found[4], "filled", filled=2),
        FieldChange(RecordState.of(found[5]), {"last_modified": "2027", "a.b": 1}),
    ])
    assert [type(error) for error in errors] == [
        type(None), RecordChanged, RecordChanged, RecordRefused, RecordChanged, RecordRefused,
    ]  # fmt: skip
    assert commands.count == 2
    after = {record["_id"]: record for record in records.find()}
    assert after["id0"]["subject"] == {"a": 1}
    assert all("subject" not in after[name] for name in ("id1", "id3"))
    assert after["id4"]["filled"] == 1


def test_each_insert_is_answered_for_itself(bulk: DocDbBulk, records: Any):
    fill(records, 2)
    errors = bulk.insert_records([
        {"_id": "new", "location": "s3://open/new"},
        {"_id": "id0", "location": "s3://open/other"},
        {"_id": "other", "location": str(place(1))},
        {"_id": "large", "location": "s3://open/large", "a": "x" * (17 * 2**20)},
        {"_id": "last", "location": "s3://open/last"},
    ])
    assert [type(error) for error in errors] == [
        type(None), RecordChanged, RecordChanged, RecordRefused, type(None),
    ]  # fmt: skip
    assert {record["_id"] for record in records.find()} == {"id0", "id1", "new", "last"}


def test_only_records_that_are_still_so_are_deleted(bulk: DocDbBulk, records: Any):
    fill(records, 3)
    states = [RecordState.of(record) for record in bulk.find_by_id(["id0", "id1", "id2"])]
    records.update_one({"_id": "id1"}, {"$set": {"location": "s3://open/moved"}})
    errors = bulk.delete_records(states)
    assert [type(error) for error in errors] == [type(None), RecordChanged, type(None)]
    assert [record["_id"] for record in records.find()] == ["id1"]


def test_nothing_to_write_is_nothing_asked(bulk: DocDbBulk, commands: Counting):
    assert (bulk.insert_records([]), bulk.known_locations([])) == ([], set())
    assert commands.count == 0


@pytest.mark.parametrize(
    "record",
    [
        {"_id": ObjectId("65f000000000000000000000"), "at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"_id": 7, "big": 2**40, "float": 1.0, "none": None, "list": [{"é": "東京"}]},
    ],
)
def test_a_journalled_record_comes_back_as_it_was(bulk: DocDbBulk, record: dict[str, Any]):
    assert bulk.from_json(bulk.to_json(record)) == record


def test_a_server_that_is_gone_is_unavailable():
    client: MongoClient[dict[str, Any]] = MongoClient(
        "mongodb://127.0.0.1:9/?directConnection=true", serverSelectionTimeoutMS=200
    )
    bulk = DocDbBulk(client["a"]["b"])
    for ask in (
        lambda: list(bulk.iterate_locations("open")),
        lambda: bulk.insert_records([{"_id": 1}]),
    ):
        with pytest.raises(ServiceUnavailable):
            ask()
    client.close()


class RefusingCommands:
    """A collection whose server refuses a whole command for what is in one of its records."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.commands = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def with_options(self, **options: Any) -> RefusingCommands:
        self._inner = self._inner.with_options(**options)
        return self

    def bulk_write(self, operations: Any, **options: Any) -> Any:
        self.commands += 1
        if any("too deep" in str(one) for one in operations):
            raise OperationFailure("nested too deeply", 15)
        return self._inner.bulk_write(operations, **options)


@pytest.mark.parametrize("bad", [{3}, {0, 7}, set(range(8))], ids=str)
def test_a_command_that_is_refused_for_one_record_stores_the_others(records: Any, bad: set[int]):
    refusing = RefusingCommands(records)
    bulk = DocDbBulk(refusing)  # type: ignore[arg-type]
    errors = bulk.insert_records([
        {"_id": n, "location": str(place(n)), "text": "too deep" if n in bad else ""}
        for n in range(8)
    ])
    assert {n for n, error in enumerate(errors) if error} == bad
    assert all(isinstance(errors[n], RecordRefused) for n in bad)
    assert {one["_id"] for one in records.find({})} == set(range(8)) - bad
