"""Source folders as people name them: inside the allowed roots, whole, and fit for S3."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from include.acquisitions.file_tree import is_below, raise_problems, scan
from include.errors import InvalidInput, Problem, ServiceUnavailable

METADATA = "metadata_dir"
"""Label of the folder with the user's core files."""

OUTAGES = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT})
"""What a network share answers while it cannot be reached."""


class FolderContent(BaseModel):
    """What one source folder holds."""

    model_config = ConfigDict(frozen=True)

    files: int
    size_bytes: int
    empty_folders: int = 0


class SourceSummary(BaseModel):
    """What all source folders of a job hold; small enough for an XCom."""

    model_config = ConfigDict(frozen=True)

    folders: dict[str, FolderContent]
    """Label (modality abbreviation, ``derivatives``, ``metadata_dir``) → content."""

    @property
    def size_bytes(self) -> int:
        """Of all folders together."""
        return sum(folder.size_bytes for folder in self.folders.values())


def resolve_under(path: Path | str, roots: Iterable[Path], *, item: str, field: str = "") -> Path:
    """The real place of a path that a person gave, links resolved.

    Args:
        item: what the path belongs to, for the error.
        field: dotted path of the setting that holds it, for the error.

    Raises:
        InvalidInput: it is relative, has ``..``, or does not lie strictly below one of *roots*.
    """
    text = os.fspath(path)
    allowed = [os.path.realpath(root) for root in roots]
    reason = ""
    if "\0" in text or not text.startswith("/"):
        reason = "expected an absolute path"
    elif ".." in text.split("/"):
        reason = "expected a path without '..'"
    elif not any(is_below(os.path.realpath(text), root) for root in allowed):
        reason = f"leads to {os.path.realpath(text)}, outside of {', '.join(allowed)}"
    if reason:
        fix = "give a folder below one of the allowed source roots"
        raise InvalidInput([Problem(item, field, f"{text!r}: {reason}", fix)])
    return Path(os.path.realpath(text))


def check_source_folders(
    sources: Mapping[str, Path],
    allowed_roots: Iterable[Path],
    *,
    metadata_dir: Path | None = None,
    key_prefix: str = "",
) -> SourceSummary:
    """Walk every source folder and find all that would fail later.

    Args:
        sources: label (modality abbreviation or ``derivatives``) → folder.
        metadata_dir: looked at alone, not below: only its ``*.json`` are used. It may hold or
            lie in another source.
        key_prefix: the asset's prefix in S3, for the length of the keys.

    Raises:
        InvalidInput: every problem of every folder; the first fifty are told, the rest counted.
        ServiceUnavailable: storage did not answer, and nothing else is wrong.
    """
    roots = tuple(allowed_roots)
    problems: list[Problem] = []
    outages: list[Problem] = []
    places: dict[str, Path] = {}
    for label, folder in sources.items():
        try:
            places[label] = resolve_under(folder, roots, item=label, field="input_source")
        except InvalidInput as error:
            problems += error.problems
    problems += _nested(places)
    folders: dict[str, FolderContent] = {}
    for label, folder in places.items():
        try:
            folders[label] = _check_source(label, folder, roots, f"{key_prefix}{label}/", problems)
        except OSError as error:
            _note(label, folder, error, problems, outages)
    if metadata_dir is not None:
        try:
            place = resolve_under(metadata_dir, roots, item=METADATA)
            folders[METADATA] = _check_metadata(place, roots, problems)
        except InvalidInput as error:
            problems += error.problems
        except OSError as error:
            _note(METADATA, metadata_dir, error, problems, outages)
    if outages and not problems:
        raise ServiceUnavailable("\n".join(map(str, outages)))
    raise_problems([*problems, *outages])
    return SourceSummary(folders=folders)


def metadata_files(folder: Path) -> list[Path]:
    """The core files of a metadata folder: its own ``*.json``, by name, links included."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".json")


def _check_source(
    label: str, folder: Path, roots: Iterable[Path], key_prefix: str, problems: list[Problem]
) -> FolderContent:
    if found := _folder_problems(label, folder):
        problems += found
        return FolderContent(files=0, size_bytes=0)
    tree = scan(folder, roots, key_prefix=key_prefix, is_readable=_is_readable)
    problems += tree.problems
    if not tree.files and not tree.problems:
        problems.append(Problem(label, "input_source", f"{folder} holds no files"))
    return FolderContent(
        files=len(tree.files), size_bytes=tree.size_bytes, empty_folders=tree.empty_folders
    )


def _check_metadata(folder: Path, roots: Iterable[Path], problems: list[Problem]) -> FolderContent:
    found = _folder_problems(METADATA, folder)
    files, size_bytes = 0, 0
    if not found:
        for path in metadata_files(folder):
            try:
                resolve_under(path, roots, item=METADATA)
            except InvalidInput as error:
                found += error.problems
                continue
            if not path.is_file() or not _is_readable(str(path)):
                found.append(Problem(str(path), "", "is not a file that can be read"))
                continue
            files, size_bytes = files + 1, size_bytes + path.stat().st_size
    problems += found
    return FolderContent(files=files, size_bytes=size_bytes)


def _note(
    label: str, folder: Path, error: OSError, problems: list[Problem], outages: list[Problem]
) -> None:
    """Remember a folder that cannot even be looked at, so that the others still are."""
    place = error.filename or folder
    reason = f"{place} cannot be looked at: {error.strerror}"
    if error.errno in OUTAGES:
        fix = "see whether its storage can be reached"
        outages.append(Problem(label, "", reason, fix))
    else:
        fix = "let Airflow's account search the folders above it"
        problems.append(Problem(label, "", reason, fix))


def _folder_problems(label: str, folder: Path) -> list[Problem]:
    try:
        mode = folder.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return [Problem(label, "", f"{folder} does not exist", "check the path")]
    if not stat.S_ISDIR(mode):
        return [Problem(label, "", f"{folder} is not a folder", "give the folder that holds it")]
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        return [Problem(label, "", f"{folder} may not be listed", "let Airflow's account read it")]
    return []


def _nested(places: Mapping[str, Path]) -> list[Problem]:
    return [
        Problem(
            inner,
            "input_source",
            f"{places[inner]} lies in (or is) {places[outer]}, the source of {outer}",
            "give each modality a folder of its own",
        )
        for pair in combinations(places, 2)
        for inner, outer in (pair, pair[::-1])
        if is_below(places[inner], places[outer])
        or (places[inner] == places[outer] and (inner, outer) == pair)
    ]


def _is_readable(path: str) -> bool:
    return os.access(path, os.R_OK, effective_ids=True)
