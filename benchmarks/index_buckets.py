"""An index run over a bucket of assets: ours beside the original's way of asking, in one run.

::

    python -m benchmarks.index_buckets [--sizes 1000 10000] [--record-kib 30] [--workers 2]
                                       [--original-at 1000] [--rounds 3] [--latency-ms 20]

Both halves, over a bucket that is in step: every record is compared with the files of its asset, every
folder is looked up in DocDB. S3 is an embedded SeaweedFS, DocDB an embedded MongoDB-wire server, both on
this machine and, when there is room, with their files in memory.

*Ours* runs as the DAG runs it: shares planned by :mod:`include.indexing.slices` and kept in a runs bucket,
examined ``--workers`` at a time by forks of a process that has the modules in place, as Airflow's tasks are
(``config/airflow_local_settings.py``), each with clients of its own. *The original's way* is a re-creation
of the request pattern of the original job; see :func:`run_original` for what it follows. Each run is a fresh
process; the two take turns. Processor seconds are user and system seconds of all processes of a run, the
start of Python and all imports included; those of the servers are shown apart. Memory is the peak of the
largest process of a run. *Others* is how many cores other programs of this machine used meanwhile: with more
than a few tenths the seconds that passed say little, the processor seconds still something.

Requests are counted in a pass of their own with few assets, through a counting proxy that would slow the
timed ones down. With ``--latency-ms`` the smallest size is also measured as if S3 were that far away.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks._measuring import distant, in_fresh_process, log, own_cpu_s, peak_mib

HALVES = ("records", "prefixes")
COPY_FOLDER = "original_metadata"
DAG_ID = "index_buckets"
AT_MOST_SLICES = 20
SERVERS = ("s3", "docdb")
COLLECTIONS = ("data_assets", "data_assets_v2")


@dataclass(frozen=True)
class Place:
    """Everything a process must know to work on one bucket and its records."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str
    docdb_uri: str
    filer_url: str
    bucket: str
    runs_bucket: str = "runs"

    @property
    def database(self) -> str:
        """Each bucket's records are in a database of their own."""
        return self.bucket


# Assets --------------------------------------------------------------------------------------------

ASSET, RECORD_ID = "@asset@", "@id@"
"""What stands in the texts of a template for what is an asset's own."""

FIRST_START = datetime(2020, 1, 1, tzinfo=UTC)
WRITTEN_AT = "2026-03-02T10:11:12.123456Z"

FIELD_SHARES = {
    "subject": 0.04,
    "data_description": 0.05,
    "procedures": 0.22,
    "session": 0.25,
    "rig": 0.26,
    "processing": 0.10,
    "quality_control": 0.06,
    "instrument": 0.02,
}
"""Core field → its share of a record. The first six are in every asset, the others in some."""

WORDS = (
    "probe", "laser", "camera", "stimulus", "wheel", "lick", "injection", "craniotomy", "anaesthesia",
    "calibration", "water", "reward", "headframe", "cortex", "thalamus", "hippocampus", "emission",
    "excitation", "objective", "filter", "detector", "stage", "firmware", "experimenter",
)  # fmt: skip

DEEPER = 0.7
"""Every line of a core file stands further to the right in the aggregate, which is the record as text."""


class Template:
    """Metadata of one kind of asset; assets of a kind differ in their name and their id."""

    def __init__(self, number: int, record_kib: float) -> None:
        from include.assets.canonical import canonical_text

        rng = random.Random(number)
        record_kib *= DEEPER
        names = list(FIELD_SHARES)[: 6 + number % 3]
        total = sum(FIELD_SHARES[name] for name in names)
        self.core = {
            name: core_content(rng, name, record_kib * 1024 * FIELD_SHARES[name] / total)
            for name in names
        }
        self.record = {
            "_id": RECORD_ID,
            "name": ASSET,
            "location": f"s3://{ASSET}",
            "created": WRITTEN_AT,
            "last_modified": WRITTEN_AT,
            "metadata_status": "Valid",
            "external_links": {},
            "describedBy": "https://example.org/metadata.py",
            "schema_version": "1.2.1",
            **self.core,
            **dict.fromkeys(("acquisition", "instrument", "quality_control"))
            | {name: self.core[name] for name in names[6:]},
        }
        self.texts = {name: canonical_text(value) for name, value in self.core.items()}
        self.aggregate = canonical_text(self.record)


def core_content(rng: random.Random, name: str, size_bytes: float) -> dict[str, Any]:
    """A core file of about this size as canonical text: objects in lists in objects, numbers and words."""
    from include.assets.canonical import canonical_text

    content: dict[str, Any] = {
        "describedBy": f"https://example.org/{name}.py",
        "schema_version": "1.0.4",
        "asset_name": ASSET,
        "notes": " ".join(rng.choices(WORDS, k=8)) + " – µm",
    }
    parts: list[dict[str, Any]] = []
    left = size_bytes - len(canonical_text(content))
    while left > 0:
        part = {
            "name": " ".join(rng.choices(WORDS, k=2)),
            "start_date": f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
            "is_simultaneous": rng.random() < 0.5,
            "weight": round(rng.uniform(15, 35), 1),
            "weight_unit": "gram",
            "protocol_id": None,
            "devices": [
                {
                    "device_type": rng.choice(WORDS),
                    "serial_number": str(rng.randint(10**7, 10**8)),
                    "coordinates": [round(rng.gauss(0, 2), 4) for _ in range(3)],
                    "settings": {
                        rng.choice(WORDS): rng.choice((rng.randint(0, 900), rng.random()))
                        for _ in range(3)
                    },
                }
                for _ in range(rng.randint(1, 3))
            ],
        }
        left -= len(canonical_text(part)) * 1.15  # it stands deeper in the file
        parts.append(part)
    content[f"{name}_parts"] = parts
    return content


class Generator:
    """Assets by their number, always the same ones."""

    KINDS = 24

    def __init__(self, record_kib: float) -> None:
        self._templates = [Template(number, record_kib) for number in range(self.KINDS)]

    def name(self, number: int) -> str:
        """As assets are called; in another order than the numbers."""
        stamp = FIRST_START + timedelta(minutes=7 * number)
        return f"ecephys_{600_000 + number * 7919 % 99_991}_{stamp:%Y-%m-%d_%H-%M-%S}"

    def record(self, bucket: str, number: int) -> dict[str, Any]:
        """As it is in DocDB."""
        name, template = self.name(number), self._template(number)
        own = {"_id": asset_id(name), "name": name, "location": f"s3://{bucket}/{name}"}
        core = {field: {**value, "asset_name": name} for field, value in template.core.items()}
        return {**template.record, **own, **core}

    def in_step(self, bucket: str, number: int) -> dict[str, bytes]:
        """Key → content: files as the record says, and a short first draft of each as its dated copy."""
        name, template = self.name(number), self._template(number)
        files = {
            f"{name}/{field}.json": text.replace(ASSET, name)
            for field, text in template.texts.items()
        }
        files |= {
            f"{name}/{COPY_FOLDER}/{field}.20260301.json": f'{{"first draft of": "{name}"}}'
            for field in template.texts
        }
        aggregate = template.aggregate.replace(f"s3://{ASSET}", f"s3://{bucket}/{name}")
        files[f"{name}/metadata.nd.json"] = aggregate.replace(ASSET, name).replace(
            RECORD_ID, asset_id(name)
        )
        return {key: text.encode() for key, text in files.items()}

    def stale(self, bucket: str, number: int) -> dict[str, bytes]:
        """Files older than the record, none with a copy. Use numbers whose assets have six core files."""
        return {
            key: content + b"\n"
            for key, content in self.in_step(bucket, number).items()
            if f"/{COPY_FOLDER}/" not in key
        }

    def only_aggregate(self, bucket: str, number: int) -> dict[str, bytes]:
        """No more than it takes to be a folder that has a record."""
        return {f"{self.name(number)}/metadata.nd.json": b"{}"}

    def _template(self, number: int) -> Template:
        return self._templates[number % self.KINDS]


def asset_id(name: str) -> str:
    """Id of its record."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def fill(
    place: Place,
    generator: Generator,
    numbers: Sequence[int],
    files_of: Callable[[str, int], Mapping[str, bytes]],
) -> None:
    """Add these assets to the bucket, and their records to DocDB."""
    from obstore import put_async
    from obstore.store import HTTPStore

    from include.clients.docdb import DocDbClient

    # The server's own way in costs two thirds of what an S3 PUT does; what lies there is the same.
    store = HTTPStore(
        f"{place.filer_url}/buckets/{place.bucket}", client_options={"allow_http": True}
    )

    async def put(some: Sequence[int]) -> None:
        at_once = asyncio.Semaphore(32)

        async def put_one(key: str, content: bytes) -> None:
            async with at_once:
                await put_async(store, key, content, use_multipart=False)

        async with asyncio.TaskGroup() as group:
            for number in some:
                for key, content in files_of(place.bucket, number).items():
                    group.create_task(put_one(key, content))

    with records_of(place) as (database, _):
        for name in COLLECTIONS:
            DocDbClient(database[name]).ensure_indexes()
        for start in range(0, len(numbers), 250):
            some = numbers[start : start + 250]
            asyncio.run(put(some))
            database[COLLECTIONS[0]].insert_many([
                generator.record(place.bucket, number) for number in some
            ])


# What both ways need -------------------------------------------------------------------------------


@contextmanager
def records_of(place: Place) -> Iterator[tuple[Any, Counter[str]]]:
    """The database of the bucket's records, and a count of the requests that it gets, by command."""
    from pymongo import MongoClient
    from pymongo.monitoring import CommandListener

    requests: Counter[str] = Counter()

    class Count(CommandListener):
        def started(self, event: Any) -> None:
            requests[event.command_name] += event.command_name != "endSessions"

        def succeeded(self, event: Any) -> None:
            """Nothing."""

        def failed(self, event: Any) -> None:
            """Nothing."""

    client: Any = MongoClient(
        place.docdb_uri,
        event_listeners=[Count()],
        retryWrites=False,
        # The embedded server answers nobody while it looks through very many records.
        connectTimeoutMS=600_000,
        heartbeatFrequencyMS=600_000,
    )
    try:
        yield client[place.database], requests
    finally:
        client.close()


def machine_cpu_s() -> float:
    """All that its processors have worked."""
    import psutil

    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


# Our way -------------------------------------------------------------------------------------------


WHAT_TASKS_INHERIT = (
    "boto3",
    "httpx",
    "include.clients.docdb_bulk",
    "include.clients.runs_bucket",
    "include.clients.s3_folders",
    "include.indexing.prefixes",
    "include.indexing.records",
    "include.indexing.removal",
    "include.indexing.slices",
    "obstore.auth.boto3",
    "obstore.store",
    "pymongo",
    "tests.s3_clients",
)


def run_ours(place: Place, halves: Sequence[str], workers: int) -> dict[str, Any]:
    """Plan, examine the slices in processes, decide on removals, report: what the tasks of the DAG do."""
    for module in WHAT_TASKS_INHERIT:
        importlib.import_module(module)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as tasks:
        tasks.submit(os.getpid).result()  # forks all of them, while this process has no threads yet
        return plan_and_examine(place, halves, tasks)


def plan_and_examine(place: Place, halves: Sequence[str], tasks: Executor) -> dict[str, Any]:
    """The run, its slices examined by *tasks*."""
    from include.clients.runs_bucket import RunsBucket, found_key, slice_key
    from include.indexing.removal import RemovalLimits, remove
    from include.indexing.report import SliceReport, bucket_report, examined_by_kind
    from include.indexing.slices import share_prefixes, share_records

    started_s, started_cpu_s = time.perf_counter(), own_cpu_s()
    store = bucket_client(place)
    runs = RunsBucket(store, place.runs_bucket)
    is_empty = next((False for names in store.iterate_folders(place.bucket) if names), True)
    with records_of(place) as (database, requests):
        collections = collections_of(database)
        generation, records = next(iter(collections.items()))
        slices = []
        if "records" in halves:
            for one, about in share_records(
                place.bucket, generation, records, since=None, at_most=AT_MOST_SLICES
            ):
                runs.write(slice_key(DAG_ID, place.bucket, one.name), about)
                slices.append(one)
        if "prefixes" in halves:
            for one, about in share_prefixes(place.bucket, store, at_most=AT_MOST_SLICES):
                runs.write(slice_key(DAG_ID, place.bucket, one.name), about)
                slices.append(one)
        plan = {"wall_s": time.perf_counter() - started_s, "cpu_s": own_cpu_s() - started_cpu_s}
        told = list(tasks.map(examine_slice, [place] * len(slices), slices))
        found = [
            SliceReport.model_validate(runs.read(found_key(DAG_ID, place.bucket, one.name)))
            for one in slices
        ]
        removals = remove(
            [proposal for report in found for proposal in report.removals],
            workplace(place),
            collections,
            limits=RemovalLimits(),
            examined=examined_by_kind(found),
            bucket_is_empty=is_empty,
        )
        report = bucket_report(place.bucket, found, removals, full_pass=True)
    for one in told:
        requests.update(one["docdb"])
    return {
        "examined": report.asked + report.folders_known,
        "changed": report.done,
        "failed": report.failed + report.skipped,
        "docdb": dict(requests),
        "peak_mib": max([peak_mib(), *(one["peak_mib"] for one in told)]),
        "parts": {"plan": plan}
        | {
            half: {
                name: sum(one[name] for one in told if one["half"] == half)
                for name in ("wall_s", "cpu_s")
            }
            for half in halves
        },
    }


def examine_slice(place: Place, one: Any) -> dict[str, Any]:
    """One slice, in one of these processes."""
    from include.clients.runs_bucket import RunsBucket, found_key, slice_key
    from include.indexing.prefixes import PrefixSync
    from include.indexing.records import RecordSync
    from include.indexing.report import Half

    started_s, started_cpu_s = time.perf_counter(), own_cpu_s()
    runs = RunsBucket(bucket_client(place), place.runs_bucket)
    about = runs.read(slice_key(DAG_ID, place.bucket, one.name))
    with records_of(place) as (database, requests):
        collections = collections_of(database)
        generation = next(iter(collections))
        if one.half is Half.RECORDS:
            records = collections[one.generation or generation]
            found = RecordSync(workplace(place), generation, records).run(one, about)
        else:
            at = workplace(place)
            found = PrefixSync(at, collections, generations=[generation]).run(one, about)
    runs.write(found_key(DAG_ID, place.bucket, one.name), found.model_dump(mode="json"))
    return {
        "half": str(one.half),
        "docdb": dict(requests),
        "cpu_s": own_cpu_s() - started_cpu_s,
        "wall_s": time.perf_counter() - started_s,
        "peak_mib": peak_mib(),
    }


def bucket_client(place: Place) -> Any:
    """Our S3 client as the hook makes it."""
    from tests.s3_clients import s3_client

    return s3_client(place, attempts=5)


def collections_of(database: Any) -> dict[Any, Any]:
    """Generation → its records."""
    from include.assets.core_files import Generation
    from include.clients.docdb_bulk import DocDbBulk

    return {
        one: DocDbBulk(database[name]) for one, name in zip(Generation, COLLECTIONS, strict=True)
    }


def workplace(place: Place) -> Any:
    """The bucket, as a task works on it."""
    from include.clients.runs_bucket import RunsBucket, journal_key
    from include.clients.s3_folders import S3Folders
    from include.indexing.workplace import Workplace
    from tests.s3_clients import boto_session

    store = bucket_client(place)
    runs = RunsBucket(store, place.runs_bucket)
    return Workplace(
        bucket=place.bucket,
        store=store,
        lister=S3Folders(
            place.bucket,
            store,
            session=boto_session(place),
            endpoint_url=place.endpoint_url,
        ),
        journal=lambda entries: runs.write(
            journal_key(DAG_ID, place.bucket, uuid.uuid4().hex), list(entries)
        ),
        copy_folder=COPY_FOLDER,
    )


# The original's way --------------------------------------------------------------------------------

PAGE = 200
N_PARTITIONS = 20
ORIGINAL_FIELDS = (
    "subject", "data_description", "procedures", "session", "rig", "processing", "acquisition", "instrument",
    "quality_control",
)  # fmt: skip
_inherited_client: Any = None
"""Made once before the pools fork; the parent never uses it. Cheaper than a client for each slice."""


def run_original(place: Place, halves: Sequence[str], workers: int) -> dict[str, Any]:
    """The original job's way of asking, made again in plain boto3 and pymongo; none of its code is here.

    It follows these facts. Records come in pages of 200 by skip and limit. Each page is cut into 20
    slices, and a new pool with as many processes as cores works on them, the items of a slice one after
    another. An asset takes a HEAD of its ``metadata.nd.json``, a HEAD for each of nine core files, a
    listing of the copy folder and a HEAD of the aggregate; a file that differs takes a copy, when there is
    none, and a PUT. Every comparison writes the value as JSON with Python's own encoder and takes its MD5.
    Folders come by the page of a listing, cut into slices too; a slice takes one aggregation, a folder
    whose record is known a HEAD of its ``metadata.nd.json``.

    Only what the assets here need is re-created. Where the facts leave a choice, the cheaper one is taken:
    one S3 client for all slices, no gateway between the job and DocDB.
    """
    from tests.s3_clients import boto_session

    global _inherited_client
    _inherited_client = boto_session(place).client("s3", endpoint_url=place.endpoint_url)
    lister = boto_session(place).client("s3", endpoint_url=place.endpoint_url)
    told: list[dict[str, float]] = []
    with records_of(place) as (database, requests):
        records = database[COLLECTIONS[0]]
        for page in original_pages(records, place.bucket) if "records" in halves else ():
            told += in_new_pool(original_records, page, workers)
        if "prefixes" in halves:
            pages = lister.get_paginator("list_objects_v2")
            for listed in pages.paginate(Bucket=place.bucket, Delimiter="/"):
                names = [one["Prefix"].strip("/") for one in listed.get("CommonPrefixes", ())]
                known: set[str] = set()
                for slice_ in cut(names, N_PARTITIONS):
                    wanted = [f"s3://{place.bucket}/{name}" for name in slice_]
                    found = records.aggregate([
                        {"$match": {"location": {"$in": wanted}}},
                        {"$project": {"_id": 1, "location": 1}},
                    ])
                    known |= {one["location"] for one in found}
                places = sorted(f"s3://{place.bucket}/{name}" for name in names)
                if unknown := [one for one in places if one not in known]:
                    raise ValueError(f"new folders are not re-created: {unknown[0]}")
                told += in_new_pool(original_folders, places, workers)
    return {
        "examined": sum(one["examined"] for one in told),
        "changed": sum(one["changed"] for one in told),
        "failed": 0,
        "docdb": dict(requests),
        "peak_mib": max([peak_mib(), *(one["peak_mib"] for one in told)]),
    }


def original_pages(records: Any, bucket: str) -> Iterator[list[dict[str, Any]]]:
    """Whole records by skip and limit until a page is empty."""
    skip = 0
    query = {"location": {"$regex": f"^s3://{bucket}.*"}}
    while page := list(records.find(query).skip(skip).limit(PAGE)):
        yield page
        skip += len(page)


def in_new_pool(
    work: Callable[[list[Any]], dict[str, float]], items: Sequence[Any], workers: int
) -> list[dict[str, float]]:
    """Slices of a page, in a pool made for the page."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        return list(pool.map(work, cut(items, N_PARTITIONS)))


def cut(items: Sequence[Any], count: int) -> list[list[Any]]:
    """So many slices of one size, the last one shorter."""
    size = max(1, math.ceil(len(items) / count))
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def original_records(records: list[dict[str, Any]]) -> dict[str, float]:
    """One slice of records."""
    changed = sum(original_record(record) for record in records)
    return {"examined": len(records), "changed": changed, "peak_mib": peak_mib()}


def original_folders(locations: list[str]) -> dict[str, float]:
    """One slice of folders, all with records."""
    for location in locations:
        bucket, _, name = location.removeprefix("s3://").partition("/")
        original_head(bucket, f"{name}/metadata.nd.json")
    return {"examined": len(locations), "changed": 0, "peak_mib": peak_mib()}


def original_record(record: Mapping[str, Any]) -> bool:
    """Whether one asset's files were changed."""
    bucket, _, name = record["location"].removeprefix("s3://").partition("/")
    aggregate = f"{name}/metadata.nd.json"
    if original_head(bucket, aggregate) is None:
        raise ValueError(f"missing assets are not re-created: {name}")
    roots = {field: original_head(bucket, f"{name}/{field}.json") for field in ORIGINAL_FIELDS}
    folder = f"{name}/{COPY_FOLDER}/"
    listed = _inherited_client.list_objects_v2(Bucket=bucket, Prefix=folder, Delimiter="/")
    copied = {one["Key"].removeprefix(folder).split(".")[0] for one in listed.get("Contents", ())}
    changed = False
    for field, root in roots.items():
        if record.get(field) is None:
            continue
        if root is not None and field not in copied:
            key = f"{name}/{field}.json"
            target = f"{folder}{field}.{root['LastModified']:%Y%m%d}.json"
            source = {"Bucket": bucket, "Key": key}
            _inherited_client.copy_object(Bucket=bucket, Key=target, CopySource=source)
        changed |= original_put(bucket, f"{name}/{field}.json", record[field], root)
    return original_put(bucket, aggregate, record, original_head(bucket, aggregate)) or changed


def original_put(bucket: str, key: str, value: Any, found: Mapping[str, Any] | None) -> bool:
    """Write a file unless its hash is that of *value*; whether it was written."""
    text = json.dumps(value, indent=3, sort_keys=True, ensure_ascii=False, default=str)
    content = text.encode()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found is not None and found["ETag"].strip('"') == md5:
        return False
    _inherited_client.put_object(Bucket=bucket, Key=key, Body=content)
    return True


def original_head(bucket: str, key: str) -> dict[str, Any] | None:
    """One object, or None."""
    from botocore.exceptions import ClientError

    try:
        found: dict[str, Any] = _inherited_client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] == "404":
            return None
        raise
    return found


# Measuring -----------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[Place, Sequence[str], int], dict[str, Any]]] = {
    "ours": run_ours,
    "original": run_original,
}


def run_one(told: Mapping[str, Any]) -> dict[str, Any]:
    """One run in this fresh process."""
    started_s = time.perf_counter()
    found = WAYS[told["way"]](Place(**told["place"]), told["halves"], told["workers"])
    return {
        **found,
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": own_cpu_s() + own_cpu_s(resource.RUSAGE_CHILDREN),
    }


class Bench:
    """The servers, and what is measured on them."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        from include.local.services import S3, DocDb

        self._options = options
        self._generator = Generator(options.record_kib)
        self._services = {"s3": S3(folder), "docdb": DocDb(folder)}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the servers, stop them at the end."""
        with ExitStack() as stack:
            for service in self._services.values():
                stack.callback(service.stop)
                service.start()
            self._services["s3"].make_bucket("runs")
            yield

    def count(self, assets: int, known: int) -> None:
        """Requests of both ways, through a proxy."""
        from tests.s3_fault_proxy import FaultProxy

        kinds = (
            ("unchanged", "records", range(assets), self._generator.in_step),
            # Every third asset has six core files.
            ("stale", "records", range(0, 3 * assets, 3), self._generator.stale),
            ("known", "prefixes", range(known), self._generator.only_aggregate),
        )
        s3: dict[tuple[str, str], float] = {}
        docdb: dict[tuple[str, str], float] = {}
        for kind, half, numbers, files_of in kinds:
            for way in WAYS:
                place = self._place(f"count-{kind}-{way}")
                fill(place, self._generator, numbers, files_of)
                with FaultProxy(place.endpoint_url) as proxy:
                    found = self._run(replace(place, endpoint_url=proxy.endpoint_url), way, [half])
                    expect(found, len(numbers), len(numbers) if kind == "stale" else 0)
                    s3[kind, way] = sum(
                        target.startswith(f"/{place.bucket}") for _, target in proxy.requests
                    ) / len(numbers)
                docdb[kind, way] = sum(found["docdb"].values()) / len(numbers)
                self._services["s3"].remove_bucket(place.bucket)
        lines = (
            ("S3, per unchanged asset", s3, "unchanged", 1),
            ("S3, per stale asset without copies", s3, "stale", 1),
            ("S3, per 1,000 known folders", s3, "known", 1000),
            ("DocDB, per 1,000 known folders", docdb, "known", 1000),
        )
        print(f"\n{'requests':<38}{'ours':>10}{'original':>10}{'ratio':>8}")
        for label, counts, kind, scale in lines:
            ours, original = (counts[kind, way] * scale for way in WAYS)
            print(f"{label:<38}{ours:>10.2f}{original:>10.2f}{original / ours:>8.1f}", flush=True)

    def time(self) -> None:
        """All sizes; the bucket grows from one to the next."""
        options = self._options
        place = self._place("assets")
        there = 0
        print_head()
        for size in sorted(options.sizes):
            started_s = time.perf_counter()
            fill(place, self._generator, range(there, size), self._generator.in_step)
            log(f"{size - there} assets made in {time.perf_counter() - started_s:.0f} s")
            there = size
            with_original = size in options.original_at
            measured = self._measure(
                place,
                list(WAYS) if with_original else ["ours"],
                size,
                options.rounds if with_original else 1,
            )
            show(f"{size}", size, measured)
            if options.latency_ms and size == min(options.sizes):
                with distant(place.endpoint_url, options.latency_ms / 1000) as far:
                    there = replace(place, endpoint_url=far.url)
                    measured = self._measure(
                        there, list(WAYS) if with_original else ["ours"], size, 1
                    )
                show(f"{size}, S3 {options.latency_ms:g} ms away", size, measured)

    def _measure(
        self, place: Place, ways: Sequence[str], size: int, rounds: int
    ) -> dict[str, list[dict[str, Any]]]:
        measured: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way in ways:
                before, busy_before_s = self._servers_cpu_s(), machine_cpu_s()
                found = self._run(place, way, HALVES)
                after, busy_s = self._servers_cpu_s(), machine_cpu_s() - busy_before_s
                expect(found, 2 * size, 0)
                found["servers"] = {name: after[name] - before[name] for name in SERVERS}
                ours_s = found["cpu_s"] + sum(found["servers"].values())
                found["others_cores"] = max(0.0, busy_s - ours_s) / found["wall_s"]
                measured[way].append(found)
        return measured

    def _run(self, place: Place, way: str, halves: Sequence[str]) -> dict[str, Any]:
        return in_fresh_process(
            "benchmarks.index_buckets",
            {
                "place": asdict(place),
                "way": way,
                "halves": halves,
                "workers": self._options.workers,
            },
        )

    def _place(self, bucket: str) -> Place:
        s3, docdb = self._services["s3"], self._services["docdb"]
        s3.make_bucket(bucket)
        return Place(
            endpoint_url=s3.endpoint_url,
            access_key=s3.access_key,
            secret_key=s3.secret_key,
            region=s3.region,
            docdb_uri=docdb.uri,
            filer_url=f"http://127.0.0.1:{s3.port_of('filer')}",
            bucket=bucket,
        )

    def _servers_cpu_s(self) -> dict[str, float]:
        return {
            name: sum(
                times.user + times.system
                for times in (one.cpu_times() for one in service.process.record.members())
            )
            for name, service in self._services.items()
        }


def expect(found: Mapping[str, Any], examined: int, changed: int) -> None:
    """End unless the run did what it had to: figures of a run that failed are worth nothing."""
    did = (found["examined"], found["changed"], found["failed"])
    if did != (examined, changed, 0):
        raise SystemExit(f"examined, changed, failed: {did}, expected {(examined, changed, 0)}")


# Showing -------------------------------------------------------------------------------------------


def print_head() -> None:
    """Of the table of times."""
    print(
        f"\n{'':<35}{'per 1,000 assets':>18}{'servers, CPU s':>18}\n"
        f"{'assets':<25}{'way':<10}{'s':>9}{'CPU s':>9}{'S3':>9}{'DocDB':>9}"
        f"{'peak MiB':>10}{'total s':>9}{'others':>8}",
        flush=True,
    )


def show(label: str, size: int, measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """One line per way, medians; then the ratios, and where ours spent its time."""
    per = size / 1000
    medians: dict[str, dict[str, float]] = {}
    for way, ones in measured.items():
        median = medians[way] = {
            name: statistics.median(one[name] for one in ones)
            for name in ("wall_s", "cpu_s", "peak_mib")
        }
        s3, docdb = (statistics.median(one["servers"][name] for one in ones) for name in SERVERS)
        others = statistics.median(one["others_cores"] for one in ones)
        print(
            f"{label:<25}{way:<10}{median['wall_s'] / per:>9.2f}{median['cpu_s'] / per:>9.2f}"
            f"{s3 / per:>9.2f}{docdb / per:>9.2f}{median['peak_mib']:>10.0f}"
            f"{median['wall_s']:>9.1f}{others:>8.1f}"
        )
    if len(medians) > 1:
        wall, cpu = (
            medians["original"][name] / medians["ours"][name] for name in ("wall_s", "cpu_s")
        )
        print(f"{'':<25}{'ratio':<10}{wall:>9.1f}{cpu:>9.1f}")
    for part in measured["ours"][0]["parts"]:
        ones = [one["parts"][part] for one in measured["ours"]]
        wall, cpu = (statistics.median(one[name] for one in ones) for name in ("wall_s", "cpu_s"))
        print(f"{'  ours: ' + part:<35}{wall / per:>9.2f}{cpu / per:>9.2f}", flush=True)


def room_for(assets: int, record_kib: float) -> Path | None:
    """The folder in memory when all of it fits; None: wherever temporary files are."""
    import psutil

    memory = Path("/dev/shm")
    needed = assets * (3 * record_kib + 20) * 1024 + 2 * 2**30
    if not memory.is_dir():
        return None
    free = min(shutil.disk_usage(memory).free, psutil.virtual_memory().available)
    return memory if free > needed else None


def main() -> None:
    """Run everything and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000], help="assets")
    parser.add_argument("--record-kib", type=float, default=30, help="size of a record as text")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time, of both ways")
    parser.add_argument(
        "--original-at",
        type=int,
        nargs="*",
        default=[1000],
        help="sizes at which the original's way is measured too",
    )
    parser.add_argument("--rounds", type=int, default=3, help="where both are measured")
    parser.add_argument(
        "--count", type=int, default=100, help="assets to count requests with; 0: none"
    )
    parser.add_argument("--known", type=int, default=1000, help="known folders to count with")
    parser.add_argument("--latency-ms", type=float, default=20, help="0: not measured")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_one(options.one)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that the servers end, too
    room = room_for(max(options.sizes), options.record_kib)
    with tempfile.TemporaryDirectory(dir=room) as name:
        bench = Bench(Path(name), options)
        with bench.running():
            print(
                f"{os.cpu_count()} cores, {options.workers} workers, records of "
                f"{options.record_kib:g} KiB, load {os.getloadavg()[0]:.1f} before; "
                f"servers' files {'in memory' if room else 'on disk'}"
            )
            if options.count:
                bench.count(options.count, options.known)
            bench.time()
        print(f"\nload {os.getloadavg()[0]:.1f} after the last run")


if __name__ == "__main__":
    main()
