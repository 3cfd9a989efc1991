"""aind-metadata-mapper, run as a command in an environment of its own.

It makes what only it can: ``acquisition.json`` from a rig's own files (``fip.json``) or from parts
(``acquisition_*.json``), ``instrument.json`` and ``quality_control.json`` from parts, weights and
ethics ids filled into an acquisition. All other core files are gathered before and handed to it, so
it finds them and asks the metadata service for nothing twice (procedures excepted: it always does).

Traps of release 1.4.0 that this module goes around:

* it writes into ``metadata_dir``: it gets a copy, never the user's folder;
* a setting left out is read from the environment (``TAGS``, ``GROUP``…): all are written out;
* it joins the service's address and endpoints with ``urljoin``: a path in the address is put into
  the endpoints as well;
* it takes a service that does not answer for one that has nothing, hence its subject, procedures
  and data description are never used.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from include.acquisitions.data_description import Acquired
from include.acquisitions.metadata import has_parts
from include.acquisitions.metadata_settings import ITEM, GatherSettings
from include.acquisitions.runner import Command, Outcome, raise_for_outcome
from include.assets.core_files import core_file_name, parse_core_file, read_core_file
from include.errors import InvalidInput, Problem

logger = logging.getLogger(__name__)

IMAGE_WORD = "aind-metadata-mapper"

RIG_FILES = ("fip.json",)
"""Files of rigs that release 1.4.0 can turn into an acquisition."""

MADE_BY_MAPPER = ("acquisition", "instrument", "quality_control", "session", "rig")
"""Core files that are taken from it."""


class SettingsShape(StrEnum):
    """Whose ``--job-settings`` a command understands."""

    V0 = "v0"
    V1 = "v1"


def wants_mapper(settings: GatherSettings, *, image: str | None) -> bool:
    """Whether the settings, the image or the user's files ask for the mapper."""
    enriched = settings.enrichment_settings is not None and settings.enrichment_settings.enabled
    if enriched or settings.session_settings or settings.acquisition_settings:
        return True
    if image and IMAGE_WORD in image:
        return True
    folder = settings.metadata_dir
    if folder is None or not folder.is_dir():
        return False
    return any((folder / name).is_file() for name in RIG_FILES) or any(
        has_parts(folder, one) and not (folder / core_file_name(one)).exists()
        for one in ("acquisition", "instrument", "quality_control")
    )


def settings_shape(image: str | None, image_version: str | None) -> SettingsShape:
    """The shape a preset's image and version mean: 0.x takes the old one, all others the new.

    Upstream takes whatever starts with neither ``1.`` nor ``v1-`` for 0.x, ``v1.1.0`` and ``2.0.0``
    among them; the major version decides here.
    """
    if not image or IMAGE_WORD not in image or not image_version:
        return SettingsShape.V1
    return SettingsShape.V0 if re.match(r"v?0\b", image_version) else SettingsShape.V1


def mapper_settings(
    acquired: Acquired,
    settings: GatherSettings,
    *,
    shape: SettingsShape,
    service_url: str,
    input_folder: Path,
    output_folder: Path,
) -> dict[str, Any]:
    """What goes behind ``--job-settings``.

    Args:
        service_url: address of the metadata service, with a path or without.
        input_folder: becomes ``metadata_dir``; the mapper writes into it.
        output_folder: where its core files will be.
    """
    if shape is SettingsShape.V0:
        return _settings_v0(acquired, settings, service_url, input_folder, output_folder)
    base_url = service_url.rstrip("/")
    prefix = urlsplit(base_url).path
    description = settings.data_description_settings
    institution = description.institution
    return {
        "output_dir": str(output_folder),
        "metadata_dir": str(input_folder),
        "metadata_service_url": base_url,
        **{
            f"metadata_service_{name}_endpoint": f"{prefix}/api/v2/{name}"
            for name in ("subject", "procedures", "instrument")
        },
        "raise_if_invalid": settings.raise_if_invalid,
        "raise_if_mapper_errors": settings.raise_if_mapper_errors,
        "subject_id": acquired.subject_id,
        "acquisition_start_time": acquired.acq_datetime.isoformat(),
        "data_description_settings": {
            "project_name": acquired.project_name,
            "modalities": list(acquired.modalities),
            "tags": description.tags,
            "group": description.group,
            "restrictions": description.restrictions,
            "data_summary": description.data_summary,
            "institution": _institution(institution),
        },
        "subject_settings": {
            "calibration_object": settings.subject_settings.calibration_object,
        },
        "instrument_settings": _only_set(instrument_id=_instrument_id(settings)) or None,
        "enrichment_settings": _enrichment(settings),
    }


def _institution(institution: str | dict[str, Any]) -> Any:
    from aind_data_schema_models.organizations import Organization

    if isinstance(institution, dict):
        return institution
    known = Organization.from_abbreviation(institution) or Organization.name_map.get(institution)
    return json.loads(known.model_dump_json()) if known else institution


def _instrument_id(settings: GatherSettings) -> str | None:
    return settings.instrument_settings.instrument_id or None


def _enrichment(settings: GatherSettings) -> dict[str, bool]:
    chosen = settings.enrichment_settings
    return {
        "enabled": chosen.enabled if chosen else True,
        "replace_existing": chosen.replace_existing if chosen else False,
    }


def _settings_v0(
    acquired: Acquired,
    settings: GatherSettings,
    service_url: str,
    input_folder: Path,
    output_folder: Path,
) -> dict[str, Any]:
    return {
        "directory_to_write_to": str(output_folder),
        "metadata_dir": str(input_folder),
        "metadata_service_domain": service_url.rstrip("/"),
        "subject_settings": {
            "subject_id": settings.subject_settings.subject_id or acquired.subject_id
        },
        "procedures_settings": {
            "subject_id": settings.procedures_settings.subject_id or acquired.subject_id
        },
        "raw_data_description_settings": {
            "name": acquired.asset_name,
            "project_name": acquired.project_name,
            "modality": list(acquired.modalities),
        },
        "rig_settings": {"rig_id": _instrument_id(settings) or ""},
        "instrument_settings": {"instrument_id": _instrument_id(settings) or ""},
        **_only_set(
            session_settings=settings.session_settings,
            acquisition_settings=settings.acquisition_settings,
        ),
    }


def _only_set(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class MetadataMapper:
    """Runs the mapper once; a :class:`~include.acquisitions.metadata.CoreFileMapper`."""

    acquired: Acquired
    settings: GatherSettings
    work_folder: Path
    """The run's; everything of the mapper is under ``mapper/`` in it."""

    service_url: str
    name: str
    """Of the command: deterministic, one per run."""

    run: Callable[[Command], Outcome]
    """Runs a command to its end."""

    python: Path | None = None
    """Interpreter of the mapper's environment; None when *script* is given."""

    script: Callable[[Mapping[str, Any]], str] | None = None
    """A preset's own command: settings → bash. Such an image may be of 0.x."""

    shape: SettingsShape = SettingsShape.V1
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": os.defpath})
    time_limit_s: float | None = 1800
    resources: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self, known: Mapping[str, bytes], uploaded: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        """Core field → text of what it made; see :class:`CoreFileMapper`.

        Raises:
            InvalidInput: settings that only a 0.x command understands, or unusable output.
            CommandFailed: it ended with an error; says what it said last.
        """
        folder = self.work_folder / "mapper"
        shutil.rmtree(folder, ignore_errors=True)  # half an earlier try would be taken for input
        inputs, outputs = folder / "input", folder / "output"
        outputs.mkdir(parents=True)
        inputs.mkdir()
        gathered = {core_file_name(one): text for one, text in known.items()}
        for name, text in {**uploaded, **gathered}.items():
            (inputs / name).write_bytes(text)
        raise_for_outcome(self.run(self.command(folder)))
        return self._made(outputs, known)

    def command(self, folder: Path) -> Command:
        """The command, with its settings written to ``settings.json`` in *folder*.

        Raises:
            InvalidInput: settings that only a 0.x command understands.
        """
        chosen = mapper_settings(
            self.acquired,
            self.settings,
            shape=self.shape,
            service_url=self.service_url,
            input_folder=folder / "input",
            output_folder=folder / "output",
        )
        settings_path = folder / "settings.json"
        settings_path.write_text(json.dumps(chosen, indent=3))
        return Command(
            name=self.name,
            script=self.script(chosen) if self.script else self._own_script(settings_path),
            environment=self.environment,
            working_folder=folder,
            time_limit_s=self.time_limit_s,
            resources=self.resources,
        )

    def _own_script(self, settings_path: Path) -> str:
        old = [key for key in ("session_settings", "acquisition_settings")
               if getattr(self.settings, key)]  # fmt: skip
        if old or self.python is None or self.shape is SettingsShape.V0:
            fix = "give image, image_version and command_script of a 0.x mapper, or leave it out"
            reason = "needs aind-metadata-mapper 0.x, which is not built in"
            raise InvalidInput([Problem(ITEM, key, reason, fix) for key in old or ("image",)])
        module = shlex.join([str(self.python), "-m", "aind_metadata_mapper.gather_metadata"])
        return f'exec {module} --job-settings "$(cat {shlex.quote(str(settings_path))})"\n'

    def _made(self, outputs: Path, known: Mapping[str, bytes]) -> dict[str, bytes]:
        """What is new, and an acquisition into which something was filled."""
        made = {}
        for one in MADE_BY_MAPPER:
            path = outputs / core_file_name(one)
            text = read_core_file(path)
            if text is None:
                continue
            content = parse_core_file(str(path), text)
            if one not in known or (
                one == "acquisition" and content != parse_core_file(str(path), known[one])
            ):
                made[one] = text
        logger.info("%s made %s", self.name, ", ".join(made) or "no core file")
        return made
