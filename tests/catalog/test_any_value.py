"""Any JSON value at any place of any document becomes rows that can be stored, or a problem with a name."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import JSONB

from include.catalog.entity import KEEP
from include.catalog.enums import ENUM_COLUMNS
from include.catalog.rows import TableRows
from include.catalog.tree import Tree
from tests.catalog import made
from tests.catalog.lab import BUCKET, TREE, Objects

OBJECTS = Objects.of_folder(TREE)
OBJECTS.put(
    "30001/RUN1/IdentifiedObjects/identified_objects.json",
    [{"object_id": "GO:1", "object_name": "n", "object_state": "s", "object_description": "d"}],
)
CONTENTS = {
    key: json.loads(content)
    for key, content in OBJECTS.items()
    if key.endswith(".json") and not key.startswith("20001/")
}

Place = tuple[Any, ...]
"""Key of a document, then the steps to something in it."""


def places_in(value: Any, at: Place) -> Iterator[Place]:
    yield at
    steps = (
        value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    )
    for step in steps:
        yield from places_in(value[step], (*at, step))


PLACES = [place for key, content in CONTENTS.items() for place in places_in(content, (key,))]

MISSING = object()


def nested(depth: int) -> Any:
    return json.loads("[" * depth + "]" * depth)


ODD = [
    MISSING, None, True, False, 0, 1, -1, 0.5, 2**31, -(2**31) - 1, 10**30, 10**400, float("nan"),
    float("inf"), 1e-400, "", " ", "\0", "a\0b", "\ud800", "/", "//", f"{BUCKET}/", "30001", "30001/", "..",
    "x" * 2000, "é" * 600, "300", "1e5", "nan", "true", "2024-02-30", "٢٠٢٤-٠١-٠١", [], [None], [[]], {},
    {"x": 1}, {"": {}}, {"\0": "\0"}, ["raw"], [{"name": None}], [float("nan")], nested(50), nested(120),
    nested(900),
]  # fmt: skip

VALUES = st.sampled_from(ODD) | st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def with_value_at(place: Place, value: Any) -> Objects:
    """The shared tree with something else at one place."""
    key, *steps = place
    objects = Objects(OBJECTS)
    if not steps and value is MISSING:
        del objects[key]
        return objects
    content: Any = {"top": copy.deepcopy(CONTENTS[key])}
    owner, last = content, "top"
    for step in steps:
        owner, last = owner[last], step
    if value is MISSING:
        del owner[last]
    else:
        owner[last] = value
    objects.put(key, content["top"])
    return objects


def is_storable(table: str, name: str, kind: sa.types.TypeEngine[Any], value: Any) -> bool:
    """Whether PostgreSQL takes a value for a column of this type."""
    if value is None or value is KEEP:
        return True
    if isinstance(kind, JSONB):
        return "\\u0000" not in json.dumps(value, allow_nan=False)
    if isinstance(kind, sa.Integer):
        return type(value) is int and -(2**31) <= value < 2**31
    if isinstance(kind, sa.Float):
        return type(value) in {int, float} and (math.isnan(value) or float(value) is not None)
    if isinstance(kind, sa.Boolean):
        return type(value) is bool
    if isinstance(kind, sa.DateTime):
        return isinstance(value, datetime)
    words = ENUM_COLUMNS.get((table, name))
    return (
        isinstance(value, str)
        and "\0" not in value
        and bool(value.encode("utf-8") or not value)
        and (words is None or value in list(words))
    )


TYPES_OF_LINKS: dict[str, sa.types.TypeEngine[Any]] = {"text": sa.String(), "integer": sa.Integer()}


def unstorable(rows: TableRows) -> list[str]:
    """Values of rows that would lose the whole dataset in the database."""
    entity = rows.entity
    types = {name: column.type for name, column in entity.sql_table.c.items()}
    for link in entity.links:
        types |= {name: TYPES_OF_LINKS[kind] for name, (kind, _) in link.named.items()}
    return [
        f"{entity.table}.{name}: {value!r}"
        for row in rows.rows.values()
        for name, value in zip(rows.columns, row, strict=True)
        if not is_storable(entity.table, name, types[name], value)
    ]


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value_at_any_place_is_stored_or_told(place: Place, value: Any):
    assert_stored_or_told(place, value)


def assert_stored_or_told(place: Place, value: Any) -> None:
    objects = with_value_at(place, value)
    of: Callable[[Objects], tuple[Tree, dict[str, TableRows]]] = (
        made.of_dataset if place[0].startswith("30001/") else made.of_depositions
    )
    tree, found = of(objects)
    for table, rows in found.items():
        assert unstorable(rows) == [], table
        complete = {item.n for item in parents_of(found, rows)} if rows.entity.parent else {0}
        assert rows.complete <= complete, table
    for problem in tree.problems:
        key = problem.item.removeprefix(f"s3://{BUCKET}/")
        assert key in objects, problem
        assert problem.reason, problem
        # Without a field, it is the document as a whole that cannot be read.
        assert problem.field or problem.reason.startswith("InvalidInput: "), problem


def parents_of(found: dict[str, TableRows], rows: TableRows) -> list[Any]:
    return found[rows.entity.parent or ""].items
