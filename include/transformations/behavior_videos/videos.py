"""One video: encode it, check the result, give it its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from include.errors import VerificationFailed
from include.transformations.behavior_videos.encoding import Encoding
from include.transformations.behavior_videos.ffmpeg import Ffmpeg, Length, Streams
from include.transformations.job.source_files import FileState


@dataclass(frozen=True, slots=True)
class Video:
    """One file to encode."""

    source: Path
    target: Path
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class Converted:
    """How it went with one video."""

    state: str
    """``done``, or ``unchanged``."""

    doubts: tuple[str, ...] = ()
    """What of the source a lossless encoding does not hold, or not provably; it may not replace
    the source then. Empty: it holds every frame and all sound, each at exactly its time."""


def convert(video: Video, ffmpeg: Ffmpeg, on_bytes: Callable[[int], None]) -> Converted:
    """Encode *video* and check it.

    A result made from the same file in the same way is left alone: the tag in it says so. If it is
    lossless it is compared again, for the tag does not say how the comparison went.

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
    streams = ffmpeg.streams(video.source) if video.encoding.is_lossless else None
    if is_encoded and ffmpeg.tag(video.target) == tag:
        doubts = _compare(video, video.target, streams, ffmpeg) if streams else ()
        before.check_unchanged()
        on_bytes(before.size_bytes)
        return Converted("unchanged", doubts)
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
        ffmpeg.encode(video.source, part, video.encoding, tag, on_frames, streams)
        _check(video, part, wanted, ffmpeg)
        doubts = _compare(video, part, streams, ffmpeg) if streams else ()
        before.check_unchanged()
        part.rename(video.target)
    finally:
        part.unlink(missing_ok=True)
    on_bytes(before.size_bytes - counted)
    return Converted("done", doubts)


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


def _compare(video: Video, encoded: Path, streams: Streams, ffmpeg: Ffmpeg) -> tuple[str, ...]:
    """Doubts about a lossless encoding, as :attr:`Converted.doubts`.

    Raises:
        VerificationFailed: a frame is another one than the source's.
    """
    wanted = ffmpeg.digests(video.source, streams.pixel_formats)
    found = ffmpeg.digests(encoded, streams.pixel_formats)
    count = len(streams.videos)
    if [one.content for one in wanted[:count]] != [one.content for one in found[:count]]:
        raise VerificationFailed(
            f"{video.source}: decoded frames differ from the source's "
            f"({', '.join(streams.pixel_formats)}); keep this video with compression_enum "
            "'no compression'"
        )
    doubts = [f"a stream of the source is left out ({kind})" for kind in streams.others]
    if [one.content for one in wanted[count:]] != [one.content for one in found[count:]]:
        doubts.append("the packets of sound are not the source's")
    pairs = list(zip(wanted, found, strict=False))
    for name, of_kind in (("frames", pairs[:count]), ("sound", pairs[count:])):
        if any(ours.times is None or ours.times != theirs.times for ours, theirs in of_kind):
            doubts.append(
                f"the times of the {name} are not exactly the source's ({video.target.suffix} "
                "rounds them to milliseconds)"
            )
    return tuple(doubts)


def _tag(state: FileState, encoding: Encoding) -> str:
    made_from = repr((state.size_bytes, state.modified_ns, encoding))
    return "assetflow " + hashlib.sha256(made_from.encode()).hexdigest()[:32]
