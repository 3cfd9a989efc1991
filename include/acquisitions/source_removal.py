"""Remove source folders, after S3 was shown to hold every file of them now.

A file may go when S3 holds it: at its own key with the same size and digest, or, for a modality
that was transformed, when the transformation proved that its outputs decode to exactly this content
and S3 holds all of these outputs. One data file that cannot be shown keeps everything. Metadata
files are looked at one by one: one that S3 does not hold as it is stays, because gathering may
have made a better one of it.

What is about to be removed is written down before the first file goes. A run that was killed
half-way finds that journal: only what is in it may go, and only after it was matched again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from include.acquisitions.file_digest import FileStamp, stamp_of
from include.acquisitions.file_tree import PROBLEMS_SHOWN, FoundFile, scan
from include.acquisitions.source_folders import METADATA, metadata_files, resolve_under
from include.acquisitions.source_matching import (
    THREADS,
    Content,
    LosslessProof,
    Match,
    RemovableFile,
    RemovalPlan,
)
from include.acquisitions.stored_content import StoredContent
from include.acquisitions.upload_progress import for_each
from include.assets.location import AssetLocation
from include.errors import InvalidInput, Problem, VerificationFailed

logger = logging.getLogger(__name__)

DERIVATIVES = "derivatives"


class RemovalRequest(BaseModel):
    """Which folders a person wants to have removed."""

    model_config = ConfigDict(frozen=True)

    modality_sources: dict[str, Path] = Field(default_factory=dict)
    derivatives_dir: Path | None = None
    metadata_dir: Path | None = None
    modalities_to_delete: tuple[str, ...] | None = None
    """Only these (may hold ``derivatives``), and no metadata; None: everything."""

    dry_run: bool = True

    def data_folders(self) -> dict[str, Path]:
        """Label → folder, after the filter.

        Raises:
            InvalidInput: the filter names what the job does not have.
        """
        folders = dict(self.modality_sources)
        if self.derivatives_dir is not None:
            folders[DERIVATIVES] = self.derivatives_dir
        if self.modalities_to_delete is None:
            return folders
        unknown = [label for label in self.modalities_to_delete if label not in folders]
        if unknown:
            known = ", ".join(folders) or "nothing"
            reason = f"the job has no source for it; it has {known}"
            field_name = "modalities_to_delete"
            raise InvalidInput([Problem(label, field_name, reason) for label in unknown])
        return {label: folders[label] for label in self.modalities_to_delete}


class RemovalResult(BaseModel):
    """What went, in numbers."""

    model_config = ConfigDict(frozen=True)

    location: str
    dry_run: bool
    files: int
    size_bytes: int
    kept: tuple[str, ...] = ()
    """The first fifty files and folders that stayed, with the reason."""

    journal_key: str | None = None


class JournalStore(Protocol):
    """The JSON objects of the runs bucket."""

    def find(self, key: str) -> Any | None:
        """One object, or None when it is definitely not there."""

    def write(self, key: str, content: Any) -> str:
        """Write one object."""


def remove_sources(
    request: RemovalRequest,
    location: AssetLocation,
    *,
    store: StoredContent,
    journals: JournalStore,
    journal_key: str,
    allowed_roots: Iterable[Path],
    proofs: Mapping[str, LosslessProof],
) -> RemovalResult:
    """Match every file with S3, write the journal, remove.

    Args:
        proofs: modality abbreviation → what its transformation proved.

    Raises:
        InvalidInput: a folder outside of *allowed_roots*, a link that leads out, a wrong filter.
        VerificationFailed: S3 does not hold some file; nothing was removed.
        AccessDenied, NotFound, ServiceUnavailable: S3 did not tell; nothing was removed.
    """
    journal = journals.find(journal_key)
    if journal is not None and journal["finished"]:
        logger.info("%s: its sources were removed before, see %s", location, journal_key)
        return RemovalResult.model_validate(journal["result"])
    earlier = _journalled(journal) if journal is not None else None
    plan = plan_removal(
        request, location, store=store, allowed_roots=allowed_roots, proofs=proofs, earlier=earlier
    )
    if plan.refusals:
        shown = "\n".join(f"  - {problem}" for problem in plan.refusals[:PROBLEMS_SHOWN])
        raise VerificationFailed(
            f"{location}: all source folders stay, because of {len(plan.refusals)} files:\n{shown}"
        )
    if request.dry_run:
        return _result(plan, plan.files, dry_run=True, journal_key=None)
    if journal is None:
        journal = _journal(plan)
        journals.write(journal_key, journal)
    removed = _remove(plan)
    result = _result(plan, removed, dry_run=False, journal_key=journal_key)
    journals.write(journal_key, {**journal, "finished": True, "result": result.model_dump()})
    logger.info("%s: removed %d source files", location, len(removed))
    return result


def plan_removal(
    request: RemovalRequest,
    location: AssetLocation,
    *,
    store: StoredContent,
    allowed_roots: Iterable[Path],
    proofs: Mapping[str, LosslessProof],
    earlier: Mapping[tuple[str, str], Content] | None = None,
    md5_below_bytes: int = 16 * 2**20,
) -> RemovalPlan:
    """Read every source file and compare it with what S3 holds now; removes nothing.

    Args:
        earlier: (label, path) → content that a journal has; what is not in it stays.
        md5_below_bytes: smaller files were sent in one part, so their ETag is an MD5.
    """
    roots = tuple(allowed_roots)
    folders = {
        label: resolve_under(folder, roots, item=label, field="input_source")
        for label, folder in request.data_folders().items()
    }
    plan = RemovalPlan(str(location), folders)
    prefix = location.key_prefix
    stored = {
        found.key.removeprefix(prefix): found
        for found in store.iterate_objects(location.bucket, prefix)
    }
    match = Match(plan, location, store, stored, proofs, earlier, md5_below_bytes)
    for label, folder in folders.items():
        if not folder.exists() and earlier is not None:
            continue  # went completely before the run was killed
        tree = scan(folder, roots)
        plan.refusals += tree.problems
        match.files(label, tree.files)
    if request.metadata_dir is not None and request.modalities_to_delete is None:
        folder = resolve_under(request.metadata_dir, roots, item=METADATA)
        folders[METADATA] = folder
        paths = metadata_files(folder) if folder.is_dir() else []
        real = [path for path in paths if path.is_file() and not path.is_symlink()]
        match.files(METADATA, [FoundFile(path.name, stamp_of(path)) for path in real])
    match.outputs()
    plan.files.sort(key=lambda file: (file.label, file.relative))
    return plan


def _remove(plan: RemovalPlan) -> list[RemovableFile]:
    """Unlink file by file, then the folders that are empty; links go, their targets stay."""
    removed: list[RemovableFile] = []
    linked = {label: _linked_folders(folder) for label, folder in plan.folders.items()}

    def unlink(file: RemovableFile) -> None:
        folder = plan.folders[file.label]
        path = folder / file.relative
        if any(file.relative.startswith(f"{link}/") for link in linked[file.label]):
            removed.append(file)  # lies elsewhere: the link to it goes below
            return
        try:
            is_same = FileStamp.of(path.stat()) == file.stamp
            if is_same:
                path.unlink()
        except FileNotFoundError:
            # Gone already, or a link to a file that went before it.
            path.unlink(missing_ok=True)
            is_same = True
        if is_same:
            removed.append(file)
        else:
            plan.kept.append(Problem(str(path), "", "changed after it had been matched"))

    for_each(plan.files, unlink, threads=THREADS, stop=threading.Event())
    for label, folder in plan.folders.items():
        if label == METADATA:
            _remove_if_empty(folder, plan)
            continue
        for link in linked[label]:
            _unlink_folder_link(folder, link, label, plan)
        for parent, _, _ in os.walk(folder, topdown=False):
            _remove_if_empty(Path(parent), plan)
    return removed


def _linked_folders(folder: Path) -> list[str]:
    """Links to folders, by their path in *folder*; not looked for behind a link."""
    return [
        os.path.relpath(path, folder)
        for parent, names, _ in os.walk(folder)
        for path in (Path(parent, name) for name in names)
        if path.is_symlink()
    ]


def _unlink_folder_link(folder: Path, link: str, label: str, plan: RemovalPlan) -> None:
    """Only a link whose files were all matched."""
    matched = {file.relative for file in plan.files if file.label == label}
    behind = {f"{link}/{file.relative}" for file in scan(folder / link, (Path("/"),)).files}
    if behind <= matched:
        (folder / link).unlink(missing_ok=True)
    else:
        plan.kept.append(Problem(str(folder / link), "", "leads to files that were not matched"))


def _remove_if_empty(folder: Path, plan: RemovalPlan) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        plan.kept.append(Problem(str(folder), "", f"stays: {error.strerror}"))


def _journal(plan: RemovalPlan) -> dict[str, Any]:
    return {
        "location": plan.location,
        "finished": False,
        "folders": {label: str(folder) for label, folder in plan.folders.items()},
        "files": [
            [file.label, file.relative, file.content.size_bytes, file.content.crc64nvme]
            for file in plan.files
        ],
    }


def _journalled(journal: Mapping[str, Any]) -> dict[tuple[str, str], Content]:
    return {
        (label, relative): Content(size_bytes=size_bytes, crc64nvme=crc64nvme)
        for label, relative, size_bytes, crc64nvme in journal["files"]
    }


def _result(
    plan: RemovalPlan,
    files: Collection[RemovableFile],
    *,
    dry_run: bool,
    journal_key: str | None,
) -> RemovalResult:
    return RemovalResult(
        location=plan.location,
        dry_run=dry_run,
        files=len(files),
        size_bytes=sum(file.content.size_bytes for file in files),
        kept=tuple(str(problem) for problem in plan.kept[:PROBLEMS_SHOWN]),
        journal_key=journal_key,
    )
