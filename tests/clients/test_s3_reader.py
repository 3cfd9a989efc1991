"""Quick reads that count only when they are clean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from include.clients.s3_reader import S3Reader, anonymous_clients
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

KEYS = [
    "plain",
    "a#b",
    "a?b",
    "a%20b",
    "a b+c",
    "é_東京",
    "a&b=c",
    "TS [1]*{x}",
    "q'x\"",
    "100%",
    "a\\b",
]
ODD_KEYS = ["x/", "/y", "t\tb"]


@pytest.fixture
def proxy(s3_server: Any) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


def reader(server: Any, proxy: FaultProxy) -> S3Reader:
    strict = s3_client(server, proxy.endpoint_url)
    return S3Reader(strict, session=boto_session(server), endpoint_url=proxy.endpoint_url)


def put(server: Any, bucket: str, *keys: str) -> None:
    client = s3_client(server)
    for key in keys:
        client.put_bytes(bucket, key, key.encode())


@pytest.mark.parametrize("key", KEYS)
def test_an_object_is_read_in_one_request(s3_server: Any, bucket: str, proxy: FaultProxy, key: str):
    put(s3_server, bucket, key)
    assert reader(s3_server, proxy).read(bucket, key) == key.encode()
    assert proxy.count() == 1


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_key_that_the_quick_client_cannot_name_is_not_mistaken_for_another(
    s3_server: Any, bucket: str, key: str
):
    put(s3_server, bucket, key)
    if key.strip("/") != key:
        put(s3_server, bucket, f"other{key}")
    signed = S3Reader(
        s3_client(s3_server), session=boto_session(s3_server), endpoint_url=s3_server.endpoint_url
    )
    strict = s3_client(s3_server).read(bucket, key)
    assert signed.read(bucket, key) == strict


def test_a_slash_at_an_end_names_another_object(s3_server: Any, bucket: str):
    put(s3_server, bucket, "y", "folder/y")
    signed = S3Reader(
        s3_client(s3_server), session=boto_session(s3_server), endpoint_url=s3_server.endpoint_url
    )
    with pytest.raises(NotFound):
        signed.read(bucket, "y/")


def test_an_empty_object_is_empty(s3_server: Any, bucket: str, proxy: FaultProxy):
    s3_server.client().put_object(Bucket=bucket, Key="empty", Body=b"")
    assert reader(s3_server, proxy).read(bucket, "empty") == b""


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"status": 403, "code": "AccessDenied"}, AccessDenied, id="403"),
        pytest.param({"status": 404, "code": "NoSuchKey"}, NotFound, id="404"),
        pytest.param({"status": 404, "code": "NoSuchBucket"}, BucketNotFound, id="no bucket"),
        pytest.param({"status": 503, "code": "SlowDown"}, ServiceUnavailable, id="503"),
        pytest.param({"drop": True}, ServiceUnavailable, id="no answer"),
        pytest.param({"cut_to_bytes": 2}, ServiceUnavailable, id="half an answer"),
        pytest.param({"status": 200, "body": b""}, MalformedAnswer, id="nothing with 200"),
        pytest.param({"status": 200, "body": b"<html>hi</html>"}, MalformedAnswer, id="HTML"),
        pytest.param({"status": 200, "body": b"{}"}, MalformedAnswer, id="JSON of somebody else"),
    ],
)
def test_no_fault_is_taken_for_content(
    s3_server: Any, bucket: str, proxy: FaultProxy, fault: Any, error: type[AssetflowError]
):
    put(s3_server, bucket, "one.json")
    proxy.add(Fault(**fault))
    with pytest.raises(error):
        reader(s3_server, proxy).read(bucket, "one.json")


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"drop": True}, {"cut_to_bytes": 2}, {"status": 200, "body": b"<p>"}],
    ids=["503", "no answer", "half an answer", "HTML"],
)
def test_a_fault_that_passes_is_not_noticed(
    s3_server: Any, bucket: str, proxy: FaultProxy, fault: Any
):
    put(s3_server, bucket, "one.json")
    proxy.add(Fault(times=1, **fault))
    assert reader(s3_server, proxy).read(bucket, "one.json") == b"one.json"
    assert proxy.count() == 2


def test_threads_share_a_reader(s3_server: Any, bucket: str, proxy: FaultProxy):
    keys = [f"{number}.json" for number in range(40)]
    put(s3_server, bucket, *keys)
    shared = reader(s3_server, proxy)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda key: shared.read(bucket, key), keys))
    assert contents == [key.encode() for key in keys]


@pytest.fixture
def public_bucket(s3_server: Any, bucket: str) -> Iterator[str]:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3_server.client().put_bucket_policy(Bucket=bucket, Policy=policy)
    yield bucket
    s3_server.client().delete_bucket_policy(Bucket=bucket)


@pytest.fixture
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    # Whoever looks for credentials of the machine ends here.
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1/")


@pytest.mark.usefixtures("_no_credentials")
def test_a_public_bucket_is_read_without_credentials(
    s3_server: Any, public_bucket: str, proxy: FaultProxy
):
    put(s3_server, public_bucket, "30001/a.json")
    strict, quick = anonymous_clients(proxy.endpoint_url, s3_server.region)
    assert quick.read(public_bucket, "30001/a.json") == b"30001/a.json"
    assert proxy.count() == 1
    assert strict.read(public_bucket, "30001/a.json") == b"30001/a.json"
    assert [one.key for one in strict.iterate_objects(public_bucket, "30001/")] == ["30001/a.json"]
    assert next(strict.iterate_folders(public_bucket)) == ["30001"]
    with pytest.raises(NotFound):
        quick.read(public_bucket, "30001/b.json")


@pytest.mark.usefixtures("_no_credentials")
def test_a_private_bucket_is_denied_without_credentials(s3_server: Any, bucket: str):
    put(s3_server, bucket, "a.json")
    _, quick = anonymous_clients(s3_server.endpoint_url, s3_server.region)
    with pytest.raises(AccessDenied):
        quick.read(bucket, "a.json")
