"""Paths as documents give them, and the addresses made of them.

Documents name their files by bucket-relative key (``30001/RUN1/...``), sometimes with the bucket before it
(``cryoet-data/30001/RUN1/...``). Both mean the same object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from include.catalog.values import UnusableValue, shown

LONGEST_KEY_BYTES = 1024
"""No object of S3 has a longer key."""

PUBLIC_FILE_SERVER = "https://files.cryoetdataportal.cziscience.com"
"""Where the production bucket's files are read over HTTPS."""


def relative_key(bucket: str, path: str) -> str:
    """The key that *path* of a document means: without its bucket and without slashes before it.

    The bucket ends at its slash: in the bucket ``data``, ``data-old/x`` stays as it is, and so does
    ``data`` alone.
    """
    return path.lstrip("/").removeprefix(f"{bucket}/").lstrip("/")


def path_of(value: Any) -> str | None:
    """A path of a document; None for an empty one.

    Raises:
        UnusableValue: it is no text, holds a NUL, or is longer than any key.
    """
    if value is None or value in ("", {}):
        return None
    if not isinstance(value, str):
        raise UnusableValue(f"expected a path, found {shown(value)}")
    if "\0" in value:
        raise UnusableValue("expected a path, found a NUL character in it")
    if len(value.encode()) > LONGEST_KEY_BYTES:
        raise UnusableValue(f"expected a path, found more than {LONGEST_KEY_BYTES} bytes")
    return value


def key_of(bucket: str, value: Any) -> str | None:
    """The key that a path of a document means; None for an empty path.

    Raises:
        UnusableValue: it is no path, or names no object but the bucket: asked for its size or content, that
            would be all of the bucket.
    """
    path = path_of(value)
    if path is None:
        return None
    key = relative_key(bucket, path)
    if not key:
        raise UnusableValue(f"expected a path, found {shown(value)}")
    return key


@dataclass(frozen=True, slots=True)
class Urls:
    """Addresses of the objects and folders of one bucket; a folder's key ends with its slash."""

    bucket: str
    https_prefix: str = ""
    """``""`` means the public file server; a slash at its end makes no difference."""

    def s3(self, key: str) -> str:
        """Address of a key, as :func:`relative_key` gives it, for S3 clients."""
        return f"s3://{self.bucket}/{key}"

    def https(self, key: str) -> str:
        """Address of a key, as :func:`relative_key` gives it, for browsers."""
        return f"{(self.https_prefix or PUBLIC_FILE_SERVER).rstrip('/')}/{key.lstrip('/')}"

    def photo(self, path: str) -> str:
        """Address of the key photo of a deposition or tomogram, whose path is never cut.

        A dataset's key photo is a file like others: :func:`relative_key`, then :meth:`https`.
        """
        return self.https(path)
