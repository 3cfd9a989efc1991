"""The process record: what was done with one modality, for ``processing.json``.

It is the last thing a transformation writes: a record says that the output is complete and proven.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from include.transformations.job.settings import JobSettings

SOFTWARE_VERSION = "0.1.0"
"""The project's version; the environments do not have the project installed."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a transformation did."""

    input_bytes: int
    output_bytes: int
    codec: str
    """Codec with its level, ``""`` when nothing was compressed."""

    is_lossless_proven: bool
    """Whether every output was decoded and found equal to its source."""

    items: dict[str, str]
    """Recording or video → ``done`` or ``unchanged``."""

    packages: tuple[str, ...] = ()
    """Packages a reader needs; their versions are recorded."""

    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Input size over output size."""
        return round(self.input_bytes / self.output_bytes, 3) if self.output_bytes else None


def write_record(
    path: Path, name: str, settings: JobSettings, result: Result, started_at: datetime
) -> None:
    """Write the process record, whole or not at all."""
    versions = {package: _version(package) for package in result.packages}
    record: dict[str, Any] = {
        # Null means that nothing was transformed.
        "name": "Compression" if result.codec else None,
        "software_version": SOFTWARE_VERSION,
        "start_date_time": started_at.isoformat(),
        "end_date_time": datetime.now(UTC).isoformat(),
        "input_location": str(settings.input_source),
        "output_location": str(settings.output_directory),
        "code_url": settings.code_url or f"assetflow:transformations/{name}",
        "parameters": settings.model_dump(mode="json") | {"packages": versions},
        "notes": "; ".join(result.notes) or None,
        "statistics": {
            "input_bytes": result.input_bytes,
            "output_bytes": result.output_bytes,
            "ratio": result.ratio,
            "is_lossless_proven": result.is_lossless_proven,
            "codec": result.codec or None,
            "items": result.items,
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(record, indent=3, sort_keys=True), encoding="utf-8")
    part.replace(path)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
