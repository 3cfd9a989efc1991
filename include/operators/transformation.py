"""Each modality's own transformation, in parallel."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, ClassVar

from include.errors import CommandFailed
from include.operators.base import AcquisitionOperator, label_instance
from include.operators.commands import command_environment, command_script, follow
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from include.acquisitions.lossless_proof import SourceStamp
    from include.acquisitions.plan import RunPlan, TaskPlan
    from include.acquisitions.runner import Outcome

COMPRESS_TASK_ID = "compress_data"

START_CLEAN = "find {folder} -mindepth 1 -delete && rm -f -- {record} || exit\n"
"""Before a preset's script: nothing that a killed or earlier run of it left may reach the asset. Part of
the script, because only the script knows that no other copy of the command is running."""


class ModalityTransformationSettingsOperator(AcquisitionOperator):
    """
    List the modalities to transform; their settings are in the plan.

    :returns: one object per modality that is not skipped and has a source.
    """

    runs_in_dry_run: ClassVar[bool] = True

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> list[dict[str, str]]:
        wanted = []
        is_left_out = plan.tasks[COMPRESS_TASK_ID].skip
        for modality, its in plan.modalities.items():
            if is_left_out or its.skip or not its.job_settings.get("input_source"):
                is_skipped = is_left_out or its.skip
                reason = "skip_task is set" if is_skipped else "it has no input_source"
                self.log.info("%s: %s is left out: %s", plan.location, modality, reason)
                continue
            how = "by its command" if its.command_script else "as it is"
            self.log.info("%s: %s is taken over %s", plan.location, modality, how)
            wanted.append({"modality": modality})
        return wanted


class CompressDataOperator(AcquisitionOperator):
    """
    Transform one modality into the staging folder by the preset's command.

    A modality without a command is taken over verbatim: a link to its source folder, so that nothing is
    copied twice. The command runs in a process group of its own and ends with this task.

    :param modality: abbreviation.
    :returns: what was made and what it took.
    """

    def __init__(self, *, modality: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.modality = modality

    def task_plan(self, plan: RunPlan) -> TaskPlan:
        return plan.modalities[self.modality]

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.source_folders import resolve_under
        from include.acquisitions.staging import check, discard, link_folder

        label_instance(context, self.modality)
        check(plan.staging_folder, plan.run_key)
        source = resolve_under(
            task.job_settings["input_source"],
            settings().source_roots,
            item=self.modality,
            field="input_source",
        )
        target = plan.asset_folder / self.modality
        if task.command_script is None:
            if target.is_dir() and not target.is_symlink():
                discard(target)  # output of a command, from an earlier plan of this run
            link_folder(source, target)
            self.log.info("%s: %s is taken over verbatim from %s", plan.location, target, source)
            return {"modality": self.modality, "how": "linked"}
        return self.run_command(plan, task, source, target)

    def run_command(
        self, plan: RunPlan, task: TaskPlan, source: Path, target: Path
    ) -> dict[str, Any]:
        """Run the preset's command, and see to it that there is output and a process record."""
        from include.acquisitions.lossless_proof import stamp_sources
        from include.acquisitions.runner import Command, raise_for_outcome
        from include.acquisitions.staging import discard
        from include.acquisitions.task_settings import time_limit_s

        if (
            target.is_symlink()
        ):  # from an earlier plan of this run, which took the source over as it is
            discard(target)
        record_path = plan.work_folder / "processes" / f"{self.modality}.json"
        working_folder = plan.work_folder / "commands" / self.modality
        for folder in (record_path.parent, working_folder, target):
            folder.mkdir(parents=True, exist_ok=True)
        command = Command(
            name=f"{plan.run_key}_{self.modality}",
            script=START_CLEAN.format(folder=quote(str(target)), record=quote(str(record_path)))
            + command_script(
                plan,
                task,
                job_settings=task.job_settings,
                input_source=source,
                output_location=target,
            ),
            environment=command_environment(plan, process_record=record_path),
            working_folder=working_folder,
            time_limit_s=time_limit_s(task.image_resources),
            resources=task.image_resources or {},
        )
        # Before the command looks at its first file, and only when the source is to go.
        is_removed_later = not plan.tasks["remove_source_folders"].skip
        roots = settings().source_roots
        before = stamp_sources(source, roots) if is_removed_later else {}
        outcome = follow(command, self.log)
        raise_for_outcome(outcome)
        if not any(target.iterdir()):
            raise CommandFailed(
                f"Command {command.name} ended well but left nothing in {target}; "
                f"its log is {outcome.log_path}"
            )
        if not record_path.exists():
            record_path.write_text(json.dumps(process_record(task, outcome, source, target)))
        if is_removed_later:
            self.keep_proof(plan, record_path, source, target, before)
        return {
            "modality": self.modality,
            "how": "transformed",
            "cpu_s": outcome.cpu_s,
            "peak_memory_mib": outcome.peak_memory_mib,
        }

    def keep_proof(
        self,
        plan: RunPlan,
        record_path: Path,
        source: Path,
        target: Path,
        before: Mapping[str, SourceStamp],
    ) -> None:
        """Keep with the asset of which source bytes the lossless transformation was proven.

        Only when the sources are to be removed: it reads them once more.
        """
        from include.acquisitions.lossless_proof import make_proof, proof_name
        from include.acquisitions.processing import ProcessRecord

        record = ProcessRecord.model_validate_json(record_path.read_bytes())
        if not record.statistics.get("is_lossless_proven"):
            self.log.info("%s: %s is not proven lossless; its source stays", plan.location, source)
            return
        proof = make_proof(
            source,
            target,
            before=before,
            allowed_roots=settings().source_roots,
        )
        path = plan.asset_folder / proof_name(self.modality)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(proof.model_dump_json(indent=1))


def process_record(task: TaskPlan, outcome: Outcome, source: Path, target: Path) -> dict[str, Any]:
    """What ``processing.json`` will say about a command that left no record of its own."""
    if outcome.started_at is None or outcome.ended_at is None:
        raise CommandFailed(f"Command {outcome.name} does not say when it ran; run it again")
    return {
        "name": task.image or "command_script",
        "software_version": task.image_version,
        "start_date_time": outcome.started_at.isoformat(),
        "end_date_time": outcome.ended_at.isoformat(),
        "input_location": str(source),
        "output_location": str(target),
        "code_url": task.image or "",
        "parameters": task.job_settings,
        "statistics": {"cpu_s": outcome.cpu_s, "peak_memory_mib": outcome.peak_memory_mib},
    }
