"""One stack for all whole runs; its Airflow tries again after two seconds, its DocDB is behind a door."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.local import connections as to
from include.local.stack import LocalStack
from include.transformations.environments import build_environment
from tests.quiet_schedule import push_quiet_presets
from tests.runs.gate import Gate
from tests.runs.lab import Lab

ENVIRONMENTS = Path(__file__).parents[2] / ".local" / "environments"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def docdb_gate() -> Iterator[Gate]:
    """Stands before DocDB; knows where that is once the stack runs."""
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture(scope="session")
def local_stack(docdb_gate: Gate) -> Iterator[LocalStack]:
    """The whole stack, with a running Airflow."""
    root = Path(tempfile.mkdtemp(prefix="assetflow-runs-"))
    root.chmod(0o755)  # PostgreSQL runs as another user when root runs the tests
    connection = {
        "conn_type": "mongo",
        "host": "127.0.0.1",
        "port": docdb_gate.port,
        "extra": {"directConnection": True},
    }
    name, value = to.as_variable("assetflow_docdb", connection)
    stack = LocalStack(
        root,
        dags_folder=Path(__file__).parent / "dags",
        variables={name: value},
        after_start=push_quiet_presets,
    )
    docdb_gate.leads_to = lambda: stack.docdb.port
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        shutil.rmtree(root)


@pytest.fixture(scope="session")
def lab(local_stack: LocalStack, docdb_gate: Gate) -> Iterator[Lab]:
    """The stack, and what tests do with it."""
    lab = Lab(local_stack, docdb_gate)
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def ecephys_environment() -> None:
    """The environment in which recordings are compressed; built once, kept between runs."""
    build_environment("ecephys", ENVIRONMENTS)
