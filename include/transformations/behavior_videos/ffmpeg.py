"""ffmpeg as a program of its own: encode, count, digest, read the tag.

Paths are given absolute: ffmpeg takes what stands before a colon for a protocol, and a leading dash
for an option.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from include.errors import CommandFailed
from include.transformations.behavior_videos.encoding import Encoding

KEPT_MESSAGES = 30

HINTS = {
    "Unsupported input primaries": "the file does not say its colour space: take compression_enum "
    "'gamma fix colorspace' (linear BT.709 is assumed) or 'no gamma'",
    "Unsupported input transfer": "the file does not say its gamma: take compression_enum 'gamma "
    "fix colorspace' (linear BT.709 is assumed) or 'no gamma'",
    "not divisible by 2": "H.264 with yuv420p needs an even width and height: take 'lossless'",
    "No space left on device": "free space at the output",
}
"""What ffmpeg says → what to do about it."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long a video is."""

    frames: int
    duration_s: float


class Ffmpeg:
    """One ffmpeg binary.

    Every method raises :class:`CommandFailed` with ffmpeg's last words when it ends with an error.
    """

    def __init__(self, binary: Path, threads: int) -> None:
        self._binary = binary
        self._threads = threads

    def encode(
        self,
        source: Path,
        target: Path,
        encoding: Encoding,
        tag: str,
        on_frames: Callable[[int], None],
    ) -> None:
        """Encode the first video stream, and sound if there is any.

        Args:
            tag: kept in the file as its comment.
            on_frames: gets the number of frames done so far, now and then.
        """
        arguments = [
            "-y", "-xerror", "-progress", "pipe:1", "-nostats",
            *encoding.input_options, "-i", str(source.absolute()),
            "-map", "0:v:0", "-map", "0:a?",
            # Every frame once, at its own time: none is doubled or dropped to keep a rate.
            "-fps_mode", "passthrough",
            *encoding.output_options,
            "-threads", str(self._threads), "-metadata", f"comment={tag}", str(target.absolute()),
        ]  # fmt: skip
        with self._lines(arguments, source) as lines:
            for line in lines:
                if found := re.fullmatch(r"frame=\s*(\d+)", line):
                    on_frames(int(found[1]))

    def length(self, video: Path) -> Length:
        """Frames and duration, from the packets: nothing is decoded."""
        arguments = [
            "-i",
            str(video.absolute()),
            "-map",
            "0:v:0",
            "-c",
            "copy",
            "-f",
            "framecrc",
            "-",
        ]
        base, frames = Fraction(1), 0
        first: int | None = None
        end = 0
        with self._lines(arguments, video) as lines:
            for line in lines:
                if found := re.fullmatch(r"#tb 0: (\d+)/(\d+)", line):
                    base = Fraction(int(found[1]), int(found[2]))
                elif found := re.match(r"0,\s*(\S+),\s*(\S+),\s*(\d+),", line):
                    stamp = found[2] if found[2] != "NOPTS" else found[1]
                    at = int(stamp) if stamp != "NOPTS" else end
                    first = at if first is None else min(first, at)
                    end = max(end, at + int(found[3]))
                    frames += 1
        return Length(frames, float((end - (first or 0)) * base))

    def frames_digest(self, video: Path, pixel_format: str) -> str:
        """SHA-256 over the MD5 of every decoded frame, in order."""
        arguments = [
            "-xerror", "-i", str(video.absolute()), "-map", "0:v:0", "-fps_mode", "passthrough",
            "-pix_fmt", pixel_format, "-f", "framemd5", "-",
        ]  # fmt: skip
        digest = hashlib.sha256()
        with self._lines(arguments, video) as lines:
            for line in lines:
                if not line.startswith("#"):
                    digest.update(line.rpartition(",")[2].strip().encode())
        return digest.hexdigest()

    def pixel_format(self, video: Path) -> str:
        """ffmpeg's name for how the frames are stored, such as ``gray`` or ``yuv420p``."""
        described = self._describe(video)
        found = re.search(r"Stream #0:\d+.*?: Video: .+?, (\w+)", described)
        if found is None:
            raise CommandFailed(f"ffmpeg finds no video in {video}: {described[-500:]}")
        return found[1]

    def tag(self, video: Path) -> str:
        """The comment kept in the file, or ``""``."""
        found = re.search(r"(?mi)^\s*comment\s*: (.*)$", self._describe(video))
        return found[1].strip() if found else ""

    def _describe(self, video: Path) -> str:
        # Without an output ffmpeg describes its input and ends with an error, which is meant.
        done = subprocess.run(  # noqa: S603  our own arguments
            [self._binary, "-hide_banner", "-nostdin", "-i", str(video.absolute())],
            capture_output=True,
            check=False,
        )
        return done.stderr.decode(errors="replace")

    @contextmanager
    def _lines(self, arguments: list[str], video: Path) -> Iterator[Iterator[str]]:
        """Lines of output and messages together; raises when ffmpeg ended with an error."""
        messages: deque[str] = deque(maxlen=KEPT_MESSAGES)
        command = [str(self._binary), "-hide_banner", "-nostdin", "-v", "error", *arguments]
        with subprocess.Popen(  # noqa: S603  our own arguments
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as running:
            assert running.stdout  # noqa: S101  it is a pipe

            def lines() -> Iterator[str]:
                assert running.stdout  # noqa: S101
                for raw in running.stdout:
                    line = raw.decode(errors="replace").rstrip()
                    messages.append(line)
                    yield line

            try:
                yield lines()
            except BaseException:
                running.kill()
                raise
        if running.returncode:
            said = "\n".join(line for line in messages if not re.fullmatch(r"\w+=\s*\S*", line))
            hint = next((fix for words, fix in HINTS.items() if words in said), "")
            raise CommandFailed(
                f"ffmpeg ended with {running.returncode} on {video}"
                + (f"; {hint}" if hint else "")
                + f". It said:\n{said}"
            )
