"""One recording on disk: int16 samples, all channels of a moment together, one file per segment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from include.errors import Problem

SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Recording:
    """One stream of one block, which becomes one Zarr."""

    name: str
    """File name of the Zarr, without its ending."""

    segments: tuple[Path, ...]
    """Files of bare samples in order of time; a pause lies between two of them."""

    num_channels: int
    sampling_frequency_hz: float
    channel_ids: tuple[str, ...]
    gains_uv: tuple[float, ...] | None = None
    """Microvolts per bit, for each channel."""

    offsets_uv: tuple[float, ...] | None = None
    annotations: dict[str, Any] = field(default_factory=dict)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return SAMPLE_BYTES * self.num_channels

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(path.stat().st_size for path in self.segments)

    def problems(self) -> list[Problem]:
        """What does not fit: part of a sample at a file's end, unequal lists of channels."""
        found = []
        for path in self.segments:
            size = path.stat().st_size
            if rest := size % self.frame_bytes:
                reason = (
                    f"{size} bytes are {size // self.frame_bytes} samples of {self.num_channels} "
                    f"int16 channels and {rest} bytes"
                )
                fix = "the file is cut off, or it has another number of channels"
                found.append(Problem(str(path), "", reason, fix))
        for label, values in (
            ("channel ids", self.channel_ids),
            ("gains", self.gains_uv),
            ("offsets", self.offsets_uv),
        ):
            if values is not None and len(values) != self.num_channels:
                reason = f"{len(values)} {label} for {self.num_channels} channels"
                found.append(Problem(self.name, "", reason))
        if len(set(self.channel_ids)) != len(self.channel_ids):
            found.append(Problem(self.name, "", "two channels have the same id"))
        return found
