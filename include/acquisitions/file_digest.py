"""Size and checksums of a file, taken in one read that notices a change."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from include.errors import InvalidInput, Problem, SourceChanged

CHUNK_BYTES = 8 * 2**20
"""Read at a time: large enough for network storage, small enough for sixteen threads."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What changes when somebody writes to a file."""

    size_bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """Of a ``stat`` that followed links."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What a file held, in the terms in which S3 speaks of an object."""

    size_bytes: int
    crc64nvme: str
    """Base64 of the eight bytes, most significant first, as S3 writes it."""

    md5: str | None
    """Hexadecimal, as in an ETag; None for a file that S3 gets in parts."""

    stamp: FileStamp
    """Of the file when it was read."""


class DigestingReader:
    """Read a file once, in chunks; afterwards :attr:`digest` is of exactly what was handed out.

    Args:
        expected: what the file was when it was looked at last; another one is a change.
        with_md5: also the MD5, which takes most of the processor time.
        allowed_roots: folders, links resolved; what *path* leads to when it is opened must lie in
            one of them, wherever its links led before. None: anywhere.
    """

    def __init__(
        self,
        path: Path,
        expected: FileStamp,
        *,
        with_md5: bool,
        allowed_roots: Sequence[Path] | None = None,
    ) -> None:
        self._path = path
        self._expected = expected
        self._with_md5 = with_md5
        self._allowed_roots = allowed_roots
        self._digest: FileDigest | None = None

    @property
    def digest(self) -> FileDigest:
        """Of the whole file, once it was read to its end."""
        if self._digest is None:
            raise ValueError(f"{self._path} was not read to its end")
        return self._digest

    def __iter__(self) -> Iterator[bytes]:
        """The content, chunk by chunk.

        Raises:
            SourceChanged: size, time of change or identity are others than at the start.
            InvalidInput: the file lies outside of the allowed roots; nothing was handed out.
            OSError: the file cannot be opened or read.
        """
        from awscrt.checksums import crc64nvme

        md5 = hashlib.md5(usedforsecurity=False) if self._with_md5 else None
        crc, size_bytes = 0, 0
        # Never wait for a writer should a pipe have taken the place of the file.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if self._allowed_roots is not None:
                _check_place(self._path, descriptor, self._allowed_roots)
            before = FileStamp.of(os.fstat(file.fileno()))
            # One byte more than there should be: a file that grows is noticed, not followed.
            rest = before.size_bytes + 1
            while before == self._expected and (chunk := file.read(min(rest, CHUNK_BYTES))):
                rest -= len(chunk)
                crc = crc64nvme(chunk, crc)
                size_bytes += len(chunk)
                if md5 is not None:
                    md5.update(chunk)
                yield chunk
            after = FileStamp.of(os.fstat(file.fileno()))
        # A file that was replaced leaves the open descriptor as it was: look at the path as well.
        now = stamp_of(self._path)
        if not self._expected == before == after == now or size_bytes != before.size_bytes:
            raise SourceChanged(f"{self._path} changed while it was read")
        self._digest = FileDigest(
            size_bytes=size_bytes,
            crc64nvme=base64.b64encode(crc.to_bytes(8, "big")).decode(),
            md5=md5.hexdigest() if md5 is not None else None,
            stamp=after,
        )


def digest_file(
    path: Path, *, md5_below_bytes: int, allowed_roots: Sequence[Path] | None = None
) -> FileDigest:
    """Read *path* once, with the MD5 only when it is smaller than *md5_below_bytes*.

    Args:
        allowed_roots: as of :class:`DigestingReader`.

    Raises:
        SourceChanged: the file changed meanwhile.
        InvalidInput: it lies outside of the allowed roots.
        OSError: it cannot be opened or read.
    """
    stamp = stamp_of(path)
    is_small = stamp.size_bytes < md5_below_bytes
    reader = DigestingReader(path, stamp, with_md5=is_small, allowed_roots=allowed_roots)
    for _ in reader:
        pass
    return reader.digest


def stamp_of(path: Path) -> FileStamp:
    """Of the file at *path*, links followed.

    Raises:
        SourceChanged: it was there before and is no longer.
        OSError: it cannot be looked at.
    """
    try:
        return FileStamp.of(path.stat())
    except FileNotFoundError as error:
        raise SourceChanged(f"{path} was there and is gone") from error


def _check_place(path: Path, descriptor: int, roots: Sequence[Path]) -> None:
    """Refuse a file that is open already: between a look at a link and its use it may change."""
    place = _place_of(descriptor)
    if not any(place.is_relative_to(root) for root in roots):
        reason = f"leads to {place}, outside of {', '.join(map(str, roots))}"
        raise InvalidInput([Problem(str(path), "", reason, "remove or correct the link")])


def _place_of(descriptor: int) -> Path:
    """Where an open file lies, links resolved."""
    if get_path := getattr(fcntl, "F_GETPATH", None):  # macOS
        told = fcntl.fcntl(descriptor, get_path, bytes(1024))
        return Path(os.fsdecode(told.rstrip(b"\0")))
    return Path(f"/proc/self/fd/{descriptor}").readlink()
