"""A small acquisition as a rig leaves it: a recording, a video, behaviour tables and core files.

::

    {folder}/
        ecephys/            Open Ephys binary: structure.oebin, continuous.dat
        behavior-videos/    body_camera.mp4
        behavior/           trials.csv, licks.csv
        metadata/           acquisition.json, instrument.json

The recording is noise with spikes and shared slow waves, quantised like a real one, so that codecs do
on it about what they do on data; the video is a moving pattern with sensor noise.
"""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from include.local.sample_metadata import write_sample_metadata

SAMPLE_RATE_HZ = 30_000
BIT_UV = 0.195
"""Microvolts per bit of an Open Ephys headstage."""

MODALITIES = ("ecephys", "behavior-videos", "behavior")


def write_sample_acquisition(
    folder: Path,
    subject_id: str,
    started_at: datetime,
    *,
    ffmpeg: Path | None,
    channels: int = 16,
    recording_s: int = 5,
    video_s: int = 2,
) -> dict[str, Path]:
    """Write the acquisition and return the folder of each modality.

    Args:
        folder: made when it is not there.
        subject_id: the animal.
        started_at: start, with its zone.
        ffmpeg: makes the video; None to leave the video out.
        channels: of the recording.
        recording_s: length of the recording, seconds.
        video_s: length of the video, seconds.
    """
    folders = {"ecephys": folder / "ecephys", "behavior": folder / "behavior"}
    write_recording(folders["ecephys"], channels=channels, duration_s=recording_s)
    write_tables(folders["behavior"])
    if ffmpeg is not None:
        folders["behavior-videos"] = folder / "behavior-videos"
        write_video(folders["behavior-videos"] / "body_camera.mp4", ffmpeg, duration_s=video_s)
    modalities = [modality for modality in MODALITIES if modality in folders]
    write_sample_metadata(folder / "metadata", subject_id, started_at, modalities)
    return {modality: folders[modality] for modality in modalities}


def write_recording(folder: Path, *, channels: int, duration_s: int, seed: int = 1) -> Path:
    """Write an Open Ephys binary recording; returns the file with the samples."""
    import numpy as np

    stream = folder / "Record Node 101" / "experiment1" / "recording1"
    samples_path = stream / "continuous" / "Acquisition_Board-100.Rhythm" / "continuous.dat"
    samples_path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    spike = -np.hanning(30) * 120
    with samples_path.open("wb") as file:
        for _ in range(duration_s):
            noise = generator.normal(0, 8, (SAMPLE_RATE_HZ, channels))
            slow = np.cumsum(generator.normal(0, 0.6, SAMPLE_RATE_HZ))
            microvolts = noise + (slow - slow.mean())[:, None]
            for channel in range(channels):
                for start in generator.integers(0, SAMPLE_RATE_HZ - spike.size, 15):
                    microvolts[start : start + spike.size, channel] += spike
            file.write(np.round(microvolts / BIT_UV).astype("<i2").tobytes())
    count = SAMPLE_RATE_HZ * duration_s
    np.save(samples_path.with_name("sample_numbers.npy"), np.arange(count, dtype="int64"))
    np.save(samples_path.with_name("timestamps.npy"), np.arange(count) / SAMPLE_RATE_HZ)
    (stream / "structure.oebin").write_text(json.dumps(_structure(channels), indent=2))
    (folder / "Record Node 101" / "settings.xml").write_text('<?xml version="1.0"?>\n<SETTINGS/>\n')
    return samples_path


def write_tables(folder: Path) -> None:
    """Write the tables of a behaviour session."""
    folder.mkdir(parents=True, exist_ok=True)
    trials = "".join(f"{n},{n * 4.2:.3f},{('left', 'right')[n % 2]}\n" for n in range(200))
    (folder / "trials.csv").write_text(f"trial,start_s,side\n{trials}")
    licks = "".join(f"{n * 0.31:.3f}\n" for n in range(2000))
    (folder / "licks.csv").write_text(f"time_s\n{licks}")


def write_video(path: Path, ffmpeg: Path, *, duration_s: int) -> None:
    """Write a video such as a camera's fast encoder leaves: large, of good quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = f"testsrc2=size=320x240:rate=50:duration={duration_s}"
    pattern = f"{source},noise=alls=12:allf=t,format=gray"
    command = [
        str(ffmpeg), "-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", pattern,
        "-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-pix_fmt", "yuv420p", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _structure(channels: int) -> dict[str, Any]:
    return {
        "GUI version": "0.6.7",
        "continuous": [
            {
                "folder_name": "Acquisition_Board-100.Rhythm/",
                "sample_rate": SAMPLE_RATE_HZ,
                "source_processor_name": "Acquisition Board",
                "source_processor_id": 100,
                "stream_name": "Rhythm",
                "num_channels": channels,
                "channels": [
                    {
                        "channel_name": f"CH{number + 1}",
                        "description": "Headstage data channel",
                        "bit_volts": BIT_UV,
                        "units": "uV",
                    }
                    for number in range(channels)
                ],
            }
        ],
        "events": [],
        "spikes": [],
    }
