"""Codecs and levels for electrophysiology: size, and CPU time to write and to read.

    .venv/bin/python benchmarks/compression.py [--seconds 30] [--channels 64 384] [--repeats 3]

A synthetic action-potential band (30 kHz, 8 uV noise and spikes at 2.34 uV per bit) is cut into chunks
of one second of all channels, as the transformation does. A last table shows Blosc's levels over the
noise of the recording, where some of them collapse. Peers: spikeinterface's own default, and
what the field uses (WavPack level 3). Runs in the environment of ``ecephys-wavpack`` when that can be
built, else in that of ``ecephys``. One thread; the median of the repeats, and rates are per CPU second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

RATE_HZ = 30_000
NOISE_BITS = 8 / 2.34

CODECS = [
    ("blosc-zstd", 1), ("blosc-zstd", 7), ("blosc-zstd", 8), ("blosc-zstd", 9),
    ("flac", 5), ("flac", 8),
    ("wavpack", 1), ("wavpack", 2), ("wavpack", 3),
]  # fmt: skip


def make_recording(seconds: int, channels: int) -> list[Any]:
    """One array of int16 a second: noise, and spikes that neighbouring channels share."""
    import numpy as np

    random = np.random.default_rng(0)
    time_ms = np.arange(60) / 30
    shape = -60 * np.exp(-((time_ms - 0.5) ** 2) / 0.02) + 20 * np.exp(
        -((time_ms - 0.9) ** 2) / 0.1
    )
    chunks = []
    for _ in range(seconds):
        values = random.normal(0, NOISE_BITS, (RATE_HZ, channels))
        for _ in range(channels * 5):
            at, channel = random.integers(0, RATE_HZ - 60), random.integers(0, channels)
            for distance in range(-3, 4):
                if 0 <= channel + distance < channels:
                    values[at : at + 60, channel + distance] += shape / (1 + abs(distance))
        chunks.append(values.round().astype("<i2"))
    return chunks


def measure(codec: Any, chunks: list[Any], repeats: int) -> tuple[float, float, float]:
    """Ratio, and MB per CPU second of encoding and decoding."""
    size = sum(chunk.nbytes for chunk in chunks)
    encode_s, decode_s = [], []
    encoded: list[bytes] = []
    for _ in range(repeats):
        began = time.process_time()
        encoded = [codec.encode(chunk) for chunk in chunks]
        middle = time.process_time()
        for block in encoded:
            codec.decode(block)
        encode_s.append(middle - began)
        decode_s.append(time.process_time() - middle)
    return (
        size / sum(map(len, encoded)),
        size / statistics.median(encode_s) / 1e6,
        size / statistics.median(decode_s) / 1e6,
    )


def main() -> None:
    """Print one table per number of channels, and one over the noise."""
    import numcodecs
    from spikeinterface.core.zarrextractors import get_default_zarr_compressor

    from include.transformations.ecephys.codecs import make_codec
    from include.transformations.ecephys.settings import DEFAULT_LEVELS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 384])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    numcodecs.blosc.use_threads = False
    candidates = [
        (f"{name} level {level}" + (" (our default)" if DEFAULT_LEVELS[name] == level else ""),
         make_codec(name, level))
        for name, level in CODECS
        if name != "wavpack" or find_spec("wavpack_numcodecs")
    ]  # fmt: skip
    candidates.append(("spikeinterface's default", get_default_zarr_compressor()))
    for channels in arguments.channels:
        chunks = make_recording(arguments.seconds, channels)
        size_mb = sum(chunk.nbytes for chunk in chunks) / 1e6
        print(f"\n{channels} channels, {arguments.seconds} s, {size_mb:.0f} MB")
        print(f"{'codec':<36}{'ratio':>7}{'write MB/s':>12}{'read MB/s':>11}")
        for label, codec in candidates:
            ratio, write, read = measure(codec, chunks, arguments.repeats)
            print(f"{label:<36}{ratio:7.2f}{write:12.0f}{read:11.0f}", flush=True)
    print_levels_over_noise(arguments.repeats)


def print_levels_over_noise(repeats: int) -> None:
    """Ratio of every level of Blosc-zstd with bitshuffle on noise of different strengths."""
    import numpy as np
    from numcodecs import Blosc

    random = np.random.default_rng(0)
    strengths = (0.5, 1, 2, 3.4, 6, 10, 30)
    print("\nblosc-zstd, ratio by noise (standard deviation in bits), and write MB/s at 3.4 bits")
    print(f"{'level':<7}" + "".join(f"{strength:>7}" for strength in strengths) + f"{'MB/s':>8}")
    chunks = {s: [random.normal(0, s, (RATE_HZ, 96)).round().astype("<i2")] for s in strengths}
    for level in range(1, 10):
        codec = Blosc(cname="zstd", clevel=level, shuffle=Blosc.BITSHUFFLE)
        found = {strength: measure(codec, chunks[strength], repeats) for strength in strengths}
        ratios = "".join(f"{ratio:7.2f}" for ratio, _, _ in found.values())
        print(f"{level:<7}{ratios}{found[3.4][1]:8.0f}", flush=True)


def become_job_environment() -> None:
    """Start again in the transformation's environment."""
    sys.path.insert(0, str(ROOT))
    from include.errors import CommandFailed
    from include.settings import settings
    from include.transformations.environments import build_environment

    root = settings().environments_root
    try:
        python = build_environment("ecephys-wavpack", root)
    except CommandFailed:
        python = build_environment("ecephys", root)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    os.execve(python, [str(python), str(Path(__file__)), *sys.argv[1:]], environment)


if __name__ == "__main__":
    if find_spec("spikeinterface") is None:
        become_job_environment()
    main()
