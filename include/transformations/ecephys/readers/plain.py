"""Files of bare int16 samples whose layout the job settings describe."""

from __future__ import annotations

from pathlib import Path

from include.transformations.ecephys.recording import Recording
from include.transformations.ecephys.settings import PlainLayout


def find_recordings(folder: Path, files: list[Path], layout: PlainLayout) -> list[Recording]:
    """One recording per file that matches the layout's pattern, named after it."""
    count = layout.num_channels
    return [
        Recording(
            name="#".join(path.relative_to(folder).parts),
            segments=(path,),
            num_channels=count,
            sampling_frequency_hz=layout.sampling_frequency_hz,
            channel_ids=tuple(str(index) for index in range(count)),
            gains_uv=None if layout.gain_uv is None else (layout.gain_uv,) * count,
            offsets_uv=None if layout.gain_uv is None else (layout.offset_uv,) * count,
        )
        for path in files
        if path.match(layout.pattern)
    ]
