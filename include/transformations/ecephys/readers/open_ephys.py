"""Open Ephys binary format, since version 0.4.

Source: https://open-ephys.github.io/gui-docs/User-Manual/Recording-data/Binary-format.html

::

    Record Node 104/
      settings.xml
      experiment1/                    a block: new settings, a new Zarr
        recording1/                   a segment: recording was switched off and on
          structure.oebin             JSON: the streams, their channels and folders
          continuous/{stream}/
            continuous.dat            int16, samples × channels
            sample_numbers.npy        (older: timestamps.npy)
          events/ …

Every channel of ``continuous.dat`` is kept, the synchronisation and ADC channels too.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from include.errors import InvalidInput, Problem
from include.transformations.ecephys.recording import Recording

STRUCTURE = "structure.oebin"

MICROVOLTS = {"uV": 1.0, "µV": 1.0, "mV": 1e3, "V": 1e6}


def find_recordings(folder: Path, files: list[Path]) -> list[Recording]:
    """One recording per block and stream, named like
    ``experiment1_Record Node 104#Neuropix-PXI-100.ProbeA-AP``.

    Raises:
        InvalidInput: unreadable structure files, missing samples, segments that do not fit together.
    """
    problems: list[Problem] = []
    parts: dict[str, list[tuple[Path, dict[str, Any]]]] = defaultdict(list)
    structures = [path for path in files if path.name == STRUCTURE]
    for structure in sorted(structures, key=lambda path: _by_number(str(path))):
        for stream in _streams(structure, problems):
            samples = structure.parent / "continuous" / stream["folder_name"] / "continuous.dat"
            if not samples.is_file():
                reason = f"names the stream {stream['folder_name']!r}, but {samples} is not a file"
                problems.append(Problem(str(structure), "continuous", reason))
                continue
            parts[_name(folder, structure, stream)].append((samples, stream))
    recordings = [_recording(name, found, problems) for name, found in parts.items()]
    if problems:
        raise InvalidInput(problems)
    return recordings


def _streams(structure: Path, problems: list[Problem]) -> list[dict[str, Any]]:
    try:
        streams = json.loads(structure.read_bytes())["continuous"]
        return [
            {
                "folder_name": str(stream["folder_name"]).strip("/"),
                "num_channels": int(stream["num_channels"]),
                "sample_rate": float(stream["sample_rate"]),
                "channels": [
                    (
                        str(channel["channel_name"]),
                        float(channel["bit_volts"]) * MICROVOLTS[channel.get("units") or "uV"],
                    )
                    for channel in stream["channels"]
                ],
            }
            for stream in streams
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"cannot be read as a description of streams: {error!r}"
        problems.append(Problem(str(structure), "continuous", reason))
        return []


def _name(folder: Path, structure: Path, stream: dict[str, Any]) -> str:
    block = structure.parents[1]
    node = block.parent
    # The record node is part of the name unless the source folder is the node or the block itself.
    inside = node != folder and node.is_relative_to(folder)
    prefix = "#".join(node.relative_to(folder).parts) + "#" if inside else ""
    return f"{block.name}_{prefix}{stream['folder_name'].replace('/', '#')}"


def _recording(
    name: str, found: list[tuple[Path, dict[str, Any]]], problems: list[Problem]
) -> Recording:
    _, first = found[0]
    for samples, stream in found[1:]:
        if stream != first:
            reason = f"the stream has other channels or another rate than in {found[0][0]}"
            problems.append(Problem(str(samples), "", reason))
    names = [channel for channel, _ in first["channels"]]
    unique = names if len(set(names)) == len(names) else [f"CH{i}" for i in range(len(names))]
    return Recording(
        name=name,
        segments=tuple(samples for samples, _ in found),
        num_channels=first["num_channels"],
        sampling_frequency_hz=first["sample_rate"],
        channel_ids=tuple(unique),
        gains_uv=tuple(gain for _, gain in first["channels"]),
        offsets_uv=(0.0,) * len(names),
        annotations={"stream_name": first["folder_name"]},
    )


def _by_number(text: str) -> list[str | int]:
    """Sort key that puts ``recording2`` before ``recording10``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
