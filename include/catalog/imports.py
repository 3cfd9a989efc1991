"""Import one dataset, or depositions, from S3 into the database.

Everything is read before the database is touched: one listing, each document once. The folder's lock is
held from before the listing to after the commit, so two imports of one folder come one after the other, and
the later one has looked later. Two folders that say that they are one dataset come one after the other as
well, and only one of them is imported. Different datasets do not wait for each other.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import Connection

from include.assets.core_files import parse_json
from include.catalog.database_errors import translated
from include.catalog.depositions import Depositions, ids_of, lock_depositions
from include.catalog.discovery import (
    DATASET_DOCUMENT,
    DEPOSITIONS_FOLDER,
    DatasetFolder,
)
from include.catalog.documents import DocumentReader, ObjectReader
from include.catalog.entities import OF_DATASETS, OF_DEPOSITIONS
from include.catalog.entity import Entity
from include.catalog.finders import Item
from include.catalog.listing import DatasetListing, ObjectLister
from include.catalog.outer_sizes import OuterSizes
from include.catalog.paths import Urls
from include.catalog.report import DatasetReport, TableReport, as_texts
from include.catalog.rows import TableRows, make_rows
from include.catalog.tree import Tree
from include.catalog.values import UnusableValue, to_integer
from include.catalog.write import Writer
from include.errors import (
    AssetflowError,
    InvalidInput,
    NotFound,
    Problem,
    ServiceUnavailable,
    TransientError,
)

logger = logging.getLogger(__name__)

FOLDER_LOCKS, DATASET_LOCKS = 7201, 7203
"""First halves of advisory locks; the second tells which folder or dataset. Whoever waits for one of a
dataset holds that of its folder, and never the other way round: no two wait for each other."""

FEW_ROWS = 1_000
"""So many stale rows are no sign of a fault, whatever their share."""


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
            InvalidInput: the dataset is that of another folder, which is still there. Nothing was changed.

            What was wrong with parts of the dataset before that is in the notes of the error.
        """
        with self._connected() as connection:
            with translated(f"s3://{self.bucket}/{folder.prefix}"), connection.cursor() as cursor:
                lock = "SELECT pg_advisory_lock(%s, hashtext(%s))"
                cursor.execute(lock, (FOLDER_LOCKS, f"{self.bucket}/{folder.prefix}"))
            return self._import_dataset(folder, connection)

    def import_depositions(self, ids: Sequence[int]) -> DatasetReport:
        """Make the rows of these depositions what their documents say, whether there are rows or not."""
        with self._connected() as connection:
            started_s = time.monotonic()
            with translated("depositions"):
                lock_depositions(connection, ids, until_end_of="session")
            depositions = Depositions(self, connection)
            wrong = {one: depositions.problems(one) for one in ids}
            tree, made = depositions.rows([one for one, problems in wrong.items() if not problems])
            with _told(tree):
                report = self._store(
                    connection,
                    f"s3://{self.bucket}/{DEPOSITIONS_FOLDER}/",
                    tree,
                    made,
                    OF_DEPOSITIONS,
                    None,
                )
            problems = [problem for found in wrong.values() for problem in found]
            return report.model_copy(
                update={
                    "problems": (*as_texts(problems), *report.problems),
                    "may_pass": depositions.may_pass,
                    "seconds": time.monotonic() - started_s,
                }
            )

    def _import_dataset(self, folder: DatasetFolder, connection: Connection[Any]) -> DatasetReport:
        started_s = time.monotonic()
        subject = f"s3://{self.bucket}/{folder.prefix}"
        listing = DatasetListing(
            folder.prefix, self.store.iterate_objects(self.bucket, folder.prefix)
        )
        documents = DocumentReader(self.reader, self.bucket, self.threads)
        depositions = Depositions(self, connection)
        sizes = OuterSizes(self.store, self.bucket)
        tree = Tree(
            self.bucket,
            listing,
            documents,
            Urls(self.bucket, self.https_prefix),
            outer_size=sizes,
            has_deposition=depositions.has,
        )
        root = {"dataset": [Item(folder.prefix, {})]}
        made = make_rows(tree, OF_DATASETS, root, self.flags)
        tree.problems += sizes.problems
        logger.info(
            "%s: %d objects listed, %d rows made",
            subject, len(listing), sum(len(one.rows) for one in made.values()),
        )  # fmt: skip
        with _told(tree):
            for number in ids_of(made["dataset"]):
                self._claim(number, subject, connection)
            report = self._store(connection, subject, tree, made, OF_DATASETS, depositions)
        may_pass = any(
            one.is_transient and (listing.covers(one.key) or not one.was_not_found)
            for one in documents.unreadable
        )
        return report.model_copy(
            update={
                "may_pass": may_pass or sizes.may_pass or depositions.may_pass,
                "seconds": time.monotonic() - started_s,
            }
        )

    def _claim(self, number: int, ours: str, connection: Connection[Any]) -> None:
        """Wait until no other folder of the same dataset is imported, and see that the dataset is ours.

        Raises:
            InvalidInput: its row is of another folder, which says still that it is this dataset, or may.
            ServiceUnavailable: that cannot be looked up now.
        """
        with translated(ours), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", (DATASET_LOCKS, number))
            cursor.execute("SELECT s3_prefix FROM dataset WHERE id = %s", (number,))
            row = cursor.fetchone()
        address = None if row is None or row[0] == ours else re.match(r"s3://([^/]+)/(.+)", row[0])
        if address is None:
            return
        key = f"{address[2].removesuffix('/')}/{DATASET_DOCUMENT}"
        theirs = f"s3://{address[1]}/{key}"
        try:
            content = parse_json(theirs, self.reader.read(address[1], key))
            if (
                isinstance(content, dict)
                and to_integer(content.get("dataset_identifier")) != number
            ):
                return
            reason = "says so, too"
        except NotFound:
            return  # the dataset has moved
        except TransientError as error:
            raise ServiceUnavailable(f"{ours}: whether {theirs} is there: {error}") from error
        except (AssetflowError, UnusableValue) as error:
            reason = f"may say so, too: {error}"
        raise InvalidInput([
            Problem(
                f"{ours}{DATASET_DOCUMENT}",
                "dataset_identifier",
                f"is {number}, and {theirs}, of which dataset {number} was imported, {reason}",
                "give one of the two another number, or remove its document",
            )
        ])

    def _store(
        self,
        connection: Connection[Any],
        subject: str,
        tree: Tree,
        made: dict[str, TableRows],
        entities: Sequence[Entity],
        depositions: Depositions | None,
    ) -> DatasetReport:
        """Write the rows in one transaction; roll it back in a dry run."""
        writer = Writer(connection, entities)
        refused = journal_key = ""
        with translated(subject), connection.transaction() as transaction:
            counts: dict[str, TableReport] = {}
            if depositions is not None:
                counts = depositions.store_missing(connection, tree)
            writer.write(made)
            _tell_of_rows_left_out(tree, made, writer)
            doomed = writer.doomed
            refused = self._refusal(writer)
            if doomed and not refused:
                if not self.dry_run:
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
        return DatasetReport(
            subject=subject,
            dry_run=self.dry_run,
            tables={name: found for name, found in counts.items() if found != TableReport()},
            problems=as_texts(tree.problems),
            warnings=tuple(dict.fromkeys(tree.warnings)),
            refused=refused,
            journal_keys=(journal_key,) if journal_key else (),
        )

    def _refusal(self, writer: Writer) -> str:
        doomed = sum(writer.doomed.values())
        tables = writer.written.tables.values()
        had = doomed + sum(one.unchanged + one.updated for one in tables)
        runs = writer.written.tables.get("run")
        gone = writer.doomed.get("run", 0)
        all_runs = bool(gone and runs and not (runs.unchanged or runs.updated or runs.created))
        refusal = self.limits.refusal(doomed=doomed, had=had, all_runs=all_runs)
        if refusal:
            logger.error("%s", refusal)
        return refusal

    @contextmanager
    def _connected(self) -> Iterator[Connection[Any]]:
        with translated(f"importing s3://{self.bucket}"):
            connection = self.connect()
        try:
            yield connection
        finally:
            connection.close()


def _tell_of_rows_left_out(tree: Tree, made: Mapping[str, TableRows], writer: Writer) -> None:
    """Note why rows that were made are not stored as they are."""
    written = writer.written
    tables = {one[0] for one in written.unresolved} | {one[0] for one in written.left_alone}
    items = {table: {item.n: item for item in made[table].items} for table in tables}
    for table, n, column in written.unresolved:
        rows, item = made[table], items[table][n]
        link = next(link for link in rows.entity.links if link.column == column)
        places = {name: place for place, name in enumerate(rows.columns)}
        named = ", ".join(f"{name} {rows.rows[n][places[name]]}" for name in link.named)
        tree.fail(
            item.key,
            f"{column} of entry {item.index}",
            f"there is not exactly one {link.table} with {named}",
        )
    for table, n in written.left_alone:
        item = items[table][n]
        entry = f"entry {item.index} " if item.index else ""
        tree.warn(
            item.key,
            f"{entry}is not used now: the {table} that is stored may be of what could not be read, "
            + ", ".join(sorted(made[table].doubts[n])),
        )


@contextmanager
def _told(tree: Tree) -> Iterator[None]:
    """Log what was found wrong, and leave it in the notes of an error that hides the report."""
    try:
        yield
    except AssetflowError as error:
        for text in as_texts(tree.problems):
            error.add_note(text)
        raise
    finally:
        for warning in tree.warnings:
            logger.warning("%s", warning)
        for problem in tree.problems:
            logger.error("%s", problem)
