"""The parameter store against a real wire, and what its faults become."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from include.clients.parameter_store import (
    MAX_VALUE_BYTES,
    Change,
    FolderPresets,
    ParameterStore,
    connect,
)
from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    MalformedAnswer,
    NotFound,
    ServiceUnavailable,
)

ROOT = "/tests_of_the_client"


def connection(url: str, **extra: object) -> str:
    extra = {"region_name": "us-west-2", "endpoint_url": url, **extra}
    return json.dumps({"conn_type": "aws", "login": "k", "password": "s", "extra": extra})


@pytest.fixture(scope="module")
def ssm(parameter_store_server):
    return connect(connection(parameter_store_server.endpoint_url))


@pytest.fixture
def client(ssm):
    """A client of a server that holds nothing below the root of these tests."""
    yield ssm
    names = ParameterStore(ssm).list_names(ROOT)
    for start in range(0, len(names), 10):
        ssm.delete_parameters(Names=names[start : start + 10])


@pytest.fixture
def store(client):
    return ParameterStore(client)


def test_a_tree_of_many_pages_is_read_whole_and_nothing_beside_it(store):
    wanted = {f"{ROOT}/v2/a/tasks/t{number}": str(number) for number in range(23)}
    for name, value in {**wanted, f"{ROOT}/v2/ab/tasks/t": "beside"}.items():
        store.write(name, value)
    assert store.read_tree(f"{ROOT}/v2/a") == wanted
    assert store.read_tree(f"{ROOT}/v2/a/") == wanted
    assert store.list_names(f"{ROOT}/v2/a") == sorted(wanted)


@pytest.mark.parametrize("path", [f"{ROOT}/v2/nothing", f"{ROOT}/v2/a b", f"{ROOT}/v2/{{x}}", ""])
def test_where_nothing_is_or_can_be_the_tree_is_empty(store, path):
    assert store.read_tree(path) == {}


def test_only_those_of_the_names_that_exist_are_read(store):
    names = [f"{ROOT}/n{number}" for number in range(15)]
    for name in names[::2]:
        store.write(name, "x")
    assert store.read(names) == dict.fromkeys(names[::2], "x")
    assert store.read([]) == {}


def test_a_write_tells_what_it_did_and_writes_nothing_twice(store, client):
    name = f"{ROOT}/v2/a/tasks/t"
    assert [store.write(name, value) for value in ("1", "1", "2")] == [
        Change.CREATED,
        Change.UNCHANGED,
        Change.UPDATED,
    ]
    assert client.get_parameter(Name=name)["Parameter"]["Version"] == 2


def test_encrypted_values_are_read_and_stay_encrypted(store, client):
    name = f"{ROOT}/v2/a/tasks/t"
    client.put_parameter(Name=name, Value="1", Type="SecureString")
    assert store.read_tree(ROOT) == {name: "1"}
    assert store.write(name, "2") is Change.UPDATED
    assert client.get_parameter(Name=name)["Parameter"]["Type"] == "SecureString"
    assert store.read([name]) == {name: "2"}


def test_a_value_over_four_kib_is_stored_in_the_advanced_tier(store, client):
    name, value = f"{ROOT}/v2/a/tasks/long", "x" * MAX_VALUE_BYTES
    store.write(name, value)
    assert store.read([name]) == {name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [("/a", "x" * (MAX_VALUE_BYTES + 1)), ("/a", ""), ("/a b", "x"), ("a", "x"), ("/a" * 16, "x")],
)
def test_what_the_store_cannot_hold_is_refused_before_it_is_asked(store, name, value):
    with pytest.raises(InvalidInput) as error:
        store.write(name, value)
    assert error.value.problems[0].item == name


# Faults ---------------------------------------------------------------------------------------------


class _Fault(BaseHTTPRequestHandler):
    status = 200
    body = b""

    def do_POST(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def faulty(request):
    status, body = request.param
    kind = type("Fault", (_Fault,), {"status": status, "body": body.encode()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield store_without_retries(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    thread.join()


SESSION = boto3.session.Session("k", "s", region_name="us-west-2")
"""One for all: the first client of a session reads the description of the service."""


def store_without_retries(url: str) -> ParameterStore:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=2)
    return ParameterStore(SESSION.client("ssm", endpoint_url=url, config=config))


def aws_error(code: str) -> str:
    return json.dumps({"__type": code, "message": "no"})


@pytest.mark.parametrize(
    ("faulty", "expected"),
    [
        ((400, aws_error("AccessDeniedException")), AccessDenied),
        ((400, aws_error("UnrecognizedClientException")), AccessDenied),
        ((400, aws_error("ExpiredTokenException")), AccessDenied),
        ((403, "forbidden by a proxy"), AccessDenied),
        ((400, aws_error("ThrottlingException")), ServiceUnavailable),
        ((429, ""), ServiceUnavailable),
        ((500, aws_error("InternalServerError")), ServiceUnavailable),
        ((503, "<html>"), ServiceUnavailable),
        ((400, aws_error("ParameterNotFound")), NotFound),
        ((400, aws_error("ValidationException")), InvalidInput),
        ((404, "not here"), MalformedAnswer),
        ((200, '{"Parameters": [{"Name": "/a"'), MalformedAnswer),
        ((200, "{}"), MalformedAnswer),
        ((200, '{"Parameters": [{"Name": "/a"}]}'), MalformedAnswer),
    ],
    indirect=["faulty"],
)
@pytest.mark.parametrize("verb", ["read_tree", "read", "write"])
def test_a_fault_is_never_taken_for_an_absence(faulty, expected, verb):
    calls = {
        "read_tree": lambda: faulty.read_tree(ROOT),
        "read": lambda: faulty.read([f"{ROOT}/a"]),
        "write": lambda: faulty.write(f"{ROOT}/a", "x"),
    }
    with pytest.raises(AssetflowError) as error:
        calls[verb]()
    assert type(error.value) is expected
    assert ROOT in str(error.value)
    assert error.value.__cause__ is not None


def test_a_refused_connection_may_be_tried_again():
    with pytest.raises(ServiceUnavailable):
        store_without_retries("http://127.0.0.1:9").read_tree(ROOT)


# Connections ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        connection("http://127.0.0.1:1"),
        json.dumps({
            "login": "k",
            "password": "s",
            "extra": json.dumps({
                "region_name": "us-west-2",
                "service_config": {"ssm": {"endpoint_url": "http://127.0.0.1:1"}},
            }),
        }),
        "aws://k:s@/?region_name=us-west-2&endpoint_url=http%3A%2F%2F127.0.0.1%3A1",
    ],
    ids=["JSON", "JSON with a text as extra", "address"],
)
def test_an_airflow_connection_is_understood_in_all_its_forms(text):
    client = connect(text)
    assert client.meta.endpoint_url == "http://127.0.0.1:1"
    assert client.meta.region_name == "us-west-2"


def test_a_secret_slash_in_an_address_is_decoded():
    client = connect("aws://k:a%2Fb@/?region_name=us-west-2")
    assert client._request_signer._credentials.secret_key == "a/b"


@pytest.mark.parametrize("text", ["{", connection("http://x", role_arn="arn:aws:iam::1:role/x")])
def test_a_connection_that_cannot_be_used_is_refused_without_its_secret(text):
    with pytest.raises(InvalidInput) as error:
        connect(text)
    assert '"s"' not in str(error.value)


def test_without_a_region_the_answer_is_clear(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(AccessDenied, match="region"):
        connect(None)


# Folders --------------------------------------------------------------------------------------------


def write_files(folder: Path, **files: str) -> FolderPresets:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(f"{path.name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return FolderPresets(folder, ROOT)


def test_a_folder_reads_like_the_store(tmp_path):
    presets = write_files(
        tmp_path, v2__a__tasks__t="1", v2__a__tasks__t__fib="2", v2__ab__tasks__t="3"
    )
    (tmp_path / "README.md").write_text("not a preset")
    assert presets.read_tree(f"{ROOT}/v2/a") == {
        f"{ROOT}/v2/a/tasks/t": "1",
        f"{ROOT}/v2/a/tasks/t/fib": "2",
    }
    assert len(presets.read_tree(ROOT)) == 3
    assert presets.read_tree("/elsewhere") == {}


def test_a_missing_folder_is_not_an_empty_one(tmp_path):
    with pytest.raises(NotFound, match="no folder of presets"):
        FolderPresets(tmp_path / "none", ROOT).read_tree(ROOT)


def test_files_that_are_no_text_are_named(tmp_path):
    presets = write_files(tmp_path, v2__a__tasks__t="1")
    (tmp_path / "v2/a/tasks/bad.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"bad\.json"):
        presets.read_tree(ROOT)
