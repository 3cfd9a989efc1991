"""From an Airflow connection to a client that works."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from include.errors import ServiceUnavailable
from include.hooks.code_ocean import CodeOceanHook
from include.hooks.docdb import DocDbHook
from include.hooks.mail import MailHook
from include.hooks.metadata_service import MetadataServiceHook
from include.hooks.parameter_store import ParameterStoreHook
from include.hooks.s3 import AssetStoreHook
from include.local import connections as to
from include.local.services import S3, CodeOcean, DocDb, Mail, MetadataService, ParameterStore


def test_s3_reads_and_writes_in_one_request_or_in_bulk(
    s3_server: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(*to.as_variable("assetflow_s3", to.s3_connection(s3_server)))
    hook = AssetStoreHook()
    hook.runs_bucket(bucket).write("a.json", {"a": 1})
    hook.writer(bucket, part_size_bytes=5 * 2**20).put_bytes("b.json", b'{"b": 2}')
    assert hook.client.read_json(bucket, "a.json") == {"a": 1}
    assert hook.client.read_json(bucket, "b.json") == {"b": 2}


def test_another_connection_can_be_named(
    s3_server: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(*to.as_variable("elsewhere", to.s3_connection(s3_server)))
    AssetStoreHook("elsewhere").runs_bucket(bucket).write("a.json", 1)


def test_docdb_gives_one_collection(docdb_server: DocDb, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(*to.as_variable("assetflow_docdb", to.docdb_connection(docdb_server)))
    assert DocDbHook("nothing", "there").client.find_record("s3://bucket/name") is None


def test_code_ocean_is_asked_with_the_connections_token(
    code_ocean_server: CodeOcean, monkeypatch: pytest.MonkeyPatch
):
    connection = to.code_ocean_connection(code_ocean_server)
    monkeypatch.setenv(*to.as_variable("assetflow_code_ocean", connection))
    assert "data level" in CodeOceanHook().client.custom_metadata_keys()


def test_the_metadata_service_is_found(
    metadata_service_server: MetadataService, monkeypatch: pytest.MonkeyPatch
):
    connection = to.metadata_service_connection(metadata_service_server)
    monkeypatch.setenv(*to.as_variable("assetflow_metadata_service", connection))
    assert MetadataServiceHook().address == metadata_service_server.url


def test_the_parameter_store_is_found(
    parameter_store_server: ParameterStore, monkeypatch: pytest.MonkeyPatch
):
    connection = to.parameter_store_connection(parameter_store_server)
    monkeypatch.setenv(*to.as_variable("assetflow_parameter_store", connection))
    assert ParameterStoreHook().client.read_tree("/nothing/there") == {}


def test_a_mail_arrives(mail_server: Mail, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(*to.as_variable("assetflow_smtp", to.smtp_connection(mail_server)))
    mail_server.clear()
    MailHook().send(
        to="a@example.org", subject="Hello", html="<p>Mäuse</p>", sender="b@example.org"
    )
    (mail,) = mail_server.messages()
    assert mail["Subject"] == "Hello"
    body = mail.get_body(("html",))
    assert body is not None
    assert "Mäuse" in body.get_content()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        yield port


@pytest.fixture
def rude_port() -> Iterator[int]:
    """A port at which connections are taken and hung up without a word."""
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("port", ["silent_port", "rude_port", None])
def test_a_mail_server_that_cannot_be_used_is_our_own_error(
    port: str | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("AIRFLOW_CONN_ASSETFLOW_SMTP", raising=False)
    if port is not None:
        connection = {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": request.getfixturevalue(port),
            "extra": {"disable_ssl": True, "disable_tls": True},
        }
        monkeypatch.setenv(*to.as_variable("assetflow_smtp", connection))
    with pytest.raises(ServiceUnavailable, match="mail server"):
        MailHook().send(to="a@example.org", subject="s", html="h", sender="b@example.org")
