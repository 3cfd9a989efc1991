"""Quick listings that are believed only when there is something in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from include.assets.stored_object import Folder
from include.clients.s3_folders import S3Folders
from include.errors import (
    AccessDenied,
    AssetflowError,
    BucketNotFound,
    MalformedAnswer,
    NotFound,
    ServiceUnavailable,
)
from tests.s3_clients import boto_session, s3_client
from tests.s3_fault_proxy import Fault, FaultProxy

PLACES = ["plain", "a#b", "a?b", "a%20b", "a b+c", "é_東京", "a&b=c", "{x}", "tilde~", "q'x"]


@pytest.fixture
def proxy(s3_server: Any) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


def folders(server: Any, bucket: str, proxy: FaultProxy) -> S3Folders:
    strict = s3_client(server, proxy.endpoint_url)
    return S3Folders(bucket, strict, session=boto_session(server), endpoint_url=proxy.endpoint_url)


def put(server: Any, bucket: str, *keys: str) -> None:
    for key in keys:
        server.client().put_object(Bucket=bucket, Key=key, Body=key.encode())


@pytest.mark.parametrize("name", PLACES)
def test_a_folder_is_listed_in_one_request_and_as_boto3_lists_it(
    s3_server: Any, bucket: str, proxy: FaultProxy, name: str
):
    put(s3_server, bucket, f"{name}/a.json", f"{name}/b/c.json", f"{name}-other/a.json")
    found = folders(s3_server, bucket, proxy).list_folder(f"{name}/")
    assert proxy.count() == 1
    assert (set(found.objects), found.folders) == ({"a.json"}, {"b"})
    strict = s3_client(s3_server).list_folder(bucket, f"{name}/")
    assert (found.objects["a.json"].etag, found.objects["a.json"].size_bytes) == (
        strict.objects["a.json"].etag,
        strict.objects["a.json"].size_bytes,
    )
    assert found.folders == strict.folders
    assert found.objects["a.json"].key == f"{name}/a.json"


@pytest.mark.parametrize("name", ["a//b", "ctrl\x01", "dot/.", "dots/.."])
def test_what_is_no_path_to_obstore_is_asked_of_boto3(
    s3_server: Any, bucket: str, proxy: FaultProxy, name: str
):
    found = folders(s3_server, bucket, proxy).list_folder(f"{name}/")
    assert found == Folder({}, frozenset())


def test_a_folder_that_is_not_there_is_asked_for_twice(
    s3_server: Any, bucket: str, proxy: FaultProxy
):
    found = folders(s3_server, bucket, proxy).list_folder("nothing/")
    assert found == Folder({}, frozenset())
    assert proxy.count() == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"status": 403, "code": "AccessDenied"}, AccessDenied, id="403"),
        pytest.param({"status": 404, "code": "NoSuchKey"}, NotFound, id="404"),
        pytest.param({"status": 404, "code": "NoSuchBucket"}, BucketNotFound, id="no bucket"),
        pytest.param({"status": 503, "code": "SlowDown"}, ServiceUnavailable, id="503"),
        pytest.param({"drop": True}, ServiceUnavailable, id="no answer"),
        pytest.param({"cut_to_bytes": 100}, ServiceUnavailable, id="half an answer"),
        pytest.param({"status": 200, "body": b""}, MalformedAnswer, id="nothing with 200"),
        pytest.param(
            {"status": 200, "body": b"<Error><Code>InternalError</Code></Error>"},
            AssetflowError,
            id="an error with 200",
        ),
        pytest.param({"status": 200, "body": b"<html><p>hi</p></html>"}, AssetflowError, id="HTML"),
        pytest.param(
            {
                "status": 200,
                "body": b"<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>true</IsTruncated>"
                b"</ListBucketResult>",
            },
            MalformedAnswer,
            id="a cut page without a way on",
        ),
    ],
)
def test_no_fault_is_taken_for_an_empty_folder(
    s3_server: Any, bucket: str, proxy: FaultProxy, fault: Any, error: type[AssetflowError]
):
    put(s3_server, bucket, "one/a.json")
    proxy.add(Fault(**fault))
    with pytest.raises(error):
        folders(s3_server, bucket, proxy).list_folder("one/")


def test_a_fault_that_passes_is_not_noticed(s3_server: Any, bucket: str, proxy: FaultProxy):
    put(s3_server, bucket, "one/a.json")
    proxy.add(Fault(times=1, status=503, code="SlowDown"))
    assert set(folders(s3_server, bucket, proxy).list_folder("one/").objects) == {"a.json"}


def test_top_folders_come_by_the_page_without_objects_at_the_top(s3_server: Any, bucket: str):
    put(s3_server, bucket, "a/1", "a-b/1", "b/1/2", "top.txt")
    (page,) = s3_client(s3_server).iterate_folders(bucket)
    assert sorted(page) == ["a", "a-b", "b"]


def test_a_copy_is_made_once_and_only_of_what_was_meant(s3_server: Any, bucket: str):
    from include.errors import PreconditionFailed

    client = s3_client(s3_server)
    put(s3_server, bucket, "one/a.json")
    etag = client.head(bucket, "one/a.json").etag
    with pytest.raises(PreconditionFailed):
        client.copy_object(bucket, "one/a.json", "one/copy.json", if_match="another")
    client.copy_object(bucket, "one/a.json", "one/copy.json", if_match=etag)
    assert client.read(bucket, "one/copy.json") == b"one/a.json"
    with pytest.raises(PreconditionFailed):
        client.copy_object(bucket, "one/a.json", "one/copy.json", if_match=etag)
    with pytest.raises(NotFound):
        client.copy_object(bucket, "one/b.json", "one/copy-2.json", if_match=etag)
