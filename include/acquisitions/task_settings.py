"""``job_settings`` of the tasks that have few of them, read strictly: a switch is true or false, never text.

A key with null is as good as absent. A key that a task does not know is a warning, because presets
carry keys of other deployments; a key that is nearly one of ours is a problem, because it was surely
meant to do something.

The settings of gathering, of the registration and of the pipelines have modules of their own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    StrictBool,
    StrictStr,
    ValidationError,
    field_validator,
)

from include.acquisitions.metadata_settings import without_nulls
from include.assets.modality import FORMER_ABBREVIATIONS
from include.errors import InvalidInput, Problem

SIMILAR = 0.75
"""From which likeness on (of ``difflib``) an unknown key is taken for a misspelt one."""


class TaskSettings(BaseModel):
    """``job_settings`` of one task; this one has none of its own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    without_effect: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Field that is accepted for the sake of older presets → why nothing comes of it."""

    @classmethod
    def parse(cls, job_settings: Mapping[str, Any]) -> Self:
        """Read merged ``job_settings``.

        Raises:
            InvalidInput: every value that cannot be used and every misspelt key; the items are
                ``job_settings``.
        """
        given = without_nulls(job_settings)
        problems = misspelt_keys(given, cls.model_fields)
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            problems += [
                Problem("job_settings", ".".join(map(str, found["loc"])), found["msg"])
                for found in error.errors(include_url=False, include_input=False)
            ]
            raise InvalidInput(problems) from error
        if problems:
            raise InvalidInput(problems)
        return settings

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was given and does nothing."""
        unknown = (f"{key!r} is no setting of this task" for key in sorted(self.model_extra or ()))
        idle = (
            f"{key!r} has no effect: {reason}"
            for key, reason in self.without_effect.items()
            if key in self.model_fields_set
        )
        return (*unknown, *idle)


class DocDbRecordSettings(TaskSettings):
    """Of ``update_docdb_record``."""

    overwrite_record: StrictBool = False
    """Take the asset's metadata over what the record says."""


class StagingRemovalSettings(TaskSettings):
    """Of ``remove_staging_folder``."""

    keep_for_resume: StrictBool = False
    """Leave the folder, so that the run can be taken up again."""


class MetadataCheckSettings(TaskSettings):
    """Of ``check_metadata_files``."""

    level: Literal["files", "schema"] = "files"
    """``schema`` also asks what the schema demands of each core file."""


class SourceFolderSettings(TaskSettings):
    """Of ``copy_derivatives_folder``; and what is ours among the settings of a modality."""

    input_source: StrictStr | None = None
    """The folder; None or ``""``: the job has none."""


class SourceRemovalSettings(TaskSettings):
    """Of ``remove_source_folders``."""

    dry_run: StrictBool = True
    """Only look; nothing is removed unless this is false in so many words."""

    modalities_to_delete: tuple[StrictStr, ...] | None = None
    """Only these (may hold ``derivatives``), and no metadata; None: everything."""

    directories: Any = None
    s3_location: Any = None

    without_effect: ClassVar[Mapping[str, str]] = MappingProxyType({
        "directories": "the folders are those of the job",
        "s3_location": "the asset is compared where this run put it",
    })

    @field_validator("modalities_to_delete")
    @classmethod
    def _todays_abbreviations(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return labels and tuple(FORMER_ABBREVIATIONS.get(label, label) for label in labels)


SETTINGS_OF: Mapping[str, type[TaskSettings]] = MappingProxyType({
    "update_docdb_record": DocDbRecordSettings,
    "remove_staging_folder": StagingRemovalSettings,
    "check_metadata_files": MetadataCheckSettings,
    "copy_derivatives_folder": SourceFolderSettings,
    "remove_source_folders": SourceRemovalSettings,
})
"""Task → its settings; tasks that are not here have none, or a module of their own."""


def misspelt_keys(given: Mapping[str, Any], known: Collection[str]) -> list[Problem]:
    """One problem per key that is not *known*, but nearly is."""
    folded = {_folded(key): key for key in known}
    problems = []
    for key in given:
        matches = get_close_matches(_folded(key), folded, n=1, cutoff=SIMILAR)
        if key not in known and matches:
            meant = folded[matches[0]]
            problems.append(
                Problem("job_settings", key, "is no setting of this task", f"was {meant!r} meant?")
            )
    return problems


def time_limit_s(image_resources: Mapping[str, Any] | None) -> float | None:
    """Slurm's ``time_limit`` in seconds; None when there is none.

    It is given in minutes: as a number, as text of a number, or as Slurm's
    ``{"set": true, "infinite": false, "number": 90}``.

    Raises:
        InvalidInput: it is something else; the item is ``image_resources``.
    """
    limit = (image_resources or {}).get("time_limit")
    if isinstance(limit, Mapping):
        if not isinstance(limit.get("set", True), bool) or not isinstance(
            limit.get("infinite", False), bool
        ):
            raise _no_time_limit(limit)
        if not limit.get("set", True) or limit.get("infinite", False):
            return None
        minutes = _number(limit.get("number"))
    elif limit is None:
        return None
    else:
        minutes = _number(limit)
    if minutes is None or not math.isfinite(minutes) or minutes <= 0:
        raise _no_time_limit(limit)
    return minutes * 60


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _no_time_limit(found: object) -> InvalidInput:
    fix = 'give a number of minutes above 0, or {"set": true, "number": minutes}'
    return InvalidInput([
        Problem("image_resources", "time_limit", f"{found!r} is no time limit", fix)
    ])


def _folded(key: str) -> str:
    return key.strip().casefold().replace("_", "").replace("-", "")
