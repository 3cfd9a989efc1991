"""S3, from the Airflow connection to the client that domain code is given."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from include.clients.runs_bucket import RunsBucket
    from include.clients.s3 import ObjectWriter, S3Client
    from include.clients.s3_folders import S3Folders
    from include.clients.s3_reader import S3Reader

ATTEMPTS = 5
"""How often boto3 sends a request that is throttled or whose connection drops."""

CONNECTIONS = 32
"""As many as the widest of our thread pools."""


class AssetStoreHook(BaseHook):
    """
    Hand out the S3 clients built from one Airflow connection.

    :param aws_conn_id: an AWS connection; ``endpoint_url`` in its extra points it elsewhere than AWS.
    """

    conn_name_attr = "aws_conn_id"
    default_conn_name = "assetflow_s3"

    def __init__(self, aws_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id

    @cached_property
    def _provider_hook(self) -> S3Hook:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=CONNECTIONS,
        )
        return S3Hook(aws_conn_id=self.aws_conn_id, config=config)

    @cached_property
    def client(self) -> S3Client:
        """Single objects, listings and conditional writes."""
        from include.clients.s3 import S3Client
        from include.hooks.aws import make_client

        return S3Client(make_client(self._provider_hook, "s3"))

    def writer(self, bucket: str, *, part_size_bytes: int) -> ObjectWriter:
        """Bulk upload into one bucket."""
        from include.clients.s3 import ObjectWriter

        return ObjectWriter(
            bucket,
            session=self._provider_hook.get_session(),
            endpoint_url=self._provider_hook.conn_config.get_service_endpoint_url("s3"),
            region=self._provider_hook.region_name,
            part_size_bytes=part_size_bytes,
        )

    def folders(self, bucket: str) -> S3Folders:
        """Listings of very many small folders of one bucket."""
        from include.clients.s3_folders import S3Folders

        return S3Folders(
            bucket,
            self.client,
            session=self._provider_hook.get_session(),
            endpoint_url=self._provider_hook.conn_config.get_service_endpoint_url("s3"),
            region=self._provider_hook.region_name,
        )

    def readers(self, *, anonymous: bool = False) -> tuple[S3Client, S3Reader]:
        """
        What lists buckets strictly, and what reads very many small objects.

        :param anonymous: sign no request; of the connection only address and region count.
        """
        from include.clients.s3_reader import S3Reader, anonymous_clients

        endpoint_url = self._provider_hook.conn_config.get_service_endpoint_url("s3")
        if anonymous:
            return anonymous_clients(endpoint_url, self._provider_hook.conn_config.region_name)
        reader = S3Reader(
            self.client,
            session=self._provider_hook.get_session(),
            endpoint_url=endpoint_url,
            region=self._provider_hook.region_name,
        )
        return self.client, reader

    def runs_bucket(self, bucket: str) -> RunsBucket:
        """Plans, reports, claims and journals."""
        from include.clients.runs_bucket import RunsBucket

        return RunsBucket(self.client, bucket)
