"""Depositions: those asked for, and those that a dataset's documents name and that have no row yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

from psycopg import Connection

from include.assets.stored_object import StoredObject
from include.catalog.database_errors import translated
from include.catalog.discovery import DEPOSITION_DOCUMENT, DEPOSITIONS_FOLDER
from include.catalog.documents import DocumentReader, ObjectReader
from include.catalog.entities import OF_DEPOSITIONS
from include.catalog.finders import Item
from include.catalog.listing import DatasetListing, ObjectLister
from include.catalog.paths import Urls
from include.catalog.report import TableReport
from include.catalog.rows import TableRows, make_rows
from include.catalog.tree import Tree
from include.catalog.values import UnusableValue
from include.catalog.write import Writer
from include.errors import AssetflowError, BucketNotFound, Problem, TransientError

DEPOSITION_LOCKS = 7202
"""First half of advisory locks; the second tells which deposition."""


class Source(Protocol):
    """Where the documents are, and how they are read."""

    @property
    def bucket(self) -> str:
        """Its name."""

    @property
    def store(self) -> ObjectLister:
        """Lists it."""

    @property
    def reader(self) -> ObjectReader:
        """Reads its objects."""

    @property
    def https_prefix(self) -> str:
        """What https addresses in rows begin with."""

    @property
    def threads(self) -> int:
        """Documents read at a time."""


class Depositions:
    """Which depositions there are, and which of them have to be made."""

    def __init__(self, source: Source, connection: Connection[Any]) -> None:
        self._source = source
        with translated("depositions"), connection.cursor() as cursor:
            cursor.execute("SELECT id FROM deposition")
            self._known = {int(row[0]) for row in cursor.fetchall()}
        self._documents = DocumentReader(source.reader, source.bucket, source.threads)
        self._listed: dict[int, list[StoredObject]] = {}
        self._problems: dict[int, list[Problem]] = {}
        self._missing: set[int] = set()
        self.may_pass = False
        """Whether a document could not be read and may be some other time."""

    def has(self, number: int) -> bool:
        """Whether the deposition has a row, or will have one; False when there is none to make it of.

        Raises:
            UnusableValue: there is, or may be, but no row can be made of it.
        """
        if number in self._known or number in self._missing:
            return True
        problems = self.problems(number)
        if problems and self._listed.get(number) == []:
            return False
        if problems:
            raise UnusableValue(f"deposition {number} has no row: {'; '.join(map(str, problems))}")
        self._missing.add(number)
        return True

    def problems(self, number: int) -> list[Problem]:
        """Why no row can be made of its document; none when one can. Read once, however often asked."""
        if number not in self._problems:
            self._problems[number] = list(self._problems_of(number))
            self.may_pass |= any(one.is_transient for one in self._documents.unreadable)
        return self._problems[number]

    def _problems_of(self, number: int) -> Iterator[Problem]:
        at = self._source
        key = f"{DEPOSITIONS_FOLDER}/{number}/{DEPOSITION_DOCUMENT}"
        address = Urls(at.bucket).s3(key)
        try:
            found = [one for one in at.store.iterate_objects(at.bucket, key) if one.key == key]
        except BucketNotFound:
            raise
        except AssetflowError as error:
            self.may_pass |= isinstance(error, TransientError)
            yield Problem(address, "", f"{type(error).__name__}: {error}")
            return
        self._listed[number] = found
        if not found:
            yield Problem(address, "", "is not there")
            return
        tree, made = self.rows([number])
        ids = ids_of(made["deposition"])
        if not ids:
            yield from tree.problems
        elif ids != [number]:
            reason = f"expected {number}, as its folder is called, found {ids[0]}"
            yield Problem(address, "deposition_identifier", reason)

    def rows(self, numbers: Iterable[int]) -> tuple[Tree, dict[str, TableRows]]:
        """Rows of depositions whose documents were found, with authors and types."""
        at = self._source
        wanted = sorted(numbers)
        listing = DatasetListing(
            f"{DEPOSITIONS_FOLDER}/", (one for number in wanted for one in self._listed[number])
        )
        tree = Tree(
            at.bucket,
            listing,
            self._documents,
            Urls(at.bucket, at.https_prefix),
            outer_size=lambda _: 0,
            has_deposition=lambda _: True,
        )
        items = [Item(f"{DEPOSITIONS_FOLDER}/{number}/", {}) for number in wanted]
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


def ids_of(rows: TableRows) -> list[int]:
    """What the rows of a table whose documents give their ids have as id."""
    place = rows.columns.index("id")
    return [row[place] for row in rows.rows.values()]
