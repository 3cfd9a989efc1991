"""A bucket, a database, and imports of one into the other."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from include.assets.stored_object import StoredObject
from include.catalog.discovery import DatasetFolder
from include.catalog.imports import DeletionLimits, Importer
from include.catalog.parts import PARTS, with_needed
from include.catalog.report import DatasetReport
from include.errors import NotFound

BUCKET = "test-public-bucket"
HTTPS = "https://foo.com"
DATASET = DatasetFolder("30001")

TREE = Path(__file__).parents[1] / "data" / "cryoet" / BUCKET
"""The files that the portal's own tests use."""

EVERYTHING = with_needed(PARTS)


class Objects(dict[str, bytes]):
    """A bucket in memory: what an import needs of S3, with faults on demand."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.requests: list[str] = []
        self.faults: dict[str, Exception] = {}
        """Key, or ``list {prefix}`` → what is raised for it."""

    def put(self, key: str, content: Any) -> None:
        self[key] = content if isinstance(content, bytes) else json.dumps(content).encode()

    def iterate_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        self._asked(f"list {prefix}")
        for key in sorted(self):
            if key.startswith(prefix):
                yield StoredObject(key, len(self[key]), "etag", None)  # type: ignore[arg-type]

    def read(self, bucket: str, key: str) -> bytes:
        self._asked(key)
        if key not in self:
            raise NotFound(f"s3://{bucket}/{key}")
        return self[key]

    def _asked(self, what: str) -> None:
        self.requests.append(what)
        if what in self.faults:
            raise self.faults[what]

    @classmethod
    def of_folder(cls, folder: Path) -> Objects:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return cls({str(path.relative_to(folder)): path.read_bytes() for path in files})


@dataclass
class Lab:
    """Imports from a bucket in memory into a real database."""

    url: str
    objects: Objects
    journal: list[dict[str, Any]] = field(default_factory=list)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True, options="-c timezone=UTC")

    def importer(
        self,
        parts: Collection[str] | None = None,
        *,
        limits: DeletionLimits | None = None,
        **how: Any,
    ) -> Importer:
        return Importer(
            bucket=BUCKET,
            store=self.objects,
            reader=self.objects,
            connect=self.connect,
            journal=self._keep,
            flags=EVERYTHING if parts is None else with_needed(parts),
            https_prefix=HTTPS,
            limits=limits or DeletionLimits(),
            threads=4,
            **how,
        )

    def _keep(self, subject: str, rows: dict[str, list[dict[str, Any]]]) -> str:
        self.journal.append(rows)
        return f"journal of {subject}"

    def run(
        self, parts: Collection[str] | None = None, *, folder: DatasetFolder = DATASET, **how: Any
    ) -> DatasetReport:
        return self.importer(parts, **how).import_dataset(folder)

    def rows(self, table: str, *columns: str, order: str = "id") -> list[Any]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(columns) or '*'} FROM {table} ORDER BY {order}")
            found = cursor.fetchall()
            names = [one.name for one in cursor.description or ()]
        if len(columns) == 1:
            return [row[0] for row in found]
        return [dict(zip(names, row, strict=True)) for row in found]

    def one(self, table: str) -> dict[str, Any]:
        (row,) = self.rows(table)
        return row

    def counts(self) -> dict[str, int]:
        from include.catalog.entities import BY_TABLE

        return {table: count for table in BY_TABLE if (count := len(self.rows(table, "id")))}

    def versions(self) -> Mapping[str, list[Any]]:
        """Every row of every table with the transaction that wrote it."""
        from include.catalog.entities import BY_TABLE

        with self.connect() as connection:
            return {
                table: connection.execute(
                    f"SELECT id, xmin::text FROM {table} ORDER BY id"
                ).fetchall()
                for table in BY_TABLE
            }

    def execute(self, statement: str, *values: Any) -> None:
        with self.connect() as connection:
            connection.execute(statement, values)
