"""Every file below a folder, links followed as far as they may lead, with all that is wrong.

Reads folders level by level in threads: storage of a lab is a network share, where the time goes
into waiting for answers.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from include.acquisitions.file_digest import FileStamp
from include.errors import InvalidInput, Problem

KEY_LIMIT_BYTES = 1024
"""S3 takes no longer keys, counted in UTF-8."""

SCAN_THREADS = 16
PROBLEMS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file, seen but not read."""

    relative: str
    """Path from the top of the tree, with slashes: the end of its key."""

    stamp: FileStamp

    @property
    def size_bytes(self) -> int:
        """How much it held when it was seen."""
        return self.stamp.size_bytes


@dataclass(frozen=True, slots=True)
class FileTree:
    """What a folder holds."""

    files: tuple[FoundFile, ...]
    """By relative path."""

    empty_folders: int
    """Folders without any entry; S3 has no place for them."""

    problems: tuple[Problem, ...]

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder still to be read."""

    relative: str
    path: str
    real_path: str
    link_origins: tuple[str, ...] = ()
    """Real paths of the folders whose links led here."""


@dataclass(slots=True)
class _Listing:
    files: list[FoundFile] = field(default_factory=list)
    folders: list[_Folder] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    is_empty: bool = False


def scan(
    top: Path,
    allowed_roots: Iterable[Path],
    *,
    key_prefix: str = "",
    is_readable: Callable[[str], bool] | None = None,
) -> FileTree:
    """Look at everything below *top* without opening a file.

    Args:
        allowed_roots: links may lead below these and nowhere else.
        key_prefix: what the keys of these files begin with, for the length of a key.
        is_readable: asked for each path; None: the rights of this process are not looked at.
    """
    roots = tuple(os.path.realpath(root) for root in allowed_roots)
    level = [_Folder("", str(top), os.path.realpath(top))]
    files: list[FoundFile] = []
    problems: list[Problem] = []
    empty_folders = 0

    def read(folder: _Folder) -> _Listing:
        return _read_folder(folder, roots, len(key_prefix.encode()), is_readable)

    with ThreadPoolExecutor(SCAN_THREADS, thread_name_prefix="scan") as pool:
        while level:
            listings = list(pool.map(read, level)) if len(level) > 1 else [read(level[0])]
            level = [folder for listing in listings for folder in listing.folders]
            for listing in listings:
                files += listing.files
                problems += listing.problems
                empty_folders += listing.is_empty
    files.sort(key=lambda file: file.relative)
    problems.sort(key=lambda problem: problem.item)
    return FileTree(tuple(files), empty_folders, tuple(problems))


def raise_problems(problems: Sequence[Problem]) -> None:
    """Refuse with the first fifty problems and the count of the rest.

    Raises:
        InvalidInput: there is at least one.
    """
    if not problems:
        return
    shown = list(problems[:PROBLEMS_SHOWN])
    if len(problems) > len(shown):
        shown.append(Problem("more", "", f"{len(problems) - len(shown)} more problems like these"))
    raise InvalidInput(shown)


def is_below(path: str | Path, root: str | Path) -> bool:
    """Whether *path* lies strictly below *root*, by their parts alone."""
    return os.fspath(path).startswith(os.fspath(root).rstrip("/") + "/")


def _read_folder(
    folder: _Folder,
    roots: Sequence[str],
    prefix_bytes: int,
    is_readable: Callable[[str], bool] | None,
) -> _Listing:
    listing = _Listing()
    try:
        with os.scandir(folder.path) as found:
            entries = list(found)
    except OSError as error:
        listing.problems.append(_problem(folder.path, f"cannot be listed: {error.strerror}"))
        return listing
    listing.is_empty = not entries
    for entry in entries:
        reason = _name_problem(entry.name)
        if reason:
            listing.problems.append(_problem(entry.path, reason, "rename it"))
            continue
        relative = f"{folder.relative}{entry.name}"
        try:
            _look_at(entry, relative, folder, roots, listing)
        except OSError as error:
            listing.problems.append(_problem(entry.path, _reason(error)))
            continue
    for file in listing.files:
        path = f"{folder.path}/{file.relative.rpartition('/')[2]}"
        if prefix_bytes + len(file.relative.encode()) > KEY_LIMIT_BYTES:
            reason = f"its key in S3 would be longer than {KEY_LIMIT_BYTES} bytes"
            listing.problems.append(_problem(path, reason, "shorten the names"))
        if is_readable is not None and not is_readable(path):
            fix = "let the account that Airflow runs as read it"
            listing.problems.append(_problem(path, "may not be read", fix))
    return listing


def _look_at(
    entry: os.DirEntry[str],
    relative: str,
    folder: _Folder,
    roots: Sequence[str],
    listing: _Listing,
) -> None:
    """Sort one entry into files, folders or problems."""
    real_path, origins = f"{folder.real_path}/{entry.name}", folder.link_origins
    if entry.is_symlink():
        real_path, origins = os.path.realpath(entry.path, strict=True), (*origins, folder.real_path)
        if not any(is_below(real_path, root) for root in roots):
            reason = f"is a link to {real_path}, outside of {', '.join(roots)}"
            listing.problems.append(_problem(entry.path, reason))
            return
    status = entry.stat()
    if stat.S_ISDIR(status.st_mode):
        if any(origin == real_path or is_below(origin, real_path) for origin in origins):
            reason = f"is a link to {real_path}, which leads to itself"
            listing.problems.append(_problem(entry.path, reason, "remove the link"))
            return
        listing.folders.append(_Folder(f"{relative}/", entry.path, real_path, origins))
    elif stat.S_ISREG(status.st_mode):
        listing.files.append(FoundFile(relative, FileStamp.of(status)))
    else:
        reason = "is neither a file nor a folder (a pipe, socket or device)"
        listing.problems.append(_problem(entry.path, reason, "remove it"))


def _name_problem(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if any(character < " " or character == "\x7f" for character in name):
        return "its name holds a control character"
    if "\\" in name:
        return "its name holds a backslash, which some S3 servers read as a slash"
    return ""


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is neither a directory, file, nor valid symlink"
    if error.errno == errno.ELOOP:
        return "is a link that leads to itself"
    return f"cannot be looked at: {error.strerror}"


def _problem(path: str, reason: str, fix: str = "") -> Problem:
    # A name that is not UTF-8 must not break the log that shows it.
    return Problem(path.encode(errors="backslashreplace").decode(), "", reason, fix)
