"""DocDB, through the Mongo provider's hook."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from include.settings import settings

if TYPE_CHECKING:
    from include.assets.core_files import Generation
    from include.clients.docdb import DocDbClient
    from include.clients.docdb_bulk import DocDbBulk


class DocDbHook(BaseHook):
    """
    Hand out the clients of one collection.

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
        """The collection, record by record."""
        from include.clients.docdb import DocDbClient

        return DocDbClient(self._records)

    @cached_property
    def bulk(self) -> DocDbBulk:
        """The collection, many records at a time."""
        from include.clients.docdb_bulk import DocDbBulk

        return DocDbBulk(self._records)

    @cached_property
    def _records(self) -> Any:
        from airflow.providers.mongo.hooks.mongo import MongoHook

        connection: Any = MongoHook(mongo_conn_id=self.mongo_conn_id).get_conn()
        return connection[self.database][self.collection]


def docdb_hook(generation: Generation) -> DocDbHook:
    """The collection in which records of that schema generation are kept."""
    from include.assets.core_files import Generation

    deployment = settings()
    collection = (
        deployment.docdb_collection_v2
        if generation is Generation.V2
        else deployment.docdb_collection_v1
    )
    return DocDbHook(deployment.docdb_database, collection)
