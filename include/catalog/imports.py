"""Import one dataset, or depositions, from S3 into the database.

Everything is read before the database is touched: one listing, each document once. The dataset's lock is
held from before the listing to after the commit, so two imports of one dataset come one after the other, and
the later one has looked later. Different datasets do not wait for each other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import psycopg
from psycopg import Connection

from include.assets.stored_object import StoredObject
from include.catalog.discovery import DEPOSITION_DOCUMENT, DEPOSITIONS_FOLDER, DatasetFolder
from include.catalog.documents import DocumentReader, ObjectReader
from include.catalog.entities import OF_DATASETS, OF_DEPOSITIONS
from include.catalog.entity import Entity
from include.catalog.finders import Item
from include.catalog.listing import DatasetListing
from include.catalog.paths import Urls
from include.catalog.report import DatasetReport, TableReport, as_texts
from include.catalog.rows import TableRows, make_rows
from include.catalog.tree import Tree
from include.catalog.write import Writer
from include.errors import DatabaseRefused, NotFound, Problem, ServiceUnavailable

logger = logging.getLogger(__name__)

DATASET_LOCKS, DEPOSITION_LOCKS = 7201, 7202
"""First halves of advisory locks; the second tells which dataset or deposition."""

FEW_ROWS = 1_000
"""So many stale rows are no sign of a fault, whatever their share."""


class ObjectLister(Protocol):
    """What is needed of S3 beside documents; strict about its answers."""

    def iterate_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """All objects whose keys start with the prefix."""


@dataclass(frozen=True, slots=True)
class DeletionLimits:
    """How many rows one import of one dataset may delete."""

    rows: int = 20_000
    share: float = 0.3
    """Of the rows that the dataset had."""

    def refusal(self, *, doomed: int, had: int, all_runs: bool) -> str:
        """Why nothing may be deleted; ``""`` when it may."""
        if all_runs and self.share < 1:
            return (
                "every run of the dataset would be deleted: is it being copied? "
                "If it is right, import it with max_deleted_share 1"
            )
        allowed = min(self.rows, max(FEW_ROWS, int(self.share * had)))
        if doomed > allowed:
            return (
                f"{doomed} rows would be deleted, of {had} only {allowed} may be "
                f"(max_deleted_rows {self.rows}, max_deleted_share {self.share:g})"
            )
        return ""


@dataclass(frozen=True)
class Importer:
    """What all imports of a run share.

    Args:
        connect: a new connection, in UTC, in autocommit mode.
        journal: keeps the rows that are about to be deleted; returns where.
        flags: parts that are imported.
    """

    bucket: str
    store: ObjectLister
    reader: ObjectReader
    connect: Callable[[], Connection[Any]]
    journal: Callable[[str, dict[str, list[dict[str, Any]]]], str]
    flags: frozenset[str]
    https_prefix: str = ""
    limits: DeletionLimits = field(default_factory=DeletionLimits)
    dry_run: bool = False
    threads: int = 16

    def import_dataset(self, folder: DatasetFolder) -> DatasetReport:
        """Make the rows of one dataset what its folder says.

        Raises:
            AccessDenied, ServiceUnavailable, MalformedAnswer: the folder cannot be listed, or the database
                does not answer. Nothing was changed.
            DatabaseRefused: the database refused a statement. Nothing was changed.
        """
        with self._connected() as connection:
            with _translated(f"s3://{self.bucket}/{folder.prefix}"), connection.cursor() as cursor:
                lock = "SELECT pg_advisory_lock(%s, hashtext(%s))"
                cursor.execute(lock, (DATASET_LOCKS, f"{self.bucket}/{folder.prefix}"))
            return self._import_dataset(folder, connection)

    def import_depositions(self, ids: Sequence[int]) -> DatasetReport:
        """Make the rows of these depositions what their documents say, whether there are rows or not."""
        with self._connected() as connection:
            started_s = time.monotonic()
            with _translated("depositions"):
                lock_depositions(connection, ids, until_end_of="session")
            depositions = _Depositions(self, connection)
            problems: list[Problem] = []
            for one in ids:
                if not depositions.has_document(one):
                    key = f"{DEPOSITIONS_FOLDER}/{one}/{DEPOSITION_DOCUMENT}"
                    problems.append(Problem(Urls(self.bucket).s3(key), "", "is not there"))
            tree, made = depositions.rows(set(ids))
            report = self._store(
                connection,
                f"s3://{self.bucket}/{DEPOSITIONS_FOLDER}/",
                tree,
                made,
                OF_DEPOSITIONS,
                None,
            )
            return report.model_copy(
                update={
                    "problems": (*as_texts(problems), *report.problems),
                    "seconds": time.monotonic() - started_s,
                }
            )

    def _import_dataset(self, folder: DatasetFolder, connection: Connection[Any]) -> DatasetReport:
        started_s = time.monotonic()
        listing = DatasetListing(
            folder.prefix, self.store.iterate_objects(self.bucket, folder.prefix)
        )
        documents = DocumentReader(self.reader, self.bucket, self.threads)
        depositions = _Depositions(self, connection)
        tree = Tree(
            self.bucket,
            listing,
            documents,
            Urls(self.bucket, self.https_prefix),
            outer_size=self._outer_size,
            has_deposition=depositions.has,
        )
        root = {"dataset": [Item(folder.prefix, {})]}
        made = make_rows(tree, OF_DATASETS, root, self.flags)
        logger.info(
            "s3://%s/%s: %d objects listed, %d rows made",
            self.bucket, folder.prefix, len(listing), sum(len(one.rows) for one in made.values()),
        )  # fmt: skip
        report = self._store(
            connection, f"s3://{self.bucket}/{folder.prefix}", tree, made, OF_DATASETS, depositions
        )
        return report.model_copy(update={"seconds": time.monotonic() - started_s})

    def _store(
        self,
        connection: Connection[Any],
        subject: str,
        tree: Tree,
        made: dict[str, TableRows],
        entities: Sequence[Entity],
        depositions: _Depositions | None,
    ) -> DatasetReport:
        """Write the rows in one transaction; roll it back in a dry run."""
        writer = Writer(connection, entities)
        refused = journal_key = ""
        with _translated(subject), connection.transaction() as transaction:
            counts: dict[str, TableReport] = {}
            if depositions is not None:
                counts = depositions.store_missing(connection, tree)
            writer.write(made)
            for table, n, column in writer.written.unresolved:
                _tell_unresolved(tree, made[table], n, column)
            doomed = writer.doomed
            refused = self._refusal(writer)
            if doomed and not refused and not self.dry_run:
                journal_key = self.journal(
                    subject, {table: writer.doomed_rows(table) for table in doomed}
                )
                writer.delete()
            if self.dry_run:
                raise psycopg.Rollback(transaction)
        for table, one in writer.written.tables.items():
            counts[table] = TableReport(
                created=one.created,
                updated=one.updated,
                unchanged=one.unchanged,
                deleted=one.deleted,
                stale=doomed.get(table, 0) - one.deleted,
            )
        for warning in tree.warnings:
            logger.warning("%s", warning)
        for problem in tree.problems:
            logger.error("%s", problem)
        return DatasetReport(
            subject=subject,
            dry_run=self.dry_run,
            tables={name: found for name, found in counts.items() if found != TableReport()},
            problems=as_texts(tree.problems),
            warnings=tuple(dict.fromkeys(tree.warnings)),
            refused=refused,
            journal_key=journal_key,
        )

    def _refusal(self, writer: Writer) -> str:
        doomed = sum(writer.doomed.values())
        tables = writer.written.tables.values()
        had = doomed + sum(one.unchanged + one.updated for one in tables)
        runs = writer.written.tables.get("run")
        gone = writer.doomed.get("run", 0)
        all_runs = runs is not None and gone > 1 and runs.unchanged + runs.updated == 0
        refusal = self.limits.refusal(doomed=doomed, had=had, all_runs=all_runs)
        if refusal:
            logger.error("%s", refusal)
        return refusal

    def _outer_size(self, key: str) -> int:
        """Bytes at and below a path that lies outside of the dataset's folder."""
        path = key.removesuffix("/")
        return sum(
            found.size_bytes
            for found in self.store.iterate_objects(self.bucket, path)
            if found.key == path or found.key.startswith(f"{path}/")
        )

    @contextmanager
    def _connected(self) -> Iterator[Connection[Any]]:
        with _translated(f"importing s3://{self.bucket}"):
            connection = self.connect()
        try:
            yield connection
        finally:
            connection.close()


class _Depositions:
    """Which depositions there are, and which of them have to be made."""

    def __init__(self, importer: Importer, connection: Connection[Any]) -> None:
        self._importer = importer
        with _translated("depositions"), connection.cursor() as cursor:
            cursor.execute("SELECT id FROM deposition")
            self._known = {int(row[0]) for row in cursor.fetchall()}
        self._documents: dict[int, bool] = {}
        self._missing: set[int] = set()

    def has(self, number: int) -> bool:
        """Whether the deposition has a row, or a document to make one of."""
        if number in self._known:
            return True
        if self.has_document(number):
            self._missing.add(number)
            return True
        return False

    def has_document(self, number: int) -> bool:
        """Whether its document is there; anything but a definite absence is raised."""
        if number not in self._documents:
            key = f"{DEPOSITIONS_FOLDER}/{number}/{DEPOSITION_DOCUMENT}"
            try:
                self._importer.reader.read(self._importer.bucket, key)
            except NotFound:
                self._documents[number] = False
            else:
                self._documents[number] = True
        return self._documents[number]

    def rows(self, numbers: Iterable[int]) -> tuple[Tree, dict[str, TableRows]]:
        """Rows of depositions that have a document, with authors and types."""
        at = self._importer
        folders = [
            f"{DEPOSITIONS_FOLDER}/{one}/" for one in sorted(numbers) if self.has_document(one)
        ]
        listing = DatasetListing(
            f"{DEPOSITIONS_FOLDER}/",
            (
                found
                for folder in folders
                for found in at.store.iterate_objects(at.bucket, f"{folder}{DEPOSITION_DOCUMENT}")
            ),
        )
        tree = Tree(
            at.bucket,
            listing,
            DocumentReader(at.reader, at.bucket, at.threads),
            Urls(at.bucket, at.https_prefix),
            outer_size=lambda _: 0,
            has_deposition=lambda _: True,
        )
        items = [Item(folder, {}) for folder in folders]
        return tree, make_rows(tree, OF_DEPOSITIONS, {"deposition": items}, {"depositions"})

    def store_missing(self, connection: Connection[Any], told: Tree) -> dict[str, TableReport]:
        """Make the rows that documents of the dataset named and that still are not there."""
        if not self._missing:
            return {}
        lock_depositions(connection, self._missing, until_end_of="transaction")
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM deposition WHERE id = ANY(%s)", (list(self._missing),))
            there = {int(row[0]) for row in cursor.fetchall()}
        tree, made = self.rows(self._missing - there)
        writer = Writer(connection, OF_DEPOSITIONS)
        writer.write(made)
        told.problems += tree.problems
        told.warnings += tree.warnings
        return {
            table: TableReport(created=one.created, updated=one.updated, unchanged=one.unchanged)
            for table, one in writer.written.tables.items()
        }


def lock_depositions(
    connection: Connection[Any],
    numbers: Iterable[int],
    *,
    until_end_of: Literal["session", "transaction"],
) -> None:
    """Let nobody else make these depositions meanwhile. In order, so that no two wait for each other."""
    name = "pg_advisory_lock" if until_end_of == "session" else "pg_advisory_xact_lock"
    with connection.cursor() as cursor:
        for number in sorted(numbers):
            cursor.execute(f"SELECT {name}(%s, %s)", (DEPOSITION_LOCKS, number))


def _tell_unresolved(tree: Tree, rows: TableRows, n: int, column: str) -> None:
    item = next(found for found in rows.items if found.n == n)
    link = next(link for link in rows.entity.links if link.column == column)
    places = {name: place for place, name in enumerate(rows.columns)}
    named = ", ".join(f"{name} {rows.rows[n][places[name]]}" for name in link.named)
    tree.fail(
        item.key,
        f"{column} of entry {item.index}",
        f"there is not exactly one {link.table} with {named}",
    )


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    """Turn the database's errors into ours."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise ServiceUnavailable(f"{subject}: the database: {error}") from error
    except psycopg.Error as error:
        raise DatabaseRefused(f"{subject}: the database refused: {error}") from error
