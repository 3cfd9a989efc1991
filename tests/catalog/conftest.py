"""A migrated database for each test, and the shared tree."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from include.catalog.migrate import migrate
from tests.catalog.lab import TREE, Lab, Objects


@pytest.fixture(scope="session")
def catalog_template(postgres_server: Any) -> str:
    """Name of a migrated database that others are copies of: a copy takes a tenth of a migration."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    postgres_server.make_database(name)
    migrate(postgres_server.uri_of(name))
    return name


@pytest.fixture
def catalog_url(postgres_server: Any, catalog_template: str) -> Iterator[str]:
    """Address of an empty, migrated database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server.uri_of("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{catalog_template}"')
    yield postgres_server.uri_of(name)
    postgres_server.remove_database(name)


@pytest.fixture
def lab(catalog_url: str) -> Lab:
    """The shared tree, and a database to import it into."""
    return Lab(catalog_url, Objects.of_folder(TREE))
