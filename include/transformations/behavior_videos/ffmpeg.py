"""ffmpeg as a program of its own: encode, count, digest, list the streams, read the tag.

Paths are given absolute: ffmpeg takes what stands before a colon for a protocol, and a leading dash
for an option.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from include.errors import CommandFailed
from include.transformations.behavior_videos.encoding import Encoding

KEPT_MESSAGES = 30

DIGEST_LINE = re.compile(r"(\d+),[^,]*,\s*(-?\w+),[^,]*,[^,]*,\s*([0-9a-f]{32})(.*)")
"""Stream, time of decoding, of presentation, duration, size, MD5; then what goes with a packet."""

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


@dataclass(frozen=True, slots=True)
class Streams:
    """What a file holds; numbers are ffmpeg's, counted over all streams from 0."""

    videos: tuple[int, ...]
    pixel_formats: tuple[str, ...]
    """How the frames of each video are stored: ffmpeg's name, such as ``gray`` or ``yuv420p``."""

    sounds: tuple[int, ...]
    others: tuple[str, ...]
    """Kind of every other stream: ``subtitle``, ``data``, ``attachment``, ``cover picture``, …"""


@dataclass(frozen=True, slots=True)
class StreamDigest:
    """What one stream holds, and when."""

    content: str
    """SHA-256 over the MD5 of every decoded frame or packet of sound, in order."""

    times: str | None
    """SHA-256 over their times of presentation in seconds, as fractions; None when one has none."""


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
        streams: Streams | None = None,
    ) -> None:
        """Encode *source* into *target*.

        Args:
            streams: all its videos and sounds are taken, in this order; None: the first video, and
                sound if there is any.
            tag: kept in the file as its comment.
            on_frames: gets the number of frames done so far, now and then.
        """
        arguments = [
            "-y", "-xerror", "-progress", "pipe:1", "-nostats",
            *encoding.input_options, "-i", str(source.absolute()),
            *(_maps(streams) if streams else ("-map", "0:v:0", "-map", "0:a?")),
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

    def digests(self, video: Path, pixel_formats: Sequence[str]) -> list[StreamDigest]:
        """Of every video, decoded, and every sound, as it is, in the order of :meth:`encode`.

        Args:
            pixel_formats: what the frames of each video are compared in.
        """
        formats = [
            option
            for number, pixel_format in enumerate(pixel_formats)
            for option in (f"-pix_fmt:v:{number}", pixel_format)
        ]
        arguments = [
            "-xerror", "-copyts", "-i", str(video.absolute()), *_maps(self.streams(video)),
            # Without a time base it would count in frames, and so round every time itself.
            "-fps_mode", "passthrough", "-enc_time_base", "demux", *formats, "-c:a", "copy",
            "-f", "framemd5", "-",
        ]  # fmt: skip
        bases: dict[str, Fraction] = {}
        contents: defaultdict[str, Any] = defaultdict(hashlib.sha256)
        times: defaultdict[str, Any] = defaultdict(hashlib.sha256)
        untimed: set[str] = set()
        with self._lines(arguments, video) as lines:
            for line in lines:
                if found := re.fullmatch(r"#tb (\d+): (\d+)/(\d+)", line):
                    bases[found[1]] = Fraction(int(found[2]), int(found[3]))
                elif found := DIGEST_LINE.fullmatch(line):
                    stream, at, content, extra = found.groups()
                    contents[stream].update(content.encode())
                    if int(stream) >= len(pixel_formats):  # sound: such as samples to leave out
                        contents[stream].update(extra.encode())
                    if at == "NOPTS":
                        untimed.add(stream)
                    else:
                        times[stream].update(f"{int(at) * bases[stream]} ".encode())
        return [
            StreamDigest(
                contents[stream].hexdigest(),
                None if stream in untimed else times[stream].hexdigest(),
            )
            for stream in bases
        ]

    def streams(self, video: Path) -> Streams:
        """Everything in the file that ffmpeg knows of."""
        described = self._describe(video)
        videos, pixel_formats, sounds, others = [], [], [], []
        for found in re.finditer(r"(?m)^\s*Stream #0:(\d+).*?: ([A-Z][a-z]+): (.*)$", described):
            number, kind, details = int(found[1]), found[2], found[3]
            pixel_format = re.search(r", (\w+)", details)
            if kind == "Audio":
                sounds.append(number)
            elif kind == "Video" and pixel_format and "(attached pic)" not in details:
                videos.append(number)
                pixel_formats.append(pixel_format[1])
            else:
                others.append("cover picture" if "(attached pic)" in details else kind.lower())
        if not videos:
            raise CommandFailed(f"ffmpeg finds no video in {video}: {described[-500:]}")
        return Streams(tuple(videos), tuple(pixel_formats), tuple(sounds), tuple(others))

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


def _maps(streams: Streams) -> list[str]:
    numbers = (*streams.videos, *streams.sounds)
    return [option for number in numbers for option in ("-map", f"0:{number}")]
