"""What S3 says about one object."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

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
