"""Airflow's own hooks reach every embedded server through the connections that the stack gives them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from include.local import connections as to

if TYPE_CHECKING:
    from include.local.postgres import Postgres
    from include.local.services import S3, DocDb, Mail, ParameterStore


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give Airflow a connection under the id ``under_test``."""

    def give(connection: dict[str, Any]) -> str:
        monkeypatch.setenv(*to.as_variable("under_test", connection))
        return "under_test"

    return give


def test_s3(s3_server: S3, bucket: str, connect: Any) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook = S3Hook(aws_conn_id=connect(to.s3_connection(s3_server)))
    hook.load_string("content", "key", bucket)
    assert hook.read_key("key", bucket) == "content"


def test_docdb(docdb_server: DocDb, docdb_collection: Any, connect: Any) -> None:
    from airflow.providers.mongo.hooks.mongo import MongoHook

    docdb_collection.insert_one({"_id": "seen"})
    with MongoHook(mongo_conn_id=connect(to.docdb_connection(docdb_server))) as hook:
        found = hook.get_conn()["tests"][docdb_collection.name].find_one({})
    assert found == {"_id": "seen"}


def test_mail(mail_server: Mail, connect: Any) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    mail_server.clear()
    with SmtpHook(smtp_conn_id=connect(to.smtp_connection(mail_server))) as hook:
        hook.send_email_smtp(
            to="a@example.org", subject="caught", html_content="<p>ü</p>", from_email="b@localhost"
        )
    assert [message["Subject"] for message in mail_server.messages()] == ["caught"]


@pytest.mark.parametrize("service", ["ssm", "secretsmanager"])
def test_parameter_store_and_secrets(
    parameter_store_server: ParameterStore, service: str, connect: Any
) -> None:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    conn_id = connect(to.parameter_store_connection(parameter_store_server))
    hook: Any = AwsBaseHook(aws_conn_id=conn_id, client_type=service)
    assert hook.get_conn().meta.endpoint_url == parameter_store_server.endpoint_url


def test_postgres(postgres_server: Postgres, connect: Any) -> None:
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    postgres_server.make_database(to.CATALOG_DATABASE)
    hook = PostgresHook(postgres_conn_id=connect(to.postgres_connection(postgres_server)))
    assert hook.get_first("SELECT current_database()") == (to.CATALOG_DATABASE,)


def test_http_services_carry_their_whole_address(
    code_ocean_server: Any, metadata_service_server: Any
) -> None:
    code_ocean = to.code_ocean_connection(code_ocean_server)
    assert code_ocean["host"] == code_ocean_server.url
    assert code_ocean["password"] == code_ocean_server.token
    assert to.metadata_service_connection(metadata_service_server)["host"].startswith("http://")


def test_a_connection_is_one_json_value(mail_server: Mail) -> None:
    name, value = to.as_variable("assetflow_smtp", to.smtp_connection(mail_server))
    assert name == "AIRFLOW_CONN_ASSETFLOW_SMTP"
    assert json.loads(value)["conn_type"] == "smtp"
