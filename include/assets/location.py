"""``s3://bucket/name``: where an asset is, and what is not such a place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from include.errors import InvalidInput, Problem

_LOCATION = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<name>.*)", re.IGNORECASE | re.DOTALL)
"""Not parsed as a URL: ``?``, ``#`` and ``%`` are letters of a key like any other."""


@dataclass(frozen=True, slots=True)
class AssetLocation:
    """One asset's folder at the top of a bucket."""

    bucket: str
    name: str
    """Asset name, which is also the key prefix; no slash."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``s3://bucket/name``; slashes around the name and the scheme's case do not matter.

        Raises:
            InvalidInput: another scheme, no bucket, no name, or a name of several parts.
        """
        parts = _LOCATION.fullmatch(text)
        name = parts["name"].strip("/") if parts else ""
        if parts is None or not name or "/" in name:
            problem = Problem(text, "location", "expected s3://<bucket>/<asset name>")
            raise InvalidInput([problem])
        return cls(parts["bucket"], name)

    @property
    def key_prefix(self) -> str:
        """Prefix of every key of the asset, with its slash: ``a_10`` is not ``a_10-extra``."""
        return f"{self.name}/"

    @property
    def claim_name(self) -> str:
        """Key of the claim of a run that works on the asset, below ``claims/``."""
        return f"{self.bucket}/{self.name}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """How records of former years write this location; the first is how it is written here."""
        return (str(self), f"{self}/", f"s3://{self.bucket}//{self.name}")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.name}"
