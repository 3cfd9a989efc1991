"""What S3 says about one object."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing or a HEAD shows it."""

    key: str
    size_bytes: int
    etag: str
    """Without its quotes. The content's MD5 only if sent in one part and not encrypted by KMS."""

    last_modified: datetime
    crc64nvme: str | None = None
    """Base64 of the whole object's checksum; None in a listing, or when S3 has none."""

    def has_md5(self, md5: str | None) -> bool:
        """Whether the ETag proves that this is the content; False proves nothing."""
        return md5 is not None and _MD5.fullmatch(self.etag) is not None and self.etag == md5


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies directly below one key prefix that ends with a slash."""

    objects: Mapping[str, StoredObject]
    """Last part of the key → object. An object whose key is the prefix itself has the name ``""``."""

    folders: frozenset[str]
    """Names of the folders, without slashes."""

    @classmethod
    def of(cls, prefix: str, objects: Iterable[StoredObject], folders: Iterable[str]) -> Self:
        """From a listing, whose keys and folders hold the whole path."""
        return cls(
            {one.key.removeprefix(prefix): one for one in objects},
            frozenset(one.removeprefix(prefix).removesuffix("/") for one in folders),
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is there."""
        return not self.objects and not self.folders
