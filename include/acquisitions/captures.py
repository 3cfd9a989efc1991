"""Capture what a computation made: name it, make it a data asset, let DocDB know it.

Safe to repeat: a result asset of the same computation is found before one is made, and a made
name depends on a moment the caller keeps, never on the clock.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

from include.acquisitions.pipeline_settings import CaptureSettings
from include.acquisitions.registration import (
    RecordStore,
    RecordUpdate,
    Registration,
    check_ready,
    choose_oldest,
    known_asset,
    update_record,
)
from include.assets.aggregate import aggregate_v1, aggregate_v2
from include.assets.core_files import CORE_FIELDS, Generation, core_file_name, parse_core_file
from include.assets.location import AssetLocation
from include.errors import InvalidInput, Problem, VerificationFailed

if TYPE_CHECKING:
    from codeocean.models.components import Permissions
    from codeocean.models.data_asset import DataAsset, DataAssetParams
    from codeocean.models.folder import FolderItem

logger = logging.getLogger(__name__)

_MOMENT = r"\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}"
_DERIVED_NAME = re.compile(rf"[^/]+?_{_MOMENT}_[^/]+?_{_MOMENT}")
"""``{input}_{moment}_{process}_{moment}``; to be matched in full. No slash: the name becomes a key prefix."""


class ResultService(Protocol):
    """What capturing a result needs of Code Ocean."""

    def list_results(self, computation_id: str, /) -> Sequence[FolderItem]: ...
    def read_result_file(self, computation_id: str, path: str, /) -> bytes: ...
    def find_result_assets(
        self, computation_id: str, /, name: str | None = None
    ) -> Sequence[DataAsset]: ...
    def create_data_asset(self, params: DataAssetParams, /) -> DataAsset: ...
    def data_asset(self, asset_id: str, /) -> DataAsset: ...
    def set_permissions(self, asset_id: str, permissions: Permissions, /) -> None: ...


def capture_name(
    capture: CaptureSettings,
    computation_id: str,
    code_ocean: ResultService,
    *,
    input_name: str | None,
    at: datetime,
) -> str:
    """Name of the result: given, or its own derived name, or made from the input's.

    Args:
        capture: settings of the capture.
        computation_id: the computation whose result it is.
        code_ocean: the service.
        input_name: name of the run's first asset.
        at: moment (aware) of a made name; the same for every try, or a second asset is made.

    Raises:
        InvalidInput: none of the three gives a name, or the result's file cannot be read.
    """
    if capture.name:
        return capture.name
    file_name = core_file_name("data_description")
    if file_name in result_files(computation_id, code_ocean):
        description = _read_result(computation_id, file_name, code_ocean)
        name = description.get("name")
        if (
            description.get("data_level") == "derived"
            and isinstance(name, str)
            and _DERIVED_NAME.fullmatch(name)
        ):
            return name
    if input_name is None:
        reason = "no name for the result: the run has no input, its data_description no derived one"
        raise InvalidInput([
            Problem(f"computation {computation_id}", "capture_settings.name", reason, "give a name")
        ])
    local = at.astimezone(ZoneInfo(capture.process_name_suffix_tz))
    return f"{input_name}_{capture.process_name_suffix}_{local:%Y-%m-%d_%H-%M-%S}"


def result_files(computation_id: str, code_ocean: ResultService) -> dict[str, str]:
    """Files at the top of the result: name → path."""
    items = code_ocean.list_results(computation_id)
    return {item.name: item.path for item in items if item.type == "file"}


def _read_result(computation_id: str, path: str, code_ocean: ResultService) -> dict[str, Any]:
    content = code_ocean.read_result_file(computation_id, path)
    return parse_core_file(f"result {path} of computation {computation_id}", content)


def capture_params(capture: CaptureSettings, computation_id: str, name: str) -> DataAssetParams:
    """The result of a computation as a data asset called *name*."""
    from codeocean.models.data_asset import (
        AWSS3Target,
        ComputationSource,
        DataAssetParams,
        Source,
        Target,
    )

    aws = capture.target.aws if capture.target else None
    return DataAssetParams(
        name=name,
        mount=capture.mount or name,
        tags=capture.tags,
        description=capture.description,
        custom_metadata=capture.custom_metadata,
        data_asset_ids=capture.data_asset_ids,
        results_info=capture.results_info.as_results_info() if capture.results_info else None,
        source=Source(computation=ComputationSource(id=computation_id)),
        target=Target(AWSS3Target(aws.bucket, aws.endpoint_name, prefix=name)) if aws else None,
    )


def capture_result(
    capture: CaptureSettings,
    computation_id: str,
    name: str,
    code_ocean: ResultService,
    *,
    known_id: str | None = None,
) -> Registration:
    """The data asset of the computation's result, made when there is none; may be a draft.

    Args:
        capture: settings of the capture.
        computation_id: the computation whose result it is.
        name: from :func:`capture_name`.
        code_ocean: the service.
        known_id: id stored by an earlier try.
    """
    subject = f"computation {computation_id}"
    usable, warnings = choose_oldest(known_asset(known_id, code_ocean), subject)
    if usable is None:
        found = [
            asset
            for asset in code_ocean.find_result_assets(computation_id, name=name)
            if asset.provenance and asset.provenance.computation == computation_id
        ]
        usable, odd = choose_oldest([asset for asset in found if asset.id != known_id], subject)
        warnings += odd
    asset = usable or code_ocean.create_data_asset(capture_params(capture, computation_id, name))
    logger.info("Result of computation %s is data asset %s", computation_id, asset.id)
    return Registration(asset.id, asset.state == "ready", usable is None, warnings)


def finish_capture(capture: CaptureSettings, asset_id: str, code_ocean: ResultService) -> DataAsset:
    """Give the captured asset its permissions; returns it as Code Ocean holds it now.

    Raises:
        ComputationFailed: Code Ocean could not make it.
        VerificationFailed: it is not ready.
    """
    code_ocean.set_permissions(asset_id, capture.permissions.as_permissions())
    asset = code_ocean.data_asset(asset_id)
    if not check_ready(asset):
        raise VerificationFailed(f"data asset {asset.id} ({asset.name}) is still {asset.state}")
    return asset


def result_location(asset: DataAsset, results_bucket: str) -> AssetLocation:
    """Where a captured result lies: in its target, else in Code Ocean's own bucket."""
    source = asset.source_bucket
    if source and source.external and source.bucket and source.prefix:
        return AssetLocation(source.bucket, source.prefix.strip("/"))
    return AssetLocation(results_bucket, asset.id)


def record_result(
    asset: DataAsset,
    computation_id: str,
    capture: CaptureSettings,
    code_ocean: ResultService,
    docdb: RecordStore,
    *,
    now: datetime,
) -> RecordUpdate | None:
    """Let DocDB know the captured asset; None when the settings want no record.

    Args:
        asset: as :func:`finish_capture` returned it.
        computation_id: the computation whose result it is.
        capture: settings of the capture; they name the generation of the record.
        code_ocean: gives the core files at the top of the result.
        docdb: the collection of that generation.
        now: moment (aware) of the record.

    Raises:
        InvalidInput: core files of the result that cannot be read, all at once.
        AssetflowError: whatever DocDB or Code Ocean could not do.
    """
    settings = capture.docdb_settings
    if settings is None:
        return None
    generation = settings.docdb_version
    location = result_location(asset, settings.results_bucket)
    contents = _core_files(computation_id, CORE_FIELDS[generation], code_ocean)
    if generation is Generation.V1:
        aggregate, _ = aggregate_v1(location, contents, now=now)
    else:
        aggregate, _ = aggregate_v2(location, contents)
    # A result inside Code Ocean lies under its id, but is called by its name.
    named = {**aggregate, "name": asset.name}
    return update_record(
        location, asset.name, named, asset.id, docdb, generation=generation, now=now
    )


def _core_files(
    computation_id: str, fields: Sequence[str], code_ocean: ResultService
) -> dict[str, dict[str, Any]]:
    """The core files at the top of a result, by field."""
    files = result_files(computation_id, code_ocean)
    contents: dict[str, dict[str, Any]] = {}
    problems: list[Problem] = []
    for field in fields:
        path = files.get(core_file_name(field))
        if path is None:
            continue
        try:
            contents[field] = _read_result(computation_id, path, code_ocean)
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    return contents
