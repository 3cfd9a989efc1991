"""The files of a source folder: find them, carry them over unchanged, see that they did not change."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from include.errors import InvalidInput, Problem, SourceChanged, VerificationFailed


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells that a file was written to."""

    path: Path
    size_bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """The state of *path* now."""
        found = path.stat()
        return cls(path, found.st_size, found.st_mtime_ns, found.st_ino)

    def check_unchanged(self) -> None:
        """Do nothing when the file is as it was.

        Raises:
            SourceChanged: it was written to, replaced or removed.
        """
        try:
            now = FileState.of(self.path)
        except FileNotFoundError as error:
            raise SourceChanged(f"{self.path} was removed while it was read") from error
        if now != self:
            raise SourceChanged(
                f"{self.path} changed while it was read: {self.size_bytes} bytes before, "
                f"{now.size_bytes} now; run again when the acquisition has ended"
            )


def list_files(folder: Path) -> list[Path]:
    """Every file below *folder*, links followed, sorted.

    Raises:
        InvalidInput: broken links, folders that cannot be read; all of them.
    """
    files: list[Path] = []
    problems: list[Problem] = []
    seen: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        problems.append(Problem(str(error.filename), "", f"cannot be read: {error.strerror}"))

    for parent, folders, names in os.walk(folder, onerror=note, followlinks=True):
        identity = os.stat(parent)  # noqa: PTH116  twice the speed over many folders
        if (identity.st_dev, identity.st_ino) in seen:
            folders.clear()  # a link that leads back up
            continue
        seen.add((identity.st_dev, identity.st_ino))
        for name in names:
            path = Path(parent, name)
            if path.is_file():
                files.append(path)
            else:
                problems.append(Problem(str(path), "", "is neither a file nor a link to one"))
    if problems:
        raise InvalidInput(problems)
    return sorted(files)


def carry_over(
    files: Iterable[Path], source: Path, target: Path, how: Literal["link", "copy"]
) -> int:
    """Put *files* of *source* under *target* unchanged, in the same tree; return their bytes.

    Links point at the real file, so they stay right when a link in the source is removed. Copies
    are compared with their source. What is there already and right is left alone.
    """
    total = 0
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        real = path.resolve()
        total += real.stat().st_size
        if how == "link":
            if place.is_symlink() and place.readlink() == real:
                continue
            place.unlink(missing_ok=True)
            place.symlink_to(real)
        else:
            _copy(real, place)
    return total


def _copy(source: Path, place: Path) -> None:
    if place.is_file() and not place.is_symlink() and filecmp.cmp(source, place, shallow=False):
        return
    before = FileState.of(source)
    part = place.with_name(f".{place.name}.part")
    shutil.copy2(source, part)
    before.check_unchanged()
    if not filecmp.cmp(source, part, shallow=False):
        part.unlink()
        raise VerificationFailed(f"The copy of {source} differs from it; run again")
    part.replace(place)
