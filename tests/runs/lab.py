"""A lab with a running stack: acquisitions to carry, runs to follow, and all stores to look into."""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import psutil
from pymongo import MongoClient

from include.acquisitions.plan import make_run_key
from include.clients.airflow_api import FINAL_STATES, AirflowApi, TaskState
from include.clients.code_ocean import CodeOceanClient
from include.clients.runs_bucket import plan_key, report_key
from include.local.service import inherited_environment
from include.local.stack import LocalStack
from include.local.stand_ins.control import StandInControl
from tests.runs.acquisition import Acquisition
from tests.runs.eventually import eventually
from tests.runs.gate import Gate

DAG_ID = "transform_and_upload_v2"

ENOUGH_OF_A_TITLE = len("airflow worker -- 01a1fc8a-24fb-71c3")
"""Characters; only the first two groups of a task instance's id come from the clock."""

_subjects = itertools.count(810_001)


class Lab:
    """One stack and its stores."""

    def __init__(self, stack: LocalStack, docdb_gate: Gate) -> None:
        assert stack.airflow is not None
        self.stack = stack
        self.docdb_gate = docdb_gate
        account = stack.airflow.account()
        self.api = AirflowApi.sign_in(account.url, account.user, account.password)
        self.http = httpx.Client(
            base_url=f"{account.url}/api/v2",
            headers={"Authorization": f"Bearer {account.token()}"},
            timeout=60,
        )
        self.s3 = stack.s3.client()
        self.bucket = stack.deployment.private_bucket
        self.runs_bucket = stack.deployment.runs_bucket
        self.code_ocean = CodeOceanClient(stack.code_ocean.url, stack.code_ocean.token)
        self.code_ocean_control = StandInControl(stack.code_ocean.url)
        self.metadata_control = StandInControl(stack.metadata_service.url)
        self._docdb: MongoClient[dict[str, Any]] = MongoClient(stack.docdb.uri, tz_aware=True)

    def close(self) -> None:
        self.http.close()
        self.code_ocean_control.__exit__()
        self.metadata_control.__exit__()
        self._docdb.close()

    def reset(self) -> None:
        """No faults, ordinary pace; what the stores hold stays."""
        for control in (self.code_ocean_control, self.metadata_control):
            control.delete("faults")
        self.code_ocean_control.set(draft_polls=1, polls_per_state=1)

    def acquisition(self, files: Mapping[str, str | bytes] | None = None) -> Acquisition:
        """A new one; with *files* it is of behaviour."""
        subject_id = str(next(_subjects))
        folder = self.stack.source_roots[0] / f"session_{subject_id}"
        folder.mkdir()
        acquisition = Acquisition(folder, subject_id)
        return acquisition if files is None else acquisition.write(files)

    def submit(self, conf: Mapping[str, Any], *, run_id: str | None = None) -> Run:
        """Ask for a run."""
        name = f"{conf['subject_id']}_2026-11-20_10-00-00"
        return Run(self, self.api.start_run(DAG_ID, conf, run_id=run_id), name)

    def submit_from_inside(self, conf: Mapping[str, Any]) -> Run:
        """Start a run as a schedule or another DAG does: nobody looks at its conf before it runs."""
        run_id = f"inside__{conf['subject_id']}"
        command = ["dags", "trigger", DAG_ID, "--run-id", run_id, "--conf", json.dumps(conf)]
        subprocess.run(
            [sys.executable, "-m", "airflow", *command],
            env=inherited_environment() | self.stack.environment(),
            check=True,
            capture_output=True,
        )
        return Run(self, run_id, f"{conf['subject_id']}_2026-11-20_10-00-00")

    def objects(self, prefix: str, bucket: str | None = None) -> dict[str, int]:
        """Key below *prefix* → bytes."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket or self.bucket, Prefix=prefix
        )
        return {
            found["Key"].removeprefix(prefix): found["Size"]
            for page in pages
            for found in page.get("Contents", [])
        }

    def read(self, key: str, bucket: str | None = None) -> bytes:
        return self.s3.get_object(Bucket=bucket or self.bucket, Key=key)["Body"].read()

    def records(self, asset_name: str) -> list[dict[str, Any]]:
        """Records of the asset in both collections."""
        deployment = self.stack.deployment
        database = self._docdb[deployment.docdb_database]
        return [
            record
            for name in (deployment.docdb_collection_v1, deployment.docdb_collection_v2)
            for record in database[name].find({"name": asset_name})
        ]


@dataclass
class Run:
    """One run, seen from outside."""

    lab: Lab
    run_id: str
    asset_name: str

    @property
    def run_key(self) -> str:
        return make_run_key(self.asset_name, self.run_id)

    @property
    def staging(self) -> Path:
        return self.lab.stack.root / "staging" / self.run_key

    # -- following it

    def wait(self) -> str:
        """Its final state."""
        return eventually(
            lambda: (
                (state := self.lab.api.run_state(DAG_ID, self.run_id)) in FINAL_STATES and state
            ),
            f"the end of {self.run_id}",
        )

    def succeeds(self) -> Run:
        assert self.wait() == "success", self.failures()
        return self

    def fails(self) -> Run:
        assert self.wait() == "failed"
        return self

    def tasks(self) -> dict[str, TaskState]:
        """Task id, of mapped instances with ``_0``, → what Airflow says of it."""
        return {
            one.task_id if one.map_index < 0 else f"{one.task_id}_{one.map_index}": one
            for one in self.lab.api.task_states(DAG_ID, self.run_id)
        }

    def states(self) -> dict[str, str | None]:
        return {name: one.state for name, one in self.tasks().items()}

    def wait_for(self, task: str, state: str) -> TaskState:
        return eventually(
            lambda: (one := self.tasks().get(task)) is not None and one.state == state and one,
            f"{task} {state} in {self.run_id}",
        )

    def log(self, task: str, *, try_number: int = 1) -> str:
        name, _, index = task.partition("-")
        lines = self.lab.api.log_lines(
            DAG_ID, self.run_id, name, try_number=try_number, map_index=int(index or -1)
        )
        return "\n".join(lines)

    def xcom(self, task: str, **where: Any) -> Any:
        return self.lab.api.xcom(DAG_ID, self.run_id, task, **where)

    def failures(self) -> dict[str, str]:
        """Task → reason as the report has it; states when there is no report."""
        report = self.report()
        return report["failed"] if report else {k: v or "" for k, v in self.states().items()}

    def clear_failed(self) -> None:
        self.lab.api.clear_failed(DAG_ID, self.run_id)

    def clear(self, *tasks: str) -> None:
        self.lab.api.clear_tasks(DAG_ID, self.run_id, list(tasks))

    def stop(self) -> None:
        self.lab.api.fail_run(DAG_ID, self.run_id)

    # -- breaking it

    def find_process(self, task: str, map_index: int = -1) -> psutil.Process:
        """The process in which the task runs now; Airflow names it after the task instance."""
        path = f"/dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{task}/{map_index}"
        if map_index < 0:
            path = path.rpartition("/")[0]
        answer = self.lab.http.get(path)
        answer.raise_for_status()
        title = f"airflow worker -- {answer.json()['id']}"

        def look() -> psutil.Process | None:
            for process in psutil.process_iter():
                try:
                    named = " ".join(process.cmdline()).strip()
                except psutil.Error:
                    continue
                # The system has only so much room for the name as the command line was long.
                if title.startswith(named) and len(named) > ENOUGH_OF_A_TITLE:
                    return process
            return None

        return eventually(look, f"a process of {task}")

    # -- what it left

    @cached_property
    def _prefix(self) -> str:
        return f"{self.asset_name}/"

    def objects(self) -> dict[str, int]:
        return self.lab.objects(self._prefix)

    def read(self, name: str) -> bytes:
        return self.lab.read(f"{self._prefix}{name}")

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def receipt(self) -> dict[str, dict[str, Any]]:
        """Path → what the upload's receipt says of the file."""
        key = self.xcom("upload_data_to_s3")["receipt_key"]
        lines = gzip.decompress(self.lab.read(key)).splitlines()
        return {(entry := json.loads(line))["path"]: entry for line in lines[1:]}

    def unfinished_uploads(self) -> list[str]:
        found = self.lab.s3.list_multipart_uploads(Bucket=self.lab.bucket, Prefix=self._prefix)
        return [one["Key"] for one in found.get("Uploads", [])]

    def report(self) -> dict[str, Any] | None:
        return self._kept(report_key(DAG_ID, self.run_key))

    def kept_plan(self) -> dict[str, Any] | None:
        return self._kept(plan_key(DAG_ID, self.run_key))

    def traces(self) -> dict[str, int]:
        """What the run left in the runs bucket."""
        return self.lab.objects(f"runs/{DAG_ID}/{self.run_key}/", self.lab.runs_bucket)

    def claims(self) -> dict[str, int]:
        prefix = f"claims/{self.lab.bucket}/{self.asset_name}"
        return self.lab.objects(prefix, self.lab.runs_bucket)

    def records(self) -> list[dict[str, Any]]:
        return self.lab.records(self.asset_name)

    def data_assets(self) -> list[Any]:
        return self.lab.code_ocean.find_external_assets(self.lab.bucket, self.asset_name)

    def mails(self) -> list[EmailMessage]:
        return [
            mail
            for mail in self.lab.stack.mail.messages()
            if mail["Subject"].endswith(self.asset_name)
        ]

    def mail_text(self, word: str) -> str:
        """Body of the only mail with that word in its subject."""
        texts = [mail_body(mail) for mail in self.mails() if mail["Subject"].split()[1] == word]
        assert len(texts) == 1, f"{len(texts)} mails say {word}:\n" + "\n\n".join(texts)
        return texts[0]

    def mail_words(self) -> list[str]:
        """``started``, ``finished``, ``failed``, ``retried``: one per mail."""
        return [mail["Subject"].split()[1] for mail in self.mails()]

    def _kept(self, key: str) -> Any | None:
        try:
            return json.loads(self.lab.read(key, self.lab.runs_bucket))
        except self.lab.s3.exceptions.NoSuchKey:
            return None


def mail_body(mail: EmailMessage) -> str:
    """What a reader of the mail sees, as text."""
    body = mail.get_body(("html",))
    assert body is not None
    return unescape(str(body.get_content()))
