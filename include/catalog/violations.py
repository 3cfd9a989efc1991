"""Rows that share an identity, and the SQL with which a person makes them one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from include.catalog.tables import IDENTITIES, Base
from include.errors import PermanentError

SHOWN_PER_TABLE = 20
"""How many violated identities of one table an error lists."""


@dataclass(frozen=True, slots=True)
class References:
    """The rows that point at rows of one table, through one foreign key."""

    table: str
    column: str

    rows: Mapping[int, int]
    """Id → how many rows point at it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One identity that several rows have."""

    table: str
    columns: tuple[str, ...]

    values: tuple[Any, ...]
    """In the order of the columns."""

    ids: tuple[int, ...]
    """Of the rows, ascending; the first is the one to keep."""

    references: tuple[References, ...] = field(default=())
    """Foreign keys through which other rows point at these."""

    def rows_pointing_at(self, row_id: int) -> int:
        """How many rows point at one of :attr:`ids`."""
        return sum(found.rows.get(row_id, 0) for found in self.references)

    def __str__(self) -> str:
        named = zip(self.columns, self.values, strict=True)
        identity = ", ".join(f"{column}={_shown(value)}" for column, value in named)
        rows = ", ".join(f"{row} ({self.rows_pointing_at(row)})" for row in self.ids)
        return f"{identity}: rows {rows}"


class IdentitiesViolated(PermanentError):
    """Several rows of the catalog have one identity; carries every violation."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        lines = [
            "Several rows have the same identity, so it cannot be made unique; nothing was changed. "
            "In brackets: how many rows point at each row."
        ]
        for table, found in _by_table(violations).items():
            lines.append(f"  {table} ({', '.join(found[0].columns)}): {_count(found)}")
            lines += (f"    {violation}" for violation in found[:SHOWN_PER_TABLE])
            if len(found) > SHOWN_PER_TABLE:
                lines.append(f"    and {len(found) - SHOWN_PER_TABLE} more")
        lines.append(
            "To repair: `assetflow catalog check --sql` prints statements that keep the row with the lowest "
            "id; review and run them, until it finds nothing, then run `assetflow catalog migrate` again."
        )
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[IdentitiesViolated], tuple[Sequence[Violation]]]:
        return (type(self), (self.violations,))


def find_violations(
    connection: sa.Connection, identities: Mapping[str, tuple[str, ...]] = IDENTITIES
) -> list[Violation]:
    """Every identity that several rows have, in the order of *identities*, parents before children.

    Tables that the database lacks, or in which a column of the identity is missing, are passed over.
    """
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    violations: list[Violation] = []
    for table, columns in identities.items():
        if columns == ("id",) or table not in there:
            continue
        known = {column["name"] for column in inspector.get_columns(table)}
        if not {"id", *columns} <= known:
            continue
        shared = _shared_identities(connection, table, columns)
        if shared:
            ids = [row for _, rows in shared for row in rows]
            references = list(_references(connection, inspector, table, ids))
            violations += (
                Violation(table, columns, values, rows, _only(references, rows))
                for values, rows in shared
            )
    return violations


def require_identities(
    connection: sa.Connection, identities: Mapping[str, tuple[str, ...]] = IDENTITIES
) -> None:
    """Return when every row has an identity of its own.

    Raises:
        IdentitiesViolated: some have not.
    """
    violations = find_violations(connection, identities)
    if violations:
        raise IdentitiesViolated(violations)


def repair_statements(violation: Violation) -> list[str]:
    """SQL that leaves one row of the identity: the one with the lowest id. For a person to review and run.

    Rows that point at the others are turned to it, the others are deleted. Its own values stay; the next
    import writes them anew. Where the rows below would then share an identity, and nothing points at
    those, all but the lowest of them are deleted too; where something does, they are violations of their
    own, which another check finds.
    """
    kept, *others = violation.ids
    gone, merged = _listed(others), _listed(violation.ids)
    statements: list[str] = []
    for found in violation.references:
        table, column = found.table, found.column
        identity = IDENTITIES.get(table, ())
        if column in identity and table not in _PARENTS:
            same = "".join(
                f" AND extra.{name} IS NOT DISTINCT FROM kept.{name}"
                for name in identity
                if name != column
            )
            statements.append(
                f"DELETE FROM {table} AS extra USING {table} AS kept WHERE extra.{column} IN ({merged})"  # noqa: S608  names and integers
                f" AND kept.{column} IN ({merged}){same} AND extra.id > kept.id;"
            )
        statements.append(f"UPDATE {table} SET {column} = {kept} WHERE {column} IN ({gone});")  # noqa: S608  names and integers
    statements.append(f"DELETE FROM {violation.table} WHERE id IN ({gone});")  # noqa: S608  names and integers
    named = dict(zip(violation.columns, violation.values, strict=True))
    comment = f"-- {violation.table} {_shown(named)}: merge {gone} into {kept}"
    return [f"{comment}\n{statements[0]}", *statements[1:]]


_PARENTS = {
    key.column.table.name for table in Base.metadata.tables.values() for key in table.foreign_keys
}


def _shared_identities(
    connection: sa.Connection, table: str, columns: tuple[str, ...]
) -> list[tuple[tuple[Any, ...], tuple[int, ...]]]:
    rows = sa.table(table, sa.column("id"), *(sa.column(name) for name in columns))
    identity = [rows.c[name] for name in columns]
    ids = sa.func.array_agg(sa.dialects.postgresql.aggregate_order_by(rows.c.id, rows.c.id))
    # GROUP BY puts NULL with NULL, as the identities want it.
    query = sa.select(*identity, ids).group_by(*identity).having(sa.func.count() > 1)
    found = ((tuple(row[:-1]), tuple(row[-1])) for row in connection.execute(query))
    return sorted(found, key=lambda shared: shared[1])


def _references(
    connection: sa.Connection, inspector: sa.Inspector, table: str, ids: Sequence[int]
) -> Iterator[References]:
    """Asked of the database, which may have tables beside ours that point at them."""
    for (_, child), keys in sorted(inspector.get_multi_foreign_keys().items(), key=str):
        for key in keys:
            if key["referred_table"] != table or key["referred_columns"] != ["id"]:
                continue
            (name,) = key["constrained_columns"]
            rows = sa.table(child, sa.column(name, sa.Integer))
            of_these = rows.c[name] == sa.func.any(sa.literal(list(ids), sa.ARRAY(sa.Integer)))
            query = sa.select(rows.c[name], sa.func.count()).where(of_these).group_by(rows.c[name])
            counts = {row[0]: row[1] for row in connection.execute(query)}
            yield References(child, name, counts)


def _only(references: Iterable[References], ids: Sequence[int]) -> tuple[References, ...]:
    """The part of *references* that points at *ids*."""
    found = (
        References(
            each.table, each.column, {row: each.rows[row] for row in ids if row in each.rows}
        )
        for each in references
    )
    return tuple(each for each in found if each.rows)


def _by_table(violations: Iterable[Violation]) -> dict[str, list[Violation]]:
    found: dict[str, list[Violation]] = defaultdict(list)
    for violation in violations:
        found[violation.table].append(violation)
    return found


def _count(violations: Sequence[Violation]) -> str:
    rows = sum(len(violation.ids) for violation in violations)
    identities = "1 identity" if len(violations) == 1 else f"{len(violations)} identities"
    return f"{identities}, {rows} rows"


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(str(int(row)) for row in ids)


def _shown(value: Any) -> str:
    """One line, whatever the text: a line break would end an SQL comment."""
    return json.dumps(value, default=str)
