"""Builds the environments that the built-in transformations run in.

Each is locked (``requirements.txt`` beside the program) and built once with uv, into a folder named
after the hash of its lock. An environment is built where it will stay, because its scripts hold its
path; it counts as built when its marker is there, and a half-built one is thrown away.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.errors import CommandFailed, InvalidInput, NotFound, Problem
from include.transformations.environment_paths import (
    COMPLETE,
    FOLDER,
    TRANSFORMATIONS,
    environment_folder,
    interpreter,
    is_complete,
)

logger = logging.getLogger(__name__)


def build_environment(name: str, environments_root: Path) -> Path:
    """Build the environment of one transformation unless it is there, and return its Python.

    Several may call this at once: one builds, the others wait for it.

    Raises:
        InvalidInput: no transformation has this name.
        CommandFailed: uv failed; carries its last words.
    """
    _check_name(name)
    folder = environment_folder(name, environments_root.absolute())
    if not is_complete(folder):
        with _alone(folder.with_suffix(".lock")):
            if not is_complete(folder):  # another builder may have been first
                _build(name, folder)
    return interpreter(folder)


def find_environment(name: str, environments_root: Path) -> Path:
    """The Python of an environment that is built.

    Raises:
        InvalidInput: no transformation has this name.
        NotFound: its environment is not built; says how to.
    """
    _check_name(name)
    folder = environment_folder(name, environments_root.absolute())
    if not is_complete(folder):
        raise NotFound(
            f"The environment of {name} is not built ({folder}); "
            f"run `assetflow environments build {name}`"
        )
    return interpreter(folder)


def command_environment(environments_root: Path) -> dict[str, str]:
    """What a command script needs to call ``$ASSETFLOW_TRANSFORM NAME --job-settings …``."""
    return {
        "ASSETFLOW_TRANSFORM": str(FOLDER / "run"),
        "ASSETFLOW_ENVIRONMENTS_ROOT": str(environments_root.absolute()),
    }


def _build(name: str, folder: Path) -> None:
    logger.info("Building the environment of %s in %s", name, folder)
    shutil.rmtree(folder, ignore_errors=True)
    _run_uv(name, "venv", "--no-project", "--python", sys.executable, str(folder))
    lock = FOLDER / TRANSFORMATIONS[name].lock
    _run_uv(
        name, "pip", "sync", "--compile-bytecode",
        "--python", str(interpreter(folder)), str(lock),
    )  # fmt: skip
    (folder / COMPLETE).touch()
    logger.info("Built the environment of %s in %s", name, folder)


def _run_uv(name: str, *arguments: str) -> None:
    try:
        subprocess.run(  # noqa: S603  this interpreter's uv and our own arguments
            [sys.executable, "-m", "uv", "--quiet", *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        needs = TRANSFORMATIONS[name].needs
        fix = f" It needs {needs}: install them and build again." if needs else ""
        raise CommandFailed(
            f"The environment of {name} could not be built: `uv {' '.join(arguments)}` ended with "
            f"{error.returncode}.{fix}\n{error.stderr.strip()[-4_000:]}"
        ) from error


@contextmanager
def _alone(lock_path: Path) -> Iterator[None]:
    """Hold a lock that the system lets go of when this process dies."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_name(name: str) -> None:
    if name not in TRANSFORMATIONS:
        reason = f"not a built-in transformation; there are {', '.join(TRANSFORMATIONS)}"
        raise InvalidInput([Problem(name, "", reason)])
