"""What became of each core file of one asset."""

from __future__ import annotations

import logging
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from include.assets.core_files import REQUIRED_FIELDS, Generation, core_file_name
from include.errors import Problem

logger = logging.getLogger(__name__)


class Source(StrEnum):
    """Where a core file came from."""

    USER = "user"
    MAPPER = "mapper"
    SERVICE = "service"
    BUILT = "built"


class Status(StrEnum):
    """What is known about a core file."""

    VALID = "valid"
    INVALID = "invalid"
    MISSING = "missing"
    UNCHECKED = "unchecked"
    """Of schema generation 1, which cannot be validated any more."""


class GatheredFile(BaseModel):
    """One core file, or the lack of it."""

    model_config = ConfigDict(frozen=True)

    source: Source | None
    """None when it is missing."""

    status: Status
    problems: tuple[str, ...] = ()
    """Why it is invalid or missing."""


class GatheredMetadata(BaseModel):
    """What was gathered for one asset; small enough for an XCom."""

    model_config = ConfigDict(frozen=True)

    asset_name: str
    generation: Generation
    files: dict[str, GatheredFile]
    """Core field → what became of it, for every field of the generation."""

    problems: tuple[str, ...] = ()
    """Where files contradict the job or each other."""

    warnings: tuple[str, ...] = ()
    """What was left out or ignored."""

    @property
    def is_valid(self) -> bool:
        """Nothing invalid or contradictory, and no required file missing."""
        return not self.refused_when_strict

    @property
    def refused_when_strict(self) -> tuple[Problem, ...]:
        """Whatever strict mode refuses: invalid, contradictory, or required and missing."""
        refused = [
            Problem(core_file_name(field), "", f"{file.status}: {reason}")
            for field, file in self.files.items()
            if file.status is Status.INVALID
            or (file.status is Status.MISSING and field in REQUIRED_FIELDS)
            for reason in file.problems
        ]
        of_the_asset = (Problem(self.asset_name, "", reason) for reason in self.problems)
        return (*refused, *of_the_asset)

    def log(self) -> None:
        """One line per core file, problem and warning."""
        for field, file in self.files.items():
            because = f" ({'; '.join(file.problems)})" if file.problems else ""
            level = logging.WARNING if file.status is Status.INVALID else logging.INFO
            logger.log(
                level,
                "%s: %s is %s, from %s%s",
                self.asset_name,
                core_file_name(field),
                file.status,
                file.source or "nowhere",
                because,
            )
        for problem in (*self.problems, *self.warnings):
            logger.warning("%s: %s", self.asset_name, problem)
