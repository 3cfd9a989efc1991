"""Settings that look like secrets: they belong in a connection, never in a preset, plan or mail.

Looked at are keys, ``{"name": …, "value": …}`` pairs, options and their values in lists, and every text,
which may be a script: see ``secret_text.py``. References to something kept elsewhere, such as ``$TOKEN``
or ``%ENV_FILE``, are no secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from include.acquisitions.secret_text import HIDDEN, find_secret_spans, is_told, names_a_secret

ADDRESSES_TO_HIDE = frozenset({"alert_url"})
"""Whoever knows these addresses may post there. They are accepted, because requests carry them, and not
shown."""

Path = tuple[str | int, ...]
"""Keys and indexes that lead to a place within JSON."""


def find_secrets(value: Any) -> Iterator[str]:
    """Dotted path of everything within *value* that looks like a secret, with the line in longer texts."""
    for path, text in _places(value):
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        yield from (f"{where.lstrip('.')}{line}" for line in _lines(text))


def hide_secrets(value: Any) -> Any:
    """*value* with everything that :func:`find_secrets` would name replaced by ``***``.

    So are :data:`ADDRESSES_TO_HIDE`. Of a text with several lines only those are replaced that tell
    something.
    """
    return _hidden(value, (), dict(_places(value)))


def _lines(text: str | None) -> list[str]:
    """How to name the lines with secrets; one empty name when there are no lines to tell apart."""
    if text is None or "\n" not in text.strip():
        return [""]
    starts = (text.count("\n", 0, start) + 1 for start, _ in find_secret_spans(text))
    return [f" line {number}" for number in dict.fromkeys(sorted(starts))]


def _hidden(value: Any, path: Path, places: Mapping[Path, str | None]) -> Any:
    if path in places:
        text = places[path]
        return HIDDEN if text is None else _with_lines_hidden(text)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if key in ADDRESSES_TO_HIDE and is_told(entry)
            else _hidden(entry, (*path, str(key)), places)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [_hidden(entry, (*path, index), places) for index, entry in enumerate(value)]
    return value


def _with_lines_hidden(text: str) -> str:
    hidden = set()
    for start, end in find_secret_spans(text):
        first = text.count("\n", 0, start)
        hidden |= set(range(first, first + text.count("\n", start, end) + 1))
    lines = text.split("\n")
    return "\n".join(HIDDEN if number in hidden else line for number, line in enumerate(lines))


def _places(value: Any, path: Path = ()) -> Iterator[tuple[Path, str | None]]:
    """Where the secrets are, with the text when only part of it may be one."""
    if isinstance(value, Mapping):
        yield from _in_object(value, path)
    elif isinstance(value, list | tuple):
        yield from _in_list(value, path)
    elif isinstance(value, str) and next(find_secret_spans(value), None):
        yield path, value


def _in_object(value: Mapping[Any, Any], path: Path) -> Iterator[tuple[Path, str | None]]:
    """Keys, and pairs as environments are given to AWS Batch and others."""
    folded = {str(key).casefold(): entry for key, entry in value.items()}
    pair_name = folded.get("name", folded.get("key"))
    is_secret_pair = isinstance(pair_name, str) and names_a_secret(pair_name)
    for key, entry in value.items():
        where = (*path, str(key))
        if key in ADDRESSES_TO_HIDE and isinstance(entry, str):
            continue
        if names_a_secret(str(key)) or (is_secret_pair and str(key).casefold() == "value"):
            yield from _under_secret_name(entry, where)
        else:
            yield from _places(entry, where)


def _under_secret_name(value: Any, path: Path) -> Iterator[tuple[Path, str | None]]:
    if is_told(value):
        yield path, None
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from _under_secret_name(entry, (*path, index))
    else:
        yield from _places(value, path)


def _in_list(value: Sequence[Any], path: Path) -> Iterator[tuple[Path, str | None]]:
    """Entries, and the words of a command: an option, then its value."""
    before: Any = None
    for index, entry in enumerate(value):
        where = (*path, index)
        is_option = isinstance(before, str) and before.startswith("-") and names_a_secret(before)
        if is_option and is_told(entry) and not str(entry).startswith("-"):
            yield where, None
        else:
            yield from _places(entry, where)
        before = entry
