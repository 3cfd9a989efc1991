"""Make the uploaded asset known: a data asset in Code Ocean, a record in DocDB.

Every step looks before it acts, so it can be repeated after any crash: Code Ocean has no
idempotency key, and an answer that got lost may have made an asset nevertheless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.assets.record import (
    LINK_FIELDS,
    RecordAction,
    RecordPlan,
    plan_record_update,
)
from include.errors import (
    ComputationFailed,
    InvalidInput,
    NotFound,
    Problem,
    RecordChanged,
    VerificationFailed,
)

if TYPE_CHECKING:
    from codeocean.models.components import Permissions
    from codeocean.models.data_asset import DataAsset, DataAssetParams

    from include.acquisitions.plan import RunPlan

logger = logging.getLogger(__name__)

TASK = "register_data_asset_to_codeocean"

RECORD_ATTEMPTS = 5
"""How often a record is planned anew when others change it between plan and act."""


class RegistrationSettings(BaseModel):
    """``job_settings`` of the registration, as far as Code Ocean is concerned."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tags: list[str] = Field(default_factory=list, max_length=10)
    custom_metadata: dict[str, str | int | float] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedAsset:
    """What will be asked of Code Ocean."""

    params: DataAssetParams
    warnings: tuple[str, ...] = ()


def data_asset_params(
    plan: RunPlan,
    *,
    is_public: bool,
    custom_metadata_keys: AbstractSet[str],
    data_description_tags: Sequence[str] = (),
) -> PlannedAsset:
    """The raw asset as Code Ocean is to show it; its files stay where they were uploaded.

    Args:
        plan: the run.
        is_public: whether the bucket can be read without credentials (the open bucket).
        custom_metadata_keys: keys that the deployment knows; it refuses all others.
        data_description_tags: ``tags`` of the asset's ``data_description.json``.

    Raises:
        InvalidInput: more than ten tags, or settings of a wrong type; all at once.
    """
    from codeocean.models.data_asset import AWSS3Source, DataAssetParams, Source

    settings = read_settings(plan.tasks[TASK].job_settings)
    job = plan.job
    platform = job.platform.abbreviation if job.platform else None
    # Jobs of the second generation have no platform: their modalities say what was done.
    modalities = dict.fromkeys(modality.abbreviation for modality in job.modalities)
    wanted = {
        **settings.custom_metadata,
        "data level": "raw",
        "subject id": job.subject_id,
        "experiment type": platform or ", ".join(modalities),
    }
    tags = {"raw", job.subject_id, *settings.tags, *data_description_tags}
    params = DataAssetParams(
        name=plan.asset_name,
        mount=plan.asset_name,
        tags=sorted(tags | {platform} if platform else tags),
        source=Source(
            aws=AWSS3Source(
                bucket=plan.bucket,
                prefix=plan.asset_name,
                keep_on_external_storage=True,
                public=is_public,
            )
        ),
        custom_metadata={
            key: value for key, value in wanted.items() if key in custom_metadata_keys
        },
    )
    warnings = tuple(
        f"{plan.location}: custom metadata {key!r} left out: this Code Ocean does not know the key"
        for key in wanted
        if key not in custom_metadata_keys
    )
    for warning in warnings:
        logger.warning("%s", warning)
    return PlannedAsset(params, warnings)


def read_settings(job_settings: Mapping[str, Any]) -> RegistrationSettings:
    """The task's settings, checked.

    Raises:
        InvalidInput: every problem.
    """
    try:
        return RegistrationSettings.model_validate(job_settings)
    except ValidationError as error:
        raise InvalidInput([
            Problem(TASK, ".".join(["job_settings", *map(str, found["loc"])]), found["msg"])
            for found in error.errors(include_url=False)
        ]) from error


class AssetReader(Protocol):
    """What looking at an asset needs of Code Ocean."""

    def data_asset(self, asset_id: str, /) -> DataAsset: ...


class AssetRegister(AssetReader, Protocol):
    """What registration needs of Code Ocean."""

    def find_external_assets(self, bucket: str, prefix: str, /) -> Sequence[DataAsset]: ...
    def create_data_asset(self, params: DataAssetParams, /) -> DataAsset: ...
    def set_permissions(self, asset_id: str, permissions: Permissions, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Registration:
    """The asset's place in Code Ocean."""

    asset_id: str
    is_ready: bool
    is_new: bool
    warnings: tuple[str, ...] = ()


def find_or_create(
    params: DataAssetParams, code_ocean: AssetRegister, *, known_id: str | None = None
) -> Registration:
    """The live asset of our bucket and prefix, made when there is none.

    A failed asset is not used again. Of several, the oldest is: that one others may know by id.

    Args:
        params: from :func:`data_asset_params`.
        code_ocean: the service.
        known_id: id stored by an earlier try; the search may not list a new asset at once.
    """
    source = params.source.aws if params.source else None
    if source is None or not source.prefix:
        raise ValueError("an external asset needs a bucket and a prefix")
    location = f"s3://{source.bucket}/{source.prefix}"
    usable, warnings = choose_oldest(known_asset(known_id, code_ocean), location)
    if usable is None:
        found = code_ocean.find_external_assets(source.bucket, source.prefix)
        usable, odd = choose_oldest([asset for asset in found if asset.id != known_id], location)
        warnings += odd
    asset = usable or code_ocean.create_data_asset(params)
    logger.info("%s is data asset %s (%s)", location, asset.id, "found" if usable else "newly made")
    return Registration(asset.id, asset.state == "ready", usable is None, warnings)


def known_asset(known_id: str | None, code_ocean: AssetReader) -> Sequence[DataAsset]:
    """The asset whose id an earlier try stored, whatever its state; empty when there is none."""
    if known_id is None:
        return ()
    try:
        return (code_ocean.data_asset(known_id),)
    except NotFound:
        return ()


def choose_oldest(
    assets: Sequence[DataAsset], subject: str
) -> tuple[DataAsset | None, tuple[str, ...]]:
    """The oldest asset that has not failed, or None; and what is odd about the others."""
    failed = [asset for asset in assets if asset.state == "failed"]
    usable = sorted(
        (asset for asset in assets if asset.state != "failed"),
        # Code Ocean counts in seconds; the id makes every try choose the same one.
        key=lambda asset: (asset.created, asset.id),
    )
    warnings = [
        f"{subject}: data asset {asset.id} has failed and is not used: {asset.failure_reason}"
        for asset in failed
    ]
    if len(usable) > 1:
        others = ", ".join(asset.id for asset in usable[1:])
        warnings.append(f"{subject}: also known to Code Ocean as {others}; the oldest is used")
    for warning in warnings:
        logger.warning("%s", warning)
    return (usable[0] if usable else None), tuple(warnings)


def check_ready(asset: DataAsset) -> bool:
    """True when the asset can be used, False while Code Ocean still makes it.

    Raises:
        ComputationFailed: Code Ocean could not make it; gives its reason.
    """
    if asset.state == "failed":
        raise ComputationFailed(
            f"Code Ocean could not make data asset {asset.id} ({asset.name}): "
            f"{asset.failure_reason or 'no reason given'}"
        )
    return bool(asset.state == "ready")


def finish(
    registration: Registration, location: AssetLocation, code_ocean: AssetRegister
) -> Registration:
    """Let everyone see the asset, and verify that it is ready and points to *location*.

    Raises:
        ComputationFailed: it failed after all.
        VerificationFailed: it is not ready, or shows another place.
    """
    from codeocean.models.components import EveryoneRole, Permissions

    code_ocean.set_permissions(registration.asset_id, Permissions(everyone=EveryoneRole("viewer")))
    asset = code_ocean.data_asset(registration.asset_id)
    if not check_ready(asset):
        raise VerificationFailed(f"data asset {asset.id} of {location} is still {asset.state}")
    source = asset.source_bucket
    shown = f"s3://{source.bucket}/{(source.prefix or '').strip('/')}" if source else "no bucket"
    if shown != str(location):
        raise VerificationFailed(f"data asset {asset.id} shows {shown}, expected {location}")
    return replace(registration, is_ready=True)


class RecordStore(Protocol):
    """What registration needs of DocDB; see ``clients/docdb.py`` for the conditions."""

    def find_record(self, location: str) -> dict[str, Any] | None: ...
    def insert_record(self, record: Mapping[str, Any]) -> bool: ...
    def set_fields(
        self,
        record_id: Any,
        fields: Mapping[str, Any],
        *,
        if_last_modified: Any,
        if_null: Sequence[str] = (),
    ) -> None: ...
    def add_link(
        self, record_id: Any, link_field: str, link: str, *, last_modified: str
    ) -> bool: ...


Journal = Callable[[str, Mapping[str, Any]], None]
"""Keeps what is about to be overwritten: called with the record's id and {field: old value}."""


@dataclass(frozen=True, slots=True)
class RecordUpdate:
    """What became of one record."""

    action: RecordAction
    record_id: str
    filled: tuple[str, ...] = ()
    """Fields that had been null or absent."""

    replaced: tuple[str, ...] = ()
    """Fields overwritten; their old values are in the journal."""

    kept: tuple[str, ...] = ()
    """Fields that differ from the asset's metadata and were left as the record has them."""


def update_record(
    location: AssetLocation,
    name: str,
    aggregate: Mapping[str, Any],
    code_ocean_id: str | None,
    docdb: RecordStore,
    *,
    generation: Generation,
    now: datetime,
    journal: Journal | None = None,
) -> RecordUpdate:
    """Let the record of *location* hold the asset's metadata and its Code Ocean id.

    Args:
        location: where the asset is.
        name: the asset's name (Code Ocean results lie under their id, not their name).
        aggregate: content of ``metadata.nd.json``.
        code_ocean_id: id to find among the links; None leaves them alone.
        docdb: the collection of *generation*.
        generation: schema generation of the record.
        now: moment (aware) of the change.
        journal: None keeps every field that holds something. When given, differing fields are
            overwritten, after their old values went into the journal.

    Raises:
        InvalidInput: the aggregate is another asset's, or the record's links cannot be read.
        RecordChanged: others kept changing the record.
        VerificationFailed: the record, read back, is not what was planned.
    """
    wanted = _aggregate_of(location, name, aggregate)

    def plan(record: Mapping[str, Any] | None) -> RecordPlan:
        overwrite = journal is not None
        return plan_record_update(
            record, wanted, code_ocean_id, generation, overwrite=overwrite, now=now
        )

    for attempt in range(1, RECORD_ATTEMPTS + 1):
        record = docdb.find_record(str(location))
        planned = plan(record)
        try:
            _carry_out(planned, docdb, LINK_FIELDS[generation], journal)
            break
        except RecordChanged:
            logger.info("%s: the record changed meanwhile; planning again", location)
            if attempt == RECORD_ATTEMPTS:
                raise
    if planned.action is not RecordAction.NOTHING:
        record = docdb.find_record(str(location))
    if record is None or record.get("name") is None:
        raise VerificationFailed(f"{location}: no record with a name after it was written")
    left = plan(record)
    if left.action is not RecordAction.NOTHING:
        missing = ", ".join([*left.fields, *([f"link {left.link}"] if left.link else [])])
        raise VerificationFailed(f"{location}: record {record['_id']} still lacks {missing}")
    for field in left.kept:
        logger.warning("%s: %s differs from the record, which is kept", location, field)
    logger.info("%s: record %s: %s", location, record["_id"], planned.action.value)
    return RecordUpdate(
        planned.action, str(record["_id"]), planned.filled, tuple(planned.replaced), left.kept
    )


def _aggregate_of(
    location: AssetLocation, name: str, aggregate: Mapping[str, Any]
) -> dict[str, Any]:
    """The aggregate under the asset's own name and location, which it may only confirm."""
    own = {"location": str(location), "name": name}
    problems = [
        Problem(f"{location}/metadata.nd.json", key, f"expected {value!r}, found {found!r}")
        for key, value in own.items()
        if (found := aggregate.get(key)) is not None and str(found).rstrip("/") != value
    ]
    if problems:
        raise InvalidInput(problems)
    return {**aggregate, **own}


def _carry_out(
    planned: RecordPlan, docdb: RecordStore, link_field: str, journal: Journal | None
) -> None:
    if planned.action is RecordAction.NOTHING:
        return
    if planned.document is not None:
        if not docdb.insert_record(planned.document):
            raise RecordChanged(f"record {planned.record_id}, or its location, was there already")
        return
    moment = str(planned.last_modified)
    if planned.fields:
        if planned.replaced and journal is not None:
            journal(planned.record_id, planned.replaced)
        docdb.set_fields(
            planned.record_id,
            {**planned.fields, "last_modified": moment},
            if_last_modified=planned.planned_on,
            if_null=planned.filled,
        )
    if planned.link:
        docdb.add_link(planned.record_id, link_field, planned.link, last_modified=moment)
