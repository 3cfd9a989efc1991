"""Values of JSON documents as the columns of a table want them.

A column's type and name say what is taken: text columns take numbers and lists as PostgreSQL prints them,
columns with ``date`` in their name take ``YYYY-MM-DD``, everything else must be what it says.

What a converter lets through, the database can store. What it would refuse (a NUL, a number that is none,
lists nested without end) would lose the whole dataset there; here it is the problem of one value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

DEEPEST = 100
"""So many lists and objects inside one another are taken; Python's own limit depends on who asks."""

Converter = Callable[[Any], Any]


class UnusableValue(ValueError):
    """A value that its column cannot take; the message says why."""


def walk(data: Any, path: tuple[str, ...]) -> Any:
    """The value at the end of *path*; a falsy value on the way is the result.

    An empty object stands for nothing, as null does.

    Raises:
        UnusableValue: something else than an object is on the way.
    """
    value = data
    for step in path:
        if not isinstance(value, dict):
            raise UnusableValue(f"expected an object with {step!r}, found {shown(value)}")
        value = value.get(step)
        if not value:
            break
    return None if value == {} else value


def shown(value: Any) -> str:
    """A value in a message: short, and without secrets of any length."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} nested without end"
    return text if len(text) <= 60 else f"{text[:57]}…"


def to_text(value: Any) -> str | None:
    """As PostgreSQL casts it to text; a list becomes an array literal."""
    if value is None:
        return None
    if isinstance(value, str):
        return _without_nul(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list):
        for part in _parts(value):
            if isinstance(part, str):
                _without_nul(part)
        return array_literal(value)
    raise UnusableValue(f"expected text, found {shown(value)}")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise UnusableValue("holds a NUL character, which the database cannot store")
    return text


def _parts(value: Any) -> Iterator[Any]:
    """Everything in a JSON value that is neither list nor object, and the keys of objects.

    Raises:
        UnusableValue: it is nested deeper than :data:`DEEPEST`.
    """
    level = [value]
    for _ in range(DEEPEST):
        deeper: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                yield from one
                deeper += one.values()
            elif isinstance(one, list):
                deeper += one
            else:
                yield one
        if not deeper:
            return
        level = deeper
    raise UnusableValue(f"has more than {DEEPEST} lists and objects inside one another")


def array_literal(value: list[Any]) -> str:
    """``[[1, 0.5], [0, 1.0]]`` as ``{{1,0.5},{0,1}}``."""
    return "{" + ",".join(map(_element, value)) + "}"


def _element(value: Any) -> str:
    if isinstance(value, list):
        return array_literal(value)
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        plain = re.fullmatch(r"[^\s{},\"\\]+", value) and value.upper() != "NULL"
        return value if plain else f'"{quoted}"'
    raise UnusableValue(f"expected a list of plain values, found {shown(value)} in it")


def _number(value: float) -> str:
    """Integral floats lose their fraction, as they do in an array of the database."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def to_integer(value: Any) -> int | None:
    """A whole number of 32 bits, also when it is written as text or with an empty fraction."""
    if value is None:
        return None
    number = value if type(value) is int else None
    if (isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,10}\s*", value)) or (
        isinstance(value, float) and value.is_integer()
    ):
        number = int(value)
    if number is None or not -(2**31) <= number < 2**31:
        raise UnusableValue(f"expected a whole number, found {shown(value)}")
    return number


def to_float(value: Any) -> float | None:
    """A number, also when it is written as text."""
    if value is None or type(value) is float:
        return value
    if type(value) is int or isinstance(value, str):
        with suppress(ValueError, OverflowError):
            return float(value)
    raise UnusableValue(f"expected a number, found {shown(value)}")


def to_boolean(value: Any) -> bool | None:
    """True or false, also as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    raise UnusableValue(f"expected true or false, found {shown(value)}")


def to_day(value: Any) -> datetime | None:
    """Midnight in UTC of a day written ``YYYY-MM-DD``; nothing for an empty value."""
    if not value:
        return None
    if isinstance(value, str) and _DAY.fullmatch(value):
        with suppress(ValueError):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
    raise UnusableValue(f"expected a day as YYYY-MM-DD, found {shown(value)}")


def one_of(words: Collection[str]) -> Converter:
    """Takes only the words of an enum."""
    known = frozenset(words)

    def convert(value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, str) and value in known:  # a list cannot be looked up
            return value
        raise UnusableValue(f"expected one of {', '.join(sorted(known))}, found {shown(value)}")

    return convert


def as_it_stands(value: Any) -> Any:
    """For JSON columns: what is JSON. Python's parser takes ``NaN`` and ``Infinity`` as well."""
    for part in _parts(value):
        if isinstance(part, str):
            _without_nul(part)
        elif isinstance(part, float) and not math.isfinite(part):
            raise UnusableValue(f"holds {part}, which is no number of JSON")
    return value
