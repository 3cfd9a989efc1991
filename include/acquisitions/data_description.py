"""``data_description.json`` of a raw asset, from the job, the settings and two lists of the service.

The name is the asset's, never rebuilt: the schema would format ``creation_time``, which says the
same only as long as nobody changes its zone.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from include.acquisitions.metadata_settings import ITEM, DescriptionSettings
from include.errors import InvalidInput, Problem

DESCRIPTION_FILE = "data_description.json"


@dataclass(frozen=True, slots=True)
class Acquired:
    """What the job says about one acquisition."""

    asset_name: str
    subject_id: str
    project_name: str
    modalities: tuple[str, ...]
    """Abbreviations, in the job's order."""

    acq_datetime: datetime
    """Start on the rig's own clock; it may carry no zone."""


def build_data_description(
    acquired: Acquired,
    settings: DescriptionSettings,
    *,
    creation_time: datetime,
    funding: Sequence[Mapping[str, Any]],
    investigators: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Content of ``data_description.json``, validated.

    Args:
        acquired: what the job says.
        settings: what it does not say.
        creation_time: start of the acquisition, with its zone.
        funding: the service's funding of the project; at least one.
        investigators: the service's investigators of the project; at least one. The same name
            twice counts once, and names are sorted, as upstream does.

    Raises:
        InvalidInput: everything the schema would refuse, in the words of the request.
    """
    from aind_data_schema.core.data_description import DataDescription
    from aind_data_schema_models.modalities import Modality
    from pydantic import ValidationError

    problems = _problems(acquired, settings, funding, investigators)
    if problems:
        raise InvalidInput(problems)
    people = {str(person.get("name")): dict(person) for person in reversed(investigators)}
    try:
        with warnings.catch_warnings(action="ignore"):
            description = DataDescription(
                name=acquired.asset_name,
                subject_id=acquired.subject_id,
                project_name=acquired.project_name,
                modalities=[Modality.from_abbreviation(one) for one in acquired.modalities],
                creation_time=creation_time,
                data_level="raw",
                institution=_organization(settings.institution),
                funding_source=[dict(one) for one in funding],
                investigators=[people[name] for name in sorted(people)],
                tags=settings.tags,
                group=settings.group,
                restrictions=settings.restrictions,
                data_summary=settings.data_summary,
            )
    except ValidationError as error:
        raise InvalidInput([
            Problem(DESCRIPTION_FILE, ".".join(map(str, found["loc"])), found["msg"])
            for found in error.errors(include_url=False, include_input=False)
        ]) from error
    content: dict[str, Any] = json.loads(description.model_dump_json(by_alias=True))
    return content


def _problems(
    acquired: Acquired,
    settings: DescriptionSettings,
    funding: Sequence[Mapping[str, Any]],
    investigators: Sequence[Mapping[str, Any]],
) -> list[Problem]:
    """What the schema would refuse, found early and said so that a person can act on it."""
    from aind_data_schema_models.modalities import Modality

    fix = f"add it for project {acquired.project_name!r}, or give your own {DESCRIPTION_FILE}"
    found = [
        Problem(DESCRIPTION_FILE, key, f"the metadata service knows no {word}; one is needed", fix)
        for key, word, known in (
            ("funding_source", "funding", funding),
            ("investigators", "investigator", investigators),
        )
        if not known
    ]
    if _organization(settings.institution) is None:
        reason = f"{settings.institution!r} is no organisation the schema knows"
        key = "data_description_settings.institution"
        found.append(Problem(ITEM, key, reason, "give its abbreviation, such as 'AIND'"))
    found += [
        Problem(DESCRIPTION_FILE, "modalities", f"{one!r} is no modality the schema knows")
        for one in acquired.modalities
        if Modality.from_abbreviation(one) is None
    ]
    return found


def _organization(institution: str | dict[str, Any]) -> Any:
    """The schema's organisation; None when it knows none of that abbreviation or name."""
    from aind_data_schema_models.organizations import Organization

    if isinstance(institution, dict):
        return institution
    by_name = Organization.name_map.get(institution)
    return Organization.from_abbreviation(institution) or by_name


def acquired_at(
    acquired: Acquired, *, time_zone: str | None, acquisition: Mapping[str, Any] | None
) -> datetime:
    """Start of the acquisition with its zone.

    A request may leave the offset out. Then the rig's own acquisition file knows it (when its
    wall clock says the same), then the settings' *time_zone*, then this machine's zone.
    """
    if acquired.acq_datetime.tzinfo is not None:
        return acquired.acq_datetime
    recorded = start_of(acquisition) if acquisition else None
    if recorded is not None and recorded.tzinfo and same_wall_clock(recorded, acquired):
        return acquired.acq_datetime.replace(tzinfo=recorded.tzinfo)
    if time_zone:
        return acquired.acq_datetime.replace(tzinfo=ZoneInfo(time_zone))
    return acquired.acq_datetime.astimezone()


def start_of(acquisition: Mapping[str, Any]) -> datetime | None:
    """Start written in ``acquisition.json`` (or v1 ``session.json``), as written; None if unreadable."""
    for key in ("acquisition_start_time", "session_start_time"):
        try:
            return datetime.fromisoformat(str(acquisition[key]))
        except (KeyError, ValueError):
            continue
    return None


def same_wall_clock(moment: datetime, acquired: Acquired) -> bool:
    """Whether both clocks show the same second, whatever their zones."""
    wall = {one.replace(tzinfo=None, microsecond=0) for one in (moment, acquired.acq_datetime)}
    return len(wall) == 1
