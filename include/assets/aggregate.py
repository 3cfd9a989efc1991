"""``metadata.nd.json``: all core files of one asset in one, as DocDB keeps it.

Written whatever the files say, because an asset without it is lost to every search; what is wrong
with it is reported beside it. A core file that the schema refuses goes in as it stands: the
schema's own builder would drop the keys it does not know.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from include.assets.canonical import canonical_text
from include.assets.core_files import (
    AGGREGATE_FILE,
    CORE_FIELDS,
    Generation,
    core_file_name,
    generation_of,
    parse_core_file,
    read_core_file,
    read_core_files,
    schema_problems,
    write_core_file,
)
from include.assets.location import AssetLocation
from include.assets.record import iso_moment, record_id
from include.errors import InvalidInput

logger = logging.getLogger(__name__)

KEY_FIELDS = frozenset({"subject", "processing", "model"})
"""Generation 2 asks for at least one of these."""


class MetadataStatus(StrEnum):
    """The field's word for how good a record is; generation 1 records carry it."""

    VALID = "Valid"
    INVALID = "Invalid"
    MISSING = "Missing"
    """No subject."""

    UNKNOWN = "Unknown"
    """Generation 1: nothing checks it any more."""


class AggregateReport(BaseModel):
    """What the schema says about one aggregate."""

    model_config = ConfigDict(frozen=True)

    status: MetadataStatus
    generation: Generation
    fields: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Core field → what is wrong with it; only where something is."""

    problems: tuple[str, ...] = ()
    """What is wrong between the core files."""

    warnings: tuple[str, ...] = ()


def write_aggregate(
    asset_folder: Path,
    work_folder: Path,
    location: AssetLocation,
    *,
    now: datetime,
    other_identifiers: Mapping[str, list[str]] | None = None,
) -> AggregateReport:
    """Write ``metadata.nd.json`` from the core files in *asset_folder*.

    The same files give the same bytes: *now* (aware) is used only in a generation 1 record, and
    there only where the record differs from the one already in the folder.

    Raises:
        TransientError: the file system could not answer.
    """
    contents, unusable = read_core_files(asset_folder)
    generation = generation_of(contents)
    if generation is Generation.V1:
        record, report = aggregate_v1(location, contents, now=now)
        record = _with_old_moments(record, asset_folder / AGGREGATE_FILE)
    else:
        record, report = aggregate_v2(location, contents, other_identifiers=other_identifiers)
    if unusable:
        fields = report.fields | {
            field: tuple(problem.reason for problem in found) for field, found in unusable.items()
        }
        report = report.model_copy(update={"fields": fields, "status": MetadataStatus.INVALID})
    text = canonical_text(record).encode()
    write_core_file(asset_folder / AGGREGATE_FILE, text, work_folder=work_folder)
    logger.info(
        "%s: %s holds %s and is %s", location, AGGREGATE_FILE, list(contents), report.status
    )
    for field, reasons in report.fields.items():
        logger.warning("%s: %s: %s", location, core_file_name(field), "; ".join(reasons))
    for reason in (*report.problems, *report.warnings):
        logger.warning("%s: %s", location, reason)
    return report


def aggregate_v2(
    location: AssetLocation,
    contents: Mapping[str, Mapping[str, Any]],
    *,
    other_identifiers: Mapping[str, list[str]] | None = None,
) -> tuple[dict[str, Any], AggregateReport]:
    """The generation 2 aggregate of core files, and what the schema says about it.

    Args:
        location: where the asset is, or will be; its name is the aggregate's.
        contents: core field → parsed file; unknown fields are left out.
        other_identifiers: platform → ids of the asset there.
    """
    from aind_data_schema.core.metadata import create_metadata_json

    core = {field: contents[field] for field in CORE_FIELDS[Generation.V2] if field in contents}
    found = {field: schema_problems(field, content) for field, content in core.items()}
    fields = {field: reasons for field, reasons in found.items() if reasons}
    with warnings.catch_warnings(record=True, action="always"), _quiet_schema():
        record: dict[str, Any] = create_metadata_json(
            name=location.name,
            location=str(location),
            core_jsons=deepcopy({
                field: dict(content)
                for field, content in core.items()
                if isinstance(content, Mapping)
            }),
            other_identifiers=dict(other_identifiers) if other_identifiers else None,
        )
    record |= {field: core[field] for field in fields}
    absent: dict[str, Any] = dict.fromkeys(CORE_FIELDS[Generation.V2])
    problems, cautions = _cross_check(record, core) if KEY_FIELDS & core.keys() else ((), ())
    report = AggregateReport(
        status=_status(is_invalid=bool(fields or problems), has_subject="subject" in core),
        generation=Generation.V2,
        fields=fields,
        problems=problems,
        warnings=cautions,
    )
    return absent | {"other_identifiers": None} | record, report


def _cross_check(
    record: Mapping[str, Any], core: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Problems and warnings of the rules between core files."""
    from aind_data_schema.core.metadata import Metadata
    from pydantic import ValidationError

    asked = {key: record.get(key) for key in ("name", "location", "other_identifiers")}
    problems: tuple[str, ...] = ()
    with warnings.catch_warnings(record=True, action="always") as caught, _quiet_schema():
        try:
            Metadata.model_validate(asked | deepcopy(dict(core)))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            problems = tuple(
                ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"])))
                for one in found
            )
        except Exception as error:  # noqa: BLE001 - its rules crash on parts that are invalid
            problems = (f"the schema's rules failed: {type(error).__name__}: {error}",)
    told = (str(one.message) for one in caught if one.category is UserWarning)
    # The serializer's remarks about invalid parts repeat what the parts' own problems say.
    cautions = (text for text in told if not text.startswith("Pydantic serializer"))
    return problems, tuple(dict.fromkeys(cautions))


@contextmanager
def _quiet_schema() -> Iterator[None]:
    """The schema logs every problem itself, whole inputs included; ours are reported instead."""
    schema_logger = logging.getLogger("aind_data_schema")
    level = schema_logger.level
    schema_logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        schema_logger.setLevel(level)


def aggregate_v1(
    location: AssetLocation, contents: Mapping[str, Mapping[str, Any]], *, now: datetime
) -> tuple[dict[str, Any], AggregateReport]:
    """The generation 1 record of core files, as they stand.

    Nothing in this environment validates generation 1, so the status is ``Unknown``, or
    ``Missing`` without a subject.
    """
    core = {field: contents[field] for field in CORE_FIELDS[Generation.V1] if field in contents}
    status = MetadataStatus.UNKNOWN if "subject" in core else MetadataStatus.MISSING
    record: dict[str, Any] = dict.fromkeys(CORE_FIELDS[Generation.V1])
    record |= core
    record |= {
        "_id": record_id(str(location)),
        "describedBy": "https://raw.githubusercontent.com/AllenNeuralDynamics/aind-data-schema/"
        "main/src/aind_data_schema/core/metadata.py",
        "schema_version": "1.2.1",
        "name": location.name,
        "location": str(location),
        "created": iso_moment(now),
        "last_modified": iso_moment(now),
        "metadata_status": status.value,
        "external_links": {},
    }
    return record, AggregateReport(status=status, generation=Generation.V1)


def _with_old_moments(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """*record* with the moments of the one at *path*, so that an unchanged one stays as it is."""
    text = read_core_file(path)
    if text is None:
        return record
    try:
        old = parse_core_file(str(path), text)
    except InvalidInput:
        logger.warning("%s is unusable; writing it again", path)
        return record
    created = {"created": old.get("created") or record["created"]}
    unchanged = record | created | {"last_modified": old.get("last_modified")}
    return unchanged if unchanged == old else record | created


def _status(*, is_invalid: bool, has_subject: bool) -> MetadataStatus:
    if is_invalid:
        return MetadataStatus.INVALID
    return MetadataStatus.VALID if has_subject else MetadataStatus.MISSING
