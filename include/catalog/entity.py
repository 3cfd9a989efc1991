"""What an entity is: where it is found, which columns it has, what belongs to it.

An entity is a few lines: a table, the parent whose rows it belongs to, a finder that yields its items below
one item of the parent, and a source for each column. A source is a path into the item's JSON
(``"cell_type.id"``) or a function of the item. Types, enums and required columns come from the table.

:data:`Links` are looked up in the database when all rows are there: a row of another table that the
document names by a path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, DateTime, Float, Integer, String, Table
from sqlalchemy.dialects.postgresql import JSONB

from include.catalog import values
from include.catalog.enums import ENUM_COLUMNS
from include.catalog.finders import Finder, Item
from include.catalog.tables import IDENTITIES, Base

if TYPE_CHECKING:
    from include.catalog.tree import Tree


Function = Callable[[Item, "Tree"], Any]
"""A value of the item and the tree; raises UnusableValue when there is none to store."""

Source = str | Function
"""A path into the item's JSON, or a function of the item and the tree."""


@dataclass(frozen=True, slots=True)
class Link:
    """A column that points to a row which the document names by a path.

    Args:
        column: of this table; nullable.
        table: where the row is looked for.
        on: SQL over ``n`` (this row, before it is stored) and ``o`` (the other), such as
            ``o.run_id = n.run_id AND o.s3_path = n.named``.
        named: SQL types of the extra values that *on* needs, by name, and what gives each: stored as it
            is given, it must be of its type.
        required: whether a row without exactly one such row is an error; else the link is NULL.
    """

    column: str
    table: str
    on: str
    named: Mapping[str, tuple[str, Function]] = field(default_factory=dict)
    required: bool = False


@dataclass(frozen=True)
class Entity:
    """One table of the catalog."""

    table: str
    flag: str
    """Name of the part of an import that it belongs to."""

    find: Finder
    columns: Mapping[str, Source]
    parent: str | None = None
    """Table of the rows that it belongs to: what is not found any more below one of them is stale."""

    parent_column: str = ""
    further_parents: Mapping[str, int] = field(default_factory=dict)
    """Column → how many levels above the item whose row it points to is."""

    links: tuple[Link, ...] = ()
    merges: bool = False
    """Whether items of one identity are one thing, with the children of all; else the last one wins."""

    also_reads: Callable[[Item, Tree], str | None] | None = None
    """Key of another object that a column is made of, so that all of them are read at once."""

    @cached_property
    def sql_table(self) -> Table:
        """Its table."""
        return Base.metadata.tables[self.table]

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """Columns that find an existing row."""
        return IDENTITIES[self.table]

    @cached_property
    def converters(
        self,
    ) -> tuple[tuple[str, Source, tuple[str, ...] | None, values.Converter, bool], ...]:
        """Per column: name, source, path (for a source that is one), converter, whether it is required."""
        return tuple(
            (
                name,
                source,
                tuple(source.split(".")) if isinstance(source, str) else None,
                converter_of(self.sql_table, name),
                not self.sql_table.c[name].nullable,
            )
            for name, source in self.columns.items()
        )


KEEP = object()
"""Given by a source that cannot be read now: the column keeps what it holds."""


def converter_of(table: Table, name: str) -> values.Converter:
    """What makes a column's value of a JSON value."""
    column = table.c[name]
    if words := ENUM_COLUMNS.get((table.name, name)):
        return values.one_of([str(word) for word in words])
    if isinstance(column.type, DateTime):
        return values.to_day
    if isinstance(column.type, JSONB):
        return values.as_it_stands
    if isinstance(column.type, Boolean):
        return values.to_boolean
    if isinstance(column.type, Integer):
        return values.to_integer
    if isinstance(column.type, Float):
        return values.to_float
    if isinstance(column.type, String):
        return values.to_text
    raise TypeError(f"{table.name}.{name}: nothing converts to {column.type}")
