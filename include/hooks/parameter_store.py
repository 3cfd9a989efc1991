"""The parameter store that holds the presets."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from include.clients.parameter_store import ParameterStore


class ParameterStoreHook(BaseHook):
    """
    Hand out a :class:`ParameterStore`.

    :param aws_conn_id: an AWS connection that may read the presets' path.
    """

    conn_name_attr = "aws_conn_id"
    default_conn_name = "assetflow_parameter_store"

    def __init__(self, aws_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id

    @cached_property
    def client(self) -> ParameterStore:
        """AWS Systems Manager's parameter store."""
        from airflow.providers.amazon.aws.hooks.ssm import SsmHook

        from include.clients.parameter_store import ParameterStore
        from include.hooks.aws import make_client

        return ParameterStore(make_client(SsmHook(aws_conn_id=self.aws_conn_id), "ssm"))
