"""The staging folder: made once, owned by one run, removed without touching a source."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.acquisitions import staging
from include.errors import InvalidInput, StagingMissing
from tests.acquisitions.unprivileged import open_folder, unprivileged

RUN = "ecephys_1_2026-01-01_00-00-00_0123456789"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "staging"
    root.mkdir()
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "data.bin").write_bytes(b"cannot be recorded again")
    return folder


def test_making_it_twice_changes_nothing(root: Path) -> None:
    made = staging.create(root / RUN, root, RUN)
    (made.asset_folder / "file").write_text("kept")
    (made.work_folder / "log").write_text("kept")
    assert staging.create(root / RUN, root, RUN) == made == staging.check(root / RUN, RUN)
    assert (made.asset_folder / "file").read_text() == "kept"


def test_missing_parents_are_made(tmp_path: Path) -> None:
    root = tmp_path / "not" / "yet"
    assert staging.create(root / RUN, root, RUN).asset_folder.is_dir()


@pytest.mark.parametrize("left", [(), ("work",), ("work", "work/.staging.json.77")])
def test_a_folder_left_by_a_kill_while_it_was_made_is_taken(
    root: Path, left: tuple[str, ...]
) -> None:
    (root / RUN).mkdir()
    for name in left:
        path = root / RUN / name
        path.touch() if "." in name else path.mkdir()
    assert staging.create(root / RUN, root, RUN).marker.is_file()


def test_a_missing_folder_says_what_to_do(root: Path) -> None:
    with pytest.raises(StagingMissing, match="clear create_staging_folder"):
        staging.check(root / RUN, RUN)


def test_a_folder_of_another_run_is_left_alone(root: Path) -> None:
    made = staging.create(root / RUN, root, "other_run")
    (made.asset_folder / "file").write_text("theirs")
    for act in (
        lambda: staging.create(root / RUN, root, RUN),
        lambda: staging.check(root / RUN, RUN),
        lambda: staging.remove(root / RUN, root, RUN),
    ):
        with pytest.raises(StagingMissing, match="other_run"):
            act()
    assert (made.asset_folder / "file").read_text() == "theirs"


@pytest.mark.parametrize("thing", ["file", "asset/link"])
def test_a_folder_without_marker_that_holds_something_is_left_alone(root: Path, thing: str) -> None:
    path = root / RUN / thing
    path.parent.mkdir(parents=True)
    path.touch() if thing == "file" else path.symlink_to(root)
    with pytest.raises(StagingMissing, match=r"staging\.json"):
        staging.create(root / RUN, root, RUN)
    with pytest.raises(StagingMissing, match=r"staging\.json"):
        staging.remove(root / RUN, root, RUN)
    assert os.path.lexists(path)


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"run": 1}'])
def test_an_unreadable_marker_is_nobodys(root: Path, marker: str) -> None:
    staging.create(root / RUN, root, RUN).marker.write_text(marker)
    with pytest.raises(StagingMissing, match="cannot be read"):
        staging.remove(root / RUN, root, RUN)


def outside(root: Path) -> Path:
    return root.parent / "elsewhere"


def the_root(root: Path) -> Path:
    return root


def dotted(root: Path) -> Path:
    return root / ".." / "elsewhere"


def relative(root: Path) -> Path:
    return Path("elsewhere")


def linked(root: Path) -> Path:
    (root / "link").symlink_to(root.parent / "elsewhere")
    return root / "link"


def below_a_link(root: Path) -> Path:
    (root / "link").symlink_to(root.parent)
    return root / "link" / "elsewhere"


@pytest.mark.parametrize("place", [outside, the_root, dotted, relative, linked, below_a_link])
def test_nothing_outside_of_the_root_is_made_or_removed(
    root: Path, place: Callable[[Path], Path]
) -> None:
    victim = root.parent / "elsewhere"
    (victim / "work").mkdir(parents=True)
    (victim / "work" / "staging.json").write_text(f'{{"run_key": "{RUN}"}}')
    folder = place(root)
    with pytest.raises(InvalidInput, match="staging root"):
        staging.create(folder, root, RUN)
    with pytest.raises(InvalidInput, match="staging root"):
        staging.remove(folder, root, RUN)
    assert (victim / "work" / "staging.json").exists()


def test_a_link_is_made_once_and_overwrites_nothing(root: Path, source: Path) -> None:
    target = staging.create(root / RUN, root, RUN).asset_folder / "ecephys"
    staging.link_folder(source, target)
    staging.link_folder(source, target)
    assert (target / "deep" / "data.bin").exists()
    with pytest.raises(InvalidInput, match="something else"):
        staging.link_folder(source / "deep", target)
    target.unlink()
    target.mkdir()
    with pytest.raises(InvalidInput, match="something else"):
        staging.link_folder(source, target)
    with pytest.raises(InvalidInput, match="not a folder"):
        staging.link_folder(source / "none", target)


def test_sources_reached_by_links_survive_the_removal(root: Path, source: Path) -> None:
    made = staging.create(root / RUN, root, RUN)
    staging.link_folder(source, made.asset_folder / "ecephys")
    (made.asset_folder / "fib" / "a" / "b").mkdir(parents=True)
    (made.asset_folder / "fib" / "a" / "link").symlink_to(source)
    (made.asset_folder / "fib" / "a" / "b" / "file-link").symlink_to(source / "deep" / "data.bin")
    (made.asset_folder / "fib" / "a" / "b" / "own").write_text("goes")
    (made.work_folder / "broken").symlink_to("nowhere")
    assert staging.remove(root / RUN, root, RUN)
    assert (source / "deep" / "data.bin").read_bytes() == b"cannot be recorded again"
    assert list(root.iterdir()) == []


def test_linked_asset_and_work_folders_are_not_followed(root: Path, source: Path) -> None:
    made = staging.create(root / RUN, root, RUN)
    made.asset_folder.rmdir()
    made.asset_folder.symlink_to(source)
    assert staging.remove(root / RUN, root, RUN)
    assert (source / "deep" / "data.bin").exists()


def test_removing_what_is_not_there_is_no_error(root: Path) -> None:
    assert not staging.remove(root / RUN, root, RUN)


def test_empty_folders_left_by_a_killed_removal_go(root: Path) -> None:
    (root / RUN / "work").mkdir(parents=True)
    assert staging.remove(root / RUN, root, RUN)
    assert not (root / RUN).exists()


def test_a_killed_removal_is_finished_by_the_next(root: Path, source: Path) -> None:
    made = staging.create(root / RUN, root, RUN)
    staging.link_folder(source, made.asset_folder / "ecephys")
    for number in range(3000):
        folder = made.asset_folder / "fib" / str(number % 30)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).touch()
    code = (
        "import sys, pathlib; from include.acquisitions import staging; print('go', flush=True); "
        "staging.remove(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3])"
    )
    command = [sys.executable, "-c", code, str(root / RUN), str(root), RUN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as remover:
        assert remover.stdout is not None
        remover.stdout.readline()
        time.sleep(0.02)
        remover.send_signal(signal.SIGKILL)
    staging.remove(root / RUN, root, RUN)
    assert list(root.iterdir()) == []
    assert (source / "deep" / "data.bin").exists()


def test_what_a_cut_short_removal_leaves_is_not_taken_for_a_prepared_asset(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = staging.create(root / RUN, root, RUN)
    staging.link_folder(source, made.asset_folder / "ecephys")
    (made.asset_folder / "subject.json").write_text("{}")

    def killed(path: Path) -> None:
        raise KeyboardInterrupt(str(path))

    monkeypatch.setattr(staging, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        staging.remove(root / RUN, root, RUN)
    monkeypatch.undo()
    with pytest.raises(StagingMissing, match="half removed; clear create_staging_folder"):
        staging.check(root / RUN, RUN)
    assert list(staging.create(root / RUN, root, RUN).asset_folder.iterdir()) == []
    assert (source / "deep" / "data.bin").exists()


@pytest.fixture
def open_root() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def test_read_only_folders_of_a_command_go_too(open_root: Path) -> None:
    with unprivileged():
        made = staging.create(open_root / RUN, open_root, RUN)
        closed = made.asset_folder / "a" / "b" / "c" / "closed"
        closed.mkdir(parents=True)
        (closed / "one").touch()
        (closed / "two").touch()
        (closed / "sub").mkdir()
        (closed / "sub" / "three").touch()
        (closed / "sub").chmod(0)
        closed.chmod(0o555)
        assert staging.remove(open_root / RUN, open_root, RUN)
        assert list(open_root.iterdir()) == []
