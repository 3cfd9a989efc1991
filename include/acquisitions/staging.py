"""The staging folder: where one run prepares its asset.

::

    {staging_root}/{run_key}/
        asset/               what will be under s3://bucket/asset_name/
            {modality}       a folder, or a link to the source folder
        work/                never uploaded
            staging.json     whose folder this is

The marker is the first thing made and the last thing removed, so that a folder with anything in
it and no marker is somebody else's. Removal begins by saying so in the marker: what a killed removal
leaves is never taken for a prepared asset.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.errors import InvalidInput, Problem, StagingMissing

logger = logging.getLogger(__name__)

REMOVE_THREADS = 16
REMOVE_DEPTH = 2
"""Folders this far below asset/ are removed beside each other."""


@dataclass(frozen=True, slots=True)
class Staging:
    """The folders of one run."""

    folder: Path

    @property
    def asset_folder(self) -> Path:
        """Mirrors what will be under the asset's location."""
        return self.folder / "asset"

    @property
    def work_folder(self) -> Path:
        """Settings files, logs and process records; never uploaded."""
        return self.folder / "work"

    @property
    def marker(self) -> Path:
        """Says whose folder this is."""
        return self.work_folder / "staging.json"


def create(folder: Path, staging_root: Path, run_key: str) -> Staging:
    """Make the folders and the marker; nothing changes when they are there.

    Raises:
        InvalidInput: *folder* does not lie below *staging_root*, or cannot be made.
        StagingMissing: the folder there belongs to another run.
    """
    _refuse_outside(folder, staging_root)
    staging = Staging(folder)
    if _is_going(staging):
        remove(folder, staging_root, run_key)  # its removal was cut short
    if _owner(staging) is None and _holds_anything(folder):
        raise _foreign(staging, run_key, None)
    try:
        staging.work_folder.mkdir(parents=True, exist_ok=True)
        if _owner(staging) is None:
            _write_marker(staging, run_key)
        staging.asset_folder.mkdir(exist_ok=True)
    except OSError as error:
        problem = Problem(str(folder), "", f"cannot be made: {error.strerror}", "see staging_root")
        raise InvalidInput([problem]) from error
    return check(folder, run_key)


def check(folder: Path, run_key: str) -> Staging:
    """The folders of a run, which must be there and be its own.

    Raises:
        StagingMissing: they are not there, or belong to another run; says what to do.
    """
    staging = Staging(folder)
    owner = _owner(staging)
    if owner is None:
        raise StagingMissing(
            f"{folder} is gone or was never made; clear create_staging_folder and everything after"
        )
    if owner != run_key:
        raise _foreign(staging, run_key, owner)
    if _is_going(staging):
        raise StagingMissing(
            f"{folder} is half removed; clear create_staging_folder and everything after"
        )
    return staging


def link_folder(source: Path, target: Path) -> None:
    """Put a link to *source* at *target*; nothing changes when it is there.

    Raises:
        InvalidInput: *target* is something else, or *source* is not a folder.
    """
    if not source.is_dir():
        raise InvalidInput([Problem(str(source), "", "is not a folder", "check the source")])
    if target.is_symlink() and target.readlink() == source:
        return
    try:
        target.symlink_to(source, target_is_directory=True)
    except FileExistsError as error:
        reason = f"cannot become a link to {source}: something else is there"
        fix = "clear create_staging_folder to begin with an empty staging folder"
        raise InvalidInput([Problem(str(target), "", reason, fix)]) from error


def discard(path: Path) -> None:
    """Remove what an earlier try left at *path* in a staging folder; a link goes, its target stays."""
    _remove(path)


def remove(folder: Path, staging_root: Path, run_key: str) -> bool:
    """Remove the staging folder of a run; links go, what they lead to stays.

    Safe to call again after it was killed half-way.

    Returns:
        Whether there was anything to remove.

    Raises:
        InvalidInput: *folder* does not lie strictly below *staging_root*, or is a link.
        StagingMissing: it belongs to another run.
    """
    _refuse_outside(folder, staging_root)
    if not folder.exists():
        return False
    staging = Staging(folder)
    owner = _owner(staging)
    if owner != run_key and (owner is not None or _holds_anything(folder)):
        raise _foreign(staging, run_key, owner)
    if owner is not None:
        _write_marker(staging, run_key, is_going=True)
    with ThreadPoolExecutor(REMOVE_THREADS, thread_name_prefix="remove") as pool:
        list(pool.map(_remove, _folders_to_depth(staging.asset_folder, REMOVE_DEPTH)))
    _remove(staging.asset_folder)
    for path in folder.iterdir():
        if path != staging.work_folder:
            _remove(path)
    if staging.work_folder.is_dir():
        for path in staging.work_folder.iterdir():
            if path != staging.marker:
                _remove(path)
    staging.marker.unlink(missing_ok=True)
    _remove(folder)
    logger.info("Removed %s", folder)
    return True


def _refuse_outside(folder: Path, staging_root: Path) -> None:
    root = Path(os.path.realpath(staging_root))
    relative = folder.relative_to(staging_root) if folder.is_relative_to(staging_root) else Path()
    # Neither the folder nor anything between it and the root may be a link to elsewhere.
    if (
        not relative.parts
        or ".." in folder.parts
        or not folder.is_absolute()
        or Path(os.path.realpath(folder)) != root / relative
    ):
        reason = f"does not lie below the staging root {root}, links resolved"
        raise InvalidInput([Problem(str(folder), "staging_folder", reason)])


def _owner(staging: Staging) -> str | None:
    """Run key in the marker; None when there is no marker."""
    try:
        return str(_read_marker(staging)["run_key"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StagingMissing(f"{staging.marker} cannot be read: {error}") from error


def _is_going(staging: Staging) -> bool:
    """Whether the removal of the folder has begun: what is left of it is not what was prepared."""
    try:
        return bool(_read_marker(staging).get("is_going"))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except ValueError as error:
        raise StagingMissing(f"{staging.marker} cannot be read: {error}") from error


def _read_marker(staging: Staging) -> dict[str, Any]:
    content = json.loads(staging.marker.read_text())
    if not isinstance(content, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  as for JSON that cannot be read
    return content


def _write_marker(staging: Staging, run_key: str, *, is_going: bool = False) -> None:
    """Complete or not at all, should the process be killed meanwhile."""
    draft = staging.work_folder / f".{staging.marker.name}.{os.getpid()}"
    draft.write_text(json.dumps({"run_key": run_key, "is_going": is_going}))
    draft.replace(staging.marker)


def _foreign(staging: Staging, run_key: str, owner: str | None) -> StagingMissing:
    whose = f"belongs to {owner}" if owner else f"has no {staging.marker.name}"
    return StagingMissing(
        f"{staging.folder} {whose}, not to {run_key}; "
        "look what it is, move it away, then clear create_staging_folder"
    )


def _holds_anything(folder: Path) -> bool:
    """Whether there is more than empty folders and the draft of a marker."""
    for parent, names, files in os.walk(folder):
        if any(not name.startswith(".staging.json.") for name in files):
            return True
        if any(Path(parent, name).is_symlink() for name in names):
            return True
    return False


def _folders_to_depth(folder: Path, depth: int) -> list[Path]:
    """Folders *depth* levels below, links left out."""
    level = [folder] if folder.is_dir() and not folder.is_symlink() else []
    for _ in range(depth):
        level = [
            path
            for parent in level
            for path in parent.iterdir()
            if path.is_dir() and not path.is_symlink()
        ]
    return level


def _remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; a missing one is no error."""
    try:
        if path.is_dir() and not path.is_symlink():
            # rmtree works on open folders and never follows a link, not even one put there now.
            shutil.rmtree(path, onerror=_open_up_and_repeat)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        logger.debug("%s went by itself", path)


def _open_up_and_repeat(function: Callable[..., Any], path: str, failure: Any) -> None:
    """Commands leave read-only folders behind; they are this run's own."""
    error = failure[1]
    if isinstance(error, FileNotFoundError):
        return
    if not isinstance(error, PermissionError):
        raise error
    parent = Path(path).parent
    parent.chmod(parent.stat().st_mode | stat.S_IRWXU)
    if function is os.unlink:
        Path(path).unlink(missing_ok=True)
    elif Path(path).is_dir() and not Path(path).is_symlink():
        Path(path).chmod(stat.S_IRWXU)
        shutil.rmtree(path)
