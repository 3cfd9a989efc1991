"""How the Code Ocean stand-in behaves, and how a test changes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from include.local.stand_ins.faults import StandInSettings

CUSTOM_METADATA = ("data level", "subject id", "experiment type", "modality", "project name")


class BadEnd(BaseModel):
    """How a computation ends when it does not succeed."""

    state: Literal["completed", "failed"] = "failed"
    end_status: Literal["succeeded", "failed", "stopped"] = "failed"
    exit_code: int | None = 1


class CodeOceanSettings(StandInSettings):
    """Settings of ``PATCH /_control/settings``."""

    draft_polls: int = Field(1, ge=0)
    """How many GETs of a new asset answer ``draft`` before it is ready or failed."""

    polls_per_state: int = Field(1, ge=0)
    """How many GETs of a computation move it on by one state; 0 ends it at the first."""

    fail_next_asset: str | None = None
    """Reason with which the next new asset fails, once."""

    fail_next_computation: BadEnd | None = None
    """How the next computation ends, once."""

    result_files: dict[str, str] | None = None
    """Path → text of what computations leave behind, with ``{input_name}`` and ``{computation_id}``
    filled in; None leaves the default folder."""

    reject_duplicates: bool = False
    """Refuse a second live asset of one folder; Code Ocean itself allows it."""

    repeat_found: bool = False
    """Give every asset of a search page twice, as the live search sometimes does."""

    known_capsules: list[str] | None = None
    """Capsules and pipelines there are; None takes every id for one."""

    custom_metadata_fields: list[dict[str, Any]] = Field(
        default_factory=lambda: [{"name": name, "type": "string"} for name in CUSTOM_METADATA]
    )
    """The deployment's custom metadata; a key outside it is refused."""
