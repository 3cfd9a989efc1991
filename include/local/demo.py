"""The demo: a sample acquisition from a folder of this machine to S3, Code Ocean and DocDB."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.errors import NotFound, RunIncomplete, ServiceUnavailable
from include.local.demo_check import METADATA, find_faults
from include.local.demo_job import DAG_ID, SUBJECT_ID, demo_job
from include.local.demo_landed import read_sources, read_stores
from include.local.demo_progress import Board, task_rows
from include.local.demo_summary import summarise

if TYPE_CHECKING:
    from rich.console import Console

    from include.clients.airflow_api import AirflowApi
    from include.local.stack import LocalStack

ENVIRONMENTS = ("ecephys", "behavior-videos")
"""Of the transformations that the sample goes through."""

LOOK_INTERVAL_S = 0.3


@dataclass(frozen=True, slots=True)
class SampleAcquisition:
    """What the demo submits."""

    started_at: datetime
    sources: dict[str, Path]
    """Modality abbreviation → folder."""

    metadata_dir: Path

    @property
    def folders(self) -> dict[str, Path]:
        """Every folder of it by its label."""
        return {**self.sources, METADATA: self.metadata_dir}


def prepare(stack: LocalStack, environments_root: Path, console: Console) -> SampleAcquisition:
    """Bring the stack up and, at the same time, build what the transformations run in; write the sample.

    Raises:
        CommandFailed: a server did not start, or an environment could not be built.
    """
    from include.transformations.environments import build_environment

    pythons: dict[str, Path] = {}

    def build(name: str) -> None:
        with board.step(f"environment of {name}"):
            pythons[name] = build_environment(name, environments_root)

    with Board(console, "Getting ready") as board, ThreadPoolExecutor() as threads:
        builds = [threads.submit(build, name) for name in ENVIRONMENTS]
        # Here and not in a thread: Ctrl-C has to reach it.
        with board.step("embedded services and Airflow"):
            stack.up()
        for one in builds:
            one.result()
        with board.step("sample acquisition"):
            return _write_sample(stack.source_roots[0], _ffmpeg_of(pythons["behavior-videos"]))


def _write_sample(source_root: Path, ffmpeg: Path) -> SampleAcquisition:
    from include.local.sample_acquisition import write_sample_acquisition

    # Of this second, so that every demo makes an asset of its own.
    started_at = datetime.now(UTC).replace(microsecond=0)
    folder = source_root / f"{SUBJECT_ID}_{started_at:%Y-%m-%d_%H-%M-%S}"
    sources = write_sample_acquisition(folder, SUBJECT_ID, started_at, ffmpeg=ffmpeg)
    return SampleAcquisition(started_at, sources, folder / "metadata")


def _ffmpeg_of(python: Path) -> Path:
    """The ffmpeg in the environment of the videos."""
    script = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
    answer = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    return Path(answer.stdout.strip())


def run(
    stack: LocalStack, sample: SampleAcquisition, api: AirflowApi, console: Console
) -> dict[str, Any]:
    """Submit the sample, follow the run to its end, and read from the stores what came of it.

    Returns:
        The summary, with ``faults`` and the seconds of the run.

    Raises:
        RunIncomplete: the run failed before it had a plan.
    """
    from include.acquisitions.plan import RunPlan

    before = read_sources(sample.folders)
    job = demo_job(
        sample.sources,
        sample.metadata_dir,
        sample.started_at,
        results_bucket=stack.deployment.private_bucket,
    )
    started = time.monotonic()
    run_id = api.start_run(DAG_ID, job)
    with Board(console, f"Run {run_id} of {DAG_ID}") as board:
        state = follow(api, run_id, board)
    seconds = time.monotonic() - started
    try:
        plan = RunPlan.model_validate(api.xcom(DAG_ID, run_id, "plan_run"))
    except NotFound as error:
        logs = stack.root / "airflow" / "logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}"
        raise RunIncomplete(f"the run failed before it had a plan; see {logs}") from error
    landed = read_stores(
        stack, plan, run_state=state, metadata_status=_metadata_status(api, run_id)
    )
    faults = find_faults(landed, before, read_sources(sample.folders))
    summary = summarise(landed, before, faults)
    summary["run"] |= {"seconds": round(seconds, 1), "page": api.page_url(DAG_ID, run_id)}
    return summary


def _metadata_status(api: AirflowApi, run_id: str) -> str | None:
    """Of the core files, as ``gather_final_metadata`` found them; None when it did not come so far."""
    try:
        return str(api.xcom(DAG_ID, run_id, "gather_final_metadata")["status"])
    except NotFound:
        return None


def follow(
    api: AirflowApi, run_id: str, board: Board, *, pause: Callable[[float], None] = time.sleep
) -> str:
    """Show the run's tasks until it has ended; returns its state.

    Raises:
        ServiceUnavailable: Airflow did not answer several times over.
    """
    import stamina

    from include.clients.airflow_api import FINAL_STATES

    ask = stamina.RetryingCaller(attempts=5).on(ServiceUnavailable)
    while True:
        state = ask(api.run_state, DAG_ID, run_id)
        board.show(task_rows(ask(api.task_states, DAG_ID, run_id)))
        if state in FINAL_STATES:
            return state
        pause(LOOK_INTERVAL_S)
