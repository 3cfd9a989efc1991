"""One video: encode it, check the result, give it its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from include.errors import VerificationFailed
from include.transformations.behavior_videos.encoding import Encoding
from include.transformations.behavior_videos.ffmpeg import Ffmpeg, Length
from include.transformations.job.source_files import FileState


@dataclass(frozen=True, slots=True)
class Video:
    """One file to encode."""

    source: Path
    target: Path
    encoding: Encoding


def convert(video: Video, ffmpeg: Ffmpeg, on_bytes: Callable[[int], None]) -> str:
    """Encode *video* and check it; returns ``done``, or ``unchanged``.

    A result made from the same file in the same way is left alone: the tag in it says so.

    Args:
        on_bytes: gets how many bytes of the source are done in addition.

    Raises:
        SourceChanged: the source was written to meanwhile.
        VerificationFailed: another number of frames, another duration, or (lossless) other frames.
        CommandFailed: ffmpeg ended with an error.
    """
    before = FileState.of(video.source)
    tag = _tag(before, video.encoding)
    is_encoded = video.target.is_file() and not video.target.is_symlink()
    if is_encoded and ffmpeg.tag(video.target) == tag:
        on_bytes(before.size_bytes)
        return "unchanged"
    video.target.unlink(missing_ok=True)
    wanted = ffmpeg.length(video.source)
    part = video.target.with_name(
        f".part.{video.target.name}"
    )  # its ending tells ffmpeg the format
    counted = 0

    def on_frames(frames: int) -> None:
        nonlocal counted
        now = before.size_bytes * min(frames, wanted.frames) // max(1, wanted.frames)
        on_bytes(now - counted)
        counted = now

    try:
        ffmpeg.encode(video.source, part, video.encoding, tag, on_frames)
        _check(video, part, wanted, ffmpeg)
        before.check_unchanged()
        part.rename(video.target)
    finally:
        part.unlink(missing_ok=True)
    on_bytes(before.size_bytes - counted)
    return "done"


def _check(video: Video, part: Path, wanted: Length, ffmpeg: Ffmpeg) -> None:
    found = ffmpeg.length(part)
    if wanted.frames == 0 or found.frames != wanted.frames:
        raise VerificationFailed(
            f"{video.source} has {wanted.frames} frames and its encoding {found.frames}"
        )
    # Containers round times; less than one frame is no difference.
    if abs(found.duration_s - wanted.duration_s) > wanted.duration_s / wanted.frames:
        raise VerificationFailed(
            f"{video.source} lasts {wanted.duration_s:.3f} s and its encoding "
            f"{found.duration_s:.3f} s"
        )
    if video.encoding.is_lossless:
        pixel_format = ffmpeg.pixel_format(video.source)
        if ffmpeg.frames_digest(video.source, pixel_format) != ffmpeg.frames_digest(
            part, pixel_format
        ):
            raise VerificationFailed(
                f"{video.source}: decoded frames differ from the source's ({pixel_format}); keep "
                "this video with compression_enum 'no compression'"
            )


def _tag(state: FileState, encoding: Encoding) -> str:
    made_from = repr((state.size_bytes, state.modified_ns, encoding))
    return "assetflow " + hashlib.sha256(made_from.encode()).hexdigest()[:32]
