"""What a database has of a schema, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from include.errors import InvalidInput, Problem

_DIALECT: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def complete_schema(connection: sa.Connection, schema: sa.MetaData) -> None:
    """Make the tables, indexes and foreign keys of *schema* that the database lacks; change nothing else.

    Raises:
        InvalidInput: a table is there and cannot be used as it stands; nothing was made.
    """
    problems = schema_problems(connection, schema)
    if problems:
        raise InvalidInput(problems)
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    for table in schema.sorted_tables:
        if table.name not in there:
            table.create(connection)
            continue
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in indexes:
                index.create(connection)
        references = {
            (tuple(key["constrained_columns"]), key["referred_table"])
            for key in inspector.get_foreign_keys(table.name)
        }
        for key in table.foreign_key_constraints:
            if (tuple(key.column_keys), key.referred_table.name) not in references:
                connection.execute(sa.schema.AddConstraint(key))


def schema_problems(connection: sa.Connection, schema: sa.MetaData) -> list[Problem]:
    """What keeps the tables that are there from being used as those of *schema*.

    Whatever takes the rows of *schema* will do: a wider or unbounded varchar, a column that need not have
    a value, a default. Tables that are not there are no problem.
    """
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    problems: list[Problem] = []
    for table in schema.sorted_tables:
        if table.name in there:
            found = {column["name"]: column for column in inspector.get_columns(table.name)}
            key = inspector.get_pk_constraint(table.name)["constrained_columns"]
            problems += _table_problems(table, found, key)
    return problems


def _table_problems(
    table: sa.Table, found: Mapping[str, Any], primary_key: list[str]
) -> Iterator[Problem]:
    older = "bring the database to the portal's last schema first"
    if primary_key != ["id"]:
        reason = f"the primary key is ({', '.join(primary_key)}), not (id)"
        yield Problem(table.name, "id", reason, older)
    for column in table.columns:
        existing = found.get(column.name)
        if existing is None:
            yield Problem(table.name, column.name, "the table has no such column", older)
            continue
        is_type, wanted = _type_text(existing["type"]), _type_text(column.type)
        if not _holds(existing["type"], column.type):
            yield Problem(table.name, column.name, f"is {is_type}, not {wanted}", older)
        if column.nullable and not existing["nullable"]:
            yield Problem(table.name, column.name, "is NOT NULL, but may be without a value", older)
    identifier = found.get("id")
    if identifier and isinstance(table.c.id.type, sa.Integer) and not _is_given(identifier):
        yield Problem(table.name, "id", "takes no number from a sequence", older)
    for name, existing in found.items():
        if name not in table.columns and not existing["nullable"] and not _is_given(existing):
            reason = "is not known here and needs a value, so no row can be added"
            yield Problem(table.name, name, reason, "let it be NULL, or give it a default")


def _is_given(column: Mapping[str, Any]) -> bool:
    """Whether the database fills the column when a row does not."""
    return any(column.get(source) for source in ("default", "identity", "computed"))


def _holds(existing: Any, wanted: Any) -> bool:
    if isinstance(wanted, sa.String) and isinstance(existing, sa.String):
        is_wide = wanted.length is not None and (existing.length or 0) >= wanted.length
        return existing.length is None or is_wide
    return _type_text(existing) == _type_text(wanted)


def _type_text(kind: sa.types.TypeEngine[Any]) -> str:
    return kind.compile(_DIALECT)
