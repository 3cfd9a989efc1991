"""Environments: locked, built once, never used half-built."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from include.errors import CommandFailed, InvalidInput, NotFound
from include.transformations import environment_paths, environments
from include.transformations.environment_paths import FOLDER, TRANSFORMATIONS, Transformation
from include.transformations.environments import build_environment, find_environment


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    """A transformation whose environment needs nothing, and a root to build it in."""
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    lock = str(tmp_path / "requirements.txt")
    monkeypatch.setitem(TRANSFORMATIONS, "empty", Transformation("nothing", lock, "a moon"))
    return tmp_path / "environments"


def test_an_environment_is_found_once_it_is_built(empty):
    with pytest.raises(NotFound, match="assetflow environments build empty"):
        find_environment("empty", empty)

    python = build_environment("empty", empty)

    assert find_environment("empty", empty) == python
    assert subprocess.run([python, "-c", "print(1)"], capture_output=True).stdout == b"1\n"


def test_it_is_built_once(empty):
    python = build_environment("empty", empty)
    (python.parents[1] / "mine").touch()

    build_environment("empty", empty)

    assert (python.parents[1] / "mine").exists()


def test_a_half_built_one_is_never_used(empty):
    folder = environment_paths.environment_folder("empty", empty)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text("half a Python")

    python = build_environment("empty", empty)

    assert subprocess.run([python, "-c", ""]).returncode == 0


def test_another_lock_is_another_environment(empty):
    before = environment_paths.environment_folder("empty", empty)
    (empty.parent / "requirements.txt").write_text("# something else\n")

    assert environment_paths.environment_folder("empty", empty) != before


def test_builders_at_the_same_time_build_it_once(empty, monkeypatch):
    built = []
    build = environments._build
    monkeypatch.setattr(environments, "_build", lambda *a: (built.append(a), build(*a)))
    threads = [threading.Thread(target=build_environment, args=("empty", empty)) for _ in range(3)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(built) == 1


def test_a_failed_build_says_what_uv_said_and_what_is_needed(empty):
    (empty.parent / "requirements.txt").write_text("this is no requirement ===\n")

    with pytest.raises(CommandFailed, match=r"(?s)needs a moon.*this is no requirement"):
        build_environment("empty", empty)
    with pytest.raises(NotFound):
        find_environment("empty", empty)


def test_unknown_names_are_refused_with_those_there_are(tmp_path):
    with pytest.raises(InvalidInput, match="ecephys, ecephys-wavpack, behavior-videos"):
        build_environment("ecefys", tmp_path)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_every_lock_is_pinned_and_names_no_host(name):
    lines = (FOLDER / TRANSFORMATIONS[name].lock).read_text().splitlines()
    pins = [line for line in lines if line and not line.lstrip().startswith("#")]

    assert pins
    assert all("==" in pin for pin in pins)
    assert not any("://" in line or "--index" in line for line in lines)


def test_run_needs_nothing_but_the_standard_library():
    for name in ("run", "environment_paths.py"):
        tree = ast.parse((FOLDER / name).read_text())
        imported = {
            (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert imported <= sys.stdlib_module_names | {"environment_paths"}


def test_programs_import_nothing_of_the_project_but_themselves_and_the_errors():
    for path in FOLDER.rglob("*/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("include"):
                assert node.module is not None
                assert node.module.startswith(("include.transformations.", "include.errors")), path


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["what"], {}, "there are ecephys"),
        (["ecephys"], {}, "ASSETFLOW_ENVIRONMENTS_ROOT is not set"),
        (["ecephys"], {"ASSETFLOW_ENVIRONMENTS_ROOT": "/nowhere"}, "environments build ecephys"),
    ],
    ids=["unknown name", "no root", "not built"],
)
def test_run_says_what_is_missing(arguments, variables, said):
    done = subprocess.run(
        [FOLDER / "run", *arguments],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert said in done.stderr
