"""Secrets within texts: environments, addresses, headers, and the words of shell scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator

HIDDEN = "***"
"""Stands where a secret was."""

_LAST_WORDS = frozenset({
    "apikey",
    "authorization",
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
_SIGNATURES = frozenset({"sig", "signature", "x-amz-signature", "x-goog-signature"})
"""Parameters of addresses that open them to whoever has the address."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_COMMAND = r"\$\([^)]*\)|`[^`]*`"
_VALUE = (
    rf"""(?P<value>'[^']*'|"(?:\\.|{_COMMAND}|[^"\\])*+"|{_COMMAND}|\$\{{[^}}]*\}}"""
    r"""|[^\s;&|<>()'",]+)"""
)
_GAP = r"(?:[ \t]|\\\r?\n)+"

_ASSIGNMENT = re.compile(rf"(?<![\w$%?&-])(?P<name>[A-Za-z_]\w*)={_VALUE}")
"""``export NAME=value``, ``-e NAME=value``, an entry of an environment."""

_OPTION = re.compile(rf"(?<![\w-])--?(?P<name>[A-Za-z][\w-]*)(?:=|{_GAP})(?!-|id=){_VALUE}")
"""``--name value`` and ``--name=value``; not Docker's ``--secret id=…``, which names a file."""

_JSON_ENTRY = re.compile(r"""(?P<q>["'])(?P<name>[\w-]+)(?P=q)\s*:\s*["'](?P<value>[^"']*)["']""")
_HEADER = re.compile(
    r"(?<![\w-])(?P<name>(?:proxy-)?authorization|x-[\w-]+):[ \t]*(?P<value>[^\"'\r\n]+)",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"""(?<=[?&])(?P<name>[\w-]+)=(?P<value>[^\s&#"']+)""")
"""Of an address."""

_LOGIN_IN_ADDRESS = re.compile(r"://[^/\s:@]*:(?P<value>[^/\s@]+)@")
_LOGIN_OF_CURL = re.compile(
    rf"\bcurl\b[^\n|;]*?\s(?:-u|--user)(?:=|{_GAP})[\"']?[^\s:\"']+:(?P<value>[^\s\"']+)"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*-----|\Z)")

_NAMED = (_ASSIGNMENT, _OPTION, _JSON_ENTRY, _HEADER, _PARAMETER)
_NAMELESS = (_LOGIN_IN_ADDRESS, _LOGIN_OF_CURL)

_NO_VALUES = frozenset({"", "true", "false", "null", "none"})
_FOLDERS = frozenset({"pwd", "oldpwd"})
"""Password in some places, working folder in shells and of containers."""

_SCHEME = re.compile(r"\A(?:basic|bearer|token)(?:\s+|$)", re.IGNORECASE)
_REFERENCE = re.compile(
    rf"(?:\$\w+|\$[@*?]|\$\{{[^}}]+\}}|{_COMMAND}|%[A-Z]+(?:_[A-Z]+)*)+"
    r"|arn:aws[\w-]*:(?:secretsmanager|ssm):\S+"
)


def names_a_secret(key: str) -> bool:
    """Whether the value of *key* is a secret by its name: ``api_key``, not ``token_count``."""
    words = [word.lower() for word in _WORDS.findall(key)]
    return bool(words) and (words[-1] in _LAST_WORDS or tuple(words[-2:]) in _LAST_PAIRS)


def is_told(value: object) -> bool:
    """Whether *value* says something itself, and does not only say where it is kept."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return True
    if not isinstance(value, str):
        return False
    if value == HIDDEN:
        return False
    plain = _SCHEME.sub("", value.strip().strip("\"'").strip(), count=1)
    return plain.lower() not in _NO_VALUES and not _REFERENCE.fullmatch(plain)


def find_secret_spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every part of *text* that tells a secret, as its kinds are looked for."""
    for pattern in _NAMED:
        for found in pattern.finditer(text):
            name = found["name"]
            is_secret = names_a_secret(name) or (
                pattern is _PARAMETER and name.lower() in _SIGNATURES
            )
            is_folder = name.lower() in _FOLDERS and found["value"].lstrip("\"'").startswith("/")
            if is_secret and not is_folder and is_told(found["value"]):
                yield found.span()
    for pattern in _NAMELESS:
        for found in pattern.finditer(text):
            if is_told(found["value"]):
                yield found.span()
    for found in _PRIVATE_KEY.finditer(text):
        yield found.span()
