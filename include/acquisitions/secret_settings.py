"""Settings that look like secrets: they belong in a connection, never in a preset, plan or mail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "***"

_LAST_WORDS = frozenset({
    "apikey",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "secrets",
    "token",
})
_LAST_PAIRS = frozenset({("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key")})
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.+)", re.DOTALL)
_LOGIN_IN_ADDRESS = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def names_a_secret(key: str) -> bool:
    """Whether the value of *key* is a secret by its name: ``api_key``, not ``token_count``."""
    words = [word.lower() for word in _WORDS.findall(key)]
    return bool(words) and (words[-1] in _LAST_WORDS or tuple(words[-2:]) in _LAST_PAIRS)


def find_secrets(value: Any, path: str = "") -> Iterator[str]:
    """Dotted path of every text within *value* that looks like a secret.

    Looked at are keys, entries ``NAME=value`` of lists (environments are given so) and addresses with
    a login. References to something kept elsewhere, such as ``$TOKEN`` or ``%ENV_FILE``, are none.
    """
    if isinstance(value, Mapping):
        for key, entry in value.items():
            where = f"{path}.{key}".lstrip(".")
            if names_a_secret(str(key)) and _is_told(entry):
                yield where
            else:
                yield from find_secrets(entry, where)
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from find_secrets(entry, f"{path}[{index}]")
    elif isinstance(value, str) and (_LOGIN_IN_ADDRESS.search(value) or _assigns_secret(value)):
        yield path


def hide_secrets(value: Any) -> Any:
    """*value* with everything that :func:`find_secrets` would name replaced by ``***``."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if names_a_secret(str(key)) and _is_told(entry) else hide_secrets(entry)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [hide_secrets(entry) for entry in value]
    if isinstance(value, str) and (_LOGIN_IN_ADDRESS.search(value) or _assigns_secret(value)):
        return HIDDEN
    return value


def _is_told(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value[0] not in "$%"


def _assigns_secret(text: str) -> bool:
    found = _ASSIGNMENT.fullmatch(text)
    return found is not None and names_a_secret(found["name"]) and _is_told(found["value"])
