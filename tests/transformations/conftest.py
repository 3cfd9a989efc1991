"""Environments are built once and kept between runs; programs run as commands do."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.transformations.environment_paths import FOLDER
from include.transformations.environments import build_environment, command_environment

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".local" / "environments"
"""Shared with the stacks of the demo and of the tests; builders wait for each other."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environments_root() -> Path:
    return ENVIRONMENTS


@pytest.fixture(scope="session")
def ecephys_python(environments_root) -> Path:
    return build_environment("ecephys", environments_root)


@pytest.fixture(scope="session")
def videos_python(environments_root) -> Path:
    return build_environment("behavior-videos", environments_root)


@pytest.fixture
def run(environments_root) -> Run:
    """Call ``run NAME`` with these settings, optionally under another command."""

    def call(
        name: str, settings: dict[str, Any], *more: object, under: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*under, str(FOLDER / "run"), name, "--job-settings", json.dumps(settings, default=str),
             *map(str, more)],
            env={"PATH": os.environ["PATH"], **command_environment(environments_root)},
            capture_output=True,
            text=True,
            timeout=200,
        )  # fmt: skip

    return call
