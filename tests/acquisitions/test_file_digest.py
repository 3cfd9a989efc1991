"""Digests are of exactly what was read, and a change is noticed."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme
from hypothesis import given
from hypothesis import strategies as st

from include.acquisitions.file_digest import (
    CHUNK_BYTES,
    DigestingReader,
    digest_file,
    stamp_of,
)
from include.errors import InvalidInput, SourceChanged


def crc(content: bytes) -> str:
    return base64.b64encode(crc64nvme(content).to_bytes(8, "big")).decode()


@given(content=st.binary(max_size=2000))
def test_checksums_are_those_of_the_libraries(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "file"
    path.write_bytes(content)
    digest = digest_file(path, md5_below_bytes=10_000)
    assert digest.size_bytes == len(content)
    assert digest.crc64nvme == crc(content)
    assert digest.md5 == hashlib.md5(content).hexdigest()


def test_a_large_file_is_read_in_chunks_and_has_no_md5(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(CHUNK_BYTES) * 2 + b"end")
    reader = DigestingReader(path, stamp_of(path), with_md5=False)
    assert [len(chunk) for chunk in reader] == [CHUNK_BYTES, CHUNK_BYTES, 3]
    assert reader.digest.crc64nvme == crc(path.read_bytes())
    assert reader.digest.md5 is None


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shorten(path: Path) -> None:
    os.truncate(path, CHUNK_BYTES)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(0, 0))


def replace(path: Path) -> None:
    status = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [append, shorten, overwrite, replace, Path.unlink])
def test_a_change_while_reading_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (CHUNK_BYTES + 10))
    chunks = iter(reader := DigestingReader(path, stamp_of(path), with_md5=False))
    next(chunks)
    change(path)
    with pytest.raises(SourceChanged, match="file"):
        list(chunks)
    with pytest.raises(ValueError, match="not read to its end"):
        _ = reader.digest


def test_a_change_before_reading_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    reader = DigestingReader(path, stamp_of(path), with_md5=True)
    append(path)
    with pytest.raises(SourceChanged):
        list(reader)


def test_a_file_that_grows_without_end_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    read_bytes = 0
    reader = iter(DigestingReader(path, stamp_of(path), with_md5=False))

    def read_and_append() -> None:
        nonlocal read_bytes
        for chunk in reader:
            read_bytes += len(chunk)
            append(path)

    with pytest.raises(SourceChanged):
        read_and_append()
    assert read_bytes <= 11


def test_a_pipe_in_place_of_the_file_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    stamp = stamp_of(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceChanged):
        list(DigestingReader(path, stamp, with_md5=False))


def test_a_file_that_went_is_a_change(tmp_path: Path) -> None:
    with pytest.raises(SourceChanged, match="gone"):
        digest_file(tmp_path / "none", md5_below_bytes=1)


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    (tmp_path / "stage").mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "stage-2").write_bytes(b"a longer name")
    return [tmp_path.resolve() / "stage"]


@pytest.mark.parametrize("outside", ["outside", "stage-2"])
def test_what_a_link_leads_to_when_it_is_opened_must_lie_in_the_roots(
    tmp_path: Path, roots: list[Path], outside: str
) -> None:
    link = roots[0] / "link"
    link.symlink_to(tmp_path / outside)
    handed_out: list[bytes] = []
    reader = DigestingReader(link, stamp_of(link), with_md5=True, allowed_roots=roots)
    with pytest.raises(InvalidInput, match=f"stage/link: leads to .*{outside}, outside of"):
        handed_out.extend(reader)
    assert handed_out == []
    with pytest.raises(InvalidInput, match="outside of"):
        digest_file(link, md5_below_bytes=9, allowed_roots=roots)


def test_a_link_within_the_roots_is_read(roots: list[Path]) -> None:
    (roots[0] / "file").write_bytes(b"12345")
    (roots[0] / "link").symlink_to("file")
    digest = digest_file(roots[0] / "link", md5_below_bytes=9, allowed_roots=roots)
    assert digest.crc64nvme == crc(b"12345")
