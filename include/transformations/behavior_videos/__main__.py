"""Behaviour videos: encoded with ffmpeg, every frame still there; other files stay as they are.

The output is the tree of the source. A video gets the ending of its encoding (``.mp4``, lossless
``.mkv``); a video of the kind ``no compression`` is kept under its own name.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from include.errors import AssetflowError, CommandFailed, InvalidInput, Problem
from include.transformations.behavior_videos.encoding import encoding_for
from include.transformations.behavior_videos.ffmpeg import Ffmpeg
from include.transformations.behavior_videos.settings import VIDEO_ENDINGS, BehaviorVideoSettings
from include.transformations.behavior_videos.videos import Converted, Video, convert
from include.transformations.job.program import run_program
from include.transformations.job.progress import Progress
from include.transformations.job.record import Result
from include.transformations.job.settings import available_cpus
from include.transformations.job.source_files import carry_over, list_files

NAMES_SHOWN = 10


def transform(settings: BehaviorVideoSettings) -> Result:
    """Encode every video of the source and carry the other files over."""
    source, output = settings.input_source, settings.output_directory
    files = list_files(source)
    if not files:
        raise InvalidInput([Problem(str(source), "", "holds no files")])
    videos = plan_videos(settings, files)
    at_once = min(settings.workers() if settings.parallel_compression else 1, len(videos) or 1)
    threads = settings.ffmpeg_thread_cnt or max(1, available_cpus() // at_once)
    converted = _convert_all(videos, Ffmpeg(_binary(settings), threads), at_once, source)
    encoded = {video.source for video in videos}
    carry_over(
        [path for path in files if path not in encoded], source, output, settings.other_files
    )
    is_lossless = bool(videos) and all(video.encoding.is_lossless for video in videos)
    doubts = _doubts(converted)
    return Result(
        input_bytes=sum(video.source.stat().st_size for video in videos),
        output_bytes=sum(video.target.stat().st_size for video in videos),
        codec=", ".join(sorted({video.encoding.codec for video in videos})),
        is_lossless_proven=is_lossless and not doubts,
        items={name: one.state for name, one in converted.items()},
        packages=("imageio-ffmpeg",),
        notes=("frames and duration of every video were compared with its source",)
        + (("every decoded frame was compared as well",) if is_lossless else ())
        + doubts,
    )


def plan_videos(settings: BehaviorVideoSettings, files: list[Path]) -> list[Video]:
    """Which files are encoded, how, and into what.

    Raises:
        InvalidInput: two files would get the same name; a special request fits no file.
    """
    source = settings.input_source
    videos = []
    targets: Counter[Path] = Counter()
    for path in files:
        place = path.relative_to(source)
        is_video = path.suffix.lower() in VIDEO_ENDINGS
        encoding = encoding_for(settings.request_for(place)) if is_video else None
        target = settings.output_directory / place
        if encoding is not None:
            target = target.with_suffix(encoding.ending)
            videos.append(Video(path, target, encoding))
        targets[target] += 1
    problems = [
        Problem(str(target), "", f"{count} files of the source would get this name")
        for target, count in targets.items()
        if count > 1
    ]
    for wanted, _ in settings.video_specific_compression_requests:
        if not any(path.relative_to(source).is_relative_to(wanted) for path in files):
            reason = f"{wanted} is no file or folder of {source}"
            problems.append(Problem("job_settings", "video_specific_compression_requests", reason))
    if problems:
        raise InvalidInput(problems)
    return videos


def _doubts(converted: Mapping[str, Converted]) -> tuple[str, ...]:
    """One note per reason why an encoding may not replace its source, with the videos it is of."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, one in converted.items():
        for doubt in one.doubts:
            names[doubt].append(name)
    return tuple(
        f"not proven lossless, {doubt}: {', '.join(of[:NAMES_SHOWN])}"
        + (f" and {len(of) - NAMES_SHOWN} more" if len(of) > NAMES_SHOWN else "")
        for doubt, of in names.items()
    )


def _convert_all(
    videos: list[Video], ffmpeg: Ffmpeg, at_once: int, source: Path
) -> dict[str, Converted]:
    progress = Progress("videos", sum(video.source.stat().st_size for video in videos))
    lock = Lock()

    def on_bytes(size_bytes: int) -> None:
        with lock:
            progress.add(size_bytes)

    def convert_one(video: Video) -> Converted:
        video.target.parent.mkdir(parents=True, exist_ok=True)
        converted = convert(video, ffmpeg, on_bytes)
        said = "; not proven lossless: ".join((converted.state, *converted.doubts))
        print(f"{video.source.relative_to(source)}: {said}")  # noqa: T201
        return converted

    with ThreadPoolExecutor(at_once) as pool:
        running = {video: pool.submit(convert_one, video) for video in videos}
    failures = [(video, error) for video, future in running.items() if (error := _error(future))]
    if len(failures) == 1:
        raise failures[0][1]
    if failures:
        # One bad video hides neither the others nor what is wrong with them.
        lines = "\n".join(f"  - {video.source.name}: {error}" for video, error in failures)
        raise CommandFailed(f"{len(failures)} of {len(videos)} videos failed:\n{lines}")
    return {str(video.source.relative_to(source)): done.result() for video, done in running.items()}


def _error(future: Future[Converted]) -> AssetflowError | OSError | None:
    error = future.exception()
    if error is None or isinstance(error, AssetflowError | OSError):
        return error
    raise error


def _binary(settings: BehaviorVideoSettings) -> Path:
    if settings.ffmpeg is not None:
        if not settings.ffmpeg.is_file():
            raise InvalidInput([Problem("job_settings", "ffmpeg", f"{settings.ffmpeg} is no file")])
        return settings.ffmpeg
    import imageio_ffmpeg  # type: ignore[import-not-found]  # the job environment's

    return Path(imageio_ffmpeg.get_ffmpeg_exe())


if __name__ == "__main__":
    sys.exit(run_program("behavior-videos", BehaviorVideoSettings, transform))
