"""``assetflow environments`` as it is typed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from include.cli.environments import app
from include.settings import settings
from include.transformations.environment_paths import TRANSFORMATIONS, Transformation


@pytest.fixture(autouse=True)
def one_empty_environment(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    monkeypatch.setenv("ASSETFLOW_ENVIRONMENTS_ROOT", str(tmp_path / "environments"))
    settings.cache_clear()
    lock = str(tmp_path / "requirements.txt")
    monkeypatch.setitem(TRANSFORMATIONS, "empty", Transformation("nothing", lock, "a moon"))
    yield
    settings.cache_clear()


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_what_is_built_is_listed_and_found():
    assert "not built" in next(line for line in call("list").splitlines() if "empty" in line)

    python = json.loads(call("build", "empty", "--json"))["empty"]

    rows = {row["name"]: row for row in json.loads(call("list", "--json"))}
    assert rows["empty"]["is_built"]
    assert not rows["ecephys"]["is_built"]
    assert call("path", "empty").strip() == python
