"""Operators on real servers, through the connections that Airflow would hand them."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from include.clients.runs_bucket import RunsBucket
from include.clients.s3 import S3Client
from include.hooks.s3 import AssetStoreHook
from include.local import connections as to
from include.local.services import S3, CodeOcean, DocDb, Mail
from include.local.stand_ins.control import StandInControl
from include.settings import settings


@dataclass
class Buckets:
    """The two buckets of a deployment, empty."""

    private: str
    runs_bucket: RunsBucket
    s3: S3Client
    boto: Any

    def keys(self, bucket: str | None = None) -> list[str]:
        found = self.boto.list_objects_v2(Bucket=bucket or self.private).get("Contents", [])
        return [one["Key"] for one in found]

    def runs_keys(self) -> list[str]:
        return self.keys(self.runs_bucket.bucket)

    def put(self, key: str, content: bytes = b"x") -> None:
        self.boto.put_object(Bucket=self.private, Key=key, Body=content)


@pytest.fixture
def deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_server: S3, buckets: Any
) -> Iterator[Buckets]:
    """Settings and the S3 connection of a deployment of its own; its lab is ``tmp_path / "lab"``."""
    for folder in ("lab", "staging"):
        (tmp_path / folder).mkdir()
    name, value = to.as_variable("assetflow_s3", to.s3_connection(s3_server))
    with buckets.lend() as private, buckets.lend() as runs:
        for variable, setting in {
            name: value,
            "ASSETFLOW_PRIVATE_BUCKET": private,
            "ASSETFLOW_RUNS_BUCKET": runs,
            "ASSETFLOW_SOURCE_ROOTS": f'["{tmp_path / "lab"}"]',
            "ASSETFLOW_STAGING_ROOT": str(tmp_path / "staging"),
        }.items():
            monkeypatch.setenv(variable, setting)
        settings.cache_clear()
        hook = AssetStoreHook()
        yield Buckets(private, hook.runs_bucket(runs), hook.client, s3_server.client())
    settings.cache_clear()


@pytest.fixture
def code_ocean(
    code_ocean_server: CodeOcean, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandInControl]:
    """The connection to Code Ocean, and its switches."""
    connection = to.code_ocean_connection(code_ocean_server)
    monkeypatch.setenv(*to.as_variable("assetflow_code_ocean", connection))
    with StandInControl(code_ocean_server.url) as control:
        control.reset()
        yield control
        control.reset()


@pytest.fixture
def docdb(docdb_server: DocDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection to DocDB, and databases of its own."""
    connection = to.docdb_connection(docdb_server)
    monkeypatch.setenv(*to.as_variable("assetflow_docdb", connection))
    monkeypatch.setenv("ASSETFLOW_DOCDB_DATABASE", f"test_{uuid.uuid4().hex[:12]}")
    settings.cache_clear()


@pytest.fixture
def mails(mail_server: Mail, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mail]:
    """The connection to the mail server, and its empty inbox."""
    monkeypatch.setenv(*to.as_variable("assetflow_smtp", to.smtp_connection(mail_server)))
    mail_server.clear()
    yield mail_server
    mail_server.clear()


@pytest.fixture
def no_mail_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A connection to a port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        connection = {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": taken.getsockname()[1],
            "extra": {"disable_ssl": True, "disable_tls": True},
        }
        monkeypatch.setenv(*to.as_variable("assetflow_smtp", connection))
        yield
