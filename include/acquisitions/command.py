"""The placeholders of a command script and of its settings, filled in.

=====================  ===========================================================
``%JOB_SETTINGS``      the merged ``job_settings`` as JSON
``%IMAGE_VERSION``     version of the container image
``%IMAGE``             the container image
``%INPUT_SOURCE``      the modality's source folder
``%OUTPUT_LOCATION``   its folder in staging
``%S3_LOCATION``       ``s3://bucket/name`` of the asset
``%ENV_FILE``          file with the environment of the command
=====================  ===========================================================

They are filled in this order, so ``%IMAGE_VERSION`` is never taken for ``%IMAGE``, and placeholders
within texts of ``job_settings`` are filled too. Anything else that a value happens to contain is data
and arrives as it is: see ``shell_text.py`` for how the script keeps every value in its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from include.acquisitions.shell_text import fill_quoted
from include.errors import InvalidInput, Problem

JOB_SETTINGS = "%JOB_SETTINGS"
_PLACEHOLDER = re.compile(
    r"%(?:JOB_SETTINGS|IMAGE_VERSION|IMAGE|INPUT_SOURCE|OUTPUT_LOCATION|S3_LOCATION|ENV_FILE)"
)


@dataclass(frozen=True, slots=True)
class ScriptValues:
    """What the placeholders stand for in one command; None where the command has no such thing."""

    job_settings: Mapping[str, Any] = field(default_factory=dict)
    image_version: str | None = None
    image: str | None = None
    input_source: str | None = None
    output_location: str | None = None
    s3_location: str | None = None
    env_file: str | None = None

    def by_placeholder(self) -> dict[str, str | None]:
        """Placeholder → value, without ``%JOB_SETTINGS``."""
        return {
            "%IMAGE_VERSION": self.image_version,
            "%IMAGE": self.image,
            "%INPUT_SOURCE": self.input_source,
            "%OUTPUT_LOCATION": self.output_location,
            "%S3_LOCATION": self.s3_location,
            "%ENV_FILE": self.env_file,
        }


def fill_script(script: str, values: ScriptValues) -> str:
    """*script* ready to run: every value arrives byte for byte where its placeholder stood.

    Raises:
        InvalidInput: a placeholder has no value, or stands where no value is safe.
    """
    by_placeholder = values.by_placeholder()
    if JOB_SETTINGS in script:
        # ASCII only: what the command reads does not depend on its locale.
        settings: str | None = json.dumps(fill_settings(values))
    else:
        settings = None
    return fill_quoted(script, {JOB_SETTINGS: settings, **by_placeholder})


def fill_settings(values: ScriptValues) -> dict[str, Any]:
    """The ``job_settings`` with the placeholders in their texts and keys replaced.

    Raises:
        InvalidInput: placeholders without a value, each with its place.
    """
    problems: list[Problem] = []
    filled = _filled(values.job_settings, values.by_placeholder(), "", problems)
    if problems:
        raise InvalidInput(problems)
    return dict(filled)


def _filled(
    value: Any, by_placeholder: Mapping[str, str | None], path: str, problems: list[Problem]
) -> Any:
    if isinstance(value, Mapping):
        return {
            _filled(key, by_placeholder, path, problems): _filled(
                entry, by_placeholder, f"{path}.{key}".lstrip("."), problems
            )
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            _filled(entry, by_placeholder, f"{path}[{index}]", problems)
            for index, entry in enumerate(value)
        ]
    if not isinstance(value, str):
        return value

    def text_of(found: re.Match[str]) -> str:
        text = by_placeholder.get(found[0])
        if text is None:
            problems.append(Problem("job_settings", path, f"{found[0]} has no value in this run"))
        return text or ""

    return _PLACEHOLDER.sub(text_of, value)
