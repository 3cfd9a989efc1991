"""Imports point one way: Airflow outermost, the domain in the middle, errors at the root."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOMAIN = ("acquisitions", "indexing", "dispatch", "catalog")
OUTER = (
    "airflow",
    "include.operators",
    "include.hooks",
    "include.triggers",
    "include.notifiers",
    "include.portal",
    "include.cli",
    "include.local",
    "include.defaults",
    "include.settings",
)
SERVICES = ("boto3", "botocore", "httpx", "obstore", "pymongo", "requests", "include.clients")
PARSED_OFTEN = ("boto3", "obstore", "pymongo", "aind_data_schema", "codeocean", "httpx", "awscrt")


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Every module named by an import in the file; type-checking imports do not count."""
    tree = ast.parse(path.read_text())
    nodes: list[ast.AST] = list(tree.body) if top_level_only else list(ast.walk(tree))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def is_under(name: str, *roots: str) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def rules() -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "include/errors.py", ("include", "airflow", "pydantic")
    yield "include/assets", (*OUTER, *SERVICES, *(f"include.{folder}" for folder in DOMAIN))
    for folder in DOMAIN:
        others = tuple(f"include.{other}" for other in DOMAIN if other != folder)
        yield f"include/{folder}", (*OUTER, *SERVICES, *others)
    yield "include/clients", OUTER
    yield "include/transformations", (*OUTER, *SERVICES)
    for folder in ("operators", "hooks", "triggers", "notifiers"):
        yield f"include/{folder}", ("include.portal", "include.cli", "include.local")
    yield "dags", (*SERVICES, "include.cli", "include.local", "include.portal")
    yield "plugins", (*SERVICES, "include.cli", "include.local")


def python_files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))


@pytest.mark.parametrize(
    ("place", "forbidden"), [pytest.param(*rule, id=rule[0]) for rule in rules()]
)
def test_inner_code_does_not_know_the_outer(place: str, forbidden: tuple[str, ...]) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(place)
        for name in imports(path)
        if is_under(name, *forbidden)
    ]
    assert found == []


def test_only_settings_reads_the_environment() -> None:
    allowed = {"include/settings.py"}
    found = [
        str(path.relative_to(ROOT))
        for path in python_files("include")
        if "os.environ" in path.read_text() or "os.getenv" in path.read_text()
    ]
    # The embedded stack and the job environments hand an environment on to processes of their own.
    found = [
        name
        for name in found
        if not name.startswith(("include/local/", "include/transformations/", "include/cli/"))
    ]
    assert set(found) <= allowed


@pytest.mark.parametrize("place", ["dags", "plugins", "include/operators", "include/acquisitions"])
def test_what_a_dag_file_pulls_in_imports_no_heavy_library(place: str) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(place)
        for name in imports(path, top_level_only=True)
        if is_under(name, *PARSED_OFTEN)
    ]
    assert found == []
