"""What S3's refusals mean, as botocore and as obstore tell them."""

from __future__ import annotations

import re

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as BotocoreConnectionError,
)
from botocore.parsers import ResponseParserError

from include.errors import (
    AccessDenied,
    AssetflowError,
    BucketNotFound,
    NotFound,
    PermanentError,
    PreconditionFailed,
    ServiceUnavailable,
)

_UNAVAILABLE_ERRORS = (
    BotocoreConnectionError,  # refused, timed out, no proxy: no kin of HTTPClientError
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    ResponseParserError,
)

_UNAVAILABLE_CODES = frozenset({
    "SlowDown",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "ConditionalRequestConflict",
    "OperationAborted",
    "BadDigest",  # damaged on its way
    "IncompleteBody",
})

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")


def refusal(where: str, status: int, code: str, message: str) -> AssetflowError:
    """The error for an answer that is not a success.

    Args:
        where: what was asked, ``GET s3://bucket/key``.
        status: HTTP status; 0 when there was none.
        code: S3's error code, ``""`` when the answer had none.
        message: S3's words.
    """
    said = f"{where}: {status} {code} {message}".strip()
    if code in _UNAVAILABLE_CODES or status in {408, 409, 429} or status >= 500:
        return ServiceUnavailable(said)
    if status in {401, 403}:
        return AccessDenied(said)
    if code == "NoSuchBucket":
        return BucketNotFound(f"{said} (the bucket itself does not exist)")
    if status == 404:
        return NotFound(said)
    if status in {304, 412}:
        return PreconditionFailed(said)
    return PermanentError(said)


def from_botocore(where: str, error: Exception) -> AssetflowError:
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        told = error.response.get("Error", {})
        return refusal(where, status, str(told.get("Code", "")), str(told.get("Message", "")))
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return AccessDenied(f"{where}: {error}")
    if isinstance(error, _UNAVAILABLE_ERRORS):
        return ServiceUnavailable(f"{where}: {error}")
    return PermanentError(f"{where}: {error}")


def from_obstore(where: str, error: Exception) -> AssetflowError:
    """obstore has few classes of error; status and code are in the text."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    first_line = text.partition("\n")[0]
    if status is None:  # no answer at all
        return ServiceUnavailable(f"{where}: {first_line}")
    return refusal(where, int(status.group(1)), code.group(1) if code else "", first_line)
