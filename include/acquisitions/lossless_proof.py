"""Write down which source content a lossless transformation was proven for.

The transformation itself decodes its output and compares it with the source. What is kept here is of
which bytes that was true, so that much later the source may go: only while it is still these bytes,
and while S3 holds these outputs. It is kept with the asset, ``.assetflow/proofs/{modality}.json``.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from include.acquisitions.file_digest import digest_file
from include.acquisitions.file_tree import raise_problems, scan
from include.acquisitions.source_matching import Content, LosslessProof
from include.errors import SourceChanged

PROOFS = ".assetflow/proofs"
"""Folder of the proofs below the asset's prefix."""

THREADS = 8


def proof_name(modality: str) -> str:
    """Key of a modality's proof below the asset's prefix."""
    return f"{PROOFS}/{modality}.json"


def make_proof(
    source: Path, output: Path, *, proven_at: datetime, allowed_roots: Iterable[Path]
) -> LosslessProof:
    """Digests of every source file and every output file.

    Args:
        source: the modality's source folder.
        output: its folder in the staged asset.
        proven_at: moment (aware) at which the transformation had compared the two.
        allowed_roots: links in either may lead below these.

    Raises:
        SourceChanged: a source file was written to after *proven_at*.
        InvalidInput: files that cannot be read, all at once.
    """
    roots = tuple(allowed_roots)
    sources = _contents(source, (*roots, source), not_after=proven_at)
    return LosslessProof(sources=sources, outputs=_contents(output, (*roots, output)))


def _contents(
    folder: Path, roots: tuple[Path, ...], *, not_after: datetime | None = None
) -> dict[str, Content]:
    tree = scan(folder, roots)
    raise_problems(tree.problems)

    def content(relative: str) -> Content:
        path = folder / relative
        digest = digest_file(path, md5_below_bytes=0)
        if not_after is not None and path.stat().st_mtime > not_after.timestamp():
            raise SourceChanged(f"{path} was written to after it had been compared; run again")
        return Content.of(digest)

    names = [file.relative for file in tree.files]
    with ThreadPoolExecutor(THREADS) as threads:
        return dict(zip(names, threads.map(content, names), strict=True))
