"""The computations of the Code Ocean stand-in, and how looking at one moves it on."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from include.local.stand_ins import code_ocean_results as results
from include.local.stand_ins.code_ocean_bodies import Run
from include.local.stand_ins.code_ocean_deployment import (
    ASSETS,
    COMPUTATIONS,
    OWNER,
    OWNER_EMAIL,
    Deployment,
    Refused,
    without_nulls,
)
from include.local.stand_ins.state_file import Document

STATES = ("initializing", "running", "finalizing", "completed")
"""What a computation goes through."""

Computation = dict[str, Any]


class Computations:
    """Computations of one deployment.

    Each is kept as ``{"computation", "run", "polls", "end", "results"}``; ``computation`` is what
    the API answers.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def add(self, run: Run) -> Computation:
        """Start a computation.

        Raises:
            Refused: 404 for an unknown capsule; 400 for an input that is missing or not ready.
        """
        target = run.capsule_id or run.pipeline_id or ""
        self.check_capsule(target)
        inputs = []
        for given in run.data_assets or []:
            asset = self._deployment.asset(given.id, missing=400)["asset"]
            if asset["state"] != "ready":
                raise Refused(400, f"data asset {given.id} is {asset['state']}, not ready")
            inputs.append({"id": given.id, "mount": given.mount or asset["mount"]})
        computation: Computation = {
            "id": str(uuid.uuid4()),
            "created": self._deployment.now(),
            "name": f"Run {sum(1 for _ in self._deployment.file.all(COMPUTATIONS)) + 1}",
            "owner": OWNER,
            "owner_email": OWNER_EMAIL,
            "run_time": 0,
            "state": STATES[0],
            "data_assets": inputs or None,
            "nextflow_profile": run.nextflow_profile,
            "parameters": _parameters(run) or None,
            "has_results": False,
        }
        end = self._deployment.settings.fail_next_computation
        self._deployment.settings = self._deployment.settings.model_copy(
            update={"fail_next_computation": None}
        )
        document: Document = {
            "computation": without_nulls(computation),
            "run": run.model_dump(),
            "polls": 0,
            "end": end.model_dump() if end else None,
            "results": {},
        }
        self._deployment.file.put(COMPUTATIONS, computation["id"], document)
        return without_nulls(computation)

    def look_at(self, id_: str) -> Computation:
        """A computation; looking moves it on by its states.

        Raises:
            Refused: 404.
        """
        kept = self._deployment.computation(id_)
        computation = kept["computation"]
        if computation["state"] not in {"completed", "failed"}:
            kept["polls"] += 1
            pace = self._deployment.settings.polls_per_state
            reached = min(kept["polls"] // pace, len(STATES) - 1) if pace else len(STATES) - 1
            computation["state"] = STATES[reached]
            computation["run_time"] = self._deployment.now() - computation["created"]
            if computation["state"] == "completed":
                self._end(kept)
            self._deployment.file.put(COMPUTATIONS, id_, kept)
        return dict(computation)

    def _end(self, kept: Document) -> None:
        computation = kept["computation"]
        computation |= kept["end"] or {"end_status": "succeeded", "exit_code": 0}
        inputs = computation.get("data_assets") or []
        known = self._deployment.file.get(ASSETS, inputs[0]["id"]) if inputs else None
        input_name = known["asset"]["name"] if known else None
        if computation["end_status"] == "succeeded":
            if self._deployment.settings.result_files is None:
                ended_at = datetime.fromtimestamp(self._deployment.now(), UTC)
                kept["results"] = results.default_results(input_name, ended_at)
            else:
                kept["results"] = results.fill_in(
                    self._deployment.settings.result_files,
                    input_name=input_name or "",
                    computation_id=computation["id"],
                )
        computation["has_results"] = bool(kept["results"])

    def rename(self, id_: str, name: str) -> None:
        """Give a computation another name."""
        kept = self._deployment.computation(id_)
        kept["computation"]["name"] = name
        self._deployment.file.put(COMPUTATIONS, id_, kept)

    def delete(self, id_: str) -> None:
        """Stop a computation if it runs, and forget it."""
        self._deployment.computation(id_)
        self._deployment.file.remove(COMPUTATIONS, id_)

    def of_capsule(self, capsule_id: str, kind: str) -> list[Computation]:
        """Computations of a capsule (*kind* ``capsule_id``) or of a pipeline (``pipeline_id``)."""
        self.check_capsule(capsule_id)
        return [
            kept["computation"]
            for kept in self._deployment.file.all(COMPUTATIONS)
            if kept["run"].get(kind) == capsule_id
        ]

    def result_files(self, id_: str) -> results.Files:
        """Path → text of a computation's results; empty until it has ended."""
        files: dict[str, str] = self._deployment.computation(id_)["results"]
        return files

    def check_capsule(self, id_: str) -> None:
        """Refuse an id that is no capsule or pipeline.

        Raises:
            Refused: 404.
        """
        known = self._deployment.settings.known_capsules
        if known is not None and id_ not in known:
            raise Refused(404, f"capsule {id_} not found")


def _parameters(run: Run) -> list[dict[str, str]]:
    ordered = [{"value": value} for value in run.parameters or []]
    named = [
        {"name": given.param_name, "param_name": given.param_name, "value": given.value}
        for given in run.named_parameters or []
    ]
    return ordered + named
