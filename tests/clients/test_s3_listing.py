"""Pages that are read quickly are the pages that botocore reads; every other page is botocore's."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config

from include.clients.s3_listing import read_listings_quickly
from tests.s3_clients import boto_session
from tests.s3_fault_proxy import Fault, FaultProxy

KEYS = ["plain/a", "a b+c/é_東京", "a&b<c>/x", "a%20b", "dir/", "t/\x01"]

PAGE = (
    '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>b</Name><Prefix></Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys>"
    "<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
)
ENTRY = (
    "<Contents><Key>k</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
    "<ETag>&quot;e&quot;</ETag><Size>7</Size>{more}</Contents>"
)


def clients(server: Any, url: str = "") -> tuple[Any, Any]:
    """One that reads quickly, and one as boto3 makes it."""
    session: boto3.Session = boto_session(server)
    once = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    quick, plain = (
        session.client("s3", endpoint_url=url or server.endpoint_url, config=once) for _ in range(2)
    )
    read_listings_quickly(quick)
    return quick, plain


def same(quick: Any, plain: Any, **what: Any) -> None:
    pages = [client.list_objects_v2(**what) for client in (quick, plain)]
    for page in pages:
        del page["ResponseMetadata"]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("options", [{}, {"MaxKeys": 2}, {"Delimiter": "/"}, {"Prefix": "none/"}])
def test_a_page_of_a_real_server_reads_the_same(
    s3_server: Any, bucket: str, options: dict[str, Any]
):
    quick, plain = clients(s3_server)
    for key in KEYS:
        plain.put_object(Bucket=bucket, Key=key, Body=b"x")
    same(quick, plain, Bucket=bucket, **options)


@pytest.mark.parametrize(
    "more",
    [
        "",
        "<StorageClass>STANDARD</StorageClass><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>",
        "<Owner><ID>me</ID></Owner>",
        "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>",
        "<SomethingNew>1</SomethingNew>",
    ],
)
def test_an_entry_with_anything_in_it_reads_the_same(s3_server: Any, more: str):
    with FaultProxy(s3_server.endpoint_url) as proxy:
        body = PAGE.format(entries=ENTRY.format(more=more)).encode()
        proxy.add(Fault(status=200, body=body))
        same(*clients(s3_server, proxy.endpoint_url), Bucket="b")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Error><Code>InternalError</Code><Message>m</Message></Error>",
        b"<html><body>sign in</body></html>",
        PAGE.format(entries=ENTRY.format(more="")).encode()[:-40],
    ],
    ids=["nothing", "error", "HTML", "cut"],
)
def test_what_is_no_page_ends_the_same(s3_server: Any, body: bytes):
    with FaultProxy(s3_server.endpoint_url) as proxy:
        proxy.add(Fault(status=200, body=body))
        ends = []
        for client in clients(s3_server, proxy.endpoint_url):
            try:
                page = client.list_objects_v2(Bucket="b")
                ends.append(sorted(page.keys() - {"ResponseMetadata"}))
            except Exception as error:  # noqa: BLE001 - compared
                ends.append([type(error).__name__, str(error)])
        assert ends[0] == ends[1]
