"""DocDB, through the Mongo provider's hook."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from include.clients.docdb import DocDbClient


class DocDbHook(BaseHook):
    """
    Hand out a :class:`DocDbClient` for one collection.

    :param database: name of the database, such as ``metadata_index``.
    :param collection: name of the collection, such as ``data_assets``.
    :param mongo_conn_id: a Mongo connection; for Amazon DocumentDB its extra holds TLS and
        ``retryWrites=false``.
    """

    conn_name_attr = "mongo_conn_id"
    default_conn_name = "assetflow_docdb"

    def __init__(
        self, database: str, collection: str, mongo_conn_id: str = default_conn_name
    ) -> None:
        super().__init__()
        self.database = database
        self.collection = collection
        self.mongo_conn_id = mongo_conn_id

    @cached_property
    def client(self) -> DocDbClient:
        """The collection, with our errors."""
        from airflow.providers.mongo.hooks.mongo import MongoHook

        from include.clients.docdb import DocDbClient

        connection: Any = MongoHook(mongo_conn_id=self.mongo_conn_id).get_conn()
        return DocDbClient(connection[self.database][self.collection])
