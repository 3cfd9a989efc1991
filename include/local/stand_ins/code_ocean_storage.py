"""The buckets as Code Ocean sees them: does a folder hold files, and where results are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class StorageRefused(Exception):
    """Why an asset cannot be made from, or written to, a bucket."""


class Storage:
    """Folders of buckets, through an S3 client."""

    def __init__(self, s3: S3Client) -> None:
        self._s3 = s3

    def measure(self, bucket: str, prefix: str) -> tuple[int, int]:
        """Count the files of a folder and their bytes.

        Raises:
            StorageRefused: nothing there, no such bucket, no access, no answer.
        """
        folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        files = size_bytes = 0
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
            for page in pages:
                for entry in page.get("Contents", []):
                    files += 1
                    size_bytes += entry["Size"]
        except (BotoCoreError, ClientError) as error:
            raise StorageRefused(f"cannot read s3://{bucket}/{folder}: {error}") from error
        if not files:
            raise StorageRefused(f"s3://{bucket}/{folder} holds no files")
        return files, size_bytes

    def write(self, bucket: str, prefix: str, files: Mapping[str, str]) -> None:
        """Write result files, by their path under *prefix*.

        Raises:
            StorageRefused: no such bucket, no access, no answer.
        """
        try:
            for path, text in files.items():
                key = f"{prefix.strip('/')}/{path}"
                self._s3.put_object(Bucket=bucket, Key=key, Body=text.encode())
        except (BotoCoreError, ClientError) as error:
            raise StorageRefused(f"cannot write to s3://{bucket}/{prefix}: {error}") from error
