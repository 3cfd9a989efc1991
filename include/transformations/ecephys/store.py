"""One recording as a Zarr that spikeinterface reads, written and proven chunk by chunk.

The layout is the one of spikeinterface's own Zarr writer (``traces_seg0``, …, ``channel_ids``,
``properties/``); writing it here, a chunk is what is written, proven and counted, and memory stays at
one chunk per process whatever the recording's length.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.errors import CommandFailed, SourceChanged, VerificationFailed
from include.transformations.ecephys.codecs import make_codec
from include.transformations.ecephys.recording import Recording
from include.transformations.ecephys.settings import EcephysSettings
from include.transformations.job.progress import Progress
from include.transformations.job.source_files import FileState

PROOF = "assetflow_proof"
"""Attribute of the Zarr's root, written last: what it was made from, and that this is proven."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where one chunk is in its source and in the Zarr."""

    source: Path
    array: Path
    index: int
    frames: int
    """Frames per chunk; the last chunk of a segment may have fewer."""

    frame_bytes: int

    def read_source(self) -> bytes:
        """The samples, as they are in the source now."""
        with self.source.open("rb", buffering=0) as file:
            size = self.frames * self.frame_bytes
            return os.pread(file.fileno(), size, self.index * size)


def compress(recording: Recording, target: Path, settings: EcephysSettings) -> str:
    """Write *recording* to *target* and prove it; returns ``done``, or ``unchanged``.

    A Zarr that was proven and made from the same files in the same way is left alone. Everything
    else is made anew beside its place and renamed when it is proven.

    Raises:
        SourceChanged: the source was written to meanwhile.
        VerificationFailed: what was decoded is not what the source holds.
        CommandFailed: the system ended a process of ours.
    """
    import zarr  # type: ignore[import-not-found]  # the job environment's

    states = [FileState.of(path) for path in recording.segments]
    proof = _proof(recording, states, settings)
    if target.is_dir():
        if _stored_proof(target) == proof:
            return "unchanged"
        shutil.rmtree(target)
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    root = zarr.open_group(str(part), mode="w")
    arrays = _write_description(root, recording, settings)
    chunks = [
        chunk
        for state, array in zip(states, arrays, strict=True)
        for chunk in _chunks(recording, state, part / array.path, array.chunks[0])
    ]
    try:
        with _pool(min(settings.workers(), max(1, len(chunks)))) as pool:
            for act, what in ((_write_chunk, "written"), (_prove_chunk, "proven")):
                progress = Progress(f"{recording.name}: {what}", sum(s.size_bytes for s in states))
                for size_bytes in pool.map(act, chunks, chunksize=4):
                    progress.add(size_bytes)
    except BrokenProcessPool as error:
        raise CommandFailed(
            f"{recording.name}: the system ended a process, probably for want of memory; "
            "set job_settings.n_jobs lower or chunk_duration_s shorter"
        ) from error
    for state in states:
        state.check_unchanged()
    root.attrs[PROOF] = proof
    _check_readable(part, recording)
    part.rename(target)
    return "done"


def stored_bytes(target: Path) -> int:
    """Size of a Zarr on disk."""
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _write_description(root: Any, recording: Recording, settings: EcephysSettings) -> list[Any]:
    """Everything but the samples; returns the empty arrays for them."""
    import numpy as np
    import spikeinterface  # type: ignore[import-not-found]

    root.attrs["zarr_class_info"] = {
        "class": "spikeinterface.core.zarrextractors.ZarrRecordingExtractor",
        "module": "spikeinterface",
        "version": spikeinterface.__version__,
    }
    root.attrs["sampling_frequency"] = recording.sampling_frequency_hz
    root.attrs["num_segments"] = len(recording.segments)
    root.attrs["provenance"] = None
    root.attrs["annotations"] = recording.annotations
    root.create_dataset("channel_ids", data=np.array(recording.channel_ids), compressor=None)
    properties = root.create_group("properties")
    for name, values in (
        ("gain_to_uV", recording.gains_uv),
        ("offset_to_uV", recording.offsets_uv),
    ):
        if values is not None:
            properties.create_dataset(name, data=np.array(values, "float64"), compressor=None)
    frames = max(1, round(settings.chunk_duration_s * recording.sampling_frequency_hz))
    codec = make_codec(settings.codec, settings.codec_level)
    return [
        root.create_dataset(
            f"traces_seg{index}",
            shape=(path.stat().st_size // recording.frame_bytes, recording.num_channels),
            chunks=(frames, recording.num_channels),
            dtype="<i2",
            compressor=codec,
            filters=None,
            # Every chunk is written, silent ones too: a missing one is a fault and not a silence.
            write_empty_chunks=True,
        )
        for index, path in enumerate(recording.segments)
    ]


def _chunks(recording: Recording, state: FileState, array: Path, frames: int) -> Iterator[Chunk]:
    count = -(-state.size_bytes // (frames * recording.frame_bytes))
    for index in range(count):
        yield Chunk(state.path, array, index, frames, recording.frame_bytes)


def _write_chunk(chunk: Chunk) -> int:
    import numpy as np

    array = _open(chunk, "r+")
    samples = chunk.read_source()
    first = chunk.index * chunk.frames
    expected = min(chunk.frames, array.shape[0] - first) * chunk.frame_bytes
    if len(samples) != expected:
        raise SourceChanged(f"{chunk.source} became shorter while it was read; run again")
    values = np.frombuffer(samples, "<i2").reshape(-1, array.shape[1])
    array[first : first + len(values)] = values
    return len(samples)


def _prove_chunk(chunk: Chunk) -> int:
    """Decode what is on disk and compare it with what the source holds now, read once more."""
    array = _open(chunk, "r")
    if not Path(chunk.array, f"{chunk.index}.0").is_file():
        raise VerificationFailed(f"Chunk {chunk.index} of {chunk.array} was not stored")
    first = chunk.index * chunk.frames
    stored = array[first : first + chunk.frames].tobytes()
    samples = chunk.read_source()
    if stored != samples:
        raise VerificationFailed(
            f"Chunk {chunk.index} of {chunk.array} is not what {chunk.source} holds: the source "
            "changed meanwhile, or a disk or memory is faulty; nothing was kept"
        )
    return len(samples)


def _open(chunk: Chunk, mode: str) -> Any:
    import numcodecs  # type: ignore[import-not-found]
    import zarr

    numcodecs.blosc.use_threads = False  # there is one process per CPU already
    return zarr.open_array(str(chunk.array), mode=mode, write_empty_chunks=True)


def _check_readable(part: Path, recording: Recording) -> None:
    """The field's own reader opens it and finds what went in."""
    from spikeinterface.core import read_zarr  # type: ignore[import-not-found]

    found = read_zarr(part)
    same = (
        tuple(map(str, found.channel_ids)) == recording.channel_ids
        and found.sampling_frequency == recording.sampling_frequency_hz
        and [found.get_num_samples(index) for index in range(found.get_num_segments())]
        == [path.stat().st_size // recording.frame_bytes for path in recording.segments]
    )
    if not same:
        raise VerificationFailed(f"spikeinterface reads {part} as another recording: {found}")


def _proof(
    recording: Recording, states: list[FileState], settings: EcephysSettings
) -> dict[str, Any]:
    return {
        "is_lossless": True,
        "codec": settings.codec,
        "level": settings.codec_level,
        "chunk_duration_s": settings.chunk_duration_s,
        "sampling_frequency_hz": recording.sampling_frequency_hz,
        "num_channels": recording.num_channels,
        "sources": [
            {"path": str(s.path), "size_bytes": s.size_bytes, "modified_ns": s.modified_ns}
            for s in states
        ],
    }


def _stored_proof(target: Path) -> Any:
    import zarr

    try:
        return zarr.open_group(str(target), mode="r").attrs.get(PROOF)
    except (ValueError, KeyError, OSError):  # no Zarr, or half of one: it is made anew
        return None


def _pool(processes: int) -> ProcessPoolExecutor:
    # Started fresh, as on macOS: forking a process that has threads (numcodecs has) can hang.
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
