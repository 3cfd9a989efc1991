"""The lab's metadata service, from the Airflow connection to the client."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from include.clients.metadata_service import MetadataServiceClient


class MetadataServiceHook(BaseHook):
    """
    Hand out a :class:`MetadataServiceClient`.

    :param metadata_service_conn_id: an HTTP connection; its host is the full address of the service.
    """

    conn_name_attr = "metadata_service_conn_id"
    default_conn_name = "assetflow_metadata_service"

    def __init__(self, metadata_service_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.metadata_service_conn_id = metadata_service_conn_id

    @cached_property
    def address(self) -> str:
        """Full address of the service, without a trailing slash."""
        return (self.get_connection(self.metadata_service_conn_id).host or "").rstrip("/")

    @cached_property
    def client(self) -> MetadataServiceClient:
        """The service."""
        import httpx

        from include.clients.metadata_service import MetadataServiceClient

        return MetadataServiceClient(httpx.Client(base_url=self.address))
