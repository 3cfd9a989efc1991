"""What every transformation's ``job_settings`` have in common."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.errors import InvalidInput, Problem


class JobSettings(BaseModel):
    """Where to read and where to write; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_source: Path
    """Folder of one modality of one acquisition; only read."""

    output_directory: Path
    """Made when it is not there."""

    other_files: Literal["link", "copy"] = "link"
    """How files that are kept unchanged get to the output: symbolic links, or copies."""

    n_jobs: int = Field(-1, ge=-1, le=1024)
    """Processes at once; -1 for one per CPU."""

    code_url: str = ""
    """Where this code is published, for the process record."""

    def workers(self) -> int:
        """Processes at once, counted."""
        return self.n_jobs if self.n_jobs > 0 else available_cpus()


Settings = TypeVar("Settings", bound=JobSettings)


def read_settings(kind: type[Settings], text: str, item: str) -> Settings:
    """Settings from JSON text.

    Raises:
        InvalidInput: every problem at once.
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InvalidInput([Problem(item, "", f"is not JSON: {error}")]) from error
    try:
        settings = kind.model_validate(given)
    except ValidationError as error:
        raise InvalidInput([_problem(item, found) for found in error.errors()]) from error
    folder = settings.input_source
    if not folder.is_dir():
        raise InvalidInput([Problem(item, "input_source", f"{folder} is not a folder")])
    inside = settings.output_directory.resolve().is_relative_to(folder.resolve())
    if inside:
        reason = f"{settings.output_directory} lies inside input_source, which is only read"
        raise InvalidInput([Problem(item, "output_directory", reason)])
    return settings


def available_cpus() -> int:
    """CPUs this process may use; a cluster gives a job fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _problem(item: str, found: Any) -> Problem:
    return Problem(item, ".".join(str(part) for part in found["loc"]), found["msg"])
