"""S3, against a real server, and against one that answers wrongly."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from awscrt.checksums import crc64nvme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.clients.s3 import ObjectWriter, S3Client
from include.errors import (
    AccessDenied,
    AssetflowError,
    MalformedAnswer,
    NotFound,
    PermanentError,
    PreconditionFailed,
    ServiceUnavailable,
)
from tests.s3_clients import object_writer, s3_client
from tests.s3_fault_proxy import Fault, FaultProxy

MIB = 2**20
NAMES = [
    pytest.param("a b", id="space"),
    pytest.param('it\'s "so"', id="quotes"),
    pytest.param("Übung-ü-日本-é", id="unicode, both normal forms"),
    pytest.param("100%-%20-%2F", id="percent signs"),
    pytest.param("a+b&c=d", id="plus, ampersand"),
    pytest.param(".hidden", id="leading dot"),
    pytest.param("a*b?[c]{d}#~|^`<>", id="signs with a meaning elsewhere"),
]


def crc(content: bytes) -> str:
    return base64.b64encode(crc64nvme(content).to_bytes(8, "big")).decode()


@pytest.fixture
def s3(s3_server: Any) -> S3Client:
    return s3_client(s3_server)


@pytest.fixture
def writer(s3_server: Any, bucket: str) -> ObjectWriter:
    return object_writer(s3_server, bucket, part_size_bytes=5 * MIB)


@pytest.fixture
def proxy(s3_server: Any) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.mark.parametrize("name", NAMES)
def test_a_key_arrives_as_it_was_named(
    s3: S3Client, writer: ObjectWriter, bucket: str, name: str
) -> None:
    writer.put_bytes(f"asset/{name}/{name}", b"bulk")
    s3.put_bytes(bucket, f"other/{name}", b"single")
    keys = [found.key for found in s3.iterate_objects(bucket, "")]
    assert keys == [f"asset/{name}/{name}", f"other/{name}"]
    assert s3.read(bucket, f"asset/{name}/{name}") == b"bulk"


@pytest.mark.parametrize("size_bytes", [0, 1, 5 * MIB, 12 * MIB + 1])
def test_an_object_sent_in_parts_has_the_checksum_of_the_whole(
    s3: S3Client, writer: ObjectWriter, bucket: str, size_bytes: int
) -> None:
    content = bytes(range(256)) * (size_bytes // 256) + b"x" * (size_bytes % 256)
    chunks = (content[start : start + MIB] for start in range(0, size_bytes, MIB))
    etag = writer.put_chunks("asset/big", chunks, size_bytes)
    found = s3.head(bucket, "asset/big")
    assert (found.size_bytes, found.crc64nvme, found.etag) == (size_bytes, crc(content), etag)


def test_a_small_object_has_its_md5_as_etag_and_its_checksum(
    s3: S3Client, writer: ObjectWriter, bucket: str
) -> None:
    etag = writer.put_bytes("asset/small", b"small")
    [listed] = s3.iterate_objects(bucket, "asset/")
    assert listed.etag == etag == hashlib.md5(b"small").hexdigest()
    assert listed.has_md5(etag)
    assert s3.head(bucket, "asset/small").crc64nvme == crc(b"small")


def test_what_goes_wrong_while_reading_leaves_no_object_and_no_parts(
    s3: S3Client, writer: ObjectWriter, bucket: str
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * (11 * MIB)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        writer.put_chunks("asset/big", chunks(), 20 * MIB)
    assert not s3.has_objects(bucket, "asset/")
    assert s3.abort_uploads(bucket, "asset/") == 0


def test_unfinished_uploads_of_the_asset_alone_are_aborted(
    s3_server: Any, s3: S3Client, bucket: str
) -> None:
    raw = s3_server.client()
    for key in ("asset/a b%", "asset/c", "asset-extra/d"):
        raw.create_multipart_upload(Bucket=bucket, Key=key)
    assert s3.abort_uploads(bucket, "asset/") == 2
    left = raw.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["asset-extra/d"]


def test_an_upload_that_ended_before_it_is_aborted_is_no_failure(
    s3_server: Any, proxy: FaultProxy, bucket: str
) -> None:
    raw = s3_server.client()
    for key in ("asset/a", "asset/b"):
        raw.create_multipart_upload(Bucket=bucket, Key=key)
    proxy.add(Fault(method="DELETE", contains="asset/a", status=404, code="NoSuchUpload"))
    assert s3_client(s3_server, proxy.endpoint_url).abort_uploads(bucket, "asset/") == 1
    left = raw.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["asset/a"]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(404, "NoSuchBucket", NotFound), (403, "AccessDenied", AccessDenied)],
)
def test_an_abort_that_is_refused_is_a_failure(
    s3_server: Any,
    proxy: FaultProxy,
    bucket: str,
    status: int,
    code: str,
    error: type[AssetflowError],
) -> None:
    s3_server.client().create_multipart_upload(Bucket=bucket, Key="asset/a")
    proxy.add(Fault(method="DELETE", status=status, code=code))
    with pytest.raises(error, match=code):
        s3_client(s3_server, proxy.endpoint_url).abort_uploads(bucket, "asset/")


@pytest.mark.parametrize("method", ["PUT", "POST"], ids=["a part", "the end"])
def test_an_upload_that_somebody_ended_may_be_sent_again(
    s3_server: Any, proxy: FaultProxy, bucket: str, method: str
) -> None:
    target = "uploadId="
    proxy.add(Fault(method=method, contains=target, times=1, status=404, code="NoSuchUpload"))
    writer = object_writer(s3_server, bucket, proxy.endpoint_url, part_size_bytes=5 * MIB)
    chunks = [b"x" * (6 * MIB)]
    with pytest.raises(ServiceUnavailable, match=r"s3://.*/asset/big: somebody ended the upload"):
        writer.put_chunks("asset/big", chunks, 6 * MIB)
    writer.put_chunks("asset/big", chunks, 6 * MIB)


def test_a_neighbour_with_a_longer_name_is_not_the_asset(s3: S3Client, bucket: str) -> None:
    s3.put_bytes(bucket, "asset_10-extra/file", b"")
    assert not s3.has_objects(bucket, "asset_10/")
    assert s3.has_objects(bucket, "asset_10-extra/")
    with pytest.raises(ValueError, match="slash"):
        s3.has_objects(bucket, "asset_10")


def test_listings_go_on_after_a_full_page(
    s3_server: Any, writer: ObjectWriter, bucket: str, proxy: FaultProxy
) -> None:
    for number in range(1001):
        writer.put_bytes(f"asset/{number:04}", b"")
    keys = [
        found.key
        for found in s3_client(s3_server, proxy.endpoint_url).iterate_objects(bucket, "asset/")
    ]
    assert keys == [f"asset/{number:04}" for number in range(1001)]
    assert proxy.count("GET") == 2


def test_only_one_conditional_write_succeeds(s3: S3Client, bucket: str) -> None:
    first = s3.put_bytes(bucket, "claim", b"1", if_none_match=True)
    with pytest.raises(PreconditionFailed):
        s3.put_bytes(bucket, "claim", b"2", if_none_match=True)
    second = s3.put_bytes(bucket, "claim", b"2", if_match=first)
    with pytest.raises(PreconditionFailed):
        s3.put_bytes(bucket, "claim", b"3", if_match=first)
    with pytest.raises(PreconditionFailed):
        s3.delete_object(bucket, "claim", if_match=first)
    assert s3.read_with_etag(bucket, "claim") == (b"2", second)
    s3.delete_object(bucket, "claim", if_match=second)
    with pytest.raises(NotFound):
        s3.read(bucket, "claim")


Call = Callable[[S3Client, str], object]
CALLS: list[Any] = [
    pytest.param(lambda s3, bucket: s3.has_objects(bucket, "asset/"), id="has_objects"),
    pytest.param(lambda s3, bucket: list(s3.iterate_objects(bucket, "asset/")), id="iterate"),
    pytest.param(lambda s3, bucket: s3.head(bucket, "asset/key"), id="head"),
    pytest.param(lambda s3, bucket: s3.read(bucket, "asset/key"), id="read"),
    pytest.param(lambda s3, bucket: s3.put_bytes(bucket, "asset/key", b"x"), id="put"),
    pytest.param(lambda s3, bucket: s3.delete_object(bucket, "asset/key"), id="delete"),
    pytest.param(lambda s3, bucket: s3.abort_uploads(bucket, "asset/"), id="abort"),
]
ANSWERS: list[Any] = [
    (Fault(status=403, code="AccessDenied"), AccessDenied),
    (Fault(status=401, code="InvalidAccessKeyId"), AccessDenied),
    (Fault(status=503, code="SlowDown"), ServiceUnavailable),
    (Fault(status=500), ServiceUnavailable),
    (Fault(status=429, code="TooManyRequests"), ServiceUnavailable),
    (Fault(status=409, code="ConditionalRequestConflict"), ServiceUnavailable),
    (Fault(status=412, code="PreconditionFailed"), PreconditionFailed),
    (Fault(status=400, code="InvalidRequest"), PermanentError),
    (Fault(drop=True), ServiceUnavailable),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("fault", "error"), [pytest.param(*row, id=f"{row[0].status} {row[0].code}") for row in ANSWERS]
)
def test_no_bad_answer_is_taken_for_an_absence(
    s3_server: Any, proxy: FaultProxy, call: Call, fault: Fault, error: type[AssetflowError]
) -> None:
    proxy.add(fault)
    with pytest.raises(error) as caught:
        call(s3_client(s3_server, proxy.endpoint_url), "bucket-of-test")
    assert not isinstance(caught.value, NotFound)
    assert "bucket-of-test" in str(caught.value)


@pytest.mark.parametrize("call", [param for param in CALLS if param.id not in {"put", "delete"}])
def test_a_missing_bucket_is_named(s3: S3Client, call: Call) -> None:
    with pytest.raises(NotFound, match=r"no-such-bucket.*the bucket itself does not exist"):
        call(s3, "no-such-bucket")


def test_a_missing_key_is_not_found(s3: S3Client, bucket: str) -> None:
    with pytest.raises(NotFound, match="NoSuchKey"):
        s3.head(bucket, "asset/key")
    assert list(s3.iterate_objects(bucket, "asset/")) == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(method="GET", skip=1, cut_to_bytes=300), id="second page cut off"),
        pytest.param(Fault(method="GET", skip=1, status=200, body=b""), id="second page empty"),
        pytest.param(Fault(method="GET", status=200, body=b""), id="nothing at all"),
        pytest.param(Fault(method="GET", status=200, body=b"<html>busy</html>"), id="a web page"),
        pytest.param(
            Fault(method="GET", status=200, body=b"<ListBucketResult><IsTruncated>fal"),
            id="half a document",
        ),
        pytest.param(
            Fault(
                method="GET",
                status=200,
                body=b"<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>true</IsTruncated>"
                b"</ListBucketResult>",
            ),
            id="cut, and no way on",
        ),
        pytest.param(
            Fault(
                method="GET",
                status=200,
                body=b"<ListBucketResult><KeyCount>3</KeyCount><IsTruncated>false</IsTruncated>"
                b"</ListBucketResult>",
            ),
            id="fewer keys than counted",
        ),
    ],
)
def test_a_broken_page_is_never_a_short_list(
    s3_server: Any, writer: ObjectWriter, bucket: str, proxy: FaultProxy, fault: Fault
) -> None:
    if fault.skip:
        for number in range(1001):
            writer.put_bytes(f"asset/{number}", b"")
    proxy.add(fault)
    with pytest.raises((ServiceUnavailable, MalformedAnswer)):
        list(s3_client(s3_server, proxy.endpoint_url).iterate_objects(bucket, "asset/"))


def test_half_a_content_is_no_content(
    s3_server: Any, s3: S3Client, bucket: str, proxy: FaultProxy
) -> None:
    s3.put_bytes(bucket, "plan.json", b'{"a": "0123456789"}')
    proxy.add(Fault(method="GET", cut_to_bytes=5))
    with pytest.raises(ServiceUnavailable):
        s3_client(s3_server, proxy.endpoint_url).read_json(bucket, "plan.json")


def test_what_is_not_json_is_malformed(s3: S3Client, bucket: str) -> None:
    s3.put_bytes(bucket, "plan.json", b"{")
    with pytest.raises(MalformedAnswer, match=r"plan\.json is not JSON"):
        s3.read_json(bucket, "plan.json")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(Fault(status=403, code="AccessDenied"), AccessDenied, id="403"),
        pytest.param(Fault(status=404, code="NoSuchBucket"), NotFound, id="no bucket"),
        pytest.param(Fault(status=503, code="SlowDown"), ServiceUnavailable, id="503"),
        pytest.param(Fault(status=500), ServiceUnavailable, id="500"),
        pytest.param(Fault(status=400, code="BadDigest"), ServiceUnavailable, id="damaged"),
        pytest.param(Fault(status=400, code="KeyTooLongError"), PermanentError, id="400"),
        pytest.param(Fault(drop=True), ServiceUnavailable, id="no answer"),
    ],
)
@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda writer: writer.put_bytes("asset/key", b"x"), id="in one"),
        pytest.param(lambda writer: writer.put_chunks("asset/key", [b"x"], 1), id="in parts"),
    ],
)
def test_a_refused_write_says_why(
    s3_server: Any,
    proxy: FaultProxy,
    send: Callable[[ObjectWriter], object],
    fault: Fault,
    error: type[AssetflowError],
) -> None:
    proxy.add(Fault(**vars(fault)))
    writer = object_writer(s3_server, "bucket-of-test", proxy.endpoint_url)
    with pytest.raises(error, match="s3://bucket-of-test/asset/key"):
        send(writer)


def test_content_damaged_on_its_way_is_refused(s3_server: Any, bucket: str) -> None:
    raw = s3_server.client()
    with pytest.raises(raw.exceptions.ClientError, match=r"BadDigest|checksum"):
        raw.put_object(Bucket=bucket, Key="k", Body=b"x", ChecksumCRC64NVME=crc(b"y"))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\")))
def test_any_name_a_file_may_have_survives(
    s3: S3Client, writer: ObjectWriter, bucket: str, name: str
) -> None:
    key = f"asset/x{name}x"
    writer.put_bytes(key, name.encode())
    assert s3.read(bucket, key) == name.encode()


def test_a_server_that_refuses_connections_may_be_back_later(s3_server: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = s3_client(s3_server, nobody)
        for ask in (
            lambda: client.has_objects("bucket", "a/"),
            lambda: client.read("bucket", "a"),
            lambda: client.put_bytes("bucket", "a", b""),
        ):
            with pytest.raises(ServiceUnavailable):
                ask()
