"""Our S3 clients for a test server, or for a proxy before it."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from include.clients.s3 import ObjectWriter, S3Client


def boto_session(server: Any) -> boto3.Session:
    """With the keys of the test server."""
    return _session(server.access_key, server.secret_key, server.region)


@cache
def _session(access_key: str, secret_key: str, region: str) -> boto3.Session:
    """Made once: each new one reads botocore's description of S3 again, for a tenth of a second."""
    return boto3.Session(access_key, secret_key, region_name=region)


def s3_client(
    server: Any, endpoint_url: str = "", *, attempts: int = 1, time_limit_s: float = 5
) -> S3Client:
    """Our client; *attempts* as botocore counts them, the first one included."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=32,
        connect_timeout=5,
        read_timeout=time_limit_s,
        s3={"addressing_style": "path"},
    )
    place = endpoint_url or server.endpoint_url
    return S3Client(boto_session(server).client("s3", endpoint_url=place, config=config))


def object_writer(
    server: Any, bucket: str, endpoint_url: str = "", *, part_size_bytes: int = 16 * 2**20
) -> ObjectWriter:
    """Our bulk writer, without repetitions of its own."""
    return ObjectWriter(
        bucket,
        session=boto_session(server),
        endpoint_url=endpoint_url or server.endpoint_url,
        part_size_bytes=part_size_bytes,
        max_retries=0,
    )
