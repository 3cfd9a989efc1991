"""What a computation leaves behind: a folder of small text files, by path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Files = Mapping[str, str]

ACQUIRED_NAME = re.compile(
    r"(?:[A-Za-z-]+_)?(?P<subject_id>[^_]+)_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", re.ASCII
)
"""Name of a raw asset, with or without a platform in front."""


def default_results(input_name: str | None, ended_at: datetime) -> dict[str, str]:
    """A derived ``data_description.json`` and one small output.

    The description is there only when the input is named like an acquisition: other results tell
    nothing about themselves, and whoever captures them has to find a name.
    """
    results = {"output/summary.txt": f"computed from {input_name or 'nothing'}\n"}
    acquired = ACQUIRED_NAME.fullmatch(input_name or "")
    if input_name and acquired:
        results["data_description.json"] = _derived_description(
            input_name, acquired["subject_id"], ended_at
        )
    return results


def _derived_description(input_name: str, subject_id: str, ended_at: datetime) -> str:
    # Heavy, and needed only when a computation ends.
    from aind_data_schema.components.identifiers import Person
    from aind_data_schema.core.data_description import DataDescription, Funding
    from aind_data_schema_models.data_name_patterns import DataLevel, build_data_name
    from aind_data_schema_models.modalities import Modality
    from aind_data_schema_models.organizations import Organization

    description = DataDescription(
        name=build_data_name(f"{input_name}_processed", ended_at),
        subject_id=subject_id,
        creation_time=ended_at,
        institution=Organization.AIND,
        funding_source=[Funding(funder=Organization.AI)],
        data_level=DataLevel.DERIVED,
        investigators=[Person(name="Jane Doe")],
        project_name="Ephys Platform",
        modalities=[Modality.ECEPHYS],
        source_data=[input_name],
    )
    return description.model_dump_json(indent=2)


def fill_in(templates: Files, **values: str) -> dict[str, str]:
    """Put values such as ``{input_name}`` into paths and texts; other braces stay."""

    def filled(text: str) -> str:
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    return {filled(path): filled(text) for path, text in templates.items()}


def list_folder(files: Files, path: str) -> list[dict[str, Any]] | None:
    """The files and folders directly under *path*, or None when there is no such folder.

    ``""`` is the root, which is always there.
    """
    folder = f"{path.strip('/')}/" if path.strip("/") else ""
    items: dict[str, dict[str, Any]] = {}
    for file, text in files.items():
        if not file.startswith(folder):
            continue
        name, slash, _ = file.removeprefix(folder).partition("/")
        item: dict[str, Any] = {"name": name, "path": f"{folder}{name}", "type": "folder"}
        if not slash:
            item |= {"type": "file", "size": len(text.encode())}
        items[name] = item
    return [items[name] for name in sorted(items)] if items or not folder else None


def under(files: Files, path: str) -> dict[str, str]:
    """The files under a folder, by their path in it."""
    folder = f"{path.strip('/')}/" if path.strip("/") else ""
    return {
        file.removeprefix(folder): text for file, text in files.items() if file.startswith(folder)
    }
