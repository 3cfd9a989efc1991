"""Which source files S3 holds now, and which it does not: read, compare, remove nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from include.acquisitions.file_digest import FileDigest, FileStamp, digest_file
from include.acquisitions.file_tree import FoundFile
from include.acquisitions.source_folders import METADATA
from include.acquisitions.stored_content import StoredContent, is_held
from include.acquisitions.upload_progress import for_each
from include.assets.location import AssetLocation
from include.assets.stored_object import StoredObject
from include.errors import Problem, SourceChanged

logger = logging.getLogger(__name__)

THREADS = 16


class Content(BaseModel):
    """Size and checksum of one file."""

    model_config = ConfigDict(frozen=True)

    size_bytes: int
    crc64nvme: str

    @classmethod
    def of(cls, digest: FileDigest) -> Content:
        """Of a file that was read."""
        return cls(size_bytes=digest.size_bytes, crc64nvme=digest.crc64nvme)


class LosslessProof(BaseModel):
    """A transformation decoded its outputs and found exactly its sources in them."""

    model_config = ConfigDict(frozen=True)

    sources: dict[str, Content]
    """Path in the source folder → content."""

    outputs: dict[str, Content]
    """Path in the modality's folder of the asset → content; S3 must hold all of them."""


@dataclass(frozen=True, slots=True)
class RemovableFile:
    """A file that S3 holds."""

    label: str
    relative: str
    content: Content
    stamp: FileStamp


@dataclass(slots=True)
class RemovalPlan:
    """What may go, what stays, and why nothing may go."""

    location: str
    folders: dict[str, Path]
    """Label → real folder; ``metadata_dir`` too, of which only files at the top may go."""

    files: list[RemovableFile] = field(default_factory=list)
    kept: list[Problem] = field(default_factory=list)
    """Stay, and keep the folders they are in."""

    refusals: list[Problem] = field(default_factory=list)
    """With any of these nothing goes."""


class Match:
    """Compare source files with one listing of S3."""

    def __init__(
        self,
        plan: RemovalPlan,
        location: AssetLocation,
        store: StoredContent,
        stored: Mapping[str, StoredObject],
        proofs: Mapping[str, LosslessProof],
        earlier: Mapping[tuple[str, str], Content] | None,
        md5_below_bytes: int,
    ) -> None:
        self._plan = plan
        self._location = location
        self._store = store
        self._stored = stored
        self._proofs = proofs
        self._earlier = earlier
        self._md5_below_bytes = md5_below_bytes
        self._relied_on: set[str] = set()

    def files(self, label: str, files: Collection[FoundFile]) -> None:
        """Sort files of one folder into those that may go, those that stay, and refusals."""

        def compare(file: FoundFile) -> None:
            path = self._plan.folders[label] / file.relative
            try:
                self._compare(label, file, path)
            except (OSError, SourceChanged) as error:
                self._plan.refusals.append(Problem(str(path), "", f"cannot be read: {error}"))

        for_each(files, compare, threads=THREADS, stop=threading.Event())

    def _compare(self, label: str, file: FoundFile, path: Path) -> None:
        if self._earlier is not None and (label, file.relative) not in self._earlier:
            self._keep(path, "appeared after the removal had begun")
            return
        digest = digest_file(path, md5_below_bytes=self._md5_below_bytes)
        content = Content.of(digest)
        if self._earlier is not None and self._earlier[label, file.relative] != content:
            self._keep(path, "changed after the removal had begun")
        elif self._is_proven(label, file.relative, digest):
            removable = RemovableFile(label, file.relative, content, digest.stamp)
            self._plan.files.append(removable)
        elif label == METADATA:
            self._keep(path, f"{self._location} does not hold it as it is")
        else:
            self._plan.refusals.append(self._refusal(label, file.relative, path))

    def outputs(self) -> None:
        """S3 must hold every output of the transformations that were relied on."""
        wanted = [
            (label, relative, content)
            for label in sorted(self._relied_on)
            for relative, content in self._proofs[label].outputs.items()
        ]

        def compare(output: tuple[str, str, Content]) -> None:
            label, relative, content = output
            name = f"{label}/{relative}"
            digest = FileDigest(
                content.size_bytes, content.crc64nvme, None, FileStamp(content.size_bytes, 0, 0)
            )
            if not self._holds(name, digest):
                reason = "is not in S3 as the transformation proved it"
                self._plan.refusals.append(Problem(f"{self._location}/{name}", "", reason))

        for_each(wanted, compare, threads=THREADS, stop=threading.Event())
        for label in sorted(self._relied_on):
            if not self._proofs[label].outputs:
                reason = "its proof names no outputs, so S3 cannot be compared with it"
                self._plan.refusals.append(Problem(label, "", reason))

    def _is_proven(self, label: str, relative: str, digest: FileDigest) -> bool:
        if self._holds(relative if label == METADATA else f"{label}/{relative}", digest):
            return True
        proof = self._proofs.get(label)
        if proof is None or proof.sources.get(relative) != Content.of(digest):
            return False
        self._relied_on.add(label)
        return True

    def _holds(self, name: str, digest: FileDigest) -> bool:
        found = self._stored.get(name)
        return found is not None and is_held(self._store, self._location.bucket, found, digest)

    def _keep(self, path: Path, reason: str) -> None:
        logger.warning("%s stays: %s", path, reason)
        self._plan.kept.append(Problem(str(path), "", reason))

    def _refusal(self, label: str, relative: str, path: Path) -> Problem:
        if label in self._proofs:
            reason = f"the lossless proof of {label} is not about this file, or about other content"
        elif f"{label}/{relative}" in self._stored:
            reason = f"{self._location}/{label}/{relative} has other content"
        else:
            reason = (
                f"{self._location} has no {label}/{relative}, and no transformation of {label} "
                "proved to be lossless"
            )
        return Problem(str(path), "", reason)
