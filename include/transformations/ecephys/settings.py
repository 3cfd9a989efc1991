"""The ``job_settings`` of the electrophysiology transformation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from include.transformations.job.settings import JobSettings

CodecName = Literal["blosc-zstd", "flac", "wavpack"]

DEFAULT_LEVELS: dict[CodecName, int] = {"blosc-zstd": 7, "flac": 5, "wavpack": 2}
"""Measured by ``benchmarks/compression.py``.

* blosc-zstd with bitshuffle, which any zarr reader opens: 7 is within 4 % of 9's size for a twentieth
  of its time. 2 to 6 are not offered: at some noise levels they miss repeated sign planes and end far
  above the size of level 1 (4 and 5 at a ratio of 2.00 on everything quiet).
* flac: 5; 8 costs twice the time for the same size.
* wavpack: 2; 3 and 4 cost up to twice the time for the same size.
"""

LEVELS: dict[CodecName, tuple[int, ...]] = {
    "blosc-zstd": (1, 7, 8, 9),
    "flac": tuple(range(9)),
    "wavpack": (1, 2, 3, 4),
}


class PlainLayout(BaseModel):
    """What a file of bare samples does not say about itself: int16, little-endian, interleaved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_channels: int = Field(ge=1, le=100_000)
    sampling_frequency_hz: float = Field(gt=0)
    dtype: Literal["int16"] = "int16"
    gain_uv: float | None = None
    """Microvolts per bit."""

    offset_uv: float = 0.0
    pattern: str = Field("*.dat", min_length=1)
    """Which files are recordings: the end of their path, such as ``*.bin`` or ``raw/*.dat``."""


class EcephysSettings(JobSettings):
    """What to compress and how."""

    reader: Literal["auto", "open_ephys", "spikeglx", "plain"] = "auto"
    plain_layout: PlainLayout | None = None
    """Needed by the reader ``plain``."""

    codec: CodecName = "blosc-zstd"
    level: int | None = None
    """None for the codec's default."""

    chunk_duration_s: float = Field(1.0, gt=0, le=60)
    """Length of one chunk, which is one file and holds all channels."""

    clip_n_frames: int = Field(100, ge=0, le=1_000_000)
    """Samples per channel kept of each recording file beside the other files; 0 for none."""

    @property
    def codec_level(self) -> int:
        """Level that is used."""
        return DEFAULT_LEVELS[self.codec] if self.level is None else self.level

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.codec_level not in LEVELS[self.codec]:
            allowed = ", ".join(map(str, LEVELS[self.codec]))
            why = " (2 to 6 collapse on quiet data)" if self.codec == "blosc-zstd" else ""
            raise ValueError(f"level {self.level}: {self.codec} has {allowed}{why}")
        if self.reader == "plain" and self.plain_layout is None:
            raise ValueError("reader 'plain' needs plain_layout")
        return self
