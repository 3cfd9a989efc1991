"""Make the rows of one dataset in the database what its tree says, in one transaction.

Per table: the rows are copied into a temporary table, pointers to parents are filled in, existing rows are
found by their identity (and keep their ids), those that differ are updated, new ones inserted. Rows that
were not found again below a parent that was seen whole are stale; with them go the rows that they own. Rows
that only point to a stale one lose the pointer. Some ten statements per table, however many rows.

A row that may have been made of a document that could not be read is left alone, with all below it.

Nothing is committed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection, Cursor, DataError, sql
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from include.catalog.entity import Entity, Link
from include.catalog.rows import ADDRESSES, TableRows
from include.errors import DatabaseRefused

ANALYZE_FROM_ROWS = 1000
"""Fewer rows need no statistics to be joined well."""

OWNERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "dataset_author": (("dataset", "dataset_id"),),
    "dataset_funding": (("dataset", "dataset_id"),),
    "run": (("dataset", "dataset_id"),),
    "frame_acquisition_file": (("run", "run_id"),),
    "frame": (("run", "run_id"),),
    "gain_file": (("run", "run_id"),),
    "tiltseries": (("run", "run_id"),),
    "per_section_parameters": (
        ("run", "run_id"),
        ("tiltseries", "tiltseries_id"),
        ("frame", "frame_id"),
    ),
    "alignment": (("run", "run_id"),),
    "per_section_alignment_parameters": (("alignment", "alignment_id"),),
    "identified_object": (("run", "run_id"),),
    "tomogram_voxel_spacing": (("run", "run_id"),),
    "tomogram": (("run", "run_id"), ("tomogram_voxel_spacing", "tomogram_voxel_spacing_id")),
    "tomogram_author": (("tomogram", "tomogram_id"),),
    "annotation": (("run", "run_id"), ("tomogram_voxel_spacing", "tomogram_voxel_spacing_id")),
    "annotation_shape": (("annotation", "annotation_id"),),
    "annotation_file": (
        ("annotation_shape", "annotation_shape_id"),
        ("tomogram_voxel_spacing", "tomogram_voxel_spacing_id"),
    ),
    "annotation_author": (("annotation", "annotation_id"),),
    "annotation_method_link": (("annotation", "annotation_id"),),
}
"""Table → the tables whose rows own its rows, and through which column: with an owner go its rows."""

POINTERS: tuple[tuple[str, str, str], ...] = (
    ("alignment", "tiltseries_id", "tiltseries"),
    ("tomogram", "alignment_id", "alignment"),
    ("annotation_file", "alignment_id", "alignment"),
)
"""Table, column, table pointed to: the pointer is cleared when the row that it points to goes."""


@dataclass
class TableCounts:
    """What was done to one table."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0


@dataclass
class Written:
    """What was done to the tables of one dataset, and what is about to be deleted."""

    tables: dict[str, TableCounts] = field(default_factory=dict)
    unresolved: list[tuple[str, int, str]] = field(default_factory=list)
    """Table, number of the row, column: rows that were left out because a required link leads nowhere."""

    left_alone: list[tuple[str, int]] = field(default_factory=list)
    """Table, number of the row: doubted rows that are stored, and stay as they are."""


class Writer:
    """Writes the rows of one dataset or deposition.

    Args:
        connection: in a transaction, with its time zone set to UTC.
        entities: all of the family, parents before children.
    """

    def __init__(self, connection: Connection[Any], entities: Sequence[Entity]) -> None:
        self._cursor: Cursor[Any] = connection.cursor()
        self._entities = entities
        self._doomed: dict[str, int] = {}
        self._left_alone: dict[str, set[int]] = {}
        """Table → numbers of rows that are not written, those below doubted ones included."""
        self.written = Written()

    def write(self, made: Mapping[str, TableRows]) -> None:
        """Create and update rows, and find out which are stale."""
        for entity in self._entities:
            counts = self.written.tables[entity.table] = TableCounts()
            rows = made.get(entity.table)
            staged = 0 if rows is None else self._stage(rows)
            if rows is not None and staged:
                self._resolve_parents(entity)
                for link in entity.links:
                    self._resolve_link(entity, link, rows)
                staged -= sum(table == entity.table for table, _, _ in self.written.unresolved)
                matched = self._match(entity)
                left_alone = self._leave_alone(entity, rows) if rows.doubts else 0
                self._update(entity, rows, counts)
                if matched < staged or entity.identity == ("id",):
                    self._insert(entity, counts)
                counts.unchanged = staged - left_alone - counts.created - counts.updated
            self._find_doomed(entity, rows)

    @property
    def doomed(self) -> Mapping[str, int]:
        """Table → how many of its rows are to be deleted."""
        return {table: count for table, count in self._doomed.items() if count}

    def doomed_rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table that are to be deleted, as JSON."""
        self._run("SELECT to_jsonb(t) FROM {t} t JOIN {old} o ON o.id = t.id ORDER BY t.id", table)
        return [row[0] for row in self._cursor.fetchall()]

    def delete(self) -> None:
        """Delete what is stale, children first; one statement per table."""
        for table, column, target in POINTERS:
            if self._doomed.get(target):
                self._execute(
                    sql.SQL(
                        "UPDATE {t} SET {c} = NULL WHERE {c} IN (SELECT id FROM {target}) "
                        "AND NOT EXISTS (SELECT 1 FROM {old} o WHERE o.id = {t}.id)"
                    ).format(
                        t=sql.Identifier(table),
                        c=sql.Identifier(column),
                        target=sql.Identifier(f"old_{target}"),
                        old=sql.Identifier(f"old_{table}"),
                    )
                )
                self.written.tables[table].updated += self._cursor.rowcount
        for table in reversed(self._doomed):
            if self._doomed[table]:
                self._run("DELETE FROM {t} t USING {old} o WHERE o.id = t.id", table)
                self.written.tables[table].deleted = self._cursor.rowcount

    # -- one table

    def _stage(self, rows: TableRows) -> int:
        """Copy the rows into a temporary table of the same columns, and the extra ones; how many.

        Raises:
            DatabaseRefused: a value cannot be stored; of which document, and in which column.
        """
        entity = rows.entity
        numbers = self._to_be_written(rows)
        keeps = _keeps(rows)
        extra = [
            *((name, kind) for link in entity.links for name, (kind, _) in link.named.items()),
            *((f"keep_{name}", "boolean") for name in keeps),
        ]
        self._run(
            "CREATE TEMP TABLE {new} ON COMMIT DROP AS "
            "SELECT 0 AS n, false AS is_new, t.*{extra} FROM {t} t WITH NO DATA",
            entity.table,
            extra=sql.SQL("").join(
                sql.SQL(", NULL::{kind} AS {name}").format(
                    kind=_text(kind), name=sql.Identifier(name)
                )
                for name, kind in extra
            ),
        )
        columns = sql.SQL(", ").join(
            map(sql.Identifier, (*rows.columns, *(f"keep_{name}" for name in keeps)))
        )
        statement = sql.SQL("COPY {new} (n, {columns}) FROM STDIN").format(
            new=sql.Identifier(f"new_{entity.table}"), columns=columns
        )
        json_places = [
            place
            for place, name in enumerate(rows.columns)
            if name in entity.sql_table.c and isinstance(entity.sql_table.c[name].type, JSONB)
        ]
        n = 0
        try:
            with self._cursor.copy(statement) as copy:
                for n in numbers:
                    row = list(rows.rows[n])
                    for place in json_places:
                        row[place] = None if row[place] is None else Jsonb(row[place])
                    kept = rows.kept.get(n, ())
                    copy.write_row((n, *row, *(name in kept for name in keeps)))
        except (DataError, UnicodeError) as error:
            # Rows are sent many at a time: what the database says is of an earlier one than this.
            said = " ".join(str(error).split())
            line = re.search(r"COPY \w+, line (\d+)", said)
            at = numbers[int(line[1]) - 1] if line else n
            raise DatabaseRefused(f"{_described(rows, at)}: {said}") from error
        if len(numbers) >= ANALYZE_FROM_ROWS:
            self._run("ANALYZE {new}", entity.table)
        return len(numbers)

    def _to_be_written(self, rows: TableRows) -> list[int]:
        """Numbers of the rows, but those below a row that is left alone: they go with it."""
        entity = rows.entity
        above = self._left_alone.get(entity.parent or "")
        if not above:
            return list(rows.rows)
        place = rows.columns.index(entity.parent_column)
        below = {n for n, row in rows.rows.items() if row[place] in above}
        self._left_alone[entity.table] = below
        return [n for n in rows.rows if n not in below]

    def _resolve_parents(self, entity: Entity) -> None:
        """Put ids in the place of the numbers of parents."""
        pointers = {entity.parent_column: entity.parent} if entity.parent else {}
        pointers |= {column: _table_of(entity, column) for column in entity.further_parents}
        if not pointers:
            return
        names = {column: f"p{place}" for place, column in enumerate(pointers)}
        self._run(
            "UPDATE {new} n SET {sets} FROM {parents} WHERE {joins}",
            entity.table,
            sets=sql.SQL(", ").join(
                sql.SQL("{c} = {p}.id").format(c=sql.Identifier(c), p=sql.Identifier(p))
                for c, p in names.items()
            ),
            parents=sql.SQL(", ").join(
                sql.SQL("{table} {p}").format(
                    table=sql.Identifier(f"new_{pointers[c]}"), p=sql.Identifier(p)
                )
                for c, p in names.items()
            ),
            joins=sql.SQL(" AND ").join(
                sql.SQL("{p}.n = n.{c}").format(c=sql.Identifier(c), p=sql.Identifier(p))
                for c, p in names.items()
            ),
        )

    def _resolve_link(self, entity: Entity, link: Link, rows: TableRows) -> None:
        """Point to the rows that documents name; a required link that leads nowhere drops its row."""
        self._run(
            "UPDATE {new} n SET {column} = found.id FROM ("
            "SELECT n.n, min(o.id) AS id FROM {new} n JOIN {target} o ON {on}{not_old} "
            "GROUP BY n.n HAVING count(*) = 1 OR NOT {required}) found WHERE found.n = n.n",
            entity.table,
            column=sql.Identifier(link.column),
            target=sql.Identifier(link.table),
            on=_text(link.on),
            required=sql.Literal(link.required),
            not_old=sql.SQL(" AND NOT EXISTS (SELECT 1 FROM {old} x WHERE x.id = o.id)").format(
                old=sql.Identifier(f"old_{link.table}")
            )
            if self._doomed.get(link.table)
            else sql.SQL(""),
        )
        if link.required:
            self._run(
                "DELETE FROM {new} WHERE {column} IS NULL RETURNING n",
                entity.table,
                column=sql.Identifier(link.column),
            )
            for (n,) in self._cursor.fetchall():
                self.written.unresolved.append((entity.table, n, link.column))
                place = rows.columns.index(entity.parent_column)
                rows.complete.discard(rows.rows[n][place])

    def _match(self, entity: Entity) -> int:
        """Find the rows that exist already.

        Returns:
            How many were looked at: with an identity of other columns than the id, how many exist.
        """
        parents = {entity.parent_column, *entity.further_parents}
        nullable = [
            name
            for name in entity.identity
            if name not in parents and entity.sql_table.c[name].nullable
        ]
        self._run(
            "UPDATE {new} n SET id = t.id, is_new = false FROM {t} t WHERE {same}"
            if entity.identity != ("id",)
            else "UPDATE {new} n SET is_new = NOT EXISTS (SELECT 1 FROM {t} t WHERE t.id = n.id)",
            entity.table,
            same=sql.SQL(" AND ").join(
                sql.SQL(
                    "(t.{c} = n.{c} OR (t.{c} IS NULL AND n.{c} IS NULL))"
                    if name in nullable
                    else "t.{c} = n.{c}"
                ).format(c=sql.Identifier(name))
                for name in entity.identity
            ),
        )
        return self._cursor.rowcount

    def _leave_alone(self, entity: Entity, rows: TableRows) -> int:
        """Take out stored rows that may have been made of what could not be read; how many."""
        address = ADDRESSES.get(entity.table)
        pairs = [(n, one) for n, addresses in rows.doubts.items() for one in addresses]
        self._run(
            "DELETE FROM {new} n USING {t} t, "
            "unnest({numbers}::integer[], {addresses}::text[]) d (n, address) "
            "WHERE t.id = n.id AND d.n = n.n AND {was_made_of_it} RETURNING n.n",
            entity.table,
            numbers=sql.Literal([n for n, _ in pairs]),
            addresses=sql.Literal([one for _, one in pairs]),
            was_made_of_it=sql.SQL("true")
            if address is None
            else sql.SQL("t.{c} = d.address").format(c=sql.Identifier(address)),
        )
        found = {n for (n,) in self._cursor.fetchall()}
        self._left_alone[entity.table] = self._left_alone.get(entity.table, set()) | found
        self.written.left_alone += ((entity.table, n) for n in sorted(found))
        return len(found)

    def _stored(self, entity: Entity) -> list[str]:
        """Columns that are written, but the id."""
        parents = [entity.parent_column] if entity.parent else []
        links = [link.column for link in entity.links]
        own = [name for name in entity.columns if name != "id"]
        return [*own, *parents, *entity.further_parents, *links]

    def _update(self, entity: Entity, rows: TableRows, counts: TableCounts) -> None:
        """Rewrite the rows that differ, and no others."""
        names = self._stored(entity)
        keeps = _keeps(rows)
        new = sql.SQL(", ").join(
            sql.SQL("CASE WHEN n.{keep} THEN t.{c} ELSE n.{c} END").format(
                keep=sql.Identifier(f"keep_{name}"), c=sql.Identifier(name)
            )
            if name in keeps
            else sql.SQL("n.{c}").format(c=sql.Identifier(name))
            for name in names
        )
        self._run(
            "UPDATE {t} t SET ({columns}) = ROW({new_values}) FROM {new} n "
            "WHERE t.id = n.id AND ROW({old_values}) IS DISTINCT FROM ROW({new_values})",
            entity.table,
            columns=sql.SQL(", ").join(map(sql.Identifier, names)),
            new_values=new,
            old_values=sql.SQL(", ").join(
                sql.SQL("t.{c}").format(c=sql.Identifier(name)) for name in names
            ),
        )
        counts.updated = self._cursor.rowcount

    def _insert(self, entity: Entity, counts: TableCounts) -> None:
        names = self._stored(entity)
        if entity.identity != ("id",):
            self._run(
                "UPDATE {new} SET id = nextval(pg_get_serial_sequence({name}, 'id')), is_new = true "
                "WHERE id IS NULL",
                entity.table,
                name=sql.Literal(entity.table),
            )
            if not self._cursor.rowcount:
                return
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        self._run(
            "INSERT INTO {t} (id, {columns}) SELECT id, {columns} FROM {new} WHERE is_new ORDER BY n",
            entity.table,
            columns=columns,
        )
        counts.created = self._cursor.rowcount

    def _find_doomed(self, entity: Entity, rows: TableRows | None) -> None:
        """Rows that were not found again below a parent that was seen whole, and what stale rows own."""
        conditions: list[sql.Composable] = []
        if rows is not None and entity.parent and rows.complete:
            conditions.append(
                sql.SQL(
                    "(t.{parent} IN (SELECT p.id FROM {new_parent} p WHERE p.n = ANY({complete})) "
                    "AND NOT EXISTS (SELECT 1 FROM {new} n WHERE n.id = t.id))"
                ).format(
                    parent=sql.Identifier(entity.parent_column),
                    new_parent=sql.Identifier(f"new_{entity.parent}"),
                    complete=sql.Literal(sorted(rows.complete)),
                    new=sql.Identifier(f"new_{entity.table}"),
                )
            )
        conditions += (
            sql.SQL("t.{column} IN (SELECT id FROM {old})").format(
                column=sql.Identifier(column), old=sql.Identifier(f"old_{owner}")
            )
            for owner, column in OWNERS.get(entity.table, ())
            if self._doomed.get(owner)
        )
        # The table is needed also when it stays empty: others are told apart from what is in it.
        self._run(
            "CREATE TEMP TABLE {old} ON COMMIT DROP AS SELECT t.id FROM {t} t WHERE {conditions}",
            entity.table,
            conditions=sql.SQL(" OR ").join(conditions) if conditions else sql.SQL("false"),
        )
        self._doomed[entity.table] = self._cursor.rowcount

    def _run(self, statement: str, table: str, **parts: sql.Composable) -> None:
        """Execute a statement about one table and its two temporary ones."""
        self._execute(
            _text(statement).format(
                t=sql.Identifier(table),
                new=sql.Identifier(f"new_{table}"),
                old=sql.Identifier(f"old_{table}"),
                **parts,
            )
        )

    def _execute(self, statement: sql.Composed) -> None:
        self._cursor.execute(statement)


def _keeps(rows: TableRows) -> list[str]:
    """Columns that some row of the table keeps as they are."""
    return sorted(set().union(*rows.kept.values()))


def _described(rows: TableRows, n: int) -> str:
    """Of which document a row is, and of which table."""
    item = next((found for found in rows.items if found.n == n), None)
    if item is None:
        return rows.entity.table
    entry = f"entry {item.index} of " if item.index else ""
    return f"{item.key}: {entry}{rows.entity.table}"


def _text(statement: str) -> sql.SQL:
    """SQL that this project's own code wrote; values never come this way."""
    return sql.SQL(statement)


def _table_of(entity: Entity, column: str) -> str:
    """The table that a foreign key points to."""
    (key,) = entity.sql_table.c[column].foreign_keys
    return key.column.table.name
