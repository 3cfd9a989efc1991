"""Whole runs of `ingest_postgres`, on the real stack."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
import pytest

from include.assets.run_key import run_digits
from include.catalog.imports import FOLDER_LOCKS
from include.clients.airflow_api import FINAL_STATES
from include.local.connections import CATALOG_DATABASE
from tests.runs.eventually import eventually, kill
from tests.runs.lab import ENOUGH_OF_A_TITLE, Lab

DAG_ID = "ingest_postgres"

DATES = {
    "deposition_date": "2025-01-01", "release_date": "2025-01-02", "last_modified_date": "2025-01-03",
}  # fmt: skip


@dataclass
class Portal:
    """A bucket of its own in the stack, two datasets in it, and the stack's catalog."""

    lab: Lab
    bucket: str
    first: int
    """Number of the deposition and of the first dataset; the second dataset has the next one."""

    def put(self, key: str, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.lab.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def remove(self, key: str) -> None:
        self.lab.s3.delete_object(Bucket=self.bucket, Key=key)

    def connect(self) -> psycopg.Connection[Any]:
        uri = self.lab.stack.postgres.uri_of(CATALOG_DATABASE)
        return psycopg.connect(uri, autocommit=True)

    def rows(self, columns: str, table: str, where: str = "true") -> list[Any]:
        own = f"dataset_id BETWEEN {self.first} AND {self.first + 1}"
        statement = f"SELECT {columns} FROM {table} WHERE {own} AND {where} ORDER BY id"
        with self.connect() as connection:
            return connection.execute(statement).fetchall()

    def fill(self) -> None:
        self.put(
            f"depositions_metadata/{self.first}/deposition_metadata.json",
            {
                "deposition_identifier": self.first,
                "deposition_title": "t",
                "deposition_description": "d",
                "dates": DATES,
                "authors": [{"name": "A"}],
                "deposition_types": ["dataset"],
            },
        )
        for number in (self.first, self.first + 1):
            self.put(
                f"{number}/dataset_metadata.json",
                {
                    "dataset_identifier": number,
                    "dataset_title": "t",
                    "dataset_description": "d",
                    "deposition_id": self.first,
                    "dates": DATES,
                    "organism": {"name": "mouse"},
                    "sample_type": "cell",
                    "authors": [{"name": "A"}],
                },
            )
            for run in ("RUN1", "RUN2"):
                self.put(f"{number}/{run}/run_metadata.json", {"run_name": run})

    def start(self, **conf: Any) -> IngestRun:
        run_id = self.lab.api.start_run(DAG_ID, {"s3_bucket": self.bucket, **conf})
        return IngestRun(self.lab, run_id)

    @contextmanager
    def dataset_held(self, number: int) -> Iterator[None]:
        """As if somebody else imported the dataset."""
        with self.connect() as connection:
            lock = "SELECT pg_advisory_lock(%s, hashtext(%s))"
            connection.execute(lock, (FOLDER_LOCKS, f"{self.bucket}/{number}/"))
            yield


@pytest.fixture
def portal(lab: Lab) -> Iterator[Portal]:
    name = f"ingest-{uuid.uuid4().hex[:10]}"
    lab.stack.s3.make_bucket(name)
    found = Portal(lab, name, first=10_000 + uuid.uuid4().int % 10**8 * 2)
    found.fill()
    yield found
    lab.stack.s3.remove_bucket(name)


@dataclass
class IngestRun:
    """One run, followed to its end."""

    lab: Lab
    run_id: str

    def wait(self) -> str:
        return eventually(
            lambda: (
                (state := self.lab.api.run_state(DAG_ID, self.run_id)) in FINAL_STATES and state
            ),
            f"the end of {self.run_id}",
        )

    def report(self) -> Any:
        prefix = f"runs/{DAG_ID}/"
        keys = self.lab.objects(prefix, self.lab.runs_bucket)
        (key,) = [key for key in keys if key.endswith(f"_{run_digits(self.run_id)}/report.json")]
        return json.loads(self.lab.read(f"{prefix}{key}", self.lab.runs_bucket))

    def states(self) -> dict[str, str | None]:
        return {
            one.task_id if one.map_index < 0 else f"{one.task_id}_{one.map_index}": one.state
            for one in self.lab.api.task_states(DAG_ID, self.run_id)
        }

    def instance(self, task_id: str, map_index: int) -> Any:
        path = f"/dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{task_id}/{map_index}"
        answer = self.lab.http.get(path)
        return answer.json() if answer.status_code == 200 else None

    def process_of_dataset(self, map_index: int) -> psutil.Process:
        """The process in which one dataset is imported."""

        def look() -> psutil.Process | None:
            found = self.instance("import_dataset", map_index)
            if found is None or found["state"] != "running":
                return None
            title = f"airflow worker -- {found['id']}"
            for process in psutil.process_iter():
                try:
                    named = " ".join(process.cmdline()).strip()
                except psutil.Error:
                    continue
                if title.startswith(named) and len(named) > ENOUGH_OF_A_TITLE:
                    return process
            return None

        return eventually(look, "a dataset being imported")


def test_a_run_imports_everything_and_the_next_changes_nothing(portal: Portal):
    run = portal.start(deposition_ids=[portal.first])
    assert run.wait() == "success", run.states()
    report = run.report()
    assert (report["asked"], report["done"], report["failed"]) == (3, 3, 0)
    assert report["tables"]["run"]["created"] == 4
    runs = portal.rows("name, id", "run")
    assert [name for name, _ in runs] == ["RUN1", "RUN2"] * 2
    assert run.instance("import_dataset", 1)["rendered_map_index"] == str(portal.first + 1)

    again = portal.start()
    assert again.wait() == "success", again.states()
    report = again.report()
    assert (report["asked"], report["unchanged"], report["lines"]) == (2, 2, [])
    assert portal.rows("name, id", "run") == runs
    assert again.states()["import_depositions"] == "skipped"


def test_a_dry_run_shows_what_would_be_and_writes_nothing(portal: Portal):
    run = portal.start(dry_run=True)
    assert run.wait() == "success", run.states()
    assert run.report()["tables"]["run"]["created"] == 4
    assert portal.rows("id", "run") == []


def test_what_is_broken_or_missing_is_red_by_name_and_the_other_dataset_is_done(portal: Portal):
    portal.put(f"{portal.first}/dataset_metadata.json", b'{"cut')
    run = portal.start(deposition_ids=[999])
    assert run.wait() == "failed"
    states = run.states()
    assert states["import_depositions"] == "failed"
    assert (states["import_dataset_0"], states["import_dataset_1"]) == ("failed", "success")
    report = run.report()
    missing, broken = report["failures"]
    assert f"s3://{portal.bucket}/depositions_metadata/999/" in missing
    assert f"s3://{portal.bucket}/{portal.first}/dataset_metadata.json" in broken
    assert (report["done"], report["failed"]) == (1, 2)
    assert len(portal.rows("id", "run")) == 2


def test_what_cannot_be_planned_is_red_and_says_so(portal: Portal):
    run = portal.start(s3_bucket="misspelt-bucket")
    assert run.wait() == "failed"
    states = run.states()
    assert states["plan_run"] == "failed"
    assert states["import_dataset"] == "upstream_failed"
    assert states["report_run"] == "failed"


def test_a_dataset_whose_task_is_killed_is_imported_again(portal: Portal):
    with portal.dataset_held(portal.first):
        run = portal.start()
        kill(run.process_of_dataset(0))
    assert run.wait() == "success", run.states()
    assert run.instance("import_dataset", 0)["try_number"] == 2
    assert run.report()["done"] == 2
    assert len(portal.rows("id", "run")) == 4


def test_two_runs_over_one_dataset_come_one_after_the_other(portal: Portal):
    runs = [portal.start(), portal.start()]
    assert [run.wait() for run in runs] == ["success", "success"]
    assert len(portal.rows("id", "run")) == 4
    reports = [run.report() for run in runs]
    assert sum(report["done"] for report in reports) == 2
    assert sum(report["unchanged"] for report in reports) == 2


def test_a_bad_conf_is_refused_with_every_problem_and_no_secret(lab: Lab):
    conf = {"import_tomogrms": True, "postgres_url": "postgresql://me:hunter2@host/db"}
    answer = lab.http.post(f"/dags/{DAG_ID}/dagRuns", json={"logical_date": None, "conf": conf})
    assert answer.status_code == 400
    assert "did you mean import_tomograms?" in answer.json()["detail"]
    assert "assetflow_postgres" in answer.json()["detail"]
    assert "hunter2" not in answer.text
