"""A bucket and two collections, and a whole index run over them without Airflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3

from include.assets.canonical import canonical_text
from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.clients.docdb_bulk import DocDbBulk
from include.clients.s3 import S3Client
from include.clients.s3_folders import S3Folders
from include.indexing.prefixes import PrefixSync
from include.indexing.records import RecordSync
from include.indexing.removal import RemovalLimits, remove
from include.indexing.report import (
    BucketReport,
    Line,
    RemovalReport,
    SliceReport,
    bucket_report,
    examined_by_kind,
)
from include.indexing.slices import share_prefixes, share_records
from include.indexing.workplace import Workplace
from tests.s3_clients import boto_session, s3_client

NAME = "ecephys_712345_2026-11-18_09-30-00"
OLD = "2020-01-01T00:00:00.000000Z"

LIMITS = RemovalLimits()


@dataclass
class Ran:
    """What one run over the bucket gave."""

    slices: list[SliceReport]
    removals: RemovalReport
    report: BucketReport
    lines: list[Line]

    def line(self, name: str) -> Line | None:
        """The line of an asset; None when it was simply in step."""
        found = [one for one in self.lines if one.asset.rstrip("/").endswith(f"/{name}")]
        return found[-1] if found else None

    @property
    def failed(self) -> dict[str, str]:
        return {one.asset: one.reason for one in self.lines if one.outcome == "failed"}


@dataclass
class Lab:
    """One bucket, its records of both generations, and the journal of all runs."""

    server: Any
    bucket: str
    v1: Any
    v2: Any
    endpoint_url: str = ""
    time_limit_s: float = 5
    """Of one request to S3."""

    journal: list[dict[str, Any]] = field(default_factory=list)
    wrap_store: Callable[[S3Client], Any] = lambda store: store
    wrap_lister: Callable[[Any], Any] = lambda lister: lister
    wrap_records: Callable[[DocDbBulk], Any] = lambda records: records

    def __post_init__(self) -> None:
        self.boto = boto_session(self.server).client("s3", endpoint_url=self.server.endpoint_url)

    # -- what there is

    def put(self, name: str, files: Mapping[str, Any]) -> None:
        """Objects of an asset; content that is no bytes is written as compact JSON."""

        def put(key: str, content: Any) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.boto.put_object(Bucket=self.bucket, Key=f"{name}/{key}", Body=body)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, *zip(*files.items(), strict=True)) if files else ())

    def record(self, name: str = NAME, **fields: Any) -> dict[str, Any]:
        """Insert a record of generation 1."""
        return self.add(self.v1, name, **fields)

    def add(self, collection: Any, name: str, **fields: Any) -> dict[str, Any]:
        record = {
            "_id": f"id-of-{name}",
            "name": name,
            "location": f"s3://{self.bucket}/{name}",
            "last_modified": OLD,
            **fields,
        }
        collection.insert_one(record)
        return record

    def objects(self, name: str = "") -> dict[str, bytes]:
        """Key, without the asset's prefix, → content."""
        prefix = f"{name}/" if name else ""
        pages = self.boto.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
        with ThreadPoolExecutor(8) as pool:
            return dict(
                zip(
                    (key.removeprefix(prefix) for key in keys),
                    pool.map(self.read, keys),
                    strict=True,
                )
            )

    def read(self, key: str) -> bytes:
        return self.boto.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def records(self, collection: Any = None) -> dict[str, dict[str, Any]]:
        """Location → record."""
        found = (self.v1 if collection is None else collection).find({})
        return {record["location"]: record for record in found}

    def location(self, name: str = NAME) -> str:
        return str(AssetLocation(self.bucket, name))

    def stamp(self, key: str) -> str:
        """Date of an object, as dated copies have it."""
        head = self.boto.head_object(Bucket=self.bucket, Key=key)
        return head["LastModified"].astimezone(UTC).strftime("%Y%m%d")

    # -- running

    def workplace(self, **changes: Any) -> Workplace:
        strict = s3_client(self.server, self.endpoint_url, time_limit_s=self.time_limit_s)
        session: boto3.Session = boto_session(self.server)
        folders = S3Folders(
            self.bucket,
            strict,
            session=session,
            endpoint_url=self.endpoint_url or self.server.endpoint_url,
            time_limit_s=self.time_limit_s,
        )
        return Workplace(
            bucket=self.bucket,
            store=self.wrap_store(strict),
            lister=self.wrap_lister(folders),
            journal=self.journal.extend,
            **changes,
        )

    def collection(self, generation: Generation) -> Any:
        of = {Generation.V1: self.v1, Generation.V2: self.v2}
        return self.wrap_records(DocDbBulk(of[generation]))

    def run(
        self,
        *,
        since: datetime | None = None,
        generations: Sequence[Generation] = (Generation.V1,),
        halves: Sequence[str] = ("records", "prefixes"),
        limits: RemovalLimits = LIMITS,
        at_most: int = 20,
        insert_built: bool = True,
        status_of: Any = None,
        **changes: Any,
    ) -> Ran:
        """Plan, examine, remove, report: what the tasks of the DAG do."""
        at = self.workplace(**changes)
        strict = s3_client(self.server, self.endpoint_url)
        collections = {one: self.collection(one) for one in (*generations, *Generation)}
        found = []
        is_empty = next((False for names in strict.iterate_folders(self.bucket) if names), True)
        shares = [
            (generation, one, about)
            for generation in generations
            if "records" in halves
            for one, about in share_records(
                self.bucket, generation, collections[generation], since=since, at_most=at_most
            )
        ]
        folders = [
            *(share_prefixes(self.bucket, strict, at_most=at_most) if "prefixes" in halves else ())
        ]
        for generation, one, about in shares:
            elder = collections[Generation.V1] if generation is Generation.V2 else None
            found.append(
                RecordSync(at, generation, collections[generation], elder=elder).run(one, about)
            )
        for one, about in folders:
            sync = PrefixSync(
                at,
                collections,
                generations=generations,
                insert_built=insert_built,
                status_of=status_of,
            )
            found.append(sync.run(one, about))
        proposals = [one for report in found for one in report.removals]
        removals = remove(
            proposals,
            at,
            collections,
            limits=limits,
            examined=examined_by_kind(found),
            bucket_is_empty=is_empty,
        )
        lines: list[Line] = []
        report = bucket_report(
            self.bucket, found, removals, full_pass=since is None, each=lines.append
        )
        return Ran(found, removals, report, lines)


def text(content: Any) -> bytes:
    """Canonical, as files are written."""
    return canonical_text(content).encode()
