"""What a rig leaves on the lab's storage, and a command that works on it under a test's control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

from include.local.sample_acquisition import write_recording
from include.local.sample_metadata import write_sample_metadata
from tests.runs.eventually import eventually

STARTED_AT = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


@dataclass
class Acquisition:
    """What a rig left on the lab's storage: one subject of its own, so one asset of its own."""

    folder: Path
    subject_id: str
    modalities: list[str] = field(default_factory=list)

    @property
    def asset_name(self) -> str:
        return f"{self.subject_id}_2026-11-20_10-00-00"

    def source(self, modality: str = "behavior") -> Path:
        return self.folder / modality

    def write(self, files: Mapping[str, str | bytes], modality: str = "behavior") -> Acquisition:
        """Add files to a modality's folder, which is made."""
        if modality not in self.modalities:
            self.modalities.append(modality)
            write_sample_metadata(
                self.folder / "metadata", self.subject_id, STARTED_AT, self.modalities
            )
        self.source(modality).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = self.source(modality) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def record_ephys(self, duration_s: int = 2) -> Acquisition:
        """Add a recording of a few channels."""
        self.write({}, "ecephys")
        write_recording(self.source("ecephys"), channels=4, duration_s=duration_s)
        return self

    def conf(
        self,
        tasks: Mapping[str, Any] | None = None,
        *,
        modality_tasks: Mapping[str, Mapping[str, Any]] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """The conf of a run; *modality_tasks* are laid over each modality's own."""
        sources = {}
        for modality in self.modalities:
            given = dict((modality_tasks or {}).get(modality, {}))
            settings = {
                "input_source": str(self.source(modality)),
                **given.pop("job_settings", {}),
            }
            sources[modality] = {"job_settings": settings, **given}
        return {
            "job_type": "default",
            "project_name": "Ephys Platform",
            "subject_id": self.subject_id,
            "acq_datetime": STARTED_AT.replace(tzinfo=None).isoformat(),
            "modalities": [{"abbreviation": modality} for modality in self.modalities],
            "user_email": f"owner-{self.subject_id}@example.org",
            "email_notification_types": ["all"],
            "tasks": {
                "modality_transformation_settings": sources,
                "gather_preliminary_metadata": {
                    "job_settings": {"metadata_dir": str(self.folder / "metadata")}
                },
                **(tasks or {}),
            },
            **changes,
        }


@dataclass
class HeldCommand:
    """A command that says that it has started and ends when it is let go."""

    folder: Path

    @property
    def script(self) -> str:
        """For ``command_script``: leaves half a file, waits, then copies the source."""
        return f"""
            echo half > '%OUTPUT_LOCATION'/half-$$
            echo $$ >> {quote(str(self.folder / "started"))}
            while [ ! -e {quote(str(self.folder / "go"))} ]; do sleep 0.05; done
            cp -r '%INPUT_SOURCE'/. '%OUTPUT_LOCATION'
            rm '%OUTPUT_LOCATION'/half-$$
        """

    def wait_until_started(self) -> int:
        """Process id of the script's shell."""
        return int(eventually(self.starts, f"a command started in {self.folder}")[-1])

    def starts(self) -> list[str]:
        """Process ids, one per start."""
        started = self.folder / "started"
        return started.read_text().split() if started.exists() else []

    def let_go(self) -> None:
        (self.folder / "go").touch()
