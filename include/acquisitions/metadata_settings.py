"""``job_settings`` of ``gather_preliminary_metadata``: keys of both upstream mappers, one meaning.

The shape of aind-metadata-mapper 1.x is ours. Settings written for 0.x are understood too:

===================================  ===========================================================
0.x key                              read as
===================================  ===========================================================
``raw_data_description_settings``    ``data_description_settings``, where that says nothing
``rig_settings.rig_id``              ``instrument_settings.instrument_id``, where that is empty
``subject_settings.subject_id``      must be the job's subject; likewise ``procedures_settings``
``directory_to_write_to``            nothing: the run has its own folder; likewise ``output_dir``
``metadata_service_domain``          nothing: the Airflow connection; likewise ``…_url``
``session_settings``                 handed to the mapper; likewise ``acquisition_settings``
===================================  ===========================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from include.errors import InvalidInput, Problem

ITEM = "gather_preliminary_metadata.job_settings"
"""What problems with these settings are reported about."""

OF_THE_RUN = frozenset({
    "output_dir",
    "directory_to_write_to",
    "metadata_service_url",
    "metadata_service_domain",
    "metadata_service_subject_endpoint",
    "metadata_service_procedures_endpoint",
    "metadata_service_instrument_endpoint",
    "subject_id",
    "acquisition_start_time",
})
"""Keys whose values come from the run and the connection, whatever the settings say."""


def without_nulls(given: Mapping[str, Any]) -> dict[str, Any]:
    """Presets write null for "not chosen": the key is then as good as absent."""
    return {key: value for key, value in given.items() if value is not None}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return without_nulls(given) if isinstance(given, Mapping) else given


class DescriptionSettings(_Part):
    """What the job itself does not say about ``data_description.json``."""

    tags: list[str] | None = None
    group: str | None = None
    restrictions: str | None = None
    data_summary: str | None = None
    institution: str | dict[str, Any] = "AIND"
    """Abbreviation, name, or the schema's organisation object."""


class SubjectSettings(_Part):
    """``subject_id`` as in 0.x, ``calibration_object`` as in 1.x."""

    subject_id: str | None = None
    calibration_object: dict[str, Any] | None = None


class ProceduresSettings(_Part):
    """``subject_id`` as in 0.x."""

    subject_id: str | None = None
    merge_with_service: bool = False
    """Add the service's procedures to those of the user's file, as 1.x does. The file wins as it
    stands by default."""


class InstrumentSettings(_Part):
    """Which instrument to ask the service for."""

    instrument_id: str | None = Field(
        None, validation_alias=AliasChoices("instrument_id", "rig_id")
    )


class EnrichmentSettings(_Part):
    """Whether the mapper fills weights and ethics ids into the acquisition."""

    enabled: bool = True
    replace_existing: bool = False


class GatherSettings(BaseModel):
    """How the core files of one acquisition are gathered."""

    model_config = ConfigDict(frozen=True, extra="allow")

    metadata_dir: Path | None = None
    """Folder with core files of the user's own; each wins over every other source."""

    raise_if_invalid: bool = False
    """Strict: anything invalid, contradictory or missing among the required files ends the task."""

    raise_if_mapper_errors: bool = True

    on_service_failure: Literal["fail", "continue"] = "fail"
    """A metadata service that does not answer is retried, then fails the task (``fail``: an asset
    without its subject is hard to mend), or leaves its files out and says so (``continue``: they
    can be filled in later)."""

    time_zone: str | None = None
    """IANA name of the rig's zone, for an acquisition time that carries no offset."""

    data_description_settings: DescriptionSettings = DescriptionSettings()
    subject_settings: SubjectSettings = SubjectSettings()
    procedures_settings: ProceduresSettings = ProceduresSettings()
    instrument_settings: InstrumentSettings = InstrumentSettings()

    enrichment_settings: EnrichmentSettings | None = None
    session_settings: dict[str, Any] | None = None
    acquisition_settings: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_old_keys(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        settings = without_nulls(given)
        settings = {key: value for key, value in settings.items() if key not in OF_THE_RUN}
        if settings.get("metadata_dir") == "":
            del settings["metadata_dir"]
        old = settings.pop("raw_data_description_settings", None)
        if isinstance(old, Mapping):
            newer = settings.get("data_description_settings") or {}
            if isinstance(newer, Mapping):
                settings["data_description_settings"] = {**old, **newer}
        rig = settings.pop("rig_settings", None)
        instrument = settings.get("instrument_settings")
        if rig and not (isinstance(instrument, Mapping) and instrument.get("instrument_id")):
            settings["instrument_settings"] = rig
        return settings

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        try:
            return name and ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is not an IANA time zone") from error

    @classmethod
    def parse(cls, job_settings: Mapping[str, Any]) -> Self:
        """Read merged ``job_settings``.

        Raises:
            InvalidInput: every value that cannot be used, by its dotted path.
        """
        try:
            return cls.model_validate(job_settings)
        except ValidationError as error:
            raise InvalidInput([
                Problem(ITEM, ".".join(map(str, found["loc"])), found["msg"])
                for found in error.errors(include_url=False, include_input=False)
            ]) from error

    @property
    def unknown_keys(self) -> tuple[str, ...]:
        """Keys that mean nothing here; probably misspelt."""
        return tuple(sorted(self.model_extra or ()))
