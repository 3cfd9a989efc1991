"""Whether S3 holds the content of a file: path, size and digest, never a date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from include.acquisitions.file_digest import FileDigest
from include.assets.stored_object import StoredObject
from include.errors import NotFound


class StoredContent(Protocol):
    """What S3 says about objects."""

    def iterate_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """All objects under a prefix; an incomplete list raises."""

    def head(self, bucket: str, key: str) -> StoredObject:
        """One object with its CRC64NVME.

        Raises:
            NotFound: it is definitely not there.
        """


def is_held(store: StoredContent, bucket: str, found: StoredObject, digest: FileDigest) -> bool:
    """Whether the object that a listing showed holds this content.

    By the listing alone where that proves it, else by one HEAD: the ETag of an object sent in
    parts, or encrypted by KMS, is not an MD5. An object without CRC64NVME proves nothing.
    """
    if found.size_bytes != digest.size_bytes:
        return False
    if found.has_md5(digest.md5):
        return True
    try:
        now = store.head(bucket, found.key)
    except NotFound:
        return False
    return (now.size_bytes, now.crc64nvme) == (digest.size_bytes, digest.crc64nvme)
