"""The locked requirements hold what must hold, and nothing is imported that they do not name."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("requirements*.in"), *ROOT.glob("include/**/requirements*.in")])
LOCKS = [source.with_suffix(".txt") for source in SOURCES]
GPL_ONLY = "secantusdb"

NOT_IN_THE_IMAGE = ("include/local/",)
"""Runs with the development requirements: the embedded services."""

OWN_ENVIRONMENT = (
    "include/transformations/ecephys/",
    "include/transformations/behavior_videos/",
    "include/transformations/metadata_status_v1/",
)
"""Programs with locked requirements of their own."""

PART_OF = {"botocore": "boto3", "pydantic-core": "pydantic", "starlette": "fastapi"}
"""Distribution → the one that brings it and whose documentation sends its users there."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def requirements(path: Path) -> Iterator[Requirement]:
    for line in path.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            yield Requirement(text)


def locked(path: Path) -> dict[str, list[Version]]:
    """Distribution → its versions; several when they differ between platforms."""
    found: dict[str, list[Version]] = {}
    for requirement in requirements(path):
        (pin,) = requirement.specifier
        assert pin.operator == "==", f"{name_of(path)} does not pin {requirement}"
        found.setdefault(canonicalize_name(requirement.name), []).append(Version(pin.version))
    return found


@pytest.mark.parametrize(
    "needed",
    [
        pytest.param("apache-airflow==3.3.2", id="the version that everything here was tried with"),
        pytest.param("boto3>=1.44", id="a resolver can settle on a release that has no S3"),
        pytest.param("celery<5.7", id="the Celery provider imports a name that 5.7 removed"),
        pytest.param("codeocean>=0.17,<0.18", id="the SDK whose models the client reads"),
        pytest.param("dataclasses-json>=0.6.7", id="older ones import and then fail at each call"),
        pytest.param("pydantic>=2.11,<2.12", id="2.12 broke the metadata schema"),
    ],
)
def test_the_image_gets_versions_that_work(needed: str) -> None:
    requirement = Requirement(needed)
    (version,) = locked(ROOT / "requirements.txt")[requirement.name]
    assert version in requirement.specifier


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_every_requirement_is_satisfied_by_its_lock(source: Path) -> None:
    versions = locked(source.with_suffix(".txt"))
    for requirement in requirements(source):
        found = versions.get(canonicalize_name(requirement.name), [])
        assert found, f"{requirement} is not locked; run `make lock`"
        for version in found:
            assert requirement.specifier.contains(version, prereleases=True), requirement


def test_developers_and_the_image_have_the_same_versions_of_what_both_have() -> None:
    image, development = locked(ROOT / "requirements.txt"), locked(ROOT / "requirements-dev.txt")
    both = image.keys() & development.keys()
    assert {name: image[name] for name in both} == {name: development[name] for name in both}


@pytest.mark.parametrize("path", [*SOURCES, *LOCKS], ids=name_of)
def test_requirements_name_no_place_to_get_them_from(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|-f |-i ", text)
    assert all(requirement.url is None for requirement in requirements(path))


@pytest.mark.parametrize("lock", [path for path in LOCKS if path.name != "requirements-dev.txt"])
def test_the_gpl_server_is_in_no_environment_but_the_developers(lock: Path) -> None:
    assert GPL_ONLY not in locked(lock)


def test_the_developers_environment_has_the_gpl_server() -> None:
    assert GPL_ONLY in locked(ROOT / "requirements-dev.txt")


def test_the_gpl_server_is_never_imported() -> None:
    modules = {
        module
        for module, brought_by in packages_distributions().items()
        if GPL_ONLY in map(canonicalize_name, brought_by)
    }
    assert modules
    files = [*(ROOT / "include").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    assert [name_of(file) for file in files if modules & {name for name, _ in imports(file)}] == []


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Top-level name and full name of every import that runs; those for type checkers do not."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        yield from ((name.partition(".")[0], name) for name in names)


def files_of_the_image() -> list[Path]:
    return [
        path
        for folder in ("include", "dags", "plugins", "config")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not name_of(path).startswith((*NOT_IN_THE_IMAGE, *OWN_ENVIRONMENT))
    ]


def distributions(top: str, full: str, known: dict[str, list[str]]) -> set[str]:
    """Which distributions bring a module; one is enough to be named."""
    if full.startswith("airflow.providers."):
        return {f"apache-airflow-providers-{full.split('.')[2]}"}
    if top == "airflow":
        return {"apache-airflow"}
    names = {canonicalize_name(name) for name in known.get(top, [top])}
    return {PART_OF.get(name, name) for name in names}


def test_what_is_imported_in_the_image_is_named_in_its_requirements() -> None:
    known = {name: list(dists) for name, dists in packages_distributions().items()}
    named = {canonicalize_name(found.name) for found in requirements(ROOT / "requirements.in")}
    own = {path.stem for path in (ROOT / "include/transformations").glob("*.py")}
    missing = {
        f"{name_of(path)} imports {full}"
        for path in files_of_the_image()
        for top, full in imports(path)
        if top not in sys.stdlib_module_names and top != "include" and top not in own
        if not distributions(top, full, known) & named
    }
    assert missing == set()
