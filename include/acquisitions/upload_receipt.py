"""The receipt of an upload: what S3 was proven to hold, file by file, stored with the asset.

``.assetflow/receipt.jsonl.gz`` is the last object written: one JSON object for the whole, then one
per file, by path. The same files give the same bytes, so an unchanged asset keeps its receipt.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from include.acquisitions.file_digest import FileDigest, FileStamp

RECEIPT_NAME = ".assetflow/receipt.jsonl.gz"


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file whose content S3 holds."""

    relative: str
    """Path in the asset folder: its key without the asset's prefix."""

    digest: FileDigest
    etag: str


def receipt_content(location: str, files: Sequence[HeldFile]) -> tuple[bytes, FileDigest]:
    """The receipt and its digest, for ``files`` in the order of their paths."""
    from awscrt.checksums import crc64nvme

    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=6, fileobj=packed, mtime=0) as lines:
        total = {
            "location": location,
            "files": len(files),
            "size_bytes": sum(file.digest.size_bytes for file in files),
        }
        lines.write(_line(total))
        for file in files:
            lines.write(
                _line({
                    "path": file.relative,
                    "size_bytes": file.digest.size_bytes,
                    "crc64nvme": file.digest.crc64nvme,
                    "etag": file.etag,
                })
            )
    content = packed.getvalue()
    digest = FileDigest(
        size_bytes=len(content),
        crc64nvme=base64.b64encode(crc64nvme(content).to_bytes(8, "big")).decode(),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        stamp=FileStamp(len(content), 0, 0),
    )
    return content, digest


def _line(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"
