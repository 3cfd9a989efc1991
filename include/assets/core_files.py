"""Core files: one schema's JSON beside the data, in both generations of the schema.

A field of a record and its file share one word: ``subject`` is ``subject.json``. Generation 1
(``aind-data-schema`` 1.x) has nine, generation 2 has eight: ``rig`` became ``instrument``,
``session`` became ``acquisition``, ``model`` is new. ``acquisition`` and ``instrument`` exist in
both (generation 1 used them for imaging), so a file's name alone does not tell its generation.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from copy import deepcopy
from enum import StrEnum
from pathlib import Path
from typing import Any

from include.assets.canonical import canonical_text
from include.errors import InvalidInput, Problem, TransientError

AGGREGATE_FILE = "metadata.nd.json"
"""All core files of one asset in one, the same name in both generations."""

REQUIRED_FIELDS = ("data_description", "subject", "procedures")

EXCLUSIVE_FIELDS = (("instrument", "rig"), ("acquisition", "session"))
"""Two names of one thing: an asset has exactly one of each pair."""


class Generation(StrEnum):
    """Which generation of the schema an asset's core files follow."""

    V1 = "v1"
    V2 = "v2"


CORE_FIELDS: Mapping[Generation, tuple[str, ...]] = {
    Generation.V1: (
        "subject",
        "data_description",
        "procedures",
        "session",
        "rig",
        "processing",
        "acquisition",
        "instrument",
        "quality_control",
    ),
    Generation.V2: (
        "subject",
        "data_description",
        "procedures",
        "instrument",
        "processing",
        "acquisition",
        "quality_control",
        "model",
    ),
}
"""The core fields of each generation, in the order records and logs list them."""

ALL_CORE_FIELDS = (*CORE_FIELDS[Generation.V1], "model")
"""Every field of either generation."""


def core_file_name(field: str) -> str:
    """File of *field*: ``subject`` gives ``subject.json``."""
    return f"{field}.json"


def generation_of(contents: Mapping[str, Any]) -> Generation:
    """Generation of an asset, from its core files' contents by field; 2 where nothing tells."""
    return evident_generation(contents) or Generation.V2


def evident_generation(contents: Mapping[str, Any]) -> Generation | None:
    """Generation that an asset's core files show, or None when nothing in them tells.

    ``rig`` and ``session`` exist only in generation 1, ``model`` only in generation 2; without them
    the ``schema_version`` of ``data_description`` decides: below 2 is generation 1.
    """
    if contents.get("rig") is not None or contents.get("session") is not None:
        return Generation.V1
    if contents.get("model") is not None:
        return Generation.V2
    description = contents.get("data_description")
    version = description.get("schema_version") if isinstance(description, Mapping) else None
    return None if version is None else _generation_of_version(str(version))


def generation_of_record(record: Mapping[str, Any]) -> Generation | None:
    """Generation of a record or aggregate: what it says of itself, else what its core files show."""
    if record.get("object_type"):
        return Generation.V2
    if "metadata_status" in record or "external_links" in record:
        return Generation.V1
    version = record.get("schema_version")
    return evident_generation(record) if version is None else _generation_of_version(str(version))


def _generation_of_version(version: str) -> Generation:
    return Generation.V1 if version.split(".")[0] in {"0", "1"} else Generation.V2


def parse_core_file(item: str, text: bytes) -> dict[str, Any]:
    """Content of one core file.

    Args:
        item: what a problem is reported about; usually the file's path.
        text: the file's bytes.

    Raises:
        InvalidInput: as :func:`parse_json`, and what is not an object.
    """
    content = parse_json(item, text)
    if not isinstance(content, dict):
        kind = f"a {type(content).__name__}"
        raise _unusable(item, f"holds {kind}, not a JSON object", "one core file is one object")
    return content


def parse_json(item: str, text: bytes) -> Any:
    """Content of a metadata file: an object, as a rule, or any other JSON value but null.

    Raises:
        InvalidInput: empty, not UTF-8, a byte-order mark, not JSON (or cut short), null.
    """
    if not text.strip():
        raise _unusable(item, "the file is empty", "write the metadata into it, or remove it")
    if text.startswith(b"\xef\xbb\xbf"):
        raise _unusable(item, "starts with a byte-order mark", "save it as UTF-8 without one")
    try:
        decoded = text.decode("utf-8")
        content = json.loads(decoded)
        if "\\u" in decoded:  # an escaped half of a surrogate pair parses, but cannot be written
            canonical_text(content).encode("utf-8")
    except UnicodeError as error:
        raise _unusable(item, f"is not UTF-8 text: {error}", "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = f"does not parse as JSON: {error}"
        raise _unusable(item, reason, "write the file again; it may be cut short") from error
    if content is None:
        raise _unusable(item, "holds null, not a JSON object", "one core file is one object")
    return content


def read_core_file(path: Path) -> bytes | None:
    """Bytes of the core file at *path*, None when there is definitely no such file.

    Raises:
        InvalidInput: there is something, but it is a folder, a broken link or not readable.
        TransientError: the file system could not answer.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise _unusable(str(path), "is a broken link", "repair or remove the link") from error
        return None
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        reason = f"cannot be read: {error.strerror}"
        raise _unusable(str(path), reason, "give a file that this service may read") from error
    except OSError as error:
        raise TransientError(f"{path} could not be read: {error}") from error


def read_core_files(
    folder: Path,
) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[Problem, ...]]]:
    """Core files in *folder*: contents by field, and what is wrong with those that are unusable.

    Raises:
        TransientError: the file system could not answer.
    """
    contents: dict[str, dict[str, Any]] = {}
    unusable: dict[str, tuple[Problem, ...]] = {}
    for field in ALL_CORE_FIELDS:
        path = folder / core_file_name(field)
        try:
            text = read_core_file(path)
            if text is not None:
                contents[field] = parse_core_file(str(path), text)
        except InvalidInput as error:
            unusable[field] = error.problems
    return contents, unusable


def write_core_file(path: Path, text: bytes, *, work_folder: Path) -> bool:
    """Put *text* at *path*, whole or not at all; False when it was there already.

    The part-written file lives in *work_folder* (same file system, never uploaded), so a killed
    task leaves nothing beside the data.
    """
    if path.is_file() and not path.is_symlink() and path.read_bytes() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    work_folder.mkdir(parents=True, exist_ok=True)
    partial = work_folder / f"{path.name}.partial"
    partial.write_bytes(text)
    partial.replace(path)
    return True


def schema_problems(field: str, content: Mapping[str, Any]) -> tuple[str, ...]:
    """What the generation 2 schema finds wrong with one core file, as ``dotted.path: reason``.

    An empty tuple means valid. Imports the schema classes (about a second of CPU) on first use.

    Raises:
        KeyError: *field* is not one of generation 2.
    """
    from pydantic import ValidationError

    model = schema_class(field)
    try:
        with warnings.catch_warnings(action="ignore"):
            # The schema's validators write into what they are given, hence the copy.
            model.model_validate(deepcopy(dict(content)))
    except ValidationError as error:
        return tuple(
            f"{'.'.join(map(str, found['loc']))}: {found['msg']}" if found["loc"] else found["msg"]
            for found in error.errors(include_url=False, include_input=False)
        )
    except Exception as error:  # noqa: BLE001 - the schema's own rules crash on odd values
        return (f"the schema's rules failed on it: {type(error).__name__}: {error}",)
    return ()


def schema_class(field: str) -> Any:
    """The generation 2 schema class of *field*.

    Raises:
        KeyError: *field* is not one of generation 2.
    """
    from importlib import import_module

    if field not in CORE_FIELDS[Generation.V2]:
        raise KeyError(field)
    class_name = "".join(word.capitalize() for word in field.split("_"))
    return getattr(import_module(f"aind_data_schema.core.{field}"), class_name)


def _unusable(item: str, reason: str, fix: str) -> InvalidInput:
    return InvalidInput([Problem(item, "", reason, fix)])
