"""How Code Ocean is called: with a time-out, repeated when that is safe, errors in our own words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

import requests
import stamina
from codeocean.error import Error
from requests.adapters import HTTPAdapter
from requests_toolbelt.adapters.socket_options import (
    TCPKeepAliveAdapter,
)
from urllib3.exceptions import NewConnectionError

from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    MalformedAnswer,
    NotFound,
    PermanentError,
    Problem,
    ServiceUnavailable,
)

T = TypeVar("T")

CONNECT_LIMIT_S = 10.0

LONGEST_WAIT_S = 60.0
"""Longest ``Retry-After`` that is waited for within a call."""

TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE = 429, 503

LOCKED = 423
"""The workspace is locked; it will not stay so, but longer than a few seconds."""

UNUSABLE_ADDRESS = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)

SHOWN_LENGTH = 500
"""How much of the server's message an error shows, characters."""


class Calls:
    """Make calls of the SDK.

    Args:
        retries: how often, and with which waits, a call is repeated that may be.
    """

    def __init__(self, retries: stamina.RetryingCaller) -> None:
        self._retries = retries

    def ask(self, item: str, call: Callable[[], T]) -> T:
        """Make a call that may be made twice; *item* is what an error names."""
        return self._make(item, call, _may_pass)

    def create(self, item: str, call: Callable[[], T]) -> T:
        """Make a call that must not take effect twice; *item* is what an error names."""
        return self._make(item, call, _had_no_effect)

    def _make(
        self,
        item: str,
        call: Callable[[], T],
        is_worth_repeating: Callable[[Exception], bool | float],
    ) -> T:
        try:
            answer = self._retries(is_worth_repeating, call)
            _refuse_nulls(answer)
        except Error as error:
            raise _meaning(item, error) from error
        except requests.exceptions.InvalidJSONError as error:
            raise MalformedAnswer(f"{item}: Code Ocean did not answer JSON") from error
        except UNUSABLE_ADDRESS as error:
            raise InvalidInput([Problem("Code Ocean", "domain", str(error))]) from error
        except requests.RequestException as error:
            what = type(error).__name__
            raise ServiceUnavailable(f"{item}: Code Ocean: {what}: {error}") from error
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            # The SDK's way of saying that a key is missing, a state unknown, a list no object.
            what = type(error).__name__
            raise MalformedAnswer(
                f"{item}: Code Ocean's answer cannot be read: {what}: {error}"
            ) from error
        return answer


def _refuse_nulls(answer: object) -> None:
    """Refuse null where a value is required; the SDK lets it through with a warning."""
    if isinstance(answer, list):
        for part in answer:
            _refuse_nulls(part)
    elif is_dataclass(answer):
        for field in fields(answer):
            value = getattr(answer, field.name)
            if field.default is MISSING and value is None:
                raise ValueError(f"{type(answer).__name__}.{field.name} is null")
            _refuse_nulls(value)


def download(files: requests.Session, url: str, item: str) -> bytes:
    """Content behind a signed address.

    Raises:
        AccessDenied, NotFound, ServiceUnavailable, PermanentError: by the status, as for a call.
    """
    # "from None", and no text of the error: both would show the address, which is good for reading
    # the file without signing in.
    try:
        response = files.get(url)
    except UNUSABLE_ADDRESS:
        raise MalformedAnswer(f"{item}: Code Ocean gave no address to download it from") from None
    except requests.RequestException as error:
        raise ServiceUnavailable(f"{item}: the download broke: {type(error).__name__}") from None
    if response.ok:
        return response.content
    raise _by_status(response.status_code, item, response.reason) from None


class LimitedAdapter(HTTPAdapter):
    """Gives up on a server that says nothing.

    Args:
        timeout_s: longest time without a byte, seconds.
    """

    def __init__(self, timeout_s: float, **pool: Any) -> None:
        self._timeout_s = timeout_s
        super().__init__(**pool)

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send with the limit in place of none."""
        kwargs["timeout"] = kwargs.get("timeout") or (CONNECT_LIMIT_S, self._timeout_s)
        return super().send(request, *args, **kwargs)


class KeptAliveAdapter(LimitedAdapter, TCPKeepAliveAdapter):
    """Also keeps idle connections open, as the SDK's own adapter does."""


def _may_pass(error: Exception) -> bool | float:
    """Whether asking again may help: after 429 and 5xx, and when the connection broke."""
    if isinstance(error, Error):
        status = error.status_code
        return _wait(error) if status == TOO_MANY_REQUESTS or status >= 500 else False
    if isinstance(error, ServiceUnavailable):
        return True
    return isinstance(error, requests.RequestException) and not isinstance(
        error, (requests.exceptions.InvalidJSONError, *UNUSABLE_ADDRESS)
    )


def _had_no_effect(error: Exception) -> bool | float:
    """Whether the server certainly did nothing: it was too busy, or never heard of us."""
    if isinstance(error, Error):
        status = error.status_code
        return _wait(error) if status in {TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE} else False
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    cause = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def _wait(error: Error) -> bool | float:
    """Seconds the server asked to wait, or True for the usual wait."""
    response = error.http_err.response
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(asked), LONGEST_WAIT_S) if asked.isdecimal() else True


def _meaning(item: str, error: Error) -> AssetflowError:
    return _by_status(error.status_code, item, str(error.message)[:SHOWN_LENGTH])


def _by_status(status: int, item: str, message: str) -> AssetflowError:
    said = f"{item}: Code Ocean answered {status}: {message}"
    if status in {401, 403}:
        return AccessDenied(said)
    if status == 404:
        return NotFound(said)
    if status in {LOCKED, TOO_MANY_REQUESTS} or status >= 500:
        return ServiceUnavailable(said)
    if status in {400, 422}:
        return InvalidInput([Problem(item, "", f"Code Ocean refused it: {message}")])
    return PermanentError(said)
