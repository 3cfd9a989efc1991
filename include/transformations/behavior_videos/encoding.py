"""What ffmpeg is told for each kind of compression.

Filters: the input is brought to full-range BT.709 at 10 bits, gamma-encoded there, and only then
reduced to 8 bits, without dithering, which would cost bits and hide small movements.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from include.transformations.behavior_videos.settings import Compression, CompressionRequest

H264 = (
    "-c:v", "libx264", "-preset", "slow", "-crf", "18", "-pix_fmt", "yuv420p",
    "-movflags", "+faststart+write_colr",
)  # fmt: skip
ASSUME_LINEAR = "setparams=color_primaries=bt709:color_trc=linear:colorspace=bt709"
TO_8_BITS = "scale=out_range=tv:sws_dither=none,format=yuv420p"
ENCODE_GAMMA = (
    "scale=out_color_matrix=bt709:out_range=full:sws_dither=none,format=yuv420p10le,"
    "colorspace=ispace=bt709:all=bt709:dither=none"
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """Arguments of ffmpeg before and after its input, and the ending of what comes out."""

    input_options: tuple[str, ...]
    output_options: tuple[str, ...]
    ending: str
    codec: str
    is_lossless: bool = False


def encoding_for(request: CompressionRequest) -> Encoding | None:
    """How to encode; None to keep the file as it is."""
    kind = request.compression_enum
    match kind:
        case Compression.NO_COMPRESSION:
            return None
        case Compression.USER_DEFINED:
            before = tuple(shlex.split(request.user_ffmpeg_input_options or ""))
            after = tuple(shlex.split(request.user_ffmpeg_output_options or ""))
            return Encoding(before, after, ".mp4", "user defined")
        case Compression.LOSSLESS:
            # Version 3 with slices and their checksums: a damaged frame is found and stays alone.
            options = ("-c:v", "ffv1", "-level", "3", "-slices", "4", "-slicecrc", "1", "-g", "1")
            # Times as the source has them, not from 0 on and not in steps of a guessed frame rate.
            # Matroska still rounds them to milliseconds; the comparison finds out whether it did.
            after = (*options, "-enc_time_base", "demux", "-c:a", "copy")
            return Encoding(("-copyts",), after, ".mkv", "ffv1", is_lossless=True)
        case Compression.NO_GAMMA:
            filters = [TO_8_BITS]
        case Compression.GAMMA_FIX_COLORSPACE:
            filters = [ASSUME_LINEAR, ENCODE_GAMMA, TO_8_BITS]
        case Compression.DEFAULT | Compression.GAMMA:
            filters = [ENCODE_GAMMA, TO_8_BITS]
    return Encoding((), ("-vf", ",".join(filters), *H264), ".mp4", "libx264 crf 18")
