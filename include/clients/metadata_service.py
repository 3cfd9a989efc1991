"""The metadata service: what the institute knows about subjects, instruments and projects.

Versions 1 and 2 differ in more than their paths (``aind-metadata-service`` 0.24 and its v2 server):

======  =======================================  ===============================================
status  v2: the bare record                      v1: ``{"message", "data"}``
======  =======================================  ===============================================
200     valid record                             valid record
207                                              record, some back-ends were down
300                                              several records
400     record that fails the schema (always so  bad question
        for instruments); ``X-Error-Message``
404     ``{"detail": "Not found"}``: none        ``data`` null: none
406     the question is wrong                    record that fails the schema
422     the question is wrong                    record that was not checked (instrument, rig)
======  =======================================  ===============================================
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import httpx
import stamina

from include.errors import (
    AccessDenied,
    InvalidInput,
    MalformedAnswer,
    PermanentError,
    Problem,
    ServiceUnavailable,
)

CONNECT_LIMIT_S = 5.0
ANSWER_LIMIT_S = 60.0

PROCEDURES_LIMIT_S = 300.0
"""The service asks eight back-ends for procedures and allows each up to 100 s."""

QUOTED_LENGTH = 300
"""How much of an unexpected answer an error shows, characters."""

UNKNOWN_PATH = {"detail": "Not Found"}
"""What a server of this kind says of a path it does not have; of a record, it says ``Not found``."""

Kind = Literal["subject", "procedures", "instrument", "funding", "investigators"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service knows about one thing."""

    content: Any
    """JSON: one record for subject and procedures, a list for everything else."""

    is_valid: bool
    """Whether the service found it to match its schema."""

    problems: tuple[str, ...] = ()
    """What is wrong with it, when it is not valid."""


class MetadataServiceClient:
    """Ask one metadata service.

    Safe to use from several threads. A definite "none" is None; everything else that is not a
    record is an error, so that a service in trouble is never taken for one that knows nothing.

    Args:
        http: session whose ``base_url`` is the service, without ``/api/v2``.
        api: version of its API.
        retries: how often, and with which waits, a service that is unavailable is asked again.
    """

    def __init__(
        self,
        http: httpx.Client,
        api: Literal["v1", "v2"] = "v2",
        *,
        retries: stamina.RetryingCaller | None = None,
    ) -> None:
        self._http = http
        self._api = api
        self._retries = retries or stamina.RetryingCaller(
            attempts=3, timeout=None, wait_initial=0.5, wait_max=5, wait_jitter=0.5
        )

    def subject(self, subject_id: str) -> Answer | None:
        """Species, sex, birth, strain… of a subject; an object.

        Raises:
            InvalidInput: the service does not take *subject_id* for an id.
            AccessDenied, ServiceUnavailable, MalformedAnswer: nothing is known about the subject.
        """
        return _about(subject_id, self._ask("subject", subject_id))

    def procedures(self, subject_id: str) -> Answer | None:
        """What was done to a subject; an object. Takes up to minutes.

        Raises:
            InvalidInput, AccessDenied, ServiceUnavailable, MalformedAnswer: as :meth:`subject`.
        """
        return _about(subject_id, self._ask("procedures", subject_id, PROCEDURES_LIMIT_S))

    def instrument(self, instrument_id: str) -> Answer | None:
        """Every record of exactly this instrument; a list. Never validated, so never valid.

        Raises:
            AccessDenied, ServiceUnavailable, MalformedAnswer: nothing is known about it.
        """
        return _as_list(self._ask("instrument", instrument_id))

    def funding(self, project: str) -> Answer | None:
        """Grants that pay for a project; a list.

        Raises:
            InvalidInput: the project has sub-projects; ask for ``"Project - Sub"``.
            AccessDenied, ServiceUnavailable, MalformedAnswer: nothing is known about it.
        """
        return _as_list(self._ask("funding", project))

    def investigators(self, project: str) -> Answer | None:
        """Who leads a project; a list of persons. Version 2 only.

        Raises:
            InvalidInput: as :meth:`funding`.
            PermanentError: version 1 does not know investigators.
            AccessDenied, ServiceUnavailable, MalformedAnswer: nothing is known about it.
        """
        if self._api == "v1":
            raise PermanentError("version 1 of the metadata service has no investigators")
        return _as_list(self._ask("investigators", project))

    def project_names(self) -> Answer | None:
        """Every project, as ``"Project"`` or ``"Project - Sub"``; a list of names.

        Raises:
            AccessDenied, ServiceUnavailable, MalformedAnswer: the list is not known.
        """
        answer = self._fetch(self._path("project_names"), "project names", ANSWER_LIMIT_S)
        names = answer.content if answer else []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise MalformedAnswer(f"project names: expected a list of names, got {_short(names)}")
        return answer

    def _ask(self, kind: Kind, key: str, limit_s: float = ANSWER_LIMIT_S) -> Answer | None:
        item = f"{kind} {key!r}"
        if key in {"", ".", ".."}:
            raise InvalidInput([Problem(item, "", "cannot be asked for", "give an id or a name")])
        return self._fetch(f"{self._path(kind)}/{quote(key, safe='')}", item, limit_s)

    def _path(self, kind: str) -> str:
        return f"api/v2/{kind}" if self._api == "v2" else kind

    def _fetch(self, path: str, item: str, limit_s: float) -> Answer | None:
        def attempt() -> Answer | None:
            response = self._get(path, item, limit_s)
            return _read_v2(response, item) if self._api == "v2" else _read_v1(response, item)

        return self._retries(ServiceUnavailable, attempt)

    def _get(self, path: str, item: str, limit_s: float) -> httpx.Response:
        try:
            response = self._http.get(path, timeout=httpx.Timeout(limit_s, connect=CONNECT_LIMIT_S))
        except httpx.TransportError as error:
            what = type(error).__name__
            raise ServiceUnavailable(f"{item}: metadata service: {what}: {error}") from error
        except httpx.HTTPError as error:
            raise MalformedAnswer(f"{item}: metadata service: {error}") from error
        status = response.status_code
        if status in {401, 403}:
            raise AccessDenied(f"{item}: the metadata service refused with {status}")
        if status == 429 or status >= 500:
            raise ServiceUnavailable(f"{item}: the metadata service answered {_quoted(response)}")
        return response


def _read_v2(response: httpx.Response, item: str) -> Answer | None:
    content = _json(response, item)
    match response.status_code:
        case 200:
            return Answer(content, is_valid=True)
        case 400 if _is_record(content):
            return Answer(content, is_valid=False, problems=_listed_errors(response))
        case 404 if _is_refusal(content) and content != UNKNOWN_PATH:
            return None
        case 400 | 406 | 422 if _is_refusal(content):
            raise InvalidInput([Problem(item, "", f"the metadata service says: {_said(content)}")])
    raise _unexpected(response, item)


def _read_v1(response: httpx.Response, item: str) -> Answer | None:
    content = _json(response, item)
    if not isinstance(content, dict) or not {"message", "data"} <= content.keys():
        raise _unexpected(response, item)
    message, data = str(content["message"]), content["data"]
    match response.status_code:
        case 200 if data is not None:
            return Answer(data, is_valid=True)
        case 300 if isinstance(data, list):
            return Answer(data, is_valid=True)
        case 207 | 406 | 422 if data is not None:
            return Answer(data, is_valid=False, problems=(message,))
        case 404 if data is None:
            return None
        case 400:
            raise InvalidInput([Problem(item, "", f"the metadata service says: {message}")])
    raise _unexpected(response, item)


def _json(response: httpx.Response, item: str) -> Any:
    try:
        return json.loads(response.content)
    except ValueError as error:
        raise MalformedAnswer(
            f"{item}: the metadata service answered {_quoted(response)}, which is not JSON"
        ) from error


def _is_record(content: Any) -> bool:
    """Whether a 400 carries a record, or records, and not just a reason."""
    if isinstance(content, list):
        return bool(content) and all(isinstance(record, dict) for record in content)
    return isinstance(content, dict) and not content.keys() <= {"detail", "message"}


def _is_refusal(content: Any) -> bool:
    return isinstance(content, dict) and not _is_record(content) and bool(content)


def _said(content: dict[str, Any]) -> str:
    return _short(content.get("detail") or content.get("message"))


def _listed_errors(response: httpx.Response) -> tuple[str, ...]:
    """Pydantic's errors from the header, or the sentence that stands there instead."""
    header = response.headers.get("X-Error-Message", "The record fails its schema.")
    try:
        errors = json.loads(header)
        return tuple(
            f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in errors
        )
    except (ValueError, TypeError, KeyError):
        # Not a list of errors, so a sentence for people; nothing else is done with it.
        return (header,)


def _about(subject_id: str, answer: Answer | None) -> Answer | None:
    """Make sure that the answer is one record, and of the subject that was asked for."""
    if answer is None:
        return None
    if not isinstance(answer.content, dict):
        raise MalformedAnswer(
            f"subject {subject_id}: expected one record, got {_short(answer.content)}"
        )
    found = answer.content.get("subject_id", subject_id)
    if found != subject_id:
        raise MalformedAnswer(f"subject {subject_id}: got the record of subject {found}")
    return answer


def _as_list(answer: Answer | None) -> Answer | None:
    """Version 1 hands out a single record without its list."""
    if answer is None:
        return None
    records = answer.content if isinstance(answer.content, list) else [answer.content]
    if not all(isinstance(record, dict) for record in records):
        raise MalformedAnswer(f"expected a list of records, got {_short(answer.content)}")
    return Answer(records, answer.is_valid, answer.problems)


def _unexpected(response: httpx.Response, item: str) -> MalformedAnswer:
    return MalformedAnswer(
        f"{item}: the metadata service answered {_quoted(response)}; "
        "check its address and the version of its API"
    )


def _quoted(response: httpx.Response) -> str:
    return f"{response.status_code} {_short(response.text)}"


def _short(content: Any) -> str:
    text = str(content)
    return text if len(text) <= QUOTED_LENGTH else f"{text[:QUOTED_LENGTH]}…"
