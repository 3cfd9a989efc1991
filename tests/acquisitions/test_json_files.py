"""The JSON files of a folder: none is an answer, no answer is not none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from include.acquisitions.json_files import json_files
from include.acquisitions.metadata import has_parts
from include.acquisitions.metadata_sources import read_uploaded_json
from include.errors import InvalidInput, TransientError
from tests.acquisitions.unprivileged import open_folder, unprivileged


def test_they_are_listed_by_name_and_nothing_else_is(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "a.txt", ".c.json.part"):
        (tmp_path / name).write_text("{}")
    assert json_files(tmp_path) == [tmp_path / "a.json", tmp_path / "b.json"]


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert json_files(tmp_path / "gone") == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="file: cannot be listed"):
        json_files(tmp_path / "file")


def test_storage_that_does_not_answer_may_answer_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(_: Path) -> list[Path]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "iterdir", no_answer)
    with pytest.raises(TransientError, match="could not be listed"):
        json_files(tmp_path)


@pytest.mark.parametrize("rights", [0, 0o311], ids=["closed", "not to be listed"])
def test_a_folder_that_may_not_be_listed_is_not_taken_for_an_empty_one(rights: int) -> None:
    with open_folder() as top:
        folder = top / "meta"
        folder.mkdir()
        (folder / "instrument_camera.json").write_text("{}")
        folder.chmod(rights)
        with unprivileged():
            with pytest.raises(InvalidInput, match="meta: cannot be listed"):
                has_parts(folder, "instrument")
            with pytest.raises(InvalidInput, match="meta: cannot be listed"):
                read_uploaded_json(folder, allowed_roots=[top])


def test_a_file_that_may_not_be_looked_at_is_told() -> None:
    with open_folder() as top:
        folder = top / "meta"
        folder.mkdir()
        (folder / "subject.json").write_text("{}")
        folder.chmod(0o744)  # may be listed, not searched
        with unprivileged(), pytest.raises(InvalidInput, match=r"subject\.json: cannot be read"):
            read_uploaded_json(folder, allowed_roots=[top])


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "broken.json").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "subject.json").write_text("{}")
    assert read_uploaded_json(tmp_path, allowed_roots=[tmp_path]) == {"subject.json": b"{}"}
    assert not has_parts(tmp_path, "subject")
