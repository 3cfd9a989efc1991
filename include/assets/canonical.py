"""The one text form of metadata, for every file written here and for every comparison.

JSON with sorted keys (by code point), an indent of three spaces, non-ASCII characters as they are, in
UTF-8 without a final newline. Values that JSON cannot hold (dates, ids) become text first. It is what
``json.dumps(content, indent=3, sort_keys=True, ensure_ascii=False, default=str)`` gives, and a test
holds it to that; but Python writes indented JSON in Python, which would be most of the processor time of
an index run. Here its C encoder writes one line, and msgspec's formatter indents that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

import msgspec

INDENT = "   "

_NEWLINE = "\n"

_one_line = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, default=str, check_circular=False, separators=(",", ":")
).encode

_indented = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, default=str, check_circular=False, indent=len(INDENT)
).encode


def canonical_text(content: Any) -> str:
    """The canonical text of *content*.

    Raises:
        TypeError: an object's keys are of types that cannot be sorted together.
        RecursionError: nested beyond what Python can follow.
    """
    line = _one_line(content)
    try:
        return msgspec.json.format(line, indent=len(INDENT))
    except (msgspec.DecodeError, UnicodeEncodeError):
        # NaN and infinity, which JSON does not have, and half a surrogate pair.
        return _indented(content)


def digest(content: bytes) -> str:
    """MD5 in hex: what S3 gives as ETag of a single part."""
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
