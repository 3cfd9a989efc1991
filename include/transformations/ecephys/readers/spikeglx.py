"""SpikeGLX: ``*.ap.bin``, ``*.lf.bin`` and ``*.nidq.bin``, each with a ``.meta`` of the same name.

Source: https://billkarsh.github.io/SpikeGLX/ ("Metadata"). The samples are int16, samples × channels.
Gains depend on the probe's type; neo knows them all, so it reads the ``.meta``.
"""

from __future__ import annotations

from pathlib import Path

from include.errors import InvalidInput, Problem
from include.transformations.ecephys.recording import Recording

MICROVOLTS_PER_VOLT = 1e6


def find_recordings(folder: Path, files: list[Path]) -> list[Recording]:
    """One recording per ``.bin``, named after it.

    Raises:
        InvalidInput: a ``.meta`` is missing, unreadable, or says another size than the file has.
    """
    problems: list[Problem] = []
    recordings = []
    for samples in (path for path in files if path.suffix == ".bin"):
        meta = samples.with_suffix(".meta")
        if not meta.is_file():
            reason = f"has no {meta.name} beside it"
            problems.append(Problem(str(samples), "", reason))
            continue
        try:
            recordings.append(_recording(folder, samples, meta, problems))
        except (ValueError, KeyError, IndexError, TypeError, AssertionError) as error:
            reason = f"cannot be read as SpikeGLX metadata: {error!r}"
            problems.append(Problem(str(meta), "", reason))
    if problems:
        raise InvalidInput(problems)
    return recordings


def _recording(folder: Path, samples: Path, meta: Path, problems: list[Problem]) -> Recording:
    from neo.rawio.spikeglxrawio import (  # type: ignore[import-not-found]  # the job environment's
        extract_stream_info,
        read_meta_file,
    )

    values = read_meta_file(meta)
    stream = extract_stream_info(meta, values)
    told, size = int(values["fileSizeBytes"]), samples.stat().st_size
    if told != size:
        reason = f"{size} bytes, but {meta.name} says {told}: the file is cut off or still written"
        problems.append(Problem(str(samples), "", reason))
    return Recording(
        name="#".join(samples.relative_to(folder).with_suffix("").parts),
        segments=(samples,),
        num_channels=int(stream["num_chan"]),
        sampling_frequency_hz=float(stream["sampling_rate"]),
        channel_ids=tuple(map(str, stream["channel_names"])),
        gains_uv=tuple(float(gain) * MICROVOLTS_PER_VOLT for gain in stream["channel_gains"]),
        offsets_uv=tuple(float(o) * MICROVOLTS_PER_VOLT for o in stream["channel_offsets"]),
        annotations={"stream_name": str(stream["stream_name"])},
    )
