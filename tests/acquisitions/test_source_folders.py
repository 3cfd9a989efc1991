"""Source folders: everything that would fail later is found at once."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.acquisitions.source_folders import check_source_folders, metadata_files, resolve_under
from include.errors import InvalidInput, ServiceUnavailable
from tests.acquisitions.unprivileged import open_folder, unprivileged


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "stage"
    root.mkdir()
    return root


@pytest.fixture
def source(root: Path) -> Path:
    folder = root / "session" / "ecephys"
    folder.mkdir(parents=True)
    (folder / "data.bin").write_bytes(b"12345")
    return folder


def problems_of(sources: dict[str, Path], *roots: Path) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        check_source_folders(sources, roots)
    return [str(problem) for problem in caught.value.problems]


def test_files_and_bytes_are_counted_per_source(root: Path, source: Path) -> None:
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / ".hidden").write_bytes(b"1")
    (source / "empty").mkdir()
    video = root / "session" / "video"
    video.mkdir()
    (video / "a.mp4").write_bytes(b"")
    summary = check_source_folders({"ecephys": source, "behavior-videos": video}, [root])
    assert summary.folders["ecephys"].model_dump() == {
        "files": 2,
        "size_bytes": 6,
        "empty_folders": 1,
    }
    assert summary.folders["behavior-videos"].files == 1
    assert summary.size_bytes == 6


def test_links_within_the_roots_are_followed(tmp_path: Path, root: Path, source: Path) -> None:
    other = tmp_path / "scratch"
    (other / "probe").mkdir(parents=True)
    (other / "probe" / "b").write_bytes(b"1")
    (source / "file-link").symlink_to(source / "data.bin")
    (source / "folder-link").symlink_to(other / "probe")
    found = check_source_folders({"ecephys": source}, [root, other]).folders["ecephys"]
    assert (found.files, found.size_bytes) == (3, 11)


def link_out(folder: Path) -> None:
    (folder / "bad").symlink_to("/etc/passwd")


def folder_link_out(folder: Path) -> None:
    (folder / "bad").symlink_to("/etc")


def link_to_root_itself(folder: Path) -> None:
    (folder / "bad").symlink_to(folder.parents[1])


def broken_link(folder: Path) -> None:
    (folder / "bad").symlink_to(folder / "nothing")


def self_link(folder: Path) -> None:
    (folder / "bad").symlink_to(folder / "bad")


def loop(folder: Path) -> None:
    (folder / "bad").symlink_to(folder)


def two_link_loop(folder: Path) -> None:
    stage = next(parent for parent in folder.parents if parent.name == "stage")
    side = stage / "side"
    side.mkdir()
    (side / "back").symlink_to(folder)
    (folder / "bad").symlink_to(side)


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "bad")


def unix_socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("bad")
    finally:
        os.chdir(here)


def latin_name(folder: Path) -> None:
    (folder / os.fsdecode(b"bad\xe9")).write_bytes(b"")


def newline(folder: Path) -> None:
    (folder / "bad\n").write_bytes(b"")


def backslash(folder: Path) -> None:
    (folder / "bad\\name").write_bytes(b"")


def long_key(folder: Path) -> None:
    deep = folder.joinpath(*["bad" + "ü" * 100] * 5)
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (link_out, "outside of"),
        (folder_link_out, "outside of"),
        (link_to_root_itself, "outside of"),
        (broken_link, "is neither a directory, file, nor valid symlink"),
        (self_link, "leads to itself"),
        (loop, "leads to itself"),
        (two_link_loop, "leads to itself"),
        (pipe, "neither a file nor a folder"),
        (unix_socket, "neither a file nor a folder"),
        (latin_name, "not UTF-8"),
        (newline, "control character"),
        (backslash, "backslash"),
        (long_key, "longer than 1024 bytes"),
    ],
)
@pytest.mark.parametrize("depth", [0, 6])
def test_what_cannot_be_uploaded_is_a_problem(
    root: Path, source: Path, harm: Callable[[Path], None], said: str, depth: int
) -> None:
    folder = source.joinpath(*["deeper"] * depth)
    folder.mkdir(parents=True, exist_ok=True)
    if harm is link_to_root_itself:
        (folder / "bad").symlink_to(root)
    else:
        harm(folder)
    [problem] = problems_of({"ecephys": source}, root)
    assert "bad" in problem
    assert said in problem
    if said == "leads to itself":  # seen at once, not after the kernel's forty turns
        assert problem.count("bad") == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("session/ecephys", "absolute"),
        ("", "absolute"),
        ("{root}/session/../session/ecephys", "without '..'"),
        ("{root}", "outside of"),
        ("{root}/", "outside of"),
        ("{root}/.", "outside of"),
        ("/etc", "outside of"),
        ("{root}-extra/x", "outside of"),
        ("{root}/link-out/passwd", "outside of"),
        ("{root}/missing", "does not exist"),
        ("{root}/session/ecephys/data.bin", "is not a folder"),
        ("{root}/empty", "holds no files"),
    ],
)
def test_a_path_that_is_no_source_folder_is_refused(
    root: Path, source: Path, path: str, said: str
) -> None:
    (root / "link-out").symlink_to("/etc")
    (root / "empty" / "er").mkdir(parents=True)
    given = path.format(root=root)
    with pytest.raises(InvalidInput, match=said):
        check_source_folders({"ecephys": given}, [root])  # type: ignore[dict-item]


def test_a_null_character_is_refused(root: Path) -> None:
    with pytest.raises(InvalidInput, match="absolute"):
        resolve_under(f"{root}/a\0b", [root], item="job")


def test_two_leading_slashes_and_a_linked_root_are_the_same_place(
    tmp_path: Path, root: Path, source: Path
) -> None:
    (tmp_path / "mount").symlink_to(root)
    assert resolve_under(f"/{source}", [tmp_path / "mount"], item="job") == source


def test_all_problems_are_told_at_once(root: Path, source: Path) -> None:
    broken_link(source)
    pipe_at = source / "pipe"
    os.mkfifo(pipe_at)
    found = problems_of({"ecephys": source, "fib": root / "none", "pophys": Path("/etc")}, root)
    assert len(found) == 4


def test_many_problems_are_counted(root: Path, source: Path) -> None:
    for number in range(60):
        (source / f"link-{number:02}").symlink_to("nowhere")
    found = problems_of({"ecephys": source}, root)
    assert len(found) == 51
    assert "10 more problems" in found[-1]


@pytest.mark.parametrize("inner", ["", "probe"])
def test_a_source_within_another_is_refused(root: Path, source: Path, inner: str) -> None:
    (source / "probe").mkdir()
    (source / "probe" / "x").write_bytes(b"")
    [problem] = problems_of({"ecephys": source, "behavior": source / inner}, root)
    assert "give each modality a folder of its own" in problem


@pytest.fixture
def open_root() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.mark.parametrize("closed", ["data.bin", "deep", ""])
def test_what_may_not_be_read_is_a_problem(open_root: Path, closed: str) -> None:
    source = open_root / "session"
    (source / "deep").mkdir(parents=True)
    (source / "data.bin").write_bytes(b"x")
    (source / "deep" / "y").write_bytes(b"y")
    (source / closed).chmod(0)
    try:
        with unprivileged():
            [problem] = problems_of({"ecephys": source}, open_root)
    finally:
        (source / closed).chmod(0o755)
    assert str(source / closed) in problem


def test_a_folder_below_one_that_may_not_be_searched_hides_no_other_problem(
    open_root: Path,
) -> None:
    (open_root / "closed" / "session").mkdir(parents=True)
    (open_root / "closed").chmod(0)
    sources = {"ecephys": open_root / "closed" / "session", "fib": open_root / "none"}
    try:
        with unprivileged(), pytest.raises(InvalidInput) as caught:
            check_source_folders(sources, [open_root], metadata_dir=open_root / "closed" / "meta")
    finally:
        (open_root / "closed").chmod(0o755)
    told = {problem.item: problem.reason for problem in caught.value.problems}
    assert told == {
        "ecephys": f"{sources['ecephys']} cannot be looked at: Permission denied",
        "fib": f"{sources['fib']} does not exist",
        "metadata_dir": f"{open_root}/closed/meta cannot be looked at: Permission denied",
    }


@pytest.fixture
def lost_share(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """A folder on storage that answers with an error of one's choice."""
    share = root / "share"
    share.mkdir()
    stat = Path.stat

    def lose(number: int) -> Path:
        def answer(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
            if path == share:
                raise OSError(number, os.strerror(number), str(path))
            return stat(path, follow_symlinks=follow_symlinks)

        monkeypatch.setattr(Path, "stat", answer)
        return share

    return lose


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_storage_that_does_not_answer_may_answer_later(
    root: Path, source: Path, lost_share: Callable[[int], Path], number: int
) -> None:
    share = lost_share(number)
    with pytest.raises(ServiceUnavailable, match=f"fib: {share} cannot be looked at"):
        check_source_folders({"ecephys": source, "fib": share}, [root])
    with pytest.raises(ServiceUnavailable, match="metadata_dir: "):
        check_source_folders({"ecephys": source}, [root], metadata_dir=share)
    told = problems_of({"ecephys": root / "none", "fib": share}, root)
    assert ["does not exist" in told[0], os.strerror(number) in told[1]] == [True, True]


def test_of_the_metadata_folder_only_its_own_json_counts(root: Path, source: Path) -> None:
    session = source.parent
    (session / "subject.json").write_text("{}")
    (session / "notes.txt").write_text("not a core file")
    (source / "broken").mkdir()
    (session / "other").symlink_to("nowhere")
    summary = check_source_folders({"ecephys": source}, [root], metadata_dir=session)
    assert summary.folders["metadata_dir"].files == 1
    assert [path.name for path in metadata_files(session)] == ["subject.json"]


@pytest.mark.parametrize(
    ("target", "said"), [("/etc/passwd", "outside of"), ("nowhere", "not a file that can be read")]
)
def test_a_metadata_file_must_be_a_file_below_the_roots(
    root: Path, source: Path, target: str, said: str
) -> None:
    (source.parent / "subject.json").symlink_to(target)
    with pytest.raises(InvalidInput, match=said):
        check_source_folders({"ecephys": source}, [root], metadata_dir=source.parent)


def test_ten_thousand_files_in_a_hundred_folders_are_all_seen(root: Path, source: Path) -> None:
    for folder in range(100):
        (source / f"{folder:03}").mkdir()
        for number in range(100):
            (source / f"{folder:03}" / str(number)).touch()
    found = check_source_folders({"ecephys": source}, [root]).folders["ecephys"]
    assert (found.files, found.size_bytes) == (10_001, 5)
