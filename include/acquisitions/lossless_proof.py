"""Write down which source content a lossless transformation was proven for.

The transformation itself decodes its output and compares it with the source. What is kept here is of
which bytes that was true, so that much later the source may go: only while it is still these bytes,
and while S3 holds these outputs. It is kept with the asset, ``.assetflow/proofs/{modality}.json``.

No clock decides: the stamps of all source files from before the transformation must be those of the
files whose digests are taken after it, so a file that was rewritten, or arrived, in between is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from include.acquisitions.file_digest import digest_file
from include.acquisitions.file_tree import raise_problems, scan
from include.acquisitions.source_matching import Content, LosslessProof
from include.errors import SourceChanged

PROOFS = ".assetflow/proofs"
"""Folder of the proofs below the asset's prefix."""

THREADS = 8


@dataclass(frozen=True, slots=True)
class SourceStamp:
    """What changes when a file is written to or replaced, even by a copy that keeps its times."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    """Of the inode: no program can set it back."""

    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Of the file at *path*, links followed."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def proof_name(modality: str) -> str:
    """Key of a modality's proof below the asset's prefix."""
    return f"{PROOFS}/{modality}.json"


def stamp_sources(source: Path, allowed_roots: Iterable[Path]) -> dict[str, SourceStamp]:
    """Path in *source* → stamp, of every file; to be taken before the transformation.

    Raises:
        InvalidInput: files that cannot be looked at, all at once.
    """
    return {name: SourceStamp.of(source / name) for name in _names(source, allowed_roots)}


def make_proof(
    source: Path,
    output: Path,
    *,
    before: Mapping[str, SourceStamp],
    allowed_roots: Iterable[Path],
) -> LosslessProof:
    """Digests of every source file and every output file.

    Args:
        source: the modality's source folder.
        output: its folder in the staged asset.
        before: from :func:`stamp_sources`, taken before the transformation began.
        allowed_roots: links in either may lead below these.

    Raises:
        SourceChanged: a source file was written to, arrived or went since *before*.
        InvalidInput: files that cannot be read, all at once.
    """
    roots = tuple(allowed_roots)
    sources = _contents(source, _names(source, roots))
    if changed := _changed(before, stamp_sources(source, roots)):
        raise SourceChanged(
            f"{source}: {', '.join(changed[:10])} changed since the transformation began; run again"
        )
    return LosslessProof(sources=sources, outputs=_contents(output, _names(output, roots)))


def _names(folder: Path, allowed_roots: Iterable[Path]) -> list[str]:
    tree = scan(folder, (*allowed_roots, folder))
    raise_problems(tree.problems)
    return [file.relative for file in tree.files]


def _contents(folder: Path, names: list[str]) -> dict[str, Content]:
    def content(relative: str) -> Content:
        return Content.of(digest_file(folder / relative, md5_below_bytes=0))

    with ThreadPoolExecutor(THREADS) as threads:
        return dict(zip(names, threads.map(content, names), strict=True))


def _changed(before: Mapping[str, SourceStamp], after: Mapping[str, SourceStamp]) -> list[str]:
    return sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
