"""Electrophysiology: int16 recordings become compressed Zarr, losslessly and proven so.

::

    {output_directory}/
      ecephys_compressed/{recording}.zarr     one per block and stream; spikeinterface's read_zarr
      ecephys_clipped/                        every other file, unchanged, and the first samples of
                                              each recording file, so that readers of the original
                                              format find their tree
"""

from __future__ import annotations

import sys
from pathlib import Path

from include.transformations.ecephys.codecs import PACKAGES, make_codec
from include.transformations.ecephys.readers import find_recordings
from include.transformations.ecephys.recording import Recording
from include.transformations.ecephys.settings import EcephysSettings
from include.transformations.ecephys.store import compress, stored_bytes
from include.transformations.job.program import run_program
from include.transformations.job.record import Result
from include.transformations.job.source_files import carry_over, list_files


def transform(settings: EcephysSettings) -> Result:
    """Compress every recording of the source and carry the other files over."""
    make_codec(settings.codec, settings.codec_level)  # is it there at all? before any work
    source, output = settings.input_source, settings.output_directory
    files = list_files(source)
    recordings = find_recordings(settings, files)
    compressed = output / "ecephys_compressed"
    compressed.mkdir(exist_ok=True)
    items = {}
    for recording in recordings:
        target = compressed / f"{recording.name}.zarr"
        items[recording.name] = compress(recording, target, settings)
        print(f"{recording.name}: {items[recording.name]}")  # noqa: T201
    samples = {path for recording in recordings for path in recording.segments}
    others = [path for path in files if path not in samples]
    clipped = output / "ecephys_clipped"
    carry_over(others, source, clipped, settings.other_files)
    for recording in recordings:
        _clip(recording, source, clipped, settings.clip_n_frames)
    return Result(
        input_bytes=sum(recording.size_bytes for recording in recordings),
        output_bytes=sum(stored_bytes(compressed / f"{name}.zarr") for name in items),
        codec=f"{settings.codec} level {settings.codec_level}",
        is_lossless_proven=True,
        items=items,
        packages=("spikeinterface", "zarr", PACKAGES[settings.codec]),
        notes=("every chunk was decoded and compared with its source",),
    )


def _clip(recording: Recording, source: Path, clipped: Path, frames: int) -> None:
    for path in recording.segments:
        place = clipped / path.relative_to(source)
        place.unlink(missing_ok=True)
        if frames:
            place.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as samples:
                place.write_bytes(samples.read(frames * recording.frame_bytes))


if __name__ == "__main__":
    sys.exit(run_program("ecephys", EcephysSettings, transform))
