"""The ``job_settings`` of the behaviour-video transformation.

Names and values are those of the requests that labs already write (``compression_requested``,
``compression_enum``, …); ``lossless`` is an addition.
"""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from include.transformations.job.settings import JobSettings

VIDEO_ENDINGS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm", ".wmv"})


class Compression(StrEnum):
    """How one video is encoded."""

    DEFAULT = "default"
    """The same as ``gamma``."""

    GAMMA = "gamma"
    """8-bit H.264; linear input (cameras that apply no gamma) is gamma-encoded."""

    GAMMA_FIX_COLORSPACE = "gamma fix colorspace"
    """The same for files that do not say their colour space: BT.709, linear, is assumed."""

    NO_GAMMA = "no gamma"
    """8-bit H.264 of the values as they are."""

    LOSSLESS = "lossless"
    """FFV1 in Matroska; every frame is decoded and compared with the source's.

    Proven, so that it may replace its source, only if it holds all streams of the source and every
    time exactly. Matroska counts in milliseconds: 25, 50 or 500 frames a second can be, 30 cannot.
    """

    USER_DEFINED = "user defined"
    NO_COMPRESSION = "no compression"
    """The file is kept as it is."""


class CompressionRequest(BaseModel):
    """How to encode, and options of one's own for ``user defined``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    compression_enum: Compression = Compression.DEFAULT
    user_ffmpeg_input_options: str | None = None
    user_ffmpeg_output_options: str | None = None

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        given = (self.user_ffmpeg_input_options, self.user_ffmpeg_output_options)
        if self.compression_enum is Compression.USER_DEFINED:
            if not self.user_ffmpeg_output_options:
                raise ValueError("'user defined' needs user_ffmpeg_output_options")
            for text in filter(None, given):
                shlex.split(text)  # an open quote is a ValueError
        elif any(given):
            raise ValueError("ffmpeg options are used only by compression_enum 'user defined'")
        return self


class BehaviorVideoSettings(JobSettings):
    """Which videos to encode and how."""

    compression_requested: CompressionRequest = CompressionRequest()
    video_specific_compression_requests: tuple[tuple[PurePath, CompressionRequest], ...] = ()
    """Pairs of a file or folder, relative to ``input_source``, and what holds there instead."""

    parallel_compression: bool = True
    """False: one video after the other."""

    ffmpeg_thread_cnt: int = Field(0, ge=0, le=1024)
    """Threads of one ffmpeg; 0 shares the CPUs out among the videos."""

    ffmpeg: Path | None = None
    """Another ffmpeg than the environment's own."""

    def request_for(self, video: PurePath) -> CompressionRequest:
        """What holds for *video*, a path relative to the source; the most specific wins."""
        fitting = [
            (len(place.parts), request)
            for place, request in self.video_specific_compression_requests
            if video.is_relative_to(place)
        ]
        if not fitting:
            return self.compression_requested
        return max(fitting, key=lambda pair: pair[0])[1]
