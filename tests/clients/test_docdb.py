"""Against a real server over loopback: one record per location, nobody's change is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pymongo
import pytest
from bson.errors import InvalidDocument
from pymongo import errors as mongo
from pymongo.collection import Collection

from include.assets.record import CODE_OCEAN, link_ids, record_id
from include.clients.docdb import DocDbClient
from include.errors import (
    AccessDenied,
    AssetflowError,
    DuplicateRecords,
    InvalidInput,
    NotFound,
    RecordChanged,
    RecordRefused,
    ServiceUnavailable,
)

LOCATION = "s3://open-data/712345_2024-03-05_14-22-10"
BEFORE, AFTER = "2024-03-06T00:00:00.000000Z", "2024-03-07T00:00:00.000000Z"


def make_record(**fields: Any) -> dict[str, Any]:
    return {"_id": record_id(LOCATION), "location": LOCATION, "last_modified": BEFORE, **fields}


@pytest.fixture
def docdb(docdb_collection: Collection[dict[str, Any]]) -> DocDbClient:
    client = DocDbClient(docdb_collection)
    client.ensure_indexes()
    return client


def test_no_record_is_none(docdb: DocDbClient) -> None:
    assert docdb.find_record(LOCATION) is None


@pytest.mark.parametrize("stored", [LOCATION, f"{LOCATION}/"])
@pytest.mark.parametrize("asked", [LOCATION, f"{LOCATION}/"])
def test_a_record_is_found_with_and_without_a_final_slash(
    docdb: DocDbClient, stored: str, asked: str
) -> None:
    docdb.insert_record(make_record(location=stored))
    docdb.insert_record(make_record(_id="longer", location=f"{LOCATION}-extra"))
    found = docdb.find_record(asked)
    assert found is not None
    assert found["_id"] == record_id(LOCATION)


def test_two_records_of_one_location_are_an_error_naming_both(docdb: DocDbClient) -> None:
    docdb.insert_record(make_record(_id="one"))
    docdb.insert_record(make_record(_id="two", location=f"{LOCATION}/"))
    with pytest.raises(DuplicateRecords, match="one, two"):
        docdb.find_record(LOCATION)


@pytest.mark.parametrize("second", [{}, {"_id": "another"}], ids=["same id", "same location"])
def test_a_second_record_of_a_location_is_not_inserted(
    docdb: DocDbClient, docdb_collection: Collection[dict[str, Any]], second: dict[str, Any]
) -> None:
    assert docdb.insert_record(make_record(subject={"subject_id": "1"}))
    assert not docdb.insert_record(make_record(**second))
    assert docdb_collection.count_documents({}) == 1
    assert docdb.find_record(LOCATION) == make_record(subject={"subject_id": "1"})


def test_of_many_writers_at_once_one_inserts(
    docdb: DocDbClient, docdb_collection: Collection[dict[str, Any]]
) -> None:
    together = Barrier(8)

    def insert(_: int) -> bool:
        together.wait()
        return docdb.insert_record(make_record())

    with ThreadPoolExecutor(8) as writers:
        assert sorted(writers.map(insert, range(8))) == [False] * 7 + [True]
    assert docdb_collection.count_documents({}) == 1


def test_the_index_is_made_once_and_refuses_a_collection_with_duplicates(
    docdb_collection: Collection[dict[str, Any]],
) -> None:
    docdb_collection.insert_many([make_record(_id="one"), make_record(_id="two")])
    client = DocDbClient(docdb_collection)
    with pytest.raises(DuplicateRecords, match="location"):
        client.ensure_indexes()
    docdb_collection.delete_one({"_id": "two"})
    client.ensure_indexes()
    client.ensure_indexes()
    assert docdb_collection.index_information()["location_1"]["unique"]


def test_fields_are_set_on_the_record_they_were_planned_for(docdb: DocDbClient) -> None:
    docdb.insert_record(make_record(subject=None))
    docdb.set_fields(
        record_id(LOCATION),
        {"subject": {"a.b": 1}, "last_modified": AFTER},
        if_last_modified=BEFORE,
        if_null=["subject", "procedures"],
    )
    assert docdb.find_record(LOCATION) == make_record(subject={"a.b": 1}, last_modified=AFTER)


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param({"$set": {"last_modified": "later"}}, id="somebody changed it"),
        pytest.param({"$unset": {"last_modified": 1}}, id="somebody took the moment away"),
        pytest.param({"$set": {"subject": {"subject_id": "9"}}}, id="without telling when"),
    ],
)
def test_a_change_made_meanwhile_is_noticed_and_kept(
    docdb: DocDbClient, docdb_collection: Collection[dict[str, Any]], meanwhile: dict[str, Any]
) -> None:
    docdb.insert_record(make_record())
    docdb_collection.update_one({}, meanwhile)
    before = docdb.find_record(LOCATION)
    with pytest.raises(RecordChanged, match=record_id(LOCATION)):
        docdb.set_fields(
            record_id(LOCATION),
            {"subject": {"subject_id": "1"}},
            if_last_modified=BEFORE,
            if_null=["subject"],
        )
    assert docdb.find_record(LOCATION) == before


def test_a_record_without_last_modified_can_be_changed(docdb: DocDbClient) -> None:
    docdb.insert_record({"_id": "old", "location": LOCATION})
    docdb.set_fields("old", {"last_modified": AFTER}, if_last_modified=None)
    assert docdb.find_record(LOCATION) == {
        "_id": "old",
        "location": LOCATION,
        "last_modified": AFTER,
    }


@pytest.mark.parametrize("name", ["a.b", "$set"])
def test_a_field_that_would_become_a_path_is_refused(docdb: DocDbClient, name: str) -> None:
    with pytest.raises(RecordRefused, match="top-level"):
        docdb.set_fields("id", {name: 1}, if_last_modified=None)


@pytest.mark.parametrize("link_field", ["external_links", "other_identifiers"])
@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param(..., {CODE_OCEAN: ["co-2"]}, id="absent"),
        pytest.param(None, {CODE_OCEAN: ["co-2"]}, id="null"),
        pytest.param({}, {CODE_OCEAN: ["co-2"]}, id="empty"),
        pytest.param([], {CODE_OCEAN: ["co-2"]}, id="empty old list"),
        pytest.param({CODE_OCEAN: None}, {CODE_OCEAN: ["co-2"]}, id="null list"),
        pytest.param({CODE_OCEAN: []}, {CODE_OCEAN: ["co-2"]}, id="empty list"),
        pytest.param({CODE_OCEAN: ["co-1"]}, {CODE_OCEAN: ["co-1", "co-2"]}, id="another id"),
        pytest.param({CODE_OCEAN: "co-1"}, {CODE_OCEAN: ["co-1", "co-2"]}, id="bare id"),
        pytest.param({"DANDI": ["d"]}, {"DANDI": ["d"], CODE_OCEAN: ["co-2"]}, id="other platform"),
        pytest.param(
            [{CODE_OCEAN: "co-1"}, {"DANDI": "d"}],
            {CODE_OCEAN: ["co-1", "co-2"], "DANDI": ["d"]},
            id="old list",
        ),
    ],
)
def test_a_link_is_added_whatever_the_field_holds(
    docdb: DocDbClient, link_field: str, held: Any, expected: dict[str, Any]
) -> None:
    docdb.insert_record(make_record(**({} if held is ... else {link_field: held})))
    assert docdb.add_link(record_id(LOCATION), link_field, "co-2", last_modified=AFTER)
    record = docdb.find_record(LOCATION)
    assert record == make_record(**{link_field: expected}, last_modified=AFTER)
    assert not docdb.add_link(record_id(LOCATION), link_field, "co-2", last_modified="never")
    assert docdb.find_record(LOCATION) == record


@pytest.mark.parametrize("held", [..., None, {}, {CODE_OCEAN: []}, [{"DANDI": "d"}]], ids=str)
def test_links_added_at_once_are_all_kept_each_once(docdb: DocDbClient, held: Any) -> None:
    docdb.insert_record(make_record(**({} if held is ... else {"external_links": held})))
    together = Barrier(6)

    def add(number: int) -> bool:
        together.wait()
        link = f"co-{number % 3}"
        return docdb.add_link(record_id(LOCATION), "external_links", link, last_modified=AFTER)

    with ThreadPoolExecutor(6) as writers:
        assert sum(writers.map(add, range(6))) == 3
    record = docdb.find_record(LOCATION)
    assert record is not None
    assert sorted(link_ids(record)) == ["co-0", "co-1", "co-2"]


def test_links_nobody_can_read_are_not_replaced(docdb: DocDbClient) -> None:
    docdb.insert_record(make_record(external_links="precious"))
    with pytest.raises(InvalidInput, match="external_links"):
        docdb.add_link(record_id(LOCATION), "external_links", "co-1", last_modified=AFTER)
    assert docdb.find_record(LOCATION) == make_record(external_links="precious")


def test_a_link_to_a_record_that_is_gone_is_not_found(docdb: DocDbClient) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        docdb.add_link("nowhere", "external_links", "co-1", last_modified=AFTER)


@pytest.mark.parametrize(
    "unstorable",
    [{"n": 2**64}, {"o": object()}, {"s": "\ud800"}, {"big": "x" * (17 * 2**20)}],
    ids=["a number of 65 bits", "no BSON type", "half a surrogate pair", "over 16 MiB"],
)
def test_what_cannot_be_stored_is_refused_naming_the_location(
    docdb: DocDbClient, unstorable: dict[str, Any]
) -> None:
    with pytest.raises(RecordRefused, match=LOCATION):
        docdb.insert_record(make_record(subject=unstorable))
    assert docdb.find_record(LOCATION) is None


def test_a_server_that_is_not_there_is_unavailable_not_empty() -> None:
    with pymongo.MongoClient[dict[str, Any]](
        "mongodb://127.0.0.1:9", serverSelectionTimeoutMS=50
    ) as client:
        docdb = DocDbClient(client["metadata_index"]["data_assets"])
        with pytest.raises(ServiceUnavailable, match=LOCATION):
            docdb.find_record(LOCATION)


class BrokenCollection:
    """A collection whose every call raises what it was given."""

    full_name = "metadata_index.data_assets"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def with_options(self, **_: Any) -> BrokenCollection:
        return self

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> None:
            raise self.error

        return call


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (mongo.AutoReconnect("connection closed"), ServiceUnavailable),
        (mongo.NetworkTimeout("timed out"), ServiceUnavailable),
        (mongo.NotPrimaryError("stepped down"), ServiceUnavailable),
        (mongo.ServerSelectionTimeoutError("no servers"), ServiceUnavailable),
        (mongo.WaitQueueTimeoutError("pool"), ServiceUnavailable),
        (mongo.ExecutionTimeout("slow", 50), ServiceUnavailable),
        (mongo.WTimeoutError("slow", 64), ServiceUnavailable),
        (
            mongo.OperationFailure("again", 112, {"errorLabels": ["RetryableWriteError"]}),
            ServiceUnavailable,
        ),
        (mongo.OperationFailure("not authorized", 13), AccessDenied),
        (mongo.OperationFailure("Authentication failed.", 18), AccessDenied),
        (mongo.OperationFailure("failed validation", 121), RecordRefused),
        (mongo.ConfigurationError("no such option"), RecordRefused),
        (InvalidDocument("cannot encode"), RecordRefused),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_every_failure_is_told_by_what_one_can_do_about_it(
    error: Exception, kind: type[AssetflowError]
) -> None:
    docdb = DocDbClient(BrokenCollection(error))  # type: ignore[arg-type]
    calls = [
        lambda: docdb.find_record(LOCATION),
        lambda: docdb.insert_record(make_record()),
        lambda: docdb.set_fields("id", {"subject": {}}, if_last_modified=None),
        lambda: docdb.add_link("id", "external_links", "co-1", last_modified=AFTER),
        docdb.ensure_indexes,
    ]
    for call in calls:
        with pytest.raises(kind) as raised:
            call()
        assert str(error) in str(raised.value)
        assert raised.value.__cause__ is error


def test_links_that_never_hold_still_end_in_an_error() -> None:
    class Restless(BrokenCollection):
        def find_one(self, *_: Any) -> dict[str, Any]:
            return {"_id": "id", "external_links": {}}

        def update_one(self, *_: Any) -> Any:
            return pymongo.results.UpdateResult({"n": 0}, acknowledged=True)

    docdb = DocDbClient(Restless(AssertionError()))  # type: ignore[arg-type]
    with pytest.raises(RecordChanged, match="external_links"):
        docdb.add_link("id", "external_links", "co-1", last_modified=AFTER)
