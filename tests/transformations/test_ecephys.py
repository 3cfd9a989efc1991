"""Recordings to Zarr, as users run it: the real program in its real environment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from include.errors import CommandFailed
from include.transformations.environment_paths import FOLDER
from include.transformations.environments import build_environment, command_environment

pytestmark = pytest.mark.usefixtures("ecephys_python")

RATE = 3_000
CHANNELS = 6
NODE = "Record Node 104"
STREAM = "Neuropix-PXI-100.ProbeA-AP"
ZARR = f"experiment1_{NODE}#{STREAM}.zarr"


def samples(seconds: float, seed: int = 0) -> np.ndarray:
    count = round(seconds * RATE)
    return np.random.default_rng(seed).normal(0, 4, (count, CHANNELS)).astype("<i2")


def make_open_ephys(folder: Path, *segments: np.ndarray, stream: str = STREAM) -> Path:
    """A source folder with one block of one stream; returns the last ``continuous.dat``."""
    for number, segment in enumerate(segments, 1):
        recording = folder / NODE / "experiment1" / f"recording{number}"
        place = recording / "continuous" / stream
        place.mkdir(parents=True)
        channel = {"bit_volts": 0.195, "units": "uV"}
        described = {
            "folder_name": f"{stream}/",
            "num_channels": CHANNELS,
            "sample_rate": RATE,
            "channels": [{**channel, "channel_name": f"CH{i}"} for i in range(CHANNELS)],
        }
        (recording / "structure.oebin").write_text(json.dumps({"continuous": [described]}))
        (recording / "sync messages.txt").write_text("start")
        segment.tofile(place / "continuous.dat")
    (folder / NODE / "settings.xml").write_text("<SETTINGS/>")
    return place / "continuous.dat"


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "input_source": folder / "source", "output_directory": folder / "out", "n_jobs": 1, **more,
    }  # fmt: skip


READ = """
import json, sys
import numpy as np
for package in ("flac_numcodecs", "wavpack_numcodecs"):
    try: __import__(package)
    except ImportError: pass
from spikeinterface.core import read_zarr
recording = read_zarr(sys.argv[1])
for index in range(recording.get_num_segments()):
    np.save(f"{sys.argv[2]}/{index}.npy", recording.get_traces(segment_index=index))
print(json.dumps({
    "channel_ids": list(map(str, recording.channel_ids)),
    "rate": recording.sampling_frequency,
    "gains": list(map(float, recording.get_channel_gains())),
}))
"""


def read_back(python: Path, zarr: Path, folder: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What spikeinterface, which knows nothing of us, finds in the Zarr."""
    folder.mkdir()
    done = subprocess.run([python, "-c", READ, zarr, folder], capture_output=True, check=True)
    return json.loads(done.stdout), [np.load(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("codec", ["blosc-zstd", "flac"])
def test_spikeinterface_reads_every_sample_back(tmp_path, run, ecephys_python, codec):
    first, second = samples(2.5), samples(0.01, seed=1)
    make_open_ephys(tmp_path / "source", first, second)

    done = run("ecephys", settings(tmp_path, codec=codec))

    assert done.returncode == 0, done.stderr
    described, segments = read_back(
        ecephys_python, tmp_path / "out/ecephys_compressed" / ZARR, tmp_path / "read"
    )
    assert described["channel_ids"] == [f"CH{i}" for i in range(CHANNELS)]
    assert described["rate"] == RATE
    assert described["gains"] == [0.195] * CHANNELS
    np.testing.assert_array_equal(segments[0], first)
    np.testing.assert_array_equal(segments[1], second)


def test_wavpack_is_lossless_where_it_can_be_built(tmp_path, run, environments_root):
    try:
        python = build_environment("ecephys-wavpack", environments_root)
    except CommandFailed:
        assert not Path("/usr/include/wavpack").is_dir(), "WavPack is here and did not build"
        missing = "needs the Debian packages wavpack and libwavpack-dev, and gcc"
        if os.environ.get("ASSETFLOW_REQUIRE_SYSTEM_PACKAGES") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    recorded = samples(2.5)
    make_open_ephys(tmp_path / "source", recorded)

    done = run("ecephys-wavpack", settings(tmp_path, codec="wavpack"))

    assert done.returncode == 0, done.stderr
    zarr = tmp_path / "out/ecephys_compressed" / ZARR
    np.testing.assert_array_equal(read_back(python, zarr, tmp_path / "read")[1][0], recorded)


def test_wavpack_where_it_is_not_says_what_to_do(tmp_path, run):
    make_open_ephys(tmp_path / "source", samples(0.1))

    done = run("ecephys", settings(tmp_path, codec="wavpack"))

    assert done.returncode == 2
    assert "assetflow environments build ecephys-wavpack" in done.stderr


def test_other_files_are_carried_over_and_recordings_are_clipped(tmp_path, run):
    recorded = samples(1)
    make_open_ephys(tmp_path / "source", recorded)

    run("ecephys", settings(tmp_path))

    recording = Path(NODE, "experiment1", "recording1")
    clipped = tmp_path / "out/ecephys_clipped"
    assert (
        clipped / NODE / "settings.xml"
    ).readlink() == tmp_path / "source" / NODE / "settings.xml"
    assert (clipped / recording / "sync messages.txt").read_text() == "start"
    kept = np.fromfile(clipped / recording / "continuous" / STREAM / "continuous.dat", "<i2")
    np.testing.assert_array_equal(kept.reshape(-1, CHANNELS), recorded[:100])


def test_the_process_record_tells_what_was_done(tmp_path, run):
    make_open_ephys(tmp_path / "source", samples(2))
    record_path = tmp_path / "work/processes/ecephys.json"

    done = run("ecephys", settings(tmp_path), "--process-record", record_path)

    record = json.loads(record_path.read_text())
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]
    assert record["name"] == "Compression"
    assert record["software_version"] == project["version"]
    assert record["start_date_time"] < record["end_date_time"]
    assert record["parameters"]["packages"]["spikeinterface"]
    assert record["statistics"]["is_lossless_proven"]
    assert record["statistics"]["input_bytes"] == 2 * RATE * CHANNELS * 2
    assert record["statistics"]["ratio"] > 1.5
    assert record["statistics"]["items"] == {ZARR.removesuffix(".zarr"): "done"}
    assert "progress 100.0 %" in done.stdout


def test_an_unchanged_run_writes_nothing(tmp_path, run):
    make_open_ephys(tmp_path / "source", samples(2))
    run("ecephys", settings(tmp_path))
    zarr = tmp_path / "out/ecephys_compressed"
    before = {path: path.stat().st_mtime_ns for path in zarr.rglob("*")}

    done = run("ecephys", settings(tmp_path))

    assert "(1 unchanged)" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in zarr.rglob("*")} == before


@pytest.mark.parametrize(
    "change", [{"level": 1}, {"chunk_duration_s": 0.5}, {"codec": "flac"}], ids=str
)
def test_other_settings_make_it_anew(tmp_path, run, change):
    make_open_ephys(tmp_path / "source", samples(1))
    run("ecephys", settings(tmp_path))

    assert "(0 unchanged)" in run("ecephys", settings(tmp_path, **change)).stdout


def test_several_processes_write_the_same_as_one(tmp_path, run):
    make_open_ephys(tmp_path / "source", samples(5))
    run("ecephys", settings(tmp_path))
    one = tmp_path / "out/ecephys_compressed" / ZARR / "traces_seg0"
    several = tmp_path / "several/ecephys_compressed" / ZARR / "traces_seg0"

    done = run("ecephys", settings(tmp_path, n_jobs=2, output_directory=tmp_path / "several"))

    assert done.returncode == 0, done.stderr
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {
        p.name: p.read_bytes() for p in several.iterdir()
    }


@pytest.mark.parametrize("cut_bytes", [1, 2, CHANNELS * 2 - 1], ids=lambda n: f"{n} bytes short")
def test_a_cut_off_file_is_refused_with_its_numbers(tmp_path, run, cut_bytes):
    path = make_open_ephys(tmp_path / "source", samples(1))
    os.truncate(path, path.stat().st_size - cut_bytes)

    done = run("ecephys", settings(tmp_path))

    assert done.returncode == 2
    assert str(path) in done.stderr
    assert (
        f"{RATE - 1} samples of 6 int16 channels and {CHANNELS * 2 - cut_bytes} bytes"
        in done.stderr
    )
    assert not list((tmp_path / "out").rglob("*.zarr"))


def test_a_wrong_number_of_channels_is_refused(tmp_path, run):
    make_open_ephys(tmp_path / "source", samples(1))
    (oebin,) = (tmp_path / "source").rglob("structure.oebin")
    described = json.loads(oebin.read_text())
    described["continuous"][0]["num_channels"] = 7
    oebin.write_text(json.dumps(described))

    done = run("ecephys", settings(tmp_path))

    assert done.returncode == 2
    assert "6 channel ids for 7 channels" in done.stderr


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"continuous": [{}]}', "\0"], ids=repr)
def test_a_damaged_structure_file_is_named(tmp_path, run, content):
    make_open_ephys(tmp_path / "source", samples(0.1))
    (oebin,) = (tmp_path / "source").rglob("structure.oebin")
    oebin.write_text(content)

    done = run("ecephys", settings(tmp_path))

    assert done.returncode == 2
    assert str(oebin) in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_samples_are_refused(tmp_path, run):
    make_open_ephys(tmp_path / "source", samples(0.1)).unlink()

    done = run("ecephys", settings(tmp_path))

    assert done.returncode == 2
    assert "continuous.dat is not a file" in done.stderr


@pytest.mark.parametrize(
    "stream",
    ['it\'s a "stream"', "Ünï-çødé 電", "$(touch x); %d"],
    ids=["quotes", "unicode", "shell"],
)
def test_names_may_hold_anything(tmp_path, run, stream):
    make_open_ephys(tmp_path / "source", samples(0.5), stream=stream)

    done = run("ecephys", settings(tmp_path))

    assert done.returncode == 0, done.stderr
    zarr = tmp_path / "out/ecephys_compressed" / f"experiment1_{NODE}#{stream}.zarr"
    assert (zarr / "traces_seg0" / "0.0").is_file()


def test_plain_files_are_read_as_described(tmp_path, run, ecephys_python):
    recorded = samples(1.5)
    (tmp_path / "source/probe A").mkdir(parents=True)
    recorded.tofile(tmp_path / "source/probe A/raw.bin")
    layout = {
        "num_channels": CHANNELS, "sampling_frequency_hz": RATE, "gain_uv": 2.34,
        "pattern": "*.bin",
    }  # fmt: skip

    done = run("ecephys", settings(tmp_path, plain_layout=layout))

    assert done.returncode == 0, done.stderr
    zarr = tmp_path / "out/ecephys_compressed/probe A#raw.bin.zarr"
    described, segments = read_back(ecephys_python, zarr, tmp_path / "read")
    assert described["gains"] == [2.34] * CHANNELS
    np.testing.assert_array_equal(segments[0], recorded)


def make_spikeglx(folder: Path, recorded: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    path = folder / "run_g0_t0.nidq.bin"
    recorded.tofile(path)
    meta = {
        "fileSizeBytes": recorded.nbytes, "nSavedChans": CHANNELS, "niSampRate": RATE,
        "snsMnMaXaDw": "0,0,5,1", "niAiRangeMax": 5, "niAiRangeMin": -5, "niMNGain": 1,
        "niMAGain": 1, "typeThis": "nidq", "fileName": "D:/run_g0_t0.nidq.bin",
        "snsSaveChanSubset": "0:5", "niMaxInt": 32768,
        "~snsChanMap": "(0,0,1,1,0)" + "".join(f"(XA{i};{i}:{i})" for i in range(CHANNELS)),
    }  # fmt: skip
    path.with_suffix(".meta").write_text("".join(f"{key}={value}\n" for key, value in meta.items()))
    return path


def test_spikeglx_keeps_every_channel(tmp_path, run, ecephys_python):
    recorded = samples(1.5)
    make_spikeglx(tmp_path / "source", recorded)

    done = run("ecephys", settings(tmp_path))

    assert done.returncode == 0, done.stderr
    zarr = tmp_path / "out/ecephys_compressed/run_g0_t0.nidq.zarr"
    np.testing.assert_array_equal(
        read_back(ecephys_python, zarr, tmp_path / "read")[1][0], recorded
    )


def test_spikeglx_that_was_cut_off_is_refused(tmp_path, run):
    path = make_spikeglx(tmp_path / "source", samples(1))
    os.truncate(path, path.stat().st_size - 2 * CHANNELS)

    done = run("ecephys", settings(tmp_path))

    assert done.returncode == 2
    assert "the file is cut off or still written" in done.stderr


def test_an_empty_folder_is_refused(tmp_path, run):
    (tmp_path / "source").mkdir()

    done = run("ecephys", settings(tmp_path))

    assert done.returncode == 2
    assert "holds no recording" in done.stderr


def test_all_wrong_settings_are_named_at_once(tmp_path, run):
    (tmp_path / "source").mkdir()
    wrong = settings(
        tmp_path, n_jobs=-7, codec="zip", chunk_duration_s=0, compresion=1, clip_n_frames="x"
    )

    done = run("ecephys", wrong)

    assert done.returncode == 2
    for field in ("n_jobs", "codec", "chunk_duration_s", "compresion", "clip_n_frames"):
        assert field in done.stderr
    assert "5 problems" in done.stderr


@pytest.mark.parametrize("level", [2, 4, 5, 6])
def test_the_levels_that_collapse_on_quiet_data_are_refused(tmp_path, run, level):
    make_open_ephys(tmp_path / "source", samples(0.1))

    done = run("ecephys", settings(tmp_path, level=level))

    assert done.returncode == 2
    assert "blosc-zstd has 1, 7, 8, 9" in done.stderr


def test_an_output_inside_the_source_is_refused(tmp_path, run):
    make_open_ephys(tmp_path / "source", samples(0.1))

    done = run("ecephys", settings(tmp_path, output_directory=tmp_path / "source/out"))

    assert done.returncode == 2
    assert not (tmp_path / "source/out").exists()


@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root reads all; needs setpriv"
)
def test_an_unreadable_file_is_named(tmp_path, run):
    path = make_open_ephys(tmp_path / "source", samples(0.1))
    path.chmod(0)
    mortal = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")

    done = run("ecephys", settings(tmp_path), under=mortal if os.geteuid() == 0 else ())

    assert done.returncode == 1
    assert f"Permission denied: {path}" in done.stderr


def test_a_full_disk_leaves_nothing_that_looks_done(tmp_path, run):
    make_open_ephys(tmp_path / "source", samples(20))
    # A limit on the size of a file is met like the end of a disk: write() fails half-way.
    done = run("ecephys", settings(tmp_path), under=("prlimit", "--fsize=5000"))

    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert not list((tmp_path / "out").rglob("[!.]*.zarr"))

    assert run("ecephys", settings(tmp_path)).returncode == 0


def start(tmp_path: Path, environments_root: Path, **more: Any) -> subprocess.Popen[bytes]:
    text = json.dumps(settings(tmp_path, **more), default=str)
    return subprocess.Popen(
        [FOLDER / "run", "ecephys", "--job-settings", text],
        env={"PATH": os.environ["PATH"], **command_environment(environments_root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_chunk(tmp_path: Path) -> None:
    part = tmp_path / "out/ecephys_compressed" / f".{ZARR}.part/traces_seg0/3.0"
    end = time.monotonic() + 60
    while not part.exists():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_killed_half_way_and_run_again_it_ends_right(
    tmp_path, run, ecephys_python, environments_root
):
    recorded = samples(200)
    make_open_ephys(tmp_path / "source", recorded)
    running = start(tmp_path, environments_root, chunk_duration_s=0.1, level=9)
    wait_for_chunk(tmp_path)

    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()

    assert not list((tmp_path / "out").rglob("[!.]*.zarr")), "half a Zarr must not look whole"
    assert run("ecephys", settings(tmp_path)).returncode == 0
    zarr = tmp_path / "out/ecephys_compressed" / ZARR
    np.testing.assert_array_equal(
        read_back(ecephys_python, zarr, tmp_path / "read")[1][0], recorded
    )
    assert list((tmp_path / "out/ecephys_compressed").iterdir()) == [zarr]


@pytest.mark.parametrize("change", ["grown", "rewritten", "shortened"])
def test_a_source_that_changes_meanwhile_is_noticed(tmp_path, environments_root, change):
    path = make_open_ephys(tmp_path / "source", samples(200))
    running = start(tmp_path, environments_root, chunk_duration_s=0.1)
    wait_for_chunk(tmp_path)

    with path.open("r+b") as file:
        if change == "shortened":
            file.truncate(120)
        else:
            file.seek(0, os.SEEK_END if change == "grown" else os.SEEK_SET)
            file.write(b"\x11\x22" * CHANNELS)
    _, said = running.communicate(timeout=100)

    assert running.returncode in {1, 75}
    assert b"chang" in said or b"became shorter" in said
    assert not list((tmp_path / "out").rglob("[!.]*.zarr"))


def test_a_damaged_chunk_is_found_by_the_proof(tmp_path, run, ecephys_python):
    """The proof itself: hand it a Zarr in which one chunk is not the source's."""
    make_open_ephys(tmp_path / "source", samples(2))
    run("ecephys", settings(tmp_path))
    array = tmp_path / "out/ecephys_compressed" / ZARR / "traces_seg0"
    shutil.copy(array / "0.0", array / "1.0")
    (source,) = (tmp_path / "source").rglob("continuous.dat")
    prove = (
        "import sys; from pathlib import Path\n"
        "from include.transformations.ecephys.store import Chunk, _prove_chunk\n"
        f"_prove_chunk(Chunk(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), {RATE}, 12))\n"
    )

    def proven(index: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ecephys_python, "-c", prove, source, array, str(index)],
            cwd=FOLDER.parents[1], capture_output=True, text=True,
        )  # fmt: skip

    assert proven(0).returncode == 0
    assert "VerificationFailed: Chunk 1 of" in proven(1).stderr
    (array / "1.0").unlink()
    assert "was not stored" in proven(1).stderr
