"""Documents are read once, and one that cannot be read is never an absence."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from include.catalog.documents import (
    ALIKE,
    Document,
    DocumentReader,
    Shape,
    UnreadableDocument,
    ask_all,
)
from include.clients.s3_reader import S3Reader
from include.errors import (
    AccessDenied,
    AssetflowError,
    BucketNotFound,
    MalformedAnswer,
    NotFound,
    ServiceUnavailable,
    SourceChanged,
)
from tests.s3_clients import boto_session, s3_client
from tests.s3_fault_proxy import Fault, FaultProxy


class FakeReader:
    """Answers from a mapping; an error in it is raised."""

    def __init__(self, contents: dict[str, bytes | Exception], takes_s: float = 0) -> None:
        self.contents = contents
        self.takes_s = takes_s
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def read(self, bucket: str, key: str) -> bytes:
        with self._lock:
            self.asked[key] += 1
        threading.Event().wait(self.takes_s)
        content = self.contents[key]
        if isinstance(content, Exception):
            raise content
        return content


def documents(contents: dict[str, bytes | Exception]) -> tuple[DocumentReader, FakeReader]:
    fake = FakeReader(contents)
    return DocumentReader(fake, "data", threads=4), fake


def many(make: Callable[[], bytes | Exception], count: int = ALIKE) -> dict[str, bytes | Exception]:
    return {f"30001/{number:03}.json": make() for number in range(count)}


def test_documents_come_parsed_and_in_the_order_asked():
    reader, _ = documents({"b": b'{"x": 1}', "a": b"{}"})
    found = reader.read_all(["b", "a"])
    assert list(found.items()) == [("b", Document("b", {"x": 1})), ("a", Document("a", {}))]
    assert reader.read_all([]) == {}


def test_each_document_is_requested_once():
    reader, fake = documents({"a": b"{}", "b": b"[]", "c": AccessDenied("no")})
    reader.read_all(["a", "a", "c"])
    reader.read_all(["a", "b", "c"])
    assert fake.asked == {"a": 1, "b": 1, "c": 1}


def test_what_could_not_be_read_is_told_together():
    reader, _ = documents({"a": b"{}", "b": AccessDenied("no"), "c": b"{", "d": NotFound("404")})
    reader.read_all(["a", "b", "c"])
    reader.read_text("d")
    assert [(one.key, one.is_transient, one.was_not_found) for one in reader.unreadable] == [
        ("b", False, False),
        ("c", False, False),
        ("d", True, True),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b'{"a": ', "does not parse", id="cut short"),
        pytest.param(b"<html></html>", "does not parse", id="HTML"),
        pytest.param(b"\xef\xbb\xbf{}", "byte-order mark", id="byte-order mark"),
        pytest.param('{"a": "é"}'.encode("latin-1"), "not UTF-8", id="latin-1"),
        pytest.param('{"a": 1}'.encode("utf-16"), "not UTF-8", id="UTF-16"),
        pytest.param(b'{"a": "\\ud800"}', "not UTF-8", id="half a surrogate pair"),
        pytest.param(b"[" * 100_000, "does not parse", id="too deep"),
        pytest.param(b"null", "null", id="null"),
        pytest.param(b"[]", "list at its top", id="a list"),
        pytest.param(b"7", "int at its top", id="a number"),
    ],
)
def test_what_is_no_object_is_unreadable_for_good(content: bytes, words: str):
    reader, _ = documents({"30001/a.json": content, "b": b"{}"})
    found = reader.read_all(["30001/a.json", "b"])
    unreadable = found["30001/a.json"]
    assert isinstance(unreadable, UnreadableDocument)
    assert not unreadable.is_transient
    assert words in unreadable.reason
    assert str(unreadable).startswith("s3://data/30001/a.json: InvalidInput: ")
    assert found["b"] == Document("b", {})


def test_a_list_is_what_it_has_to_be_where_one_is_expected():
    reader, fake = documents({"list": b"[1]", "object": b"{}"})
    found = reader.read_all(["list", "object"], Shape.LIST)
    assert found["list"] == Document("list", [1])
    assert isinstance(found["object"], UnreadableDocument)
    assert reader.read_all(["object"])["object"] == Document("object", {})
    assert fake.asked["object"] == 1


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        (AccessDenied("403"), False),
        (ServiceUnavailable("503"), True),
        (MalformedAnswer("no ETag"), False),
        (NotFound("404"), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_the_store_refuses_is_unreadable_and_hides_nothing_else(
    error: AssetflowError, is_transient: bool
):
    reader, _ = documents({"a": error, "b": b"{}"})
    found = reader.read_all(["a", "b"])
    assert isinstance(found["a"], UnreadableDocument)
    assert found["a"].is_transient == is_transient
    assert found["a"].reason.startswith(f"{type(error).__name__}: ")
    assert found["b"] == Document("b", {})


def test_a_listed_document_that_is_gone_was_deleted_meanwhile():
    reader, _ = documents({"a": NotFound("404"), "b": b"{}"})
    assert "was deleted while it was read" in str(reader.read_all(["a", "b"])["a"])


@pytest.mark.parametrize("error", [ServiceUnavailable, SourceChanged])
def test_many_that_fail_alike_for_now_are_the_stores_fault(error: type[AssetflowError]):
    reader, _ = documents(many(lambda: error("no")))
    with pytest.raises(error):
        reader.read_all(many(bytes))


@pytest.mark.parametrize("error", [AccessDenied, MalformedAnswer, NotFound])
def test_many_that_fail_alike_for_good_are_each_told(error: type[AssetflowError]):
    contents = many(lambda: error("no"))
    reader, _ = documents({**contents, "b": b"{}"})
    found = reader.read_all(contents)
    assert all(isinstance(one, UnreadableDocument) for one in found.values())
    assert reader.read_all(["b"])["b"] == Document("b", {})


@pytest.mark.parametrize(
    "other", [b"{}", AccessDenied("403")], ids=["one read", "one that fails otherwise"]
)
def test_one_other_outcome_shows_that_the_store_answers(other: bytes | Exception):
    contents = {"a": other, **many(lambda: ServiceUnavailable("503"), ALIKE - 1)}
    reader, _ = documents(contents)
    assert len(reader.read_all(contents)) == len(contents)


def test_many_malformed_documents_are_each_reported():
    contents = many(lambda: b"{")
    reader, _ = documents(contents)
    assert all(isinstance(one, UnreadableDocument) for one in reader.read_all(contents).values())


def test_a_store_that_is_down_is_not_asked_to_the_end():
    contents = many(lambda: ServiceUnavailable("503"), 5000)
    fake = FakeReader(contents, takes_s=0.01)
    with pytest.raises(ServiceUnavailable):
        DocumentReader(fake, "data", threads=4).read_all(contents)
    assert fake.asked.total() < 500


def test_a_missing_bucket_is_raised_at_once():
    reader, _ = documents({"a": BucketNotFound("no bucket"), "b": b"{}"})
    with pytest.raises(BucketNotFound):
        reader.read_all(["a", "b"])


def test_an_ended_task_begins_no_other_request():
    begun: list[str] = []

    class Ended(BaseException):
        """As a signal raises it in the calling thread."""

    def ask(key: str) -> str:
        begun.append(key)
        if key == "k0":
            raise Ended
        release.wait(0.05)
        return key

    release = threading.Event()
    with pytest.raises(Ended):
        ask_all(ask, [f"k{number}" for number in range(200)], 2)
    count = len(begun)
    assert count < 20
    assert threading.active_count() < 20
    assert len(begun) == count


def test_texts_come_as_they_are_written():
    reader, fake = documents({"a": '{"é": 1.50}\n'.encode(), "b": b"\xff", "c": NotFound("404")})
    assert reader.read_text("a") == '{"é": 1.50}\n'
    found = reader.read_texts(["a", "b", "c"])
    assert fake.asked == {"a": 1, "b": 1, "c": 1}
    for key, is_transient in (("b", False), ("c", True)):
        unreadable = found[key]
        assert isinstance(unreadable, UnreadableDocument)
        assert unreadable.is_transient == is_transient


@pytest.mark.parametrize(
    ("fault", "kind", "is_transient"),
    [
        pytest.param({"status": 403, "code": "AccessDenied"}, "AccessDenied", False, id="403"),
        pytest.param({"status": 404, "code": "NoSuchKey"}, "NotFound", True, id="404"),
        pytest.param({"status": 503, "code": "SlowDown"}, "ServiceUnavailable", True, id="503"),
        pytest.param({"drop": True}, "ServiceUnavailable", True, id="no answer"),
        pytest.param({"cut_to_bytes": 3}, "ServiceUnavailable", True, id="half an answer"),
        pytest.param({"status": 200, "body": b"{}"}, "MalformedAnswer", False, id="no S3"),
    ],
)
def test_a_fault_of_s3_concerns_one_document(
    s3_server: Any, bucket: str, fault: Any, kind: str, is_transient: bool
):
    keys = [f"30001/TS [{number}]/a.json" for number in range(3)]
    client = s3_client(s3_server)
    for key in keys:
        client.put_bytes(bucket, key, b'{"a": 1}')
    with FaultProxy(s3_server.endpoint_url) as proxy:
        proxy.add(Fault(contains=keys[1], **fault))
        strict = s3_client(s3_server, proxy.endpoint_url)
        quick = S3Reader(strict, session=boto_session(s3_server), endpoint_url=proxy.endpoint_url)
        found = DocumentReader(quick, bucket).read_all(keys)
    unreadable = found.pop(keys[1])
    assert isinstance(unreadable, UnreadableDocument)
    assert unreadable.reason.startswith(kind)
    assert unreadable.is_transient == is_transient
    assert found == {key: Document(key, {"a": 1}) for key in (keys[0], keys[2])}
