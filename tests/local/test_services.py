"""Each embedded server does its work over loopback, and keeps what it was given over a restart."""

from __future__ import annotations

import smtplib
import threading
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pymongo import MongoClient

from include.local.services import S3, DocDb, Mail


def test_an_empty_bucket_is_there_for_each_test(s3_server: S3, bucket: str) -> None:
    assert "Contents" not in s3_server.client().list_objects_v2(Bucket=bucket)


def test_a_bucket_is_removed_with_everything_in_it(s3_server: S3) -> None:
    client = s3_server.client()
    s3_server.make_bucket("to-be-removed")
    client.put_object(Bucket="to-be-removed", Key="a/b c/ü.txt", Body=b"x")
    client.create_multipart_upload(Bucket="to-be-removed", Key="never-finished")
    s3_server.remove_bucket("to-be-removed")
    names = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    assert "to-be-removed" not in names


def test_making_a_bucket_twice_keeps_what_it_holds(s3_server: S3, bucket: str) -> None:
    s3_server.client().put_object(Bucket=bucket, Key="kept", Body=b"x")
    s3_server.make_bucket(bucket)
    assert s3_server.client().head_object(Bucket=bucket, Key="kept")["ContentLength"] == 1


def test_s3_does_not_make_a_missing_bucket_on_a_write(s3_server: S3) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3_server.client().put_object(Bucket="never-made", Key="a", Body=b"x")


def test_s3_refuses_a_wrong_secret(s3_server: S3) -> None:
    import boto3

    client = boto3.Session(s3_server.access_key, "wrong", region_name="us-west-2").client(
        "s3", endpoint_url=s3_server.endpoint_url
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.list_buckets()


def test_what_s3_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    s3 = S3(tmp_path)
    try:
        s3.start()
        s3.make_bucket("kept")
        client = s3.client()
        for number in range(100):
            client.put_object(Bucket="kept", Key=f"k/{number}", Body=bytes([number]) * 1000)
        client.put_object(Bucket="kept", Key="large", Body=b"z" * (9 << 20))
        client.delete_object(Bucket="kept", Key="k/0")
        s3.stop()
        s3.start()
        client = s3.client()
        keys = [item["Key"] for item in client.list_objects_v2(Bucket="kept")["Contents"]]
        assert len(keys) == 100
        assert "k/0" not in keys
        assert client.get_object(Bucket="kept", Key="large")["Body"].read() == b"z" * (9 << 20)
        assert client.get_object(Bucket="kept", Key="k/99")["Body"].read() == b"c" * 1000
    finally:
        s3.stop()


def test_no_socket_of_a_stopped_s3_is_left_behind(tmp_path: Path) -> None:
    s3 = S3(tmp_path)
    try:
        s3.start()
    finally:
        s3.stop()
    ports = {str(s3.port_of(name)) for name in s3.port_names}
    left = {file.name for file in Path("/tmp").glob("seaweedfs-*.sock")}
    assert not [name for name in left if any(port in name for port in ports)]


def test_records_are_there_after_a_restart(tmp_path: Path) -> None:
    docdb = DocDb(tmp_path)
    try:
        docdb.start()
        with MongoClient[dict[str, Any]](docdb.uri) as client:
            client["db"]["records"].insert_many([{"_id": number} for number in range(50)])
        docdb.stop()
        docdb.start()
        with MongoClient[dict[str, Any]](docdb.uri) as client:
            assert client["db"]["records"].count_documents({}) == 50
    finally:
        docdb.stop()


def test_each_test_has_a_collection_of_its_own(docdb_collection: Any) -> None:
    docdb_collection.insert_one({"_id": 1})
    assert docdb_collection.count_documents({}) == 1


def test_parameters_and_secrets_are_read_back(parameter_store_server: Any) -> None:
    ssm = parameter_store_server.client("ssm")
    ssm.put_parameter(Name="/a/b", Value="1", Type="SecureString")
    assert ssm.get_parameter(Name="/a/b", WithDecryption=True)["Parameter"]["Value"] == "1"
    secrets = parameter_store_server.client("secretsmanager")
    secrets.create_secret(Name="token", SecretString="s")
    assert secrets.get_secret_value(SecretId="token")["SecretString"] == "s"


def send(server: Mail, subject: str, *recipients: str) -> None:
    message = EmailMessage()
    message["From"] = "assetflow@localhost"
    message["To"] = recipients[0]
    message["Subject"] = subject
    message.set_content(f"about {subject}")
    with smtplib.SMTP(server.host, server.port, local_hostname="localhost") as client:
        client.send_message(message, to_addrs=list(recipients))


def test_mails_are_caught_whole_and_in_order(mail_server: Mail) -> None:
    mail_server.clear()
    send(mail_server, "Beginn für 712345 – ✓", "a@example.org")
    send(mail_server, "end", "a@example.org", "blind@example.org")
    first, second = mail_server.messages()
    assert first["Subject"] == "Beginn für 712345 – ✓"
    assert first.get_content().strip() == "about Beginn für 712345 – ✓"
    assert second["X-RcptTo"] == "a@example.org, blind@example.org"


def test_no_mail_is_lost_when_many_arrive_at_once(mail_server: Mail) -> None:
    mail_server.clear()
    threads = [
        threading.Thread(target=send, args=(mail_server, f"mail {number}", "a@example.org"))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    subjects = sorted(message["Subject"] for message in mail_server.messages())
    assert subjects == sorted(f"mail {number}" for number in range(20))


@pytest.mark.parametrize("fixture", ["code_ocean_server", "metadata_service_server"])
def test_the_stand_ins_answer(fixture: str, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue(fixture).is_ready()
