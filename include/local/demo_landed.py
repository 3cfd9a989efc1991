"""What a run left in the stores, read from the stores themselves, and what its sources hold."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.acquisitions.file_digest import FileStamp, digest_file
from include.acquisitions.lossless_proof import PROOFS
from include.acquisitions.plan import RunPlan
from include.acquisitions.source_matching import Content, LosslessProof
from include.acquisitions.upload_receipt import RECEIPT_NAME
from include.assets.claim import claim_key
from include.assets.location import AssetLocation
from include.assets.report import Report

if TYPE_CHECKING:
    from codeocean.models.data_asset import DataAsset

    from include.clients.s3 import S3Client
    from include.local.stack import LocalStack

THREADS = 8


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the acquisition as it is on disk."""

    content: Content
    stamp: FileStamp
    """With the moment of its last change: a rewrite with the same bytes counts."""


Sources = Mapping[str, Mapping[str, SourceFile]]
"""Modality, or ``metadata`` → path in its folder → file."""


@dataclass(frozen=True, slots=True)
class MailSeen:
    """A mail that arrived."""

    to: str
    subject: str


@dataclass(frozen=True, slots=True)
class Landed:
    """Everything that the stores hold of one run."""

    plan: RunPlan
    run_state: str
    metadata_status: str | None
    """What the run says about its core files: ``Valid``, ``Invalid``, ``Missing`` or ``Unknown``."""

    objects: Mapping[str, Content]
    """Path below the location → what S3 says of the object; its checksum is ``""`` where S3 has none."""

    receipt: Mapping[str, Content]
    """Path → what the run says it sent."""

    proofs: Mapping[str, LosslessProof]
    """Modality → what its transformation was proven for."""

    core_files: Mapping[str, Any]
    """Name of a JSON file at the top of the asset → its content."""

    records: tuple[Mapping[str, Any], ...]
    """DocDB's records of the location, of both schema generations."""

    assets: tuple[DataAsset, ...]
    """Code Ocean's live assets of the location."""

    results: tuple[DataAsset, ...]
    """Assets that were captured from computations on the asset."""

    result_files: Mapping[str, int]
    """Location of each of those in a bucket of ours → how many objects S3 holds there."""

    result_records: tuple[Mapping[str, Any], ...]
    """DocDB's records of them."""

    mails: tuple[MailSeen, ...]
    report: Report | None
    is_claimed: bool
    """Whether the asset still counts as held by a run."""

    has_staging: bool
    """Whether the staging folder is still there."""


def read_sources(folders: Mapping[str, Path]) -> dict[str, dict[str, SourceFile]]:
    """Read every file of the acquisition."""
    return {label: _read_folder(folder) for label, folder in folders.items()}


def _read_folder(folder: Path) -> dict[str, SourceFile]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = [digest_file(path, md5_below_bytes=0) for path in files]
    return {
        path.relative_to(folder).as_posix(): SourceFile(Content.of(digest), digest.stamp)
        for path, digest in zip(files, digests, strict=True)
    }


def read_stores(
    stack: LocalStack, plan: RunPlan, *, run_state: str, metadata_status: str | None
) -> Landed:
    """Ask every store of the stack what it holds of this run."""
    from include.clients.code_ocean import CodeOceanClient
    from include.clients.runs_bucket import RunsBucket, report_key
    from include.clients.s3 import S3Client

    s3 = S3Client(stack.s3.client())
    runs = RunsBucket(s3, stack.deployment.runs_bucket)
    objects = _read_objects(s3, plan.location)
    files = _read_small_files(s3, plan.location, objects)
    code_ocean = CodeOceanClient(stack.code_ocean.url, stack.code_ocean.token)
    assets = tuple(code_ocean.find_external_assets(plan.bucket, plan.asset_name))
    inputs = {asset.id for asset in assets}
    results = tuple(
        asset
        for asset in code_ocean.iterate_data_assets(archived=False)
        if asset.provenance and inputs & set(asset.provenance.data_assets or ())
    )
    places = [_location_of(asset) for asset in results]
    locations = [place for place in places if place is not None]
    report = runs.find(report_key(plan.dag_id, plan.run_key))
    return Landed(
        plan=plan,
        run_state=run_state,
        metadata_status=metadata_status,
        objects=objects,
        receipt=_receipt(files.get(RECEIPT_NAME)),
        proofs={
            Path(name).stem: LosslessProof.model_validate_json(content)
            for name, content in files.items()
            if name.startswith(f"{PROOFS}/")
        },
        core_files={
            name: json.loads(content) for name, content in files.items() if "/" not in name
        },
        records=_records(stack, [str(plan.location)]),
        assets=assets,
        results=results,
        result_files={
            str(place): sum(1 for _ in s3.iterate_objects(place.bucket, place.key_prefix))
            for place in locations
        },
        result_records=_records(stack, map(str, locations)),
        mails=tuple(
            MailSeen(mail["X-RcptTo"], mail["Subject"])
            for mail in stack.mail.messages()
            if plan.asset_name in mail["Subject"]
        ),
        report=None if report is None else Report.model_validate(report),
        is_claimed=runs.find(claim_key(plan.location)) is not None,
        has_staging=plan.staging_folder.exists(),
    )


def _location_of(asset: DataAsset) -> AssetLocation | None:
    """Where its files are in a bucket of ours; None when they are inside Code Ocean."""
    place = asset.source_bucket
    if place is None or not place.bucket or not place.prefix:
        return None
    return AssetLocation(place.bucket, place.prefix.strip("/"))


def _read_objects(s3: S3Client, location: AssetLocation) -> dict[str, Content]:
    keys = [found.key for found in s3.iterate_objects(location.bucket, location.key_prefix)]
    with ThreadPoolExecutor(THREADS) as threads:
        heads = list(threads.map(lambda key: s3.head(location.bucket, key), keys))
    return {
        head.key.removeprefix(location.key_prefix): Content(
            size_bytes=head.size_bytes, crc64nvme=head.crc64nvme or ""
        )
        for head in heads
    }


def _read_small_files(
    s3: S3Client, location: AssetLocation, names: Iterable[str]
) -> dict[str, bytes]:
    """The receipt, the proofs and the JSON files at the top."""
    wanted = [
        name
        for name in names
        if name == RECEIPT_NAME
        or name.startswith(f"{PROOFS}/")
        or ("/" not in name and name.endswith(".json"))
    ]
    return {name: s3.read(location.bucket, f"{location.key_prefix}{name}") for name in wanted}


def _receipt(packed: bytes | None) -> dict[str, Content]:
    if packed is None:
        return {}
    lines = gzip.decompress(packed).splitlines()[1:]  # the first is the sum of all
    entries = [json.loads(line) for line in lines]
    return {entry["path"]: Content.model_validate(entry) for entry in entries}


def _records(stack: LocalStack, locations: Iterable[str]) -> tuple[dict[str, Any], ...]:
    from pymongo import MongoClient

    wanted = [form for location in locations for form in (location, f"{location}/")]
    deployment = stack.deployment
    with MongoClient[dict[str, Any]](stack.docdb.uri) as client:
        database = client[deployment.docdb_database]
        return tuple(
            record
            for name in (deployment.docdb_collection_v1, deployment.docdb_collection_v2)
            for record in database[name].find({"location": {"$in": wanted}})
        )
