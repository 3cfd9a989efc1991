"""Carry out the plan of one asset's files: copies first, then writes.

Each change is made on the condition that the file is as the plan saw it. Somebody else's change makes the
condition fail, and the rest of the asset is left for the next run. Killed between any two of them, what
was is still in the root or in a copy.
"""

from __future__ import annotations

from typing import Protocol

from include.assets.location import AssetLocation
from include.assets.stored_object import Folder, StoredObject
from include.errors import PreconditionFailed
from include.indexing.asset_files import AssetFiles
from include.indexing.plan import AssetPlan, FileWrite

JSON_TYPE = "application/json"


class AssetStore(Protocol):
    """What indexing needs of S3 beside listings."""

    def read_with_etag(
        self, bucket: str, key: str, *, if_match: str | None = None
    ) -> tuple[bytes, str]:
        """Content and ETag of one object."""

    def head(self, bucket: str, key: str) -> StoredObject:
        """One object without its content."""

    def has_objects(self, bucket: str, prefix: str) -> bool:
        """Whether anything lies under a prefix that ends with a slash; strict about the answer."""

    def list_folder(self, bucket: str, prefix: str) -> Folder:
        """What lies directly below a prefix that ends with a slash; strict about the answer."""

    def put_bytes(
        self,
        bucket: str,
        key: str,
        content: bytes,
        *,
        content_type: str,
        if_none_match: bool = False,
        if_match: str | None = None,
    ) -> str:
        """Write one object under a condition; its ETag."""

    def copy_object(self, bucket: str, key: str, target: str, *, if_match: str) -> None:
        """Copy one object within its bucket unless the target is there."""

    def delete_object(self, bucket: str, key: str, *, if_match: str | None = None) -> None:
        """Delete one object under a condition."""


def read_listed(store: AssetStore, bucket: str, found: StoredObject) -> bytes:
    """Content of the object that a listing showed.

    Raises:
        PreconditionFailed: it is another one now.
    """
    return store.read_with_etag(bucket, found.key, if_match=found.etag)[0]


def back_up(plan: AssetPlan, store: AssetStore) -> None:
    """Make the dated copies of what is in the root now.

    Raises:
        PreconditionFailed, NotFound: a root file is no longer as it was listed, or the copy is there.
    """
    bucket = plan.location.bucket
    for copy in plan.copies:
        store.copy_object(bucket, copy.source.key, copy.target, if_match=copy.source.etag)


def write(plan: AssetPlan, files: AssetFiles, store: AssetStore) -> None:
    """Write the root files and the aggregate.

    Raises:
        PreconditionFailed, NotFound: a file is no longer as it was listed.
    """
    for one in plan.writes:
        etag = write_file(plan.location, one, store)
        if one.is_copied_after:
            _copy_written(one, etag, files, store)


def write_file(location: AssetLocation, one: FileWrite, store: AssetStore) -> str:
    """Write one file where the plan saw none, or over what it saw; its ETag."""
    return store.put_bytes(
        location.bucket,
        one.key,
        one.content,
        content_type=JSON_TYPE,
        if_none_match=one.over is None,
        if_match=None if one.over is None else one.over.etag,
    )


def _copy_written(one: FileWrite, etag: str, files: AssetFiles, store: AssetStore) -> None:
    """Copy a root file that was written a moment ago; its own date names the copy."""
    bucket = files.location.bucket
    written = store.head(bucket, one.key)
    if written.etag != etag:
        raise PreconditionFailed(f"s3://{bucket}/{one.key} was replaced right after it was written")
    target = files.copy_key(one.name, written.last_modified)
    store.copy_object(bucket, one.key, target, if_match=etag)
