"""``s3://bucket/name``: where an asset is, and what is not such a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from include.errors import InvalidInput, Problem


@dataclass(frozen=True, slots=True)
class AssetLocation:
    """One asset's folder at the top of a bucket."""

    bucket: str
    name: str
    """Asset name, which is also the key prefix; no slash."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``s3://bucket/name``; slashes around the name do not matter.

        Raises:
            InvalidInput: another scheme, no bucket, no name, or a name of several parts.
        """
        parts = urlsplit(text)
        name = parts.path.strip("/")
        if parts.scheme.lower() != "s3" or not parts.netloc or not name or "/" in name:
            problem = Problem(text, "location", "expected s3://<bucket>/<asset name>")
            raise InvalidInput([problem])
        return cls(parts.netloc, name)

    @property
    def key_prefix(self) -> str:
        """Prefix of every key of the asset, with its slash: ``a_10`` is not ``a_10-extra``."""
        return f"{self.name}/"

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.name}"
