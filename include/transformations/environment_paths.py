"""Which environment a transformation runs in, and where that environment is.

Standard library only and plain: ``run`` reads it with whatever ``python3`` a machine has.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent

COMPLETE = ".complete"
"""File that is written last: an environment without it was not built to its end."""


class Transformation(NamedTuple):
    """A built-in transformation and the environment it needs."""

    module: str
    """Package that is run."""

    lock: str
    """Locked requirements, relative to this folder."""

    needs: str
    """What the machine must have before the environment can be built; ``""`` for nothing."""


WAVPACK_NEEDS = "the Debian packages wavpack, libwavpack-dev and gcc"

TRANSFORMATIONS = {
    "ecephys": Transformation("include.transformations.ecephys", "ecephys/requirements.txt", ""),
    "ecephys-wavpack": Transformation(
        "include.transformations.ecephys", "ecephys/requirements-wavpack.txt", WAVPACK_NEEDS
    ),
    "behavior-videos": Transformation(
        "include.transformations.behavior_videos", "behavior_videos/requirements.txt", ""
    ),
    "metadata-mapper": Transformation(
        "aind_metadata_mapper.gather_metadata", "metadata_mapper/requirements.txt", ""
    ),
    "metadata-status-v1": Transformation(
        "include.transformations.metadata_status_v1", "metadata_status_v1/requirements.txt", ""
    ),
}


def environment_folder(name: str, environments_root: Path) -> Path:
    """``{root}/{name}-{hash of its lock}``: a changed lock is another environment."""
    lock = FOLDER / TRANSFORMATIONS[name].lock
    return environments_root / (name + "-" + hashlib.sha256(lock.read_bytes()).hexdigest()[:12])


def interpreter(folder: Path) -> Path:
    """The environment's Python."""
    return folder / "bin" / "python"


def is_complete(folder: Path) -> bool:
    """Whether the environment was built to its end."""
    return (folder / COMPLETE).is_file()
