"""Whole runs of `index_buckets`, on the real stack."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from include.assets.canonical import canonical_text
from include.assets.run_key import run_digits
from include.clients.airflow_api import FINAL_STATES
from tests.runs.eventually import eventually, kill
from tests.runs.lab import Lab

DAG_ID = "index_buckets"


@dataclass
class Bucket:
    """A bucket of its own in the stack, and its records."""

    lab: Lab
    name: str

    def __post_init__(self) -> None:
        database = self.lab._docdb[self.lab.stack.deployment.docdb_database]
        self.v1 = database[self.lab.stack.deployment.docdb_collection_v1]
        self.v2 = database[self.lab.stack.deployment.docdb_collection_v2]

    def put(self, key: str, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.lab.s3.put_object(Bucket=self.name, Key=key, Body=body)

    def record(self, name: str, **fields: Any) -> None:
        self.v1.insert_one({
            "_id": f"{self.name}-{name}",
            "name": name,
            "location": f"s3://{self.name}/{name}",
            "last_modified": "2026-11-20T00:00:00.000000Z",
            **fields,
        })

    def records(self) -> dict[str, dict[str, Any]]:
        query = {"location": {"$regex": f"^s3://{self.name}/"}}
        found = [*self.v1.find(query), *self.v2.find(query)]
        return {record["location"].rpartition("/")[2]: record for record in found}

    def objects(self) -> dict[str, bytes]:
        return {key: self.lab.read(key, self.name) for key in self.lab.objects("", self.name)}


@pytest.fixture
def bucket(lab: Lab) -> Iterator[Bucket]:
    name = f"index-{uuid.uuid4().hex[:10]}"
    lab.stack.s3.make_bucket(name)
    yield Bucket(lab, name)
    lab.stack.s3.remove_bucket(name)


@dataclass
class IndexRun:
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

    def kept(self, name: str) -> Any:
        """What the run left in the runs bucket."""
        prefix = f"runs/{DAG_ID}/"
        keys = self.lab.objects(prefix, self.lab.runs_bucket)
        (key,) = [key for key in keys if key.endswith(f"_{run_digits(self.run_id)}/{name}")]
        return json.loads(self.lab.read(f"{prefix}{key}", self.lab.runs_bucket))

    def states(self) -> dict[str, str | None]:
        return {
            one.task_id if one.map_index < 0 else f"{one.task_id}_{one.map_index}": one.state
            for one in self.lab.api.task_states(DAG_ID, self.run_id)
        }


def start(lab: Lab, *buckets: Bucket | str, **conf: Any) -> IndexRun:
    names = [one if isinstance(one, str) else one.name for one in buckets]
    return IndexRun(lab, lab.api.start_run(DAG_ID, {"s3_buckets": names, **conf}))


def in_step(bucket: Bucket, names: Sequence[str]) -> bool:
    records, files = bucket.records(), bucket.objects()
    return all(
        files[f"{name}/metadata.nd.json"] == canonical_text(records[name]).encode()
        for name in names
    )


def fill(bucket: Bucket) -> None:
    """One asset of each kind."""
    bucket.record("changed", subject={"a": 2})
    bucket.put("changed/subject.json", {"a": 1})
    bucket.record("gone", subject={"a": 1})
    bucket.put("uploaded/metadata.nd.json", {"subject": {"b": 1}, "object_type": "Metadata"})
    bucket.put("derived/data_description.json", {"data_level": "derived", "schema_version": "1.0"})
    bucket.put("derived/rig.json", b'{"cut')
    bucket.put("raw/data.bin", b"x")


def test_a_run_brings_a_bucket_in_step_and_the_next_writes_nothing(lab: Lab, bucket: Bucket):
    fill(bucket)
    run = start(lab, bucket)
    assert run.wait() == "success", run.states()

    records = bucket.records()
    assert set(records) == {"changed", "uploaded", "derived"}
    assert in_step(bucket, ["changed", "uploaded", "derived"])
    assert records["derived"]["metadata_status"] in {"Invalid", "Missing", "Unknown"}
    report = run.kept("report.json")
    (of_bucket,) = report["buckets"]
    assert (of_bucket["done"], of_bucket["skipped"], of_bucket["failed"]) == (4, 1, 0)
    assert of_bucket["counts"]["records_removed"] == 1
    assert of_bucket["oldest_found_at"] == "2026-11-20T00:00:00Z"
    assert of_bucket["oldest_left_at"] is None
    journal = [
        entry
        for key in lab.objects(f"runs/{DAG_ID}/", lab.runs_bucket)
        if run_digits(run.run_id) in key and "/journal/" in key
        for entry in json.loads(lab.read(f"runs/{DAG_ID}/{key}", lab.runs_bucket))
    ]
    assert [one["location"] for one in journal if one["kind"] == "record"] == [
        f"s3://{bucket.name}/gone"
    ]
    assert lab.objects(f"claims/index_buckets/{bucket.name}", lab.runs_bucket) == {}

    files = bucket.objects()
    again = start(lab, bucket)
    assert again.wait() == "success"
    (of_bucket,) = again.kept("report.json")["buckets"]
    assert (of_bucket["drift"], of_bucket["counts"]) == (0, {})
    assert bucket.objects() == files
    history = json.loads(lab.read(f"history/{DAG_ID}/{bucket.name}.json", lab.runs_bucket))
    assert [row["drift"] for row in history["rows"]] == [4, 0]


def test_a_dry_run_shows_the_plan_and_writes_nothing(lab: Lab, bucket: Bucket):
    fill(bucket)
    files, records = bucket.objects(), bucket.records()
    run = start(lab, bucket, dry_run=True)
    assert run.wait() == "success", run.states()
    assert (bucket.objects(), bucket.records()) == (files, records)
    lines = {line["asset"].rpartition("/")[2]: line for line in run.kept("report.json")["lines"]}
    assert set(lines) == {"changed", "gone", "uploaded", "derived", "raw"}
    assert lines["gone"]["steps"] == ["remove its record: nothing is left of the asset in S3"]
    assert "not derived" in lines["raw"]["reason"]
    assert lab.objects(f"history/{DAG_ID}/{bucket.name}", lab.runs_bucket) == {}


def test_a_bucket_that_is_not_there_is_red_and_the_others_are_done(lab: Lab, bucket: Bucket):
    bucket.record("changed", subject={"a": 2})
    bucket.put("changed/data.bin", b"x")
    run = start(lab, "misspelt-bucket", bucket)
    assert run.wait() == "failed"
    assert in_step(bucket, ["changed"])
    failed = run.kept("report.json")["failed"]
    assert list(failed) == ["s3://misspelt-bucket"]
    assert "BucketNotFound" in failed["s3://misspelt-bucket"]
    assert run.states()["index_slice_0"] == "success"


def test_too_many_removals_are_held_back_and_red(lab: Lab, bucket: Bucket):
    bucket.put("there/data.bin", b"x")
    for number in range(12):
        bucket.record(f"gone-{number}")
    run = start(lab, bucket)
    assert run.wait() == "failed"
    assert len(bucket.records()) == 12
    (of_bucket,) = run.kept("report.json")["buckets"]
    assert "12 records would be removed" in of_bucket["removals_refused"]
    raised = start(lab, bucket, max_removal_share=1.0)
    assert raised.wait() == "success"
    assert bucket.records() == {}


def test_a_killed_slice_is_examined_again(lab: Lab, bucket: Bucket):
    names = [f"asset-{number:04}" for number in range(1500)]
    bucket.v1.insert_many([
        {
            "_id": f"{bucket.name}-{name}",
            "name": name,
            "location": f"s3://{bucket.name}/{name}",
            "last_modified": "2026-11-20T00:00:00.000000Z",
            "subject": {"name": name},
        }
        for name in names
    ])
    for name in names[:300]:
        bucket.put(f"{name}/data.bin", b"x")
    run = start(lab, bucket, run_s3_sync=False, max_removals=0)
    process = eventually(
        lambda: next(
            (
                found
                for index in (0, 1)
                if (found := watched_process(lab, run.run_id, index)) is not None
            ),
            None,
        ),
        "a slice at work",
    )
    kill(process)
    assert run.wait() == "failed"  # its 1,200 removals are held back
    report = run.kept("report.json")
    (of_bucket,) = report["buckets"]
    assert of_bucket["problem"] == ""
    assert of_bucket["done"] + of_bucket["unchanged"] == 300
    assert in_step(bucket, names[:300])


def watched_process(lab: Lab, run_id: str, map_index: int) -> Any:
    """The process of a mapped task instance that is running, or None."""
    import psutil

    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/index_slice/{map_index}"
    answer = lab.http.get(path)
    if answer.status_code != 200 or answer.json()["state"] != "running":
        return None
    title = f"airflow worker -- {answer.json()['id']}"
    for process in psutil.process_iter():
        try:
            named = " ".join(process.cmdline()).strip()
        except psutil.Error:
            continue
        if named and title.startswith(named) and len(named) > 38:
            return process
    return None


def test_a_bad_conf_is_refused_with_every_problem(lab: Lab):
    answer = lab.http.post(
        f"/dags/{DAG_ID}/dagRuns",
        json={"logical_date": None, "conf": {"lookbck_days": 3, "doc_db_host": "x"}},
    )
    assert answer.status_code == 400
    assert "did you mean lookback_days?" in answer.json()["detail"]
    assert "assetflow_docdb" in answer.json()["detail"]
