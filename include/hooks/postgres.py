"""The catalog's database, through the Postgres provider's hook."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from include.errors import ServiceUnavailable

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL

DRIVER = "postgresql+psycopg"
UTC = "-c timezone=UTC"


class CatalogDatabaseHook(BaseHook):
    """
    Hand out the address of the catalog's database, and connections to it. Their sessions are in UTC.

    :param postgres_conn_id: a Postgres connection; what psycopg takes, such as ``sslmode``, may stand in
        its extra.
    """

    conn_name_attr = "postgres_conn_id"
    default_conn_name = "assetflow_postgres"

    def __init__(self, postgres_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.postgres_conn_id = postgres_conn_id

    @property
    def url(self) -> str:
        """Address for SQLAlchemy, with the password: not for logs."""
        return self._address.render_as_string(hide_password=False)

    def connect(self) -> psycopg.Connection[Any]:
        """
        Open a connection; the caller closes it.

        :raises ServiceUnavailable: the server does not answer, or does not let us in.
        """
        import psycopg

        address = self._address.translate_connect_args(username="user", database="dbname")
        found: Any = {**address, **self._address.query}
        try:
            return psycopg.connect(**found)
        except psycopg.OperationalError as error:
            reason = " ".join(str(error).split())
            raise ServiceUnavailable(f"connection {self.postgres_conn_id}: {reason}") from error

    @cached_property
    def _address(self) -> URL:
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        hook = PostgresHook(self.postgres_conn_id, sqlalchemy_scheme=DRIVER)
        # The provider's own address leaves out what its connections take from the extra.
        extra = {
            name: str(value)
            for name, value in hook.connection.extra_dejson.items()
            if name not in {*hook.ignored_extra_options, "cursor", "sqlalchemy_query"}
        }
        options = f"{extra.pop('options', '')} {UTC}".strip()
        return hook.sqlalchemy_url.update_query_dict({**extra, "options": options})
