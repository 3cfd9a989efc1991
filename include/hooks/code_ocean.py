"""Code Ocean, from the Airflow connection to the client."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from include.clients.code_ocean import CodeOceanClient


class CodeOceanHook(BaseHook):
    """
    Hand out a :class:`CodeOceanClient`.

    :param code_ocean_conn_id: an HTTP connection; its host is the full address of the deployment with
        its scheme, its password the access token.
    """

    conn_name_attr = "code_ocean_conn_id"
    default_conn_name = "assetflow_code_ocean"

    def __init__(self, code_ocean_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.code_ocean_conn_id = code_ocean_conn_id

    @cached_property
    def client(self) -> CodeOceanClient:
        """The deployment, as the user of the token."""
        from include.clients.code_ocean import CodeOceanClient

        connection = self.get_connection(self.code_ocean_conn_id)
        return CodeOceanClient(domain=connection.host or "", token=connection.password or "")
