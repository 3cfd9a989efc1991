"""Servers for the tests: each starts when the first test asks for it and ends with the session.

Nothing here is imported or started for tests that ask for none. Tests that change what a server holds take
the fixture of their own part of it: ``bucket``, ``docdb_collection``, ``fresh_database``.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import hypothesis
import pytest

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.collection import Collection

    from include.local.postgres import Postgres
    from include.local.service import Service
    from include.local.services import (
        S3,
        CodeOcean,
        DocDb,
        Mail,
        MetadataService,
        ParameterStore,
    )
    from include.local.stack import LocalStack

ServiceT = TypeVar("ServiceT", bound="Service")

hypothesis.settings.register_profile(
    "busy",
    deadline=None,
    # A machine that has other things to do is no fault of a test.
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("busy")

PREFIX = "assetflow-tests-of-"
"""Of a session's folder; its process id follows."""


def pytest_configure() -> None:
    """Give Airflow a home of its own for these tests, before anything imports it: never the user's."""
    home = tempfile.mkdtemp(prefix="assetflow-tests-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ["AIRFLOW_HOME"] = home
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


@pytest.fixture(scope="session")
def services_root() -> Iterator[Path]:
    """Folder of the servers of this session, in memory where the system has room for it there."""
    from include.local.process import stop_all_recorded

    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30 else None
    _remove_what_killed_sessions_left(parent or Path(tempfile.gettempdir()))
    root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    root.chmod(0o755)  # PostgreSQL runs as another user when root runs the tests
    yield root
    stop_all_recorded(root)
    shutil.rmtree(root)


def _remove_what_killed_sessions_left(parent: Path) -> None:
    import psutil

    from include.local.process import stop_all_recorded

    for folder in parent.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if folder.stat().st_uid == os.getuid() and not psutil.pid_exists(int(owner)):
            stop_all_recorded(folder)
            shutil.rmtree(folder)


def _serve(service: ServiceT) -> Iterator[ServiceT]:
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="session")
def s3_server(services_root: Path) -> Iterator[S3]:
    """S3: `endpoint_url`, `access_key`, `secret_key`, `region`, `client()`."""
    from include.local.services import S3

    yield from _serve(S3(services_root))


class EmptyBuckets:
    """Empty buckets to be had for a test: a new one costs SeaweedFS a second, one that was emptied nothing."""

    def __init__(self, server: S3) -> None:
        self._server = server
        self._emptied: list[str] = []

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The name of an empty bucket, emptied again at the end."""
        if self._emptied:
            name = self._emptied.pop()
        else:
            name = f"test-{uuid.uuid4().hex[:12]}"
            self._server.make_bucket(name)
        yield name
        self._server.empty_bucket(name)
        self._emptied.append(name)


@pytest.fixture(scope="session")
def buckets(s3_server: S3) -> EmptyBuckets:
    """Lends empty buckets of the server."""
    return EmptyBuckets(s3_server)


@pytest.fixture
def bucket(buckets: EmptyBuckets) -> Iterator[str]:
    """Name of an empty bucket, emptied again after the test."""
    with buckets.lend() as name:
        yield name


@pytest.fixture(scope="session")
def docdb_server(services_root: Path) -> Iterator[DocDb]:
    """DocDB: `uri`."""
    from include.local.services import DocDb

    yield from _serve(DocDb(services_root, in_memory=True))


@pytest.fixture(scope="session")
def docdb_client(docdb_server: DocDb) -> Iterator[MongoClient[dict[str, Any]]]:
    """One client for the whole session."""
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](docdb_server.uri, tz_aware=True) as client:
        yield client


@pytest.fixture
def docdb_collection(
    docdb_client: MongoClient[dict[str, Any]],
) -> Iterator[Collection[dict[str, Any]]]:
    """An empty collection, dropped after the test."""
    collection = docdb_client["tests"][f"test_{uuid.uuid4().hex[:12]}"]
    yield collection
    collection.drop()


@pytest.fixture(scope="session")
def postgres_server(services_root: Path) -> Iterator[Postgres]:
    """PostgreSQL: `uri`, `uri_of(database)`."""
    from include.local.postgres import Postgres

    yield from _serve(Postgres(services_root, durable=False))


@pytest.fixture
def fresh_database(postgres_server: Postgres) -> Iterator[str]:
    """Address of an empty database, dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres_server.make_database(name)
    yield postgres_server.uri_of(name)
    postgres_server.remove_database(name)


@pytest.fixture(scope="session")
def parameter_store_server(services_root: Path) -> Iterator[ParameterStore]:
    """Parameter Store and Secrets Manager: `endpoint_url`, `region`, `client("ssm")`."""
    from include.local.services import ParameterStore

    yield from _serve(ParameterStore(services_root))


@pytest.fixture(scope="session")
def mail_server(services_root: Path) -> Iterator[Mail]:
    """SMTP: `host`, `port`, `messages()`, `clear()`."""
    from include.local.services import Mail

    yield from _serve(Mail(services_root))


@pytest.fixture(scope="session")
def code_ocean_server(services_root: Path) -> Iterator[CodeOcean]:
    """The Code Ocean stand-in: `url`, `token`. It looks into the S3 of `s3_server`."""
    from include.local.services import CodeOcean

    yield from _serve(CodeOcean(services_root))


@pytest.fixture(scope="session")
def metadata_service_server(services_root: Path) -> Iterator[MetadataService]:
    """The metadata-service stand-in: `url`."""
    from include.local.services import MetadataService

    yield from _serve(MetadataService(services_root))


@pytest.fixture(scope="session")
def local_stack() -> Iterator[LocalStack]:
    """The whole stack with a running Airflow on the project's DAGs; for tests marked ``stack``."""
    from include.local.stack import LocalStack
    from tests.quiet_schedule import push_quiet_presets

    parent = Path(tempfile.gettempdir())
    _remove_what_killed_sessions_left(parent)
    root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-stack-", dir=parent))
    root.chmod(0o755)
    stack = LocalStack(root, after_start=push_quiet_presets)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        shutil.rmtree(root)
