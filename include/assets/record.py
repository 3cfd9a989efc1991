"""A DocDB record: one asset's document, and what registration may change in it.

The same words in both schema generations, except where Code Ocean's ids are kept::

    {"_id", "name", "location", "created", "last_modified", "describedBy", "schema_version",
     "subject": {…}, "data_description": {…}, …,
     v1: "external_links": {"Code Ocean": [ids]}      (before 2024 a list of such objects)
     v2: "other_identifiers": {"Code Ocean": [ids]}}

After the first upload the record, not the bucket, is the source of truth: a field that holds
something is never replaced here unless a person asked for that.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from include.assets.canonical import canonical_text
from include.assets.core_files import Generation
from include.errors import InvalidInput, Problem

LINK_FIELDS: Mapping[Generation, str] = {
    Generation.V1: "external_links",
    Generation.V2: "other_identifiers",
}
"""Field that holds what other platforms call the asset."""

CODE_OCEAN = "Code Ocean"
"""Key of Code Ocean's ids among the links."""

_SET_BY_STORE = frozenset({"_id", "location", "created", "last_modified"})


def record_id(location: str) -> str:
    """The only id that the record of *location* can get here.

    Two writers who insert the same asset at once meet on the id, so one of them is refused.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, location.rstrip("/")))


def iso_moment(moment: datetime) -> str:
    """*moment* (aware) in UTC, with microseconds and ``Z``, so that texts sort as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def link_ids(record: Mapping[str, Any], platform: str = CODE_OCEAN) -> tuple[str, ...]:
    """Ids that *platform* gave the asset, from the fields of both generations, each once.

    Raises:
        InvalidInput: a link field is neither an object, a list of objects nor null.
    """
    ids: dict[str, None] = {}
    for name in LINK_FIELDS.values():
        links = read_links(record, name)
        ids.update(dict.fromkeys(links.get(platform, ())))
    return tuple(ids)


def read_links(record: Mapping[str, Any], link_field: str) -> dict[str, list[str]]:
    """The links of one field as ``{platform: [ids]}``, also from the old list of objects.

    Raises:
        InvalidInput: the field holds something else, which nobody may replace unseen.
    """
    value = record.get(link_field)
    parts = value if isinstance(value, list) else [{} if value is None else value]
    links: dict[str, list[str]] = {}
    for part in parts:
        if not isinstance(part, Mapping):
            raise _unreadable_links(record, link_field)
        for platform, found in part.items():
            ids = [found] if isinstance(found, str) else [] if found is None else found
            if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
                raise _unreadable_links(record, link_field)
            links.setdefault(platform, []).extend(ids)
    return links


def _unreadable_links(record: Mapping[str, Any], link_field: str) -> InvalidInput:
    item = f"record {record.get('_id')} of {record.get('location')}"
    expected = 'expected {"<platform>": ["<id>", …]}, a list of such objects, or null'
    return InvalidInput([Problem(item, link_field, expected, "correct the record in DocDB")])


class RecordAction(Enum):
    """What has to be done so that the record knows what the asset holds."""

    INSERT = "insert"
    UPDATE = "update"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """One change of one record, as a value."""

    action: RecordAction
    record_id: str

    document: dict[str, Any] | None = None
    """INSERT: the whole record."""

    fields: dict[str, Any] = field(default_factory=dict)
    """UPDATE: top-level fields to set, without ``last_modified``; each was null unless replaced."""

    link: str | None = None
    """UPDATE: Code Ocean id to add to the links."""

    last_modified: str | None = None
    """UPDATE: what the record's ``last_modified`` becomes."""

    planned_on: Any = None
    """UPDATE: the ``last_modified`` of the record the plan was made from, or None."""

    kept: tuple[str, ...] = ()
    """Fields in which record and aggregate differ, left as the record has them."""

    replaced: dict[str, Any] = field(default_factory=dict)
    """Field → value that the plan overwrites; journal it before acting."""

    @property
    def filled(self) -> tuple[str, ...]:
        """Fields that were null or absent."""
        return tuple(name for name in self.fields if name not in self.replaced)


def plan_record_update(
    existing: Mapping[str, Any] | None,
    aggregate: Mapping[str, Any],
    code_ocean_id: str | None,
    generation: Generation,
    *,
    overwrite: bool = False,
    now: datetime,
) -> RecordPlan:
    """What it takes so that the record knows the asset's metadata and its Code Ocean id.

    Args:
        existing: the record as DocDB holds it, or None when there is none.
        aggregate: content of ``metadata.nd.json``; ``location`` is required.
        code_ocean_id: id to find among the links afterwards; None leaves the links alone.
        generation: which field holds the links.
        overwrite: let the aggregate win where both hold something and differ. A null in the
            aggregate never wins.
        now: moment (aware) for ``created`` and ``last_modified``.

    Raises:
        InvalidInput: no location in the aggregate, or links that cannot be read.
    """
    location = aggregate.get("location")
    if not isinstance(location, str) or not location.rstrip("/"):
        reason = f"expected s3://<bucket>/<asset name>, found {location!r}"
        raise InvalidInput([Problem("metadata.nd.json", "location", reason)])
    # Through JSON once, so that what is compared is what the store gives back.
    wanted: dict[str, Any] = json.loads(json.dumps(aggregate, default=str))
    if existing is None:
        return _plan_insert(wanted, location.rstrip("/"), code_ocean_id, generation, now)

    link_field = LINK_FIELDS[generation]
    fields: dict[str, Any] = {}
    replaced: dict[str, Any] = {}
    kept: list[str] = []
    for name, value in wanted.items():
        if value is None or name in _SET_BY_STORE:
            continue
        held = existing.get(name)
        if held is None:
            fields[name] = value
        elif name != link_field and canonical_text(held) != canonical_text(value):
            if overwrite:
                fields[name], replaced[name] = value, held
            else:
                kept.append(name)
    links = read_links({**existing, **fields}, link_field)
    link = None if code_ocean_id in links.get(CODE_OCEAN, []) else code_ocean_id
    changes = bool(fields or link)
    return RecordPlan(
        action=RecordAction.UPDATE if changes else RecordAction.NOTHING,
        record_id=existing["_id"],
        fields=fields,
        link=link,
        last_modified=iso_moment(now) if changes else None,
        planned_on=existing.get("last_modified"),
        kept=tuple(kept),
        replaced=replaced,
    )


def _plan_insert(
    wanted: dict[str, Any],
    location: str,
    code_ocean_id: str | None,
    generation: Generation,
    now: datetime,
) -> RecordPlan:
    moment = iso_moment(now)
    # The aggregate's own _id is left behind: copied assets bring the id of their original.
    document = {
        **wanted,
        "_id": record_id(location),
        "location": location,
        "created": moment,
        "last_modified": moment,
    }
    if code_ocean_id is not None:
        link_field = LINK_FIELDS[generation]
        document[link_field] = links_with(document, link_field, CODE_OCEAN, code_ocean_id)
    return RecordPlan(RecordAction.INSERT, document["_id"], document=document)


def links_with(
    record: Mapping[str, Any], link_field: str, platform: str, link: str
) -> dict[str, list[str]]:
    """The field's links as an object, every platform kept, with *link* added once."""
    links = read_links(record, link_field)
    ids = links.get(platform, [])
    return {**links, platform: ids if link in ids else [*ids, link]}
