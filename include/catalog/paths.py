"""Paths as documents give them, and the addresses made of them.

Documents name their files by bucket-relative key (``30001/RUN1/...``), sometimes with the bucket before it
(``cryoet-data/30001/RUN1/...``). Both mean the same object.
"""

from __future__ import annotations

from dataclasses import dataclass

PUBLIC_FILE_SERVER = "https://files.cryoetdataportal.cziscience.com"
"""Where the production bucket's files are read over HTTPS."""


def relative_key(bucket: str, path: str) -> str:
    """The key that *path* of a document means: without its bucket and without slashes before it.

    The bucket ends at its slash: in the bucket ``data``, ``data-old/x`` stays as it is, and so does
    ``data`` alone.
    """
    return path.lstrip("/").removeprefix(f"{bucket}/").lstrip("/")


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
