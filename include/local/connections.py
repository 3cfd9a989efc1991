"""The Airflow connections of the embedded servers, as environment variables.

Production gives the same ids other values; see ``.env.example``.
"""

from __future__ import annotations

import json
from typing import Any

from include.local.ports import LOOPBACK
from include.local.postgres import Postgres
from include.local.services import (
    S3,
    CodeOcean,
    DocDb,
    Mail,
    MetadataService,
    ParameterStore,
)

CATALOG_DATABASE = "catalog"


def s3_connection(s3: S3) -> dict[str, Any]:
    """Keys and address of the buckets."""
    return {
        "conn_type": "aws",
        "login": s3.access_key,
        "password": s3.secret_key,
        "extra": {"endpoint_url": s3.endpoint_url, "region_name": s3.region},
    }


def docdb_connection(docdb: DocDb) -> dict[str, Any]:
    """The server alone; databases and collections are settings."""
    return {
        "conn_type": "mongo",
        "host": LOOPBACK,
        "port": docdb.port,
        # The server calls itself a replica set; its members must not be looked for elsewhere.
        "extra": {"directConnection": True},
    }


def code_ocean_connection(code_ocean: CodeOcean) -> dict[str, Any]:
    """Address with its scheme in ``host``, access token in ``password``."""
    return {"conn_type": "http", "host": code_ocean.url, "password": code_ocean.token}


def metadata_service_connection(service: MetadataService) -> dict[str, Any]:
    """Address with its scheme in ``host``."""
    return {"conn_type": "http", "host": service.url}


def smtp_connection(mail: Mail) -> dict[str, Any]:
    """Plain SMTP without log-in."""
    return {
        "conn_type": "smtp",
        "host": mail.host,
        "port": mail.port,
        # Without these the hook insists on encryption.
        "extra": {"disable_ssl": True, "disable_tls": True},
    }


def parameter_store_connection(store: ParameterStore) -> dict[str, Any]:
    """Parameter Store and Secrets Manager; any key is let in."""
    return {
        "conn_type": "aws",
        "login": "any",
        "password": "any",
        "extra": {"endpoint_url": store.endpoint_url, "region_name": store.region},
    }


def postgres_connection(postgres: Postgres) -> dict[str, Any]:
    """The database of the catalog."""
    return {
        "conn_type": "postgres",
        "host": LOOPBACK,
        "port": postgres.port,
        "login": postgres.role,
        "password": postgres.password,
        "schema": CATALOG_DATABASE,
    }


def as_variable(name: str, connection: dict[str, Any]) -> tuple[str, str]:
    """Name and value of the environment variable that Airflow reads a connection from."""
    return f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection)
