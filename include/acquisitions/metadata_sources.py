"""What the metadata service and the user's folder say about one acquisition.

The service's answers are asked for at once, and only those that nothing else supplies. A definite
"none" is a missing file; a service that cannot answer is not.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from include.acquisitions.json_files import json_files
from include.assets.core_files import (
    ALL_CORE_FIELDS,
    core_file_name,
    parse_core_file,
    read_core_file,
)
from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    MalformedAnswer,
    Problem,
    ServiceUnavailable,
    TransientError,
)

logger = logging.getLogger(__name__)


class Answer(Protocol):
    """One record, or list of records, of the metadata service."""

    @property
    def content(self) -> Any:
        """Parsed JSON: a schema object, or a list of them."""

    @property
    def is_valid(self) -> bool:
        """False when the service returned it although its own validation failed."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it is not valid."""


class MetadataService(Protocol):
    """None means a definite "none"; anything else that is not an answer is raised."""

    def subject(self, subject_id: str) -> Answer | None: ...
    def procedures(self, subject_id: str) -> Answer | None: ...
    def instrument(self, instrument_id: str) -> Answer | None: ...
    def funding(self, project_name: str) -> Answer | None: ...
    def investigators(self, project_name: str) -> Answer | None: ...


@dataclass(frozen=True, slots=True)
class UserFile:
    """One core file of the user's folder."""

    text: bytes
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServiceAnswers:
    """What each question to the service brought; a question not asked is in neither mapping."""

    answers: Mapping[str, Answer | None] = field(default_factory=dict)
    """Question (``subject``, ``funding``, …) → answer, or None for a definite "none"."""

    failures: Mapping[str, str] = field(default_factory=dict)
    """Question → why there is no answer; only where the settings let a run go on without."""


def read_user_files(folder: Path, *, allowed_roots: Sequence[Path]) -> dict[str, UserFile]:
    """Core files of the user's *folder*, by field.

    Args:
        folder: the user's ``metadata_dir``; files other than core files are left alone.
        allowed_roots: the folder and every file, links resolved, must lie under one of these.

    Raises:
        InvalidInput: every file that cannot be used, or the folder itself.
        TransientError: the file system could not answer.
    """
    _check_folder(folder, allowed_roots)
    files: dict[str, UserFile] = {}
    problems: list[Problem] = []
    for name in ALL_CORE_FIELDS:
        try:
            file = _read_user_file(folder / core_file_name(name), allowed_roots)
        except InvalidInput as error:
            problems += error.problems
        else:
            if file is not None:
                files[name] = file
    if problems:
        raise InvalidInput(problems)
    return files


def read_uploaded_json(folder: Path, *, allowed_roots: Sequence[Path]) -> dict[str, bytes]:
    """Text of every ``*.json`` of the user's *folder*, by file name, as it is.

    A link that leads outside *allowed_roots* is passed over.

    Raises:
        InvalidInput: a file cannot be read, or the folder may not be listed.
        TransientError: the file system could not answer.
    """
    texts: dict[str, bytes] = {}
    for path in json_files(folder):
        if not is_under(path, allowed_roots):
            logger.warning("Passing over %s: it leads outside the allowed source folders", path)
        elif _may_be_file(path) and (text := read_core_file(path)) is not None:
            texts[path.name] = text
    return texts


def _may_be_file(path: Path) -> bool:
    """False for what is definitely none: a folder, a pipe, a link that leads nowhere."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # reading it tells what is wrong


def _check_folder(folder: Path, roots: Sequence[Path]) -> None:
    fix = "give a folder that this service may read, or leave metadata_dir out"
    try:
        is_folder = folder.is_dir()
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        raise InvalidInput([Problem(str(folder), "metadata_dir", reason, fix)]) from error
    if not is_folder:
        raise InvalidInput([Problem(str(folder), "metadata_dir", "is not a folder", fix)])
    if not is_under(folder, roots):
        raise InvalidInput([_outside(folder, roots)])


def _read_user_file(path: Path, roots: Sequence[Path]) -> UserFile | None:
    if not is_under(path, roots):
        raise InvalidInput([_outside(path, roots)])
    text = read_core_file(path)
    return None if text is None else UserFile(text, parse_core_file(str(path), text))


def _outside(path: Path, roots: Sequence[Path]) -> Problem:
    fix = f"move it under one of {', '.join(map(str, roots))}"
    return Problem(str(path), "", "lies outside the allowed source folders", fix)


def is_under(path: Path, roots: Iterable[Path]) -> bool:
    """Whether *path*, links resolved, lies under one of *roots*, links resolved."""
    resolved = path.resolve()
    return any(resolved.is_relative_to(root.resolve()) for root in roots)


def ask_service(
    questions: Mapping[str, Callable[[], Answer | None]], *, go_on_without: bool
) -> ServiceAnswers:
    """Ask all *questions* at once and wait for all of them.

    Args:
        questions: what an answer is called → the request.
        go_on_without: note an answer that could not be had instead of raising.

    Raises:
        InvalidInput: the service refused an id or a project name; all refusals together.
        ServiceUnavailable: no answer to some, named; trying again may help.
        AccessDenied, MalformedAnswer: likewise, and trying again cannot help.
    """
    answers: dict[str, Answer | None] = {}
    failures: dict[str, AssetflowError] = {}
    if not questions:
        return ServiceAnswers()
    with ThreadPoolExecutor(len(questions), thread_name_prefix="metadata-service") as pool:
        asked = {name: pool.submit(question) for name, question in questions.items()}
    for name, future in asked.items():
        try:
            answers[name] = future.result()
        except (TransientError, AccessDenied, MalformedAnswer, InvalidInput) as error:
            failures[name] = error
    refusals = [p for error in failures.values() if isinstance(error, InvalidInput)
                for p in error.problems]  # fmt: skip
    if refusals:
        raise InvalidInput(refusals)
    reasons = {name: str(error) for name, error in failures.items()}
    if failures and not go_on_without:
        _raise_unanswered(failures)
    for name, reason in reasons.items():
        logger.warning("Going on without %s of the metadata service: %s", name, reason)
    return ServiceAnswers(answers, reasons)


def _raise_unanswered(failures: Mapping[str, AssetflowError]) -> None:
    told = "; ".join(f"{name}: {error}" for name, error in failures.items())
    message = f"The metadata service gave no answer for {', '.join(failures)}. {told}"
    for error in failures.values():
        if isinstance(error, AccessDenied | MalformedAnswer):
            raise type(error)(message) from error
    raise ServiceUnavailable(message) from next(iter(failures.values()))


def newest_instrument(answer: Answer, instrument_id: str) -> dict[str, Any] | None:
    """The record of exactly *instrument_id* that was modified last; None when there is none.

    The service matches ids in part and answers with a list: ``447`` also brings ``447_old``.
    """
    records = answer.content if isinstance(answer.content, list) else [answer.content]
    same = [
        record
        for record in records
        if isinstance(record, dict) and record.get("instrument_id") == instrument_id
    ]
    return max(same, key=lambda record: str(record.get("modification_date", "")), default=None)


def object_content(name: str, answer: Answer) -> dict[str, Any]:
    """The one object that *answer* holds.

    Raises:
        MalformedAnswer: it holds something else.
    """
    if isinstance(answer.content, dict):
        return answer.content
    kind = type(answer.content).__name__
    raise MalformedAnswer(f"The metadata service answered {name} with a {kind}, not an object")


def list_content(name: str, answer: Answer | None) -> list[dict[str, Any]]:
    """The objects that *answer* holds; none when there is no answer.

    Raises:
        MalformedAnswer: it holds something else.
    """
    if answer is None:
        return []
    if isinstance(answer.content, list) and all(isinstance(one, dict) for one in answer.content):
        return answer.content
    raise MalformedAnswer(f"The metadata service answered {name} with no list of objects")
