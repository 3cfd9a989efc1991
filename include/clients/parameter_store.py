"""Presets in AWS Systems Manager's Parameter Store, or in a folder of the same shape.

API: https://docs.aws.amazon.com/systems-manager/latest/APIReference/ . Its limits: names of letters,
digits, ``_.-/`` and at most 15 levels; 10 parameters per answer; a value of at most 4 KiB, or 8 KiB in
the advanced tier, which costs a little per parameter and month. Values are written with
``Intelligent-Tiering``: standard up to 4 KiB, advanced above.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    MalformedAnswer,
    NotFound,
    Problem,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from mypy_boto3_ssm.client import SSMClient

MAX_VALUE_BYTES = 8 * 1024
NAMES_PER_CALL = 10
_NAME = re.compile(r"/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")

_DENIED = {"AccessDeniedException", "AccessDenied", "UnrecognizedClientException"} | {
    "ExpiredTokenException",
    "InvalidSignatureException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
}
_LATER = {"ThrottlingException", "Throttling", "TooManyUpdates", "RequestLimitExceeded"}


class Change(StrEnum):
    """What a write did."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


class ParameterStore:
    """Read and write parameters by their full names."""

    def __init__(self, client: SSMClient) -> None:
        self._client = client

    def read_tree(self, path: str) -> dict[str, str]:
        """Name → decrypted value of everything below *path*, ten per request.

        A path that no parameter can have (a blank or a bracket in it) has nothing below it.

        Raises:
            AccessDenied, ServiceUnavailable, MalformedAnswer: it is not known what is there.
        """
        path = path.rstrip("/")
        if not _NAME.fullmatch(path):
            return {}
        tree: dict[str, str] = {}
        pages = self._client.get_paginator("get_parameters_by_path")
        with _errors_about(path):
            for page in pages.paginate(Path=path, Recursive=True, WithDecryption=True):
                tree.update(_values(page["Parameters"]))
        return tree

    def list_names(self, path: str) -> list[str]:
        """Names of everything below *path*, sorted."""
        return sorted(self.read_tree(path))

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """Name → value of those of *names* that exist."""
        found: dict[str, str] = {}
        for start in range(0, len(names), NAMES_PER_CALL):
            some = list(names[start : start + NAMES_PER_CALL])
            with _errors_about(some[0]):
                answer = self._client.get_parameters(Names=some, WithDecryption=True)
                found.update(_values(answer["Parameters"]))
        return found

    def write(self, name: str, value: str) -> Change:
        """Store *value*, unless it is there already.

        An existing parameter keeps its type, so an encrypted one stays encrypted.

        Raises:
            InvalidInput: the name or the size is not allowed.
        """
        problems = list(unstorable(name, value))
        if problems:
            raise InvalidInput(problems)
        present = self.read([name])
        if present.get(name) == value:
            return Change.UNCHANGED
        with _errors_about(name):
            if name in present:
                self._client.put_parameter(
                    Name=name, Value=value, Overwrite=True, Tier="Intelligent-Tiering"
                )
                return Change.UPDATED
            self._client.put_parameter(
                Name=name, Value=value, Type="String", Tier="Intelligent-Tiering"
            )
        return Change.CREATED


class FolderPresets:
    """A folder of JSON files in the shape of the store: ``v2/default/tasks/….json`` below it."""

    def __init__(self, folder: Path, prefix: str) -> None:
        """*prefix* is put before the files' paths to make their names."""
        self._folder = folder
        self._prefix = prefix

    def read_tree(self, path: str) -> dict[str, str]:
        """Name → text of the files below *path*; as :meth:`ParameterStore.read_tree`.

        Raises:
            NotFound: the folder itself is missing.
            InvalidInput: files that are not UTF-8 text.
        """
        if not self._folder.is_dir():
            raise NotFound(f"there is no folder of presets at {self._folder}")
        tree: dict[str, str] = {}
        problems: list[Problem] = []
        for file in sorted(self._folder.rglob("*.json")):
            inner = file.relative_to(self._folder).with_suffix("").as_posix()
            name = f"{self._prefix}/{inner}"
            if not name.startswith(f"{path.rstrip('/')}/"):
                continue
            try:
                tree[name] = file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                problems.append(Problem(str(file), "", f"is not UTF-8 text: {error}"))
        if problems:
            raise InvalidInput(problems)
        return tree


def unstorable(name: str, value: str) -> Iterator[Problem]:
    """Why the store would refuse a parameter."""
    if not _NAME.fullmatch(name) or name.count("/") > 15:
        allowed = "letters, digits and _.- between at most 15 slashes"
        yield Problem(name, "", f"is not a parameter's name: {allowed}")
    size_bytes = len(value.encode())
    if not 0 < size_bytes <= MAX_VALUE_BYTES:
        yield Problem(name, "", f"has {size_bytes} bytes; 1 to {MAX_VALUE_BYTES} are allowed")


def connect(connection: str | None) -> SSMClient:
    """A client from an Airflow connection (JSON or ``aws://…``); None: from the AWS configuration.

    Raises:
        InvalidInput: the connection cannot be read or asks for a role, which only Airflow can assume.
        AccessDenied: no region or profile is configured.
    """
    import boto3

    login, password, extra = _parse_connection(connection) if connection else (None, None, {})
    if extra.get("role_arn"):
        raise InvalidInput([
            Problem("connection", "extra.role_arn", "is not understood here", "set AWS_PROFILE")
        ])
    service = extra.get("service_config", {}).get("ssm", {})
    with _errors_about("the parameter store"):
        session = boto3.session.Session(
            aws_access_key_id=login,
            aws_secret_access_key=password,
            aws_session_token=extra.get("aws_session_token"),
            region_name=extra.get("region_name"),
            profile_name=extra.get("profile_name"),
        )
        return session.client(
            "ssm", endpoint_url=service.get("endpoint_url") or extra.get("endpoint_url")
        )


def _parse_connection(text: str) -> tuple[str | None, str | None, dict[str, Any]]:
    """Login, password, extra."""
    if not text.lstrip().startswith("{"):
        parts = urlsplit(text)
        extra: dict[str, Any] = dict(parse_qsl(parts.query))
        login, password = parts.username, parts.password
        return login and unquote(login), password and unquote(password), extra
    try:
        fields = json.loads(text)
        extra = fields.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
    except ValueError as error:
        raise InvalidInput([Problem("connection", "", f"is not JSON: {error.args[0]}")]) from None
    return fields.get("login") or None, fields.get("password") or None, extra


def _values(parameters: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {parameter["Name"]: parameter["Value"] for parameter in parameters}


@contextmanager
def _errors_about(name: str) -> Iterator[None]:
    """Turn what boto3 raises into our errors; anything unknown says nothing about absence."""
    try:
        yield
    except ClientError as error:
        raise _our_error(error, name) from error
    except BotoCoreError as error:
        raise _connection_error(error, name) from error
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedAnswer(f"parameter store, {name}: {error!r}") from error


def _our_error(error: ClientError, name: str) -> AssetflowError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"parameter store, {name}: {error}"
    if code == "ParameterNotFound":
        return NotFound(text)
    if code in _DENIED or status in {401, 403}:
        return AccessDenied(text)
    if code in _LATER or status == 429 or status >= 500:
        return ServiceUnavailable(text)
    if code in {"ValidationException", "ParameterMaxVersionLimitExceeded"}:
        return InvalidInput([Problem(name, "", str(error))])
    return MalformedAnswer(text)


def _connection_error(error: BotoCoreError, name: str) -> AssetflowError:
    kind = type(error).__name__
    text = f"parameter store, {name}: {error}"
    if kind in {
        "NoCredentialsError",
        "PartialCredentialsError",
        "NoRegionError",
        "ProfileNotFound",
    }:
        return AccessDenied(text)
    if kind in {"ResponseParserError", "ParamValidationError"}:
        return MalformedAnswer(text)
    return ServiceUnavailable(text)
