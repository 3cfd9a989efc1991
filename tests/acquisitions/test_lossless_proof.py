"""Of which bytes a transformation was proven lossless."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from include.acquisitions.file_digest import digest_file
from include.acquisitions.lossless_proof import make_proof, proof_name, stamp_sources
from include.acquisitions.source_matching import Content
from include.errors import InvalidInput, SourceChanged

RECORDING = "node 101/continuous.dat"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "node 101").mkdir(parents=True)
    (folder / RECORDING).write_bytes(b"samples")
    (folder / "empty.bin").write_bytes(b"")
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "zarr.json").write_bytes(b"{}")
    return folder


def content(path: Path) -> Content:
    return Content.of(digest_file(path, md5_below_bytes=0))


def test_a_proof_holds_every_file_of_both_sides(source: Path, output: Path):
    before = stamp_sources(source, [source])
    proof = make_proof(source, output, before=before, allowed_roots=[source])
    assert proof.sources == {
        RECORDING: content(source / RECORDING),
        "empty.bin": content(source / "empty.bin"),
    }
    assert proof.outputs == {"zarr.json": content(output / "zarr.json")}


def rewrite_with_its_old_date(source: Path) -> None:
    path = source / RECORDING
    status = path.stat()
    path.write_bytes(b"SAMPLES")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_another_of_its_size_and_date(source: Path) -> None:
    path = source / RECORDING
    status = path.stat()
    other = source.parent / "other"
    other.write_bytes(b"SAMPLES")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def add_an_old_one(source: Path) -> None:
    (source / "second.dat").write_bytes(b"never compared")
    os.utime(source / "second.dat", (0, 0))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(
            lambda source: (source / RECORDING).write_bytes(b"x"), RECORDING, id="written"
        ),
        pytest.param(rewrite_with_its_old_date, RECORDING, id="written, its date set back"),
        pytest.param(replace_by_another_of_its_size_and_date, RECORDING, id="replaced"),
        pytest.param(add_an_old_one, "second.dat", id="arrived with an old date"),
        pytest.param(lambda source: (source / "empty.bin").unlink(), "empty.bin", id="went"),
    ],
)
def test_a_source_that_is_not_what_was_transformed_is_not_proven(
    source: Path, output: Path, change: Callable[[Path], object], named: str
):
    before = stamp_sources(source, [source])
    change(source)
    with pytest.raises(SourceChanged, match=named):
        make_proof(source, output, before=before, allowed_roots=[source])


def test_an_output_may_change_until_the_proof_is_made(source: Path, output: Path):
    before = stamp_sources(source, [source])
    (output / "late.json").write_text("{}")
    proof = make_proof(source, output, before=before, allowed_roots=[source])
    assert "late.json" in proof.outputs


def test_links_out_of_the_roots_are_all_named(source: Path):
    (source / "out").symlink_to("/etc/passwd")
    (source / "gone").symlink_to("nowhere")
    with pytest.raises(InvalidInput) as refusal:
        stamp_sources(source, [source])
    assert len(refusal.value.problems) == 2


def test_a_proof_lies_beside_the_plan_of_the_asset():
    assert proof_name("ecephys") == ".assetflow/proofs/ecephys.json"
