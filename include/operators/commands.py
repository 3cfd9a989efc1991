"""Commands of presets: their script, their environment, their output in the task's log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from include.acquisitions.plan import RunPlan, TaskPlan
    from include.acquisitions.runner import Command, Outcome

TRANSFORM = Path(__file__).parents[1] / "transformations" / "run"
"""The program behind ``$ASSETFLOW_TRANSFORM``: runs a built-in transformation in its environment."""


def command_environment(plan: RunPlan, *, process_record: Path | None = None) -> dict[str, str]:
    """Every variable a command gets; nothing of Airflow's environment is among them."""
    from include.clients.local_runner import base_environment

    environment = {
        **base_environment(),
        "ASSETFLOW_TRANSFORM": str(TRANSFORM),
        "ASSETFLOW_ENVIRONMENTS_ROOT": str(settings().environments_root.absolute()),
        "ASSETFLOW_RUN": plan.run_key,
    }
    if process_record is not None:
        environment["ASSETFLOW_PROCESS_RECORD"] = str(process_record)
    return environment


def command_script(
    plan: RunPlan,
    task: TaskPlan,
    *,
    job_settings: dict[str, Any],
    input_source: Path | None = None,
    output_location: Path | None = None,
) -> str:
    """The task's ``command_script`` with every placeholder filled."""
    from include.acquisitions.command import ScriptValues, fill_script

    return fill_script(
        task.command_script or "",
        ScriptValues(
            job_settings=job_settings,
            image=task.image,
            image_version=task.image_version,
            input_source=str(input_source) if input_source else None,
            output_location=str(output_location) if output_location else None,
            s3_location=str(plan.location),
            env_file=settings().command_env_file,
        ),
    )


def follow(command: Command, log: Logger) -> Outcome:
    """Run a command here to its end; its lines go to the task's log."""
    from include.acquisitions.runner import run_to_end
    from include.clients.local_runner import LocalRunner

    outcome = run_to_end(LocalRunner(), command, lambda line: log.info("%s", line))
    log.info(
        "%s: %s, %s CPU s, %s MiB at most; its log is %s",
        command.name,
        outcome.ending.value,
        outcome.cpu_s,
        outcome.peak_memory_mib,
        outcome.log_path,
    )
    return outcome
