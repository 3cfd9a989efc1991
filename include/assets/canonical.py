"""The one text form of metadata, for every file written here and for every comparison.

JSON with sorted keys (by code point), an indent of three spaces, non-ASCII characters as they are, in
UTF-8 without a final newline. Values that JSON cannot hold (dates, ids) become text first. It is what
``json.dumps(content, indent=3, sort_keys=True, ensure_ascii=False, default=str)`` gives, and a test
holds it to that; but Python writes indented JSON in Python, which is most of the processor time of an
index run. Here containers without containers in them are written by the C encoder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from json.encoder import encode_basestring
from typing import Any

INDENT = "   "

_NEWLINE = "\n"

_SCALARS = frozenset({str, int, float, bool, type(None)})
"""What the C encoder writes in a container as this format wants it, whatever else there is."""


def canonical_text(content: Any) -> str:
    """The canonical text of *content*.

    Raises:
        TypeError: an object's keys are of types that cannot be sorted together.
        RecursionError: nested beyond what Python can follow.
    """
    return _text(content, _NEWLINE)


def canonical_digest(value: Any) -> str:
    """MD5, in hex, of the canonical text in UTF-8: what S3 gives as ETag of a single part."""
    return digest(canonical_text(value).encode())


def digest(content: bytes) -> str:
    """MD5 in hex."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def object_of_texts(texts: Mapping[str, str]) -> str:
    """Canonical text of the object whose values have these canonical texts.

    A record's fields are compared with their files one by one, and the whole with the aggregate: no
    field is written as text twice.
    """
    if not texts:
        return "{}"
    inner = _NEWLINE + INDENT
    # Within a text, a line feed is always one between tokens: inside of strings it is escaped.
    parts = (
        f"{encode_basestring(key)}: {texts[key].replace(_NEWLINE, inner)}" for key in sorted(texts)
    )
    return "{" + inner + ("," + inner).join(parts) + _NEWLINE + "}"


def _text(value: Any, newline: str) -> str:
    """Text of *value*, whose lines begin with *newline*."""
    inner = newline + INDENT
    if isinstance(value, dict):
        if not value:
            return "{}"
        if _SCALARS.issuperset(map(type, value.values())):
            return "{" + inner + _encoder(inner)(value)[1:-1] + newline + "}"
        parts = [f"{_key_text(key)}: {_text(value[key], inner)}" for key in sorted(value)]
        return "{" + inner + ("," + inner).join(parts) + newline + "}"
    if isinstance(value, (list, tuple)):
        if not value:
            return "[]"
        if _SCALARS.issuperset(map(type, value)):
            return "[" + inner + _encoder(inner)(value)[1:-1] + newline + "]"
        return (
            "[" + inner + ("," + inner).join([_text(one, inner) for one in value]) + newline + "]"
        )
    return encode_basestring(value) if type(value) is str else _encoder(newline)(value)


def _key_text(key: Any) -> str:
    """A key as the C encoder writes it: numbers, booleans and null become text."""
    if isinstance(key, str):
        return encode_basestring(key)
    return _encoder(_NEWLINE)({key: 0})[1:].rpartition(": ")[0]


@cache
def _encoder(newline: str) -> Callable[[Any], str]:
    """Python's C encoder, with *newline* after each comma. One per depth of nesting."""
    return json.JSONEncoder(
        ensure_ascii=False,
        sort_keys=True,
        default=str,
        check_circular=False,
        separators=("," + newline, ": "),
    ).encode
