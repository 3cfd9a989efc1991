"""Checks of an asset's core files: against the job, and before the data is transformed.

The message texts of :func:`check_metadata_files` are those that labs search their logs for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from include.acquisitions.data_description import Acquired, same_wall_clock, start_of
from include.acquisitions.metadata_settings import GatherSettings
from include.assets.core_files import (
    ALL_CORE_FIELDS,
    CORE_FIELDS,
    EXCLUSIVE_FIELDS,
    REQUIRED_FIELDS,
    Generation,
    core_file_name,
    generation_of,
    read_core_files,
    schema_problems,
)
from include.errors import InvalidInput, Problem


class CheckedFiles(BaseModel):
    """The core files that passed."""

    model_config = ConfigDict(frozen=True)

    generation: Generation
    present: tuple[str, ...]
    """Core fields, in the order of all fields."""


def cross_problems(
    acquired: Acquired, settings: GatherSettings, contents: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    """Where the core files contradict the job: another subject, another start, another name."""
    found = []
    for field in ("subject", "procedures", "acquisition", "session", "data_description"):
        said = contents.get(field, {}).get("subject_id")
        if said is not None and str(said) != acquired.subject_id:
            name = core_file_name(field)
            found.append(f"{name} is about subject {said}, the job about {acquired.subject_id}")
    found += [
        f"job_settings name subject {part.subject_id}; the job's, {acquired.subject_id}, was used"
        for part in (settings.subject_settings, settings.procedures_settings)
        if part.subject_id not in {None, "", acquired.subject_id}
    ]
    for field in ("acquisition", "session"):
        start = start_of(contents.get(field, {}))
        if start is not None and not same_wall_clock(start, acquired):
            found.append(
                f"{core_file_name(field)} starts at {start.isoformat()}, "
                f"the job at {acquired.acq_datetime.isoformat()}"
            )
    named = contents.get("data_description", {}).get("name")
    if named is not None and named != acquired.asset_name:
        found.append(f"data_description.json names the asset {named}, not {acquired.asset_name}")
    return tuple(found)


def check_metadata_files(
    folder: Path, *, level: Literal["files", "schema"] = "files"
) -> CheckedFiles:
    """Look at the core files in *folder*; other files are left alone.

    Args:
        folder: where the core files lie; usually the asset's staging folder.
        level: ``files`` asks for the required files, one of each exclusive pair, and JSON objects;
            ``schema`` also for what the generation 2 schema demands of each (generation 1 can no
            longer be checked).

    Raises:
        InvalidInput: everything found wrong, at once.
        TransientError: the file system could not answer.
    """
    contents, unusable = read_core_files(folder)
    present = [field for field in ALL_CORE_FIELDS if field in contents or field in unusable]
    problems = _presence_problems(folder, present, contents)
    problems += [problem for found in unusable.values() for problem in found]
    generation = generation_of(contents)
    if level == "schema" and generation is Generation.V2:
        problems += [
            Problem(str(folder / core_file_name(field)), "", reason)
            for field in CORE_FIELDS[Generation.V2]
            if field in contents
            for reason in schema_problems(field, contents[field])
        ]
    if problems:
        raise InvalidInput(problems)
    return CheckedFiles(generation=generation, present=tuple(present))


def _presence_problems(
    folder: Path, present: Iterable[str], contents: Mapping[str, Mapping[str, Any]]
) -> list[Problem]:
    there = set(present)
    item = str(folder)
    problems = []
    missing = [field for field in REQUIRED_FIELDS if field not in there]
    if missing:
        fix = "put them into metadata_dir, or let gather_preliminary_metadata fetch them"
        reason = f"Missing required files: {_file_set(missing)}"
        problems.append(Problem(item, "", reason, fix))
    for pair in EXCLUSIVE_FIELDS:
        found = there & set(pair)
        if len(found) == len(pair):
            fix = "remove one; a generation 2 asset has the first"
            reason = f"Only one of {_file_set(pair)} can be present!"
            problems.append(Problem(item, "", reason, fix))
        elif not found and not (pair[0] == "instrument" and _is_external(contents)):
            fix = "put one into metadata_dir"
            reason = f"Neither of the files in {_file_set(pair)} exist!"
            problems.append(Problem(item, "", reason, fix))
    return problems


def _is_external(contents: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all streams were recorded elsewhere: the schema then asks for no instrument."""
    streams = contents.get("acquisition", {}).get("data_streams")
    return (
        isinstance(streams, list)
        and bool(streams)
        and all(
            isinstance(stream, dict) and stream.get("object_type") == "External data stream"
            for stream in streams
        )
    )


def _file_set(fields: Iterable[str]) -> str:
    return "{" + ", ".join(repr(core_file_name(field)) for field in fields) + "}"
