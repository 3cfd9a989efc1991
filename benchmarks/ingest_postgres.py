"""An import of a portal's tree into PostgreSQL: ours beside the original's way of asking, in one run.

::

    python -m benchmarks.ingest_postgres [--runs 20 200] [--original-at 20] [--rounds 1] [--latency-ms 20]

A dataset of so many runs is imported into an empty database, then imported again unchanged, with everything
that can be imported. 200 runs are about 51,000 objects and 57,000 rows; most objects are chunks of images,
which nobody opens. S3 is an embedded SeaweedFS, the database an embedded PostgreSQL, both on this machine
and, when there is room, with their files in memory. Each import is a fresh process.

*Ours* is :class:`include.catalog.imports.Importer`, as a task of the DAG calls it. *The original's way* is a
re-creation of the requests and statements of the original importer, from a description of what it does; see
:class:`Original`. For a tree of this size with 20 runs the original itself made 3,017 requests, and 14,382
statements in a first import and 8,916 in an unchanged one, and took 11 and 9 s of processor time. The
re-creation makes 3,116 requests (3 % more), 15,336 and 9,902 statements (7 and 11 % more) and took 13.5 and
12.3 s on a busy machine; its own figures stand in the table.

Processor and wall seconds are those of the import: clients are made and modules are loaded before. *Start*
is what that took in processor seconds, the start of Python included. The servers' own work is not counted.
Requests are counted by the proxy that also makes S3 seem ``--latency-ms`` away, statements by the client,
BEGIN and COMMIT left out. At last ours goes over the rows that the original's way made: it must find them
unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import json
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks._measuring import distant, in_fresh_process, log, own_cpu_s, peak_mib

BUCKET = "portal"
HTTPS = "https://files.example.org"
DEPOSITION, OTHER_DEPOSITION = 10_000, 10_001
STEPS = ("first", "again")
TEMPLATE = "template_catalog"


@dataclass(frozen=True)
class Place:
    """Everything a process must know to import one dataset into one database."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str
    database_url: str
    dataset: str


# A tree --------------------------------------------------------------------------------------------

DATES = dict.fromkeys(("deposition_date", "release_date", "last_modified_date"), "2024-03-01")
CHUNK = bytes(64)
SECTIONS = 40


def depositions() -> Iterator[tuple[str, bytes]]:
    """What datasets and annotations name."""
    for number in (DEPOSITION, OTHER_DEPOSITION):
        yield (
            f"depositions_metadata/{number}/deposition_metadata.json",
            as_json({
                "deposition_identifier": number,
                "deposition_title": f"Deposition {number}",
                "deposition_description": "Made to be imported.",
                "deposition_types": ["dataset", "tomogram", "annotation"],
                "dates": DATES,
                "authors": authors(random.Random(number), 4),
            }),
        )


def dataset(number: int, runs: int) -> Iterator[tuple[str, bytes]]:
    """Key and content of all objects of a dataset, always the same ones."""
    rng = random.Random(number)
    named = {
        name: {"id": f"ID:{place:07}", "name": f"some {name}"}
        for place, name in enumerate(("assay", "cell_strain", "cell_type", "tissue", "disease"))
    }
    yield (
        f"{number}/dataset_metadata.json",
        as_json({
            "dataset_identifier": number,
            "dataset_title": f"Dataset {number}",
            "dataset_description": "Made to be imported. " * 20,
            "deposition_id": DEPOSITION,
            "dates": DATES,
            "authors": authors(rng, 6),
            "funding": [{"funding_agency_name": "Agency", "grant_id": f"G-{n}"} for n in range(3)],
            "sample_type": "cell",
            "organism": {"name": "Saccharomyces", "taxonomy_id": 4932},
            **named,
        }),
    )
    for place in range(runs):
        yield from run(f"{number}/TS_{place:04}", rng)


def run(at: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """One run with everything in it: about 250 objects, 280 rows."""
    name = at.rpartition("/")[2]
    yield f"{at}/run_metadata.json", as_json({"run_name": name})
    frames = [f"{at}/Frames/{name}_{place:03}.eer" for place in range(SECTIONS)]
    for key in (*frames, f"{at}/Frames/{name}.mdoc"):
        yield key, CHUNK
    yield (
        f"{at}/Frames/frames_metadata.json",
        as_json({
            "frames_acquisition_file": f"{at}/Frames/{name}.mdoc",
            "frames": [
                {
                    "acquisition_order": place,
                    "accumulated_dose": round(3.1 * place, 2),
                    "exposure_dose": 3.1,
                    "is_gain_corrected": False,
                    "path": key,
                }
                for place, key in enumerate(frames)
            ],
        }),
    )
    for ending in ("mrc", "gain"):
        yield f"{at}/Gains/{name}_gain.{ending}", CHUNK
    yield from tilt_series(at, name, rng)
    alignments = [f"{at}/Alignments/{100 + place}" for place in range(rng.randint(1, 2))]
    for place, folder in enumerate(alignments):
        yield from alignment(folder, f"{at}/TiltSeries/100/{name}.mrc", place, rng)
    for spacing in ("7.560", "13.480"):
        folder = f"{at}/Reconstructions/VoxelSpacing{spacing}"
        for place in range(rng.randint(2, 3)):
            yield from tomogram(
                f"{folder}/Tomograms/{100 + place}", name, alignments[0], place, rng
            )
        for place in range(rng.randint(4, 8)):
            name_of = f"{folder}/Annotations/{100 + place}"
            yield from annotation(name_of, f"{spacing}-{place}", alignments[0], rng)


def tilt_series(at: str, name: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """The tilt series of a run and its sections."""
    folder = f"{at}/TiltSeries/100"
    yield from ((f"{folder}/{name}.{ending}", CHUNK) for ending in ("mrc", "rawtlt", "xf"))
    yield from image(f"{folder}/{name}.zarr", 12)
    yield (
        f"{folder}/tiltseries_metadata.json",
        as_json({
            "deposition_id": DEPOSITION,
            "mrc_file": f"{folder}/{name}.mrc",
            "omezarr_dir": f"{folder}/{name}.zarr",
            "acceleration_voltage": 300_000,
            "spherical_aberration_constant": 2.7,
            "microscope": {"manufacturer": "TFS", "model": "KRIOS"},
            "microscope_optical_setup": {"energy_filter": "Selectris"},
            "camera": {"manufacturer": "TFS", "model": "Falcon 4i"},
            "tilt_range": {"min": -60.012, "max": 59.987},
            "tilt_step": 3.0,
            "tilt_axis": 84.7,
            "total_flux": 122.4,
            "pixel_spacing": 1.54,
            "tilting_scheme": "dose symmetric",
            "data_acquisition_software": "SerialEM",
            "tilt_series_quality": rng.randint(3, 5),
            "is_aligned": True,
            "size": {"x": 4096, "y": 4096, "z": SECTIONS},
            "per_section_parameter": [
                {
                    "z_index": place,
                    "frame_acquisition_order": place,
                    "raw_angle": 3.0 * place - 60,
                    "astigmatic_angle": round(rng.uniform(0, 90), 3),
                    "major_defocus": round(rng.uniform(20_000, 50_000), 2),
                    "minor_defocus": round(rng.uniform(20_000, 50_000), 2),
                    "max_resolution": round(rng.uniform(5, 20), 2),
                    "phase_shift": 0.0,
                }
                for place in range(SECTIONS)
            ],
        }),
    )


def alignment(
    folder: str, tilt_series_path: str, place: int, rng: random.Random
) -> Iterator[tuple[str, bytes]]:
    """One alignment and its sections."""
    yield (
        f"{folder}/alignment_metadata.json",
        as_json({
            "deposition_id": (DEPOSITION, OTHER_DEPOSITION)[place],
            "tiltseries_path": tilt_series_path,
            "alignment_type": "GLOBAL",
            "method_type": "patch_tracking",
            "volume_dimension": {"x": 980.5, "y": 1016.0, "z": 500.25},
            "volume_offset": {"x": 0, "y": 0, "z": 0},
            "tilt_offset": 0.5,
            "x_rotation_offset": 0,
            "affine_transformation_matrix": [
                [1, 0, 0, 0],
                [0, 1, 0, 0],
                [0, 0, 1, 0],
                [0, 0, 0, 1],
            ],
            "is_portal_standard": True,
            "per_section_alignment_parameters": [
                {
                    "z_index": section,
                    "x_offset": round(rng.gauss(0, 10), 4),
                    "y_offset": round(rng.gauss(0, 10), 4),
                    "volume_x_rotation": 0,
                    "tilt_angle": 3.0 * section - 60,
                    "in_plane_rotation": [[0.0897, -0.9959], [0.9959, 0.0897]],
                }
                for section in range(SECTIONS)
            ],
        }),
    )


def tomogram(
    folder: str, name: str, alignment_folder: str, place: int, rng: random.Random
) -> Iterator[tuple[str, bytes]]:
    """One tomogram with its viewer's configuration."""
    yield f"{folder}/{name}.mrc", CHUNK
    yield from image(f"{folder}/{name}.zarr", 17)
    yield f"{folder}/neuroglancer_config.json", as_json(viewer(folder, rng))
    yield (
        f"{folder}/tomogram_metadata.json",
        as_json({
            "run_name": name,
            "deposition_id": DEPOSITION,
            "alignment_metadata_path": f"{alignment_folder}/alignment_metadata.json",
            "size": {"x": 980, "y": 1016, "z": 500},
            "voxel_spacing": 7.56,
            "fiducial_alignment_status": "NON_FIDUCIAL",
            "reconstruction_method": "WBP",
            "reconstruction_software": "AreTomo",
            "processing": ("raw", "filtered", "denoised")[place],
            "processing_software": "CryoCARE",
            "tomogram_version": 1.0,
            "ctf_corrected": True,
            "is_standardized": False,
            "is_visualization_default": place == 0,
            "omezarr_dir": f"{folder}/{name}.zarr",
            "mrc_file": f"{folder}/{name}.mrc",
            "scales": [{"x": 980 >> n, "y": 1016 >> n, "z": 500 >> n} for n in range(3)],
            "offset": {"x": 0, "y": 0, "z": 0},
            "key_photo": {"snapshot": f"{folder}/a.png", "thumbnail": f"{folder}/b.png"},
            "neuroglancer_config_path": f"{folder}/neuroglancer_config.json",
            "dates": DATES,
            "authors": authors(rng, 3),
        }),
    )


def annotation(
    folder: str, ingest_id: str, alignment_folder: str, rng: random.Random
) -> Iterator[tuple[str, bytes]]:
    """One annotation: points, and a mask in one or two formats."""
    name = f"{folder}/ribosome-1.0"
    files = [
        {"format": "ndjson", "path": f"{name}_point.ndjson", "shape": "Point"},
        {"format": "zarr", "path": f"{name}_segmask.zarr", "shape": "SegmentationMask"},
        {"format": "mrc", "path": f"{name}_segmask.mrc", "shape": "SegmentationMask"},
    ][: rng.randint(2, 3)]
    for file in files:
        path = str(file["path"])
        if path.endswith(".zarr"):
            yield from image(path, 2)
        else:
            yield path, CHUNK
    yield (
        f"{name}.json",
        as_json({
            "annotation_ingest_id": ingest_id,
            "deposition_id": rng.choice((DEPOSITION, OTHER_DEPOSITION)),
            "alignment_metadata_path": f"{alignment_folder}/alignment_metadata.json",
            "annotation_method": "template matching and manual clean-up",
            "method_type": "hybrid",
            "ground_truth_status": False,
            "is_curator_recommended": True,
            "annotation_object": {
                "id": "GO:0022626",
                "name": "cytosolic ribosome",
                "description": "A ribosome located in the cytosol.",
                "state": None,
            },
            "object_count": rng.randint(1, 5000),
            "confidence": {"precision": 0.91, "recall": 0.85},
            "annotation_software": "pyTOM",
            "dates": DATES,
            "files": [{**file, "is_visualization_default": True} for file in files],
            "authors": authors(rng, 3),
            "method_links": [{"link_type": "source_code", "link": "https://example.org/code"}],
        }),
    )


def image(folder: str, chunks: int) -> Iterator[tuple[str, bytes]]:
    """An image pyramid: what is most of a bucket."""
    yield f"{folder}/.zattrs", CHUNK
    yield f"{folder}/0/.zarray", CHUNK
    yield from ((f"{folder}/0/0/0/{place}", CHUNK) for place in range(chunks))


def viewer(folder: str, rng: random.Random) -> dict[str, Any]:
    """A configuration of some length."""
    layers = [
        {
            "name": f"layer {n}",
            "source": f"zarr://{HTTPS}/{folder}/{n}.zarr",
            "opacity": round(rng.random(), 2),
            "shaderControls": {"contrast": {"range": [-0.01, 0.01], "window": [-0.02, 0.02]}},
        }
        for n in range(4)
    ]
    return {"dimensions": {axis: [7.56e-10, "m"] for axis in "xyz"}, "layers": layers}


def authors(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Of whatever."""
    return [
        {
            "name": f"Author {place} {rng.randint(100, 999)}",
            "ORCID": f"0000-0001-{rng.randint(1000, 9999)}-{place:04}",
            "affiliation_name": "An institute",
            "primary_author_status": place == 0,
            "corresponding_author_status": place == count - 1,
        }
        for place in range(count)
    ]


def as_json(content: Any) -> bytes:
    """As the portal's documents are written."""
    return json.dumps(content, indent=4).encode()


def fill(filer_url: str, objects: Iterator[tuple[str, bytes]]) -> int:
    """Write objects into the bucket; how many."""
    from obstore import put_async
    from obstore.store import HTTPStore

    # The server's own way in costs a third less than an S3 PUT; what lies there is the same.
    store = HTTPStore(f"{filer_url}/buckets/{BUCKET}", client_options={"allow_http": True})
    count = 0

    async def put_some() -> None:
        nonlocal count
        for key, content in objects:
            await put_async(store, key, content, use_multipart=False)
            count += 1

    async def put_all() -> None:
        # All take from one generator, whose next object is never asked for by two at a time.
        async with asyncio.TaskGroup() as group:
            for _ in range(32):
                group.create_task(put_some())

    asyncio.run(put_all())
    return count


# Our way -------------------------------------------------------------------------------------------


class Ours:
    """The importer as the DAG uses it."""

    def __init__(self, place: Place) -> None:
        import psycopg

        from include.catalog.imports import Importer
        from include.catalog.parts import PARTS, with_needed
        from include.clients.s3_reader import S3Reader
        from tests.s3_clients import boto_session, s3_client

        self.statements = 0
        way = self

        class Counting(psycopg.Cursor[Any]):
            def execute(self, *arguments: Any, **options: Any) -> Any:
                way.statements += 1
                return super().execute(*arguments, **options)

            def copy(self, *arguments: Any, **options: Any) -> Any:
                way.statements += 1
                return super().copy(*arguments, **options)

        def connect() -> psycopg.Connection[Any]:
            return psycopg.connect(
                place.database_url,
                autocommit=True,
                cursor_factory=Counting,
                options="-c timezone=UTC",
            )

        store = s3_client(place, attempts=5)
        self._importer = Importer(
            bucket=BUCKET,
            store=store,
            reader=S3Reader(
                store,
                session=boto_session(place),
                endpoint_url=place.endpoint_url,
                region=place.region,
            ),
            connect=connect,
            journal=lambda subject, rows: "",
            flags=with_needed(PARTS),
            https_prefix=HTTPS,
        )

    def run(self, dataset: str) -> dict[str, int]:
        """One import; rows by what was done to them."""
        from include.catalog.discovery import DatasetFolder

        report = self._importer.import_dataset(DatasetFolder(dataset))
        if report.problems:
            raise ValueError(report.problems[0])
        tables = report.tables.values()
        return {
            name: sum(getattr(one, name) for one in tables)
            for name in ("created", "updated", "unchanged", "deleted", "stale")
        }


# The original's way --------------------------------------------------------------------------------

CACHED_DOCUMENTS = 30


class Original:
    """The original importer's way of asking, made again in plain boto3 and SQLAlchemy; no code of it is here.

    It follows these facts. One thing after another. Datasets, runs and depositions are probed: a listing
    with a delimiter, a HEAD for each folder. Documents are found by globs, a listing with a delimiter for
    each folder on the way, and read through a cache of 30. A file found by a glob takes a HEAD. Each size
    is a listing of its own, that of the dataset goes over everything. Each row is looked for by a SELECT
    of its identity, then inserted or updated and flushed by itself through the object layer; each link is
    one more SELECT. Below each parent the rows of a kind are selected once more, to find the stale ones.
    Dates always differ, so rows that have some are rewritten. Files of an annotation are gone through once
    per entry of their shape.

    What the columns hold is computed as in ours, a few per cent of the whole. Where the facts leave a
    choice, the cheaper one is taken: a document is one GET, a glob is not repeated.
    """

    def __init__(self, place: Place) -> None:
        import sqlalchemy as sa
        from sqlalchemy.orm import Session

        from include.catalog.paths import Urls
        from include.catalog.tables import Base
        from include.catalog.tree import Tree
        from tests.s3_clients import boto_session

        self.statements = 0
        self._client: Any = boto_session(place).client("s3", endpoint_url=place.endpoint_url)
        address = sa.make_url(place.database_url).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(address, connect_args={"options": "-c timezone=UTC"})
        sa.event.listen(engine, "before_cursor_execute", self._count)
        self._session = Session(engine, autoflush=False)
        self._models = {
            mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers
        }
        self._globbed: tuple[str, list[str]] = ("", [])
        self._documents: OrderedDict[str, Any] = OrderedDict()
        self._rows: dict[int, Any] = {}
        self._done = dict.fromkeys(("created", "updated", "unchanged", "deleted", "stale"), 0)
        self._tree = Tree(
            BUCKET,
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            Urls(BUCKET, HTTPS),
            outer_size=self.size_of,
            has_deposition=lambda _: True,
        )

    def run(self, dataset: str) -> dict[str, int]:
        """One import; rows by what was done to them."""
        from include.catalog.entities import OF_DATASETS, OF_DEPOSITIONS
        from include.catalog.finders import Item

        for number in (DEPOSITION, OTHER_DEPOSITION):
            prefix = f"depositions_metadata/{number}"
            for folder in self._probe(prefix, "deposition_metadata.json"):
                self._visit(OF_DEPOSITIONS[0], Item(folder, {}), OF_DEPOSITIONS)
        for folder in self._probe(dataset, "dataset_metadata.json"):
            self._visit(OF_DATASETS[0], Item(folder, {}), OF_DATASETS)
        self._session.commit()
        return self._done

    # -- rows

    def _visit(self, entity: Any, parent: Any, family: Sequence[Any]) -> None:
        """The rows of one entity below one parent, each with what lies below it."""
        from include.catalog.finders import Item

        seen = set()
        for item in entity.find.items(self._tree, parent):
            if not isinstance(item, Item):
                if entity.table == "identified_object":
                    continue  # not there, as a rule
                raise ValueError(f"{item.key}: {item.reason}")
            times = len(item.data["files"]) if entity.table == "annotation_shape" else 1
            for _ in range(times):
                row = self._store(entity, item)
                self._rows[id(item)] = row
                for child in family:
                    if child.parent == entity.table:
                        self._visit(child, item, family)
            seen.add(row.id)
        if entity.parent:
            model = self._models[entity.table]
            column = getattr(model, entity.parent_column)
            for row in self._select(model, {column: self._rows[id(parent)].id}):
                if row.id not in seen:
                    raise ValueError(f"stale rows are not re-created: {entity.table} {row.id}")

    def _store(self, entity: Any, item: Any) -> Any:
        """Insert or update one row."""
        from include.catalog.values import walk

        values: dict[str, Any] = {}
        for name, source, path, convert, _ in entity.converters:
            found = source(item, self._tree) if path is None else walk(item.data, path)
            values[name] = convert(found)
            if "date" in name and values[name] is not None:
                values[name] = values[name].replace(tzinfo=None)
        if entity.parent:
            values[entity.parent_column] = self._rows[id(item.parent)].id
        for column, levels in entity.further_parents.items():
            values[column] = self._rows[id(item.above(levels))].id
        for link in entity.links:
            values[link.column] = self._linked(entity.table, item, values)
        model = self._models[entity.table]
        identity = {getattr(model, name): values[name] for name in entity.identity}
        rows = self._select(model, identity)
        if len(rows) > 1:
            raise ValueError(f"multiple rows: {entity.table} {identity}")
        row = rows[0] if rows else model()
        for name, value in values.items():
            setattr(row, name, value)
        if not rows:
            self._session.add(row)
        what = "updated" if self._session.is_modified(row) else "unchanged"
        self._done[what if rows else "created"] += 1
        self._session.flush()
        return row

    def _linked(self, table: str, item: Any, values: Mapping[str, Any]) -> int | None:
        """The id of the row that a document names."""
        if table == "per_section_parameters":
            model = self._models["frame"]
            order = item.data["frame_acquisition_order"]
            rows = self._select(
                model, {model.run_id: values["run_id"], model.acquisition_order: order}
            )
        elif table == "alignment":
            model = self._models["tiltseries"]
            folder = item.data["tiltseries_path"].rpartition("/")[0].replace("_", r"\_")
            below = model.s3_mrc_file.like(f"s3://{BUCKET}/{folder}/%")
            rows = self._select(model, {model.run_id: values["run_id"]}, below)
        else:
            model = self._models["alignment"]
            document = item if table == "tomogram" else item.above(2)
            url = self._tree.s3(document.data["alignment_metadata_path"])
            run_id = values.get("run_id") or self._rows[id(document.above(2))].id
            rows = self._select(model, {model.run_id: run_id, model.s3_alignment_metadata: url})
        return rows[0].id if rows else None

    def _select(self, model: Any, equal: Mapping[Any, Any], *further: Any) -> Sequence[Any]:
        import sqlalchemy as sa

        conditions = (
            column.is_(None) if value is None else column == value
            for column, value in equal.items()
        )
        found: Sequence[Any] = self._session.scalars(
            sa.select(model).where(*conditions, *further)
        ).all()
        return found

    def _count(self, *_: Any) -> None:
        self.statements += 1

    # -- what a tree asks of its listing

    def covers(self, path: str) -> bool:
        """There is no whole listing; everything is asked."""
        return True

    def has(self, key: str) -> bool:
        """It is read without a look."""
        return True

    def size_of(self, path: str) -> int:
        """A listing for each size."""
        return sum(
            found["Size"] for page in self._pages(path) for found in page.get("Contents", ())
        )

    def files(self, folder: str) -> list[str]:
        """Names in one folder."""
        return [found.removeprefix(folder) for found in self._list(folder)[0]]

    def folders(self, folder: str) -> list[str]:
        """Folders in one folder."""
        return [found.removeprefix(folder).removesuffix("/") for found in self._list(folder)[1]]

    def match(self, folder: str, pattern: str) -> list[str]:
        """A probe for runs, what was probed already for documents of that kind, else a glob."""
        if pattern.endswith("run_metadata.json"):
            return [
                f"{found}run_metadata.json" for found in self._probe(folder, "run_metadata.json")
            ]
        if pattern in {"dataset_metadata.json", "deposition_metadata.json"}:
            return [f"{folder}{pattern}"]
        if self._globbed[0] != f"{folder}{pattern}":
            if "*" in pattern:
                found = self._glob(folder, pattern.split("/"))
            else:
                found = [f"{folder}{pattern}"] if self._is_there(f"{folder}{pattern}") else []
            if "_gain" in pattern:
                found = [key for key in found if self._is_there(key)]
            self._globbed = (f"{folder}{pattern}", found)
        return self._globbed[1]

    def _glob(self, folder: str, parts: Sequence[str]) -> list[str]:
        part, deeper = parts[0], parts[1:]
        if deeper and "*" not in part:
            return self._glob(f"{folder}{part}/", deeper)
        matches = re.compile(fnmatch.translate(part)).match
        files, folders = self._list(folder)
        if not deeper:
            return [key for key in files if matches(key.removeprefix(folder))]
        return [
            key
            for found in folders
            if matches(found.removeprefix(folder)[:-1])
            for key in self._glob(found, deeper)
        ]

    def _probe(self, prefix: str, document: str) -> list[str]:
        return [folder for folder in self._list(prefix)[1] if self._is_there(f"{folder}{document}")]

    def _list(self, prefix: str) -> tuple[list[str], list[str]]:
        files: list[str] = []
        folders: list[str] = []
        for page in self._pages(prefix, Delimiter="/"):
            files += (found["Key"] for found in page.get("Contents", ()))
            folders += (found["Prefix"] for found in page.get("CommonPrefixes", ()))
        return files, folders

    def _pages(self, prefix: str, **options: str) -> Iterator[dict[str, Any]]:
        paginator = self._client.get_paginator("list_objects_v2")
        yield from paginator.paginate(Bucket=BUCKET, Prefix=prefix, **options)

    def _is_there(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.head_object(Bucket=BUCKET, Key=key)
        except ClientError:
            return False
        return True

    # -- what a tree asks of its documents

    def read_all(self, keys: Sequence[str], shape: Any) -> dict[str, Any]:
        """One document, through the cache."""
        from botocore.exceptions import ClientError

        from include.catalog.documents import Document, UnreadableDocument

        (key,) = keys
        try:
            return {key: Document(key, json.loads(self._read(key)))}
        except ClientError as error:
            return {key: UnreadableDocument(BUCKET, key, str(error), is_transient=False)}

    def read_text(self, key: str) -> str:
        """One document that is no part of the cache's order of things."""
        return self._get(key).decode()

    def _read(self, key: str) -> bytes:
        if key not in self._documents:
            self._documents[key] = self._get(key)
            if len(self._documents) > CACHED_DOCUMENTS:
                self._documents.popitem(last=False)
        self._documents.move_to_end(key)
        content: bytes = self._documents[key]
        return content

    def _get(self, key: str) -> bytes:
        content: bytes = self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content


# Measuring -----------------------------------------------------------------------------------------

WAYS: Mapping[str, Any] = {"ours": Ours, "original": Original}


def run_one(told: Mapping[str, Any]) -> dict[str, Any]:
    """One import in this fresh process."""
    place = Place(**told["place"])
    way = WAYS[told["way"]](place)
    start_s = own_cpu_s()
    started_s = time.perf_counter()
    rows = way.run(place.dataset)
    return {
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": own_cpu_s() - start_s,
        "start_s": start_s,
        "peak_mib": peak_mib(),
        "statements": way.statements,
        **rows,
    }


class Bench:
    """The servers, and what is measured on them."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        from include.local.postgres import Postgres
        from include.local.services import S3

        self._options = options
        self._s3, self._postgres = S3(folder), Postgres(folder)
        self._databases = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the servers, stop them at the end."""
        from include.catalog.migrate import migrate

        with ExitStack() as stack:
            for service in (self._s3, self._postgres):
                stack.callback(service.stop)
                service.start()
            self._s3.make_bucket(BUCKET)
            self._postgres.make_database(TEMPLATE)
            migrate(self._postgres.uri_of(TEMPLATE))
            fill(self._filer_url, depositions())
            yield

    def time(self) -> None:
        """All sizes."""
        options = self._options
        for runs in sorted(options.runs):
            started_s = time.perf_counter()
            objects = fill(self._filer_url, dataset(20_000 + runs, runs))
            log(f"{objects} objects made in {time.perf_counter() - started_s:.0f} s")
            ways = list(WAYS) if runs in options.original_at else ["ours"]
            near: dict[tuple[str, str], dict[str, float]] = {}
            far: dict[tuple[str, str], dict[str, float]] = {}
            for way in ways:
                rounds = [self._import_twice(way, runs, None) for _ in range(options.rounds)]
                for step in STEPS:
                    ones = [one[step] for one in rounds]
                    near[way, step] = {
                        name: statistics.median(one[name] for one in ones) for name in ones[0]
                    }
                delayed = self._import_twice(way, runs, options.latency_ms / 1000)
                far |= {(way, step): delayed[step] for step in STEPS}
            show(runs, objects, ways, near, far, options.latency_ms)
            if "original" in ways:
                found = self._import("ours", self._place)
                if found["created"] or found["updated"]:
                    raise SystemExit(f"the two ways do not make the same rows: {found}")
                print(f"rows of the original's way that ours finds unchanged: {found['unchanged']}")

    def _import_twice(
        self, way: str, runs: int, delay_s: float | None
    ) -> dict[str, dict[str, float]]:
        """Into an empty database, and again; with a delay also the requests are counted."""
        self._databases += 1
        name = f"catalog_{self._databases}"
        self._copy_template(name)
        self._place = place = Place(
            endpoint_url=self._s3.endpoint_url,
            access_key=self._s3.access_key,
            secret_key=self._s3.secret_key,
            region=self._s3.region,
            database_url=self._postgres.uri_of(name),
            dataset=f"{20_000 + runs}",
        )
        found: dict[str, dict[str, float]] = {}
        for step in STEPS:
            if delay_s is None:
                found[step] = self._import(way, place)
            else:
                with distant(place.endpoint_url, delay_s) as far:
                    found[step] = self._import(way, replace(place, endpoint_url=far.url))
                    found[step]["requests"] = far.requests
            self._expect(way, step, found[step])
        return found

    def _import(self, way: str, place: Place) -> dict[str, float]:
        return in_fresh_process("benchmarks.ingest_postgres", {"way": way, "place": asdict(place)})

    def _expect(self, way: str, step: str, found: Mapping[str, float]) -> None:
        """End unless the import did what it had to: figures of one that failed are worth nothing."""
        updated_too = step == "first" or way == "original"
        wrong = found["deleted"] or found["stale"] or (found["updated"] and not updated_too)
        if wrong or bool(found["created"]) != (step == "first"):
            raise SystemExit(f"{way}, {step}: {found}")

    def _copy_template(self, name: str) -> None:
        import psycopg

        with psycopg.connect(self._postgres.uri, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}".encode())

    @property
    def _filer_url(self) -> str:
        return f"http://127.0.0.1:{self._s3.port_of('filer')}"


# Showing -------------------------------------------------------------------------------------------


def show(
    runs: int,
    objects: int,
    ways: Sequence[str],
    near: Mapping[tuple[str, str], Mapping[str, float]],
    far: Mapping[tuple[str, str], Mapping[str, float]],
    latency_ms: float,
) -> None:
    """One line per step and way; then the ratios."""
    rows = near["ours", "first"]["created"]
    away = f"s at {latency_ms:g} ms"
    print(
        f"\n{runs} runs, {objects} objects, {rows:.0f} rows\n{'':<8}{'':<10}{'requests':>10}"
        f"{'statements':>12}{'CPU s':>8}{'s':>8}{away:>12}{'start, CPU s':>14}{'peak MiB':>10}"
    )
    for step in STEPS:
        lines = {}
        for way in ways:
            one = near[way, step]
            lines[way] = (
                far[way, step]["requests"], one["statements"], one["cpu_s"], one["wall_s"],
                far[way, step]["wall_s"], one["start_s"], one["peak_mib"],
            )  # fmt: skip
            requests, statements, cpu_s, wall_s, far_s, start_s, peak = lines[way]
            print(
                f"{step:<8}{way:<10}{requests:>10.0f}{statements:>12.0f}{cpu_s:>8.2f}{wall_s:>8.2f}"
                f"{far_s:>12.2f}{start_s:>14.2f}{peak:>10.0f}"
            )
        if len(lines) > 1:
            ratios = [a / b for a, b in zip(lines["original"], lines["ours"], strict=True)]
            widths = (10, 12, 8, 8, 12, 14, 10)
            text = "".join(f"{one:>{width}.1f}" for one, width in zip(ratios, widths, strict=True))
            print(f"{'':<8}{'ratio':<10}{text}")
    sys.stdout.flush()


def main() -> None:
    """Run everything and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[20, 200], help="sizes")
    parser.add_argument(
        "--original-at",
        type=int,
        nargs="*",
        default=[20],
        help="sizes at which the original's way is measured too",
    )
    parser.add_argument("--rounds", type=int, default=1, help="medians of so many")
    parser.add_argument("--latency-ms", type=float, default=20, help="of S3, in one more round")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_one(options.one)))
        return
    memory = Path("/dev/shm")
    room = memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30 else None
    with tempfile.TemporaryDirectory(dir=room) as name:
        if os.geteuid() == 0:
            Path(name).chmod(0o755)  # PostgreSQL, which root runs as somebody else, must get there
        bench = Bench(Path(name), options)
        with bench.running(), suppress(KeyboardInterrupt):
            bench.time()


if __name__ == "__main__":
    main()
