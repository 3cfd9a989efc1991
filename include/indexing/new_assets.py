"""What a folder without a record is: an asset that gets one, or why not.

=========================  ===========  ==========================================================
``metadata.nd.json``       data_level   what happens
=========================  ===========  ==========================================================
a non-empty object         any          becomes the record
anything else, or nothing  ``derived``  a record is built of the core files; what was there is copied
anything else, or nothing  other        nothing: whoever uploads a raw asset also makes its record
=========================  ===========  ==========================================================

A derived asset is one whose ``data_description.json`` says ``"data_level": "derived"``, in so many words;
its name does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from include.assets.aggregate import MetadataStatus, aggregate_v1, aggregate_v2
from include.assets.core_files import (
    ALL_CORE_FIELDS,
    CORE_FIELDS,
    Generation,
    evident_generation,
    generation_of_record,
    parse_json,
)
from include.assets.location import AssetLocation
from include.assets.record import LINK_FIELDS, iso_moment, record_id
from include.errors import InvalidInput
from include.indexing.asset_files import AGGREGATE, AssetFiles, ReadFile
from include.indexing.plan import FileCopy

DERIVED = "derived"

StatusCheck = Callable[[AssetLocation, Mapping[str, Any]], MetadataStatus]
"""Validates core files of schema generation 1, which this environment cannot."""


@dataclass(frozen=True, slots=True)
class NewAsset:
    """A folder that gets a record."""

    files: AssetFiles
    generation: Generation
    record: dict[str, Any]
    """Whole, but its id may still be taken by another record."""

    is_built: bool
    """Whether it was built of core files, not taken from ``metadata.nd.json``."""

    aggregate_copy: FileCopy | None = None
    """Of a ``metadata.nd.json`` that could not be used."""

    notes: tuple[str, ...] = ()
    changed_at: datetime | None = None

    @property
    def location(self) -> AssetLocation:
        """Where the asset is."""
        return self.files.location


@dataclass(frozen=True, slots=True)
class NoAsset:
    """A folder that gets no record, and why."""

    location: AssetLocation
    reason: str
    notes: tuple[str, ...] = field(default=())


def examine(
    files: AssetFiles,
    read: ReadFile,
    *,
    generations: Collection[Generation],
    now: datetime,
    status_of: StatusCheck | None = None,
) -> NewAsset | NoAsset:
    """Decide what a folder without a record is.

    Args:
        generations: those whose records the run makes; the first is meant where nothing tells.
        status_of: None leaves the status of a record of generation 1 open (``Unknown``).

    Raises:
        PreconditionFailed: a file is no longer as it was listed.
        AccessDenied, ServiceUnavailable: a file could not be read.
    """
    if files.is_gone:
        return NoAsset(files.location, "nothing is there any more")
    aggregate, problem = _read_aggregate(files, read)
    if aggregate is not None:
        return _from_aggregate(files, aggregate, generations, now)
    description = files.core_file("data_description")
    level, note = _data_level(files, read)
    notes = tuple(filter(None, [problem, note]))
    if level != DERIVED:
        lacks = "metadata.nd.json cannot be used" if problem else "there is no metadata.nd.json"
        says = (
            f"data_description.json says {level!r} for data_level"
            if description
            else "there is no data_description.json"
        )
        return NoAsset(files.location, f"{lacks}, and the asset is not derived: {says}", notes)
    return _built(files, read, generations, now, status_of, notes)


def _read_aggregate(files: AssetFiles, read: ReadFile) -> tuple[dict[str, Any] | None, str]:
    """The aggregate when it can be a record; else what is wrong with it, ``""`` when there is none."""
    if files.aggregate is None:
        return None, ""
    try:
        content = parse_json(files.aggregate.key, read(files.aggregate))
    except InvalidInput as error:
        return None, str(error.problems[0])
    if not isinstance(content, dict):
        return None, f"metadata.nd.json holds a {type(content).__name__}, not a JSON object"
    return (content, "") if content else (None, "metadata.nd.json holds an empty object")


def _data_level(files: AssetFiles, read: ReadFile) -> tuple[Any, str]:
    """``data_level`` of the data description, and a warning about a file that cannot have one."""
    found = files.core_file("data_description")
    if found is None:
        return None, ""
    try:
        content = parse_json(found.key, read(found))
    except InvalidInput as error:
        return None, str(error.problems[0])
    if not isinstance(content, dict):
        return None, f"data_description.json holds a {type(content).__name__}, not a JSON object"
    return content.get("data_level"), ""


def _from_aggregate(
    files: AssetFiles,
    aggregate: dict[str, Any],
    generations: Collection[Generation],
    now: datetime,
) -> NewAsset | NoAsset:
    generation = generation_of_record(aggregate) or next(iter(generations))
    if generation not in generations:
        reason = f"its metadata.nd.json is of schema generation {generation}, which this run does not index"
        return NoAsset(files.location, reason)
    record, notes = _as_record(files.location, aggregate, now)
    found = files.aggregate
    changed_at = None if found is None else found.last_modified
    return NewAsset(files, generation, record, is_built=False, notes=notes, changed_at=changed_at)


def _as_record(
    location: AssetLocation, aggregate: Mapping[str, Any], now: datetime
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The record of an aggregate. Copied assets must not steal the id of their original."""
    notes: list[str] = []
    own_id = aggregate.get("_id")
    if not _is_at(aggregate.get("location"), location):
        notes.append(
            f"its metadata.nd.json has the location {aggregate.get('location')!r}; "
            "the record gets the real one and an id of its own"
        )
        own_id = None
    elif not isinstance(own_id, str) or not own_id:
        notes.append("its metadata.nd.json has no id; the record gets one")
        own_id = None
    moment = iso_moment(now)
    record = {
        **aggregate,
        "_id": own_id or record_id(str(location)),
        "name": aggregate.get("name") or location.name,
        "location": str(location),
        "created": aggregate.get("created") or moment,
        "last_modified": moment,
    }
    return record, tuple(notes)


def _is_at(text: Any, location: AssetLocation) -> bool:
    try:
        return isinstance(text, str) and AssetLocation.parse(text) == location
    except InvalidInput:
        return False


def _built(
    files: AssetFiles,
    read: ReadFile,
    generations: Collection[Generation],
    now: datetime,
    status_of: StatusCheck | None,
    notes: Sequence[str],
) -> NewAsset | NoAsset:
    contents, unusable = _read_core_files(files, read)
    generation = evident_generation(contents) or next(iter(generations))
    if generation not in generations:
        reason = (
            f"its core files are of schema generation {generation}, which this run does not index"
        )
        return NoAsset(files.location, reason)
    contents = {name: contents[name] for name in CORE_FIELDS[generation] if name in contents}
    moment = iso_moment(now)
    if generation is Generation.V1:
        record, _ = aggregate_v1(files.location, contents, now=now)
        if status_of is not None:
            record["metadata_status"] = str(status_of(files.location, contents))
        status = record["metadata_status"]
    else:
        record, report = aggregate_v2(files.location, contents)
        record |= {
            "_id": record_id(str(files.location)),
            "created": moment,
            "last_modified": moment,
        }
        status = str(report.status)
    record.setdefault(LINK_FIELDS[generation], None)
    copy = None
    if files.aggregate is not None:
        target = files.copy_key(AGGREGATE, files.aggregate.last_modified)
        copy = None if AGGREGATE in files.copies else FileCopy(files.aggregate, target)
    description = files.core_file("data_description")
    return NewAsset(
        files,
        generation,
        record,
        is_built=True,
        aggregate_copy=copy,
        notes=(*notes, *unusable, f"its metadata is {status}"),
        changed_at=None if description is None else description.last_modified,
    )


def _read_core_files(files: AssetFiles, read: ReadFile) -> tuple[dict[str, Any], list[str]]:
    """Contents by field, and what is wrong with those that cannot be used."""
    contents: dict[str, Any] = {}
    unusable: list[str] = []
    for name in ALL_CORE_FIELDS:
        found = files.core_file(name)
        if found is None:
            continue
        try:
            contents[name] = parse_json(found.key, read(found))
        except InvalidInput as error:
            unusable.append(str(error.problems[0]))
    return contents, unusable
