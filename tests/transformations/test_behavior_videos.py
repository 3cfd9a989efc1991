"""Videos, as users run it: the real program with the environment's own ffmpeg."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.transformations.behavior_videos.ffmpeg import Ffmpeg, StreamDigest
from include.transformations.environment_paths import FOLDER
from include.transformations.environments import command_environment

FRAMES = 25

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def ffmpeg(videos_python) -> Path:
    find = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
    found = subprocess.run([videos_python, "-c", find], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())


@pytest.fixture
def make_video(tmp_path, ffmpeg) -> MakeVideo:
    def make(
        name: str, pixel_format: str = "gray", frames: int = FRAMES, size: str = "64x48"
    ) -> Path:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        codec = ["-c:v", "ffv1"] if path.suffix == ".mkv" else ["-c:v", "rawvideo"]
        subprocess.run(
            [ffmpeg, "-v", "error", "-f", "lavfi", "-i", f"testsrc=size={size}:rate=50",
             "-frames:v", str(frames), "-pix_fmt", pixel_format, *codec, path],
            check=True,
        )  # fmt: skip
        return path

    return make


def settings(folder: Path, kind: str | None = "no gamma", **more: Any) -> dict[str, Any]:
    request = {} if kind is None else {"compression_requested": {"compression_enum": kind}}
    return {
        "input_source": folder / "source", "output_directory": folder / "out", "n_jobs": 2,
        **request, **more,
    }  # fmt: skip


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def decoded(ffmpeg: Path, video: Path, pixel_format: str) -> bytes:
    return subprocess.run(
        [ffmpeg, "-v", "error", "-i", video, "-pix_fmt", pixel_format, "-f", "rawvideo", "-"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("kind", ["no gamma", "gamma fix colorspace"])
def test_every_frame_is_there_in_8_bit_h264(tmp_path, run, make_video, ffmpeg, kind):
    make_video("top.avi")

    done = run("behavior-videos", settings(tmp_path, kind))

    assert done.returncode == 0, done.stderr
    described = subprocess.run(
        [ffmpeg, "-i", tmp_path / "out/top.mp4"], capture_output=True, text=True
    ).stderr
    assert "Video: h264" in described
    assert "yuv420p" in described
    assert len(decoded(ffmpeg, tmp_path / "out/top.mp4", "gray")) == FRAMES * 64 * 48


@pytest.mark.parametrize("pixel_format", ["gray", "yuv420p", "bgr24", "gray16le"])
def test_lossless_is_lossless_for_every_kind_of_camera(
    tmp_path, run, make_video, ffmpeg, pixel_format
):
    name = "eye.mkv" if pixel_format == "gray16le" else "eye.avi"
    source = make_video(name, pixel_format)

    done = run(
        "behavior-videos", settings(tmp_path, "lossless"), "--process-record", tmp_path / "r"
    )

    assert done.returncode == 0, done.stderr
    assert decoded(ffmpeg, tmp_path / "out/eye.mkv", pixel_format) == decoded(
        ffmpeg, source, pixel_format
    )
    assert json.loads((tmp_path / "r").read_text())["statistics"]["is_lossless_proven"] is True


@pytest.fixture
def proof_of(tmp_path, run) -> Callable[[], tuple[bool, str, str]]:
    """Encode the source folder losslessly: whether it is proven, the notes, and what was said."""

    def encode() -> tuple[bool, str, str]:
        record = tmp_path / "record.json"
        done = run("behavior-videos", settings(tmp_path, "lossless"), "--process-record", record)
        assert done.returncode == 0, done.stderr
        told = json.loads(record.read_text())
        return told["statistics"]["is_lossless_proven"], told["notes"], done.stdout

    return encode


@pytest.fixture
def make_with(tmp_path, ffmpeg) -> MakeVideo:
    """A video at a rate of one's choice, with more streams."""

    def make(
        name: str, *options: object, rate: str = "50", inputs: tuple[object, ...] = ()
    ) -> Path:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [ffmpeg, "-v", "error", "-f", "lavfi", "-i", f"testsrc=size=64x48:rate={rate}:duration=1",
             *map(str, inputs), *map(str, options), path],
            check=True,
        )  # fmt: skip
        return path

    return make


SECOND_VIDEO = ("-f", "lavfi", "-i", "testsrc2=size=32x32:rate=25:duration=1")
FFV1 = ("-c:v", "ffv1", "-pix_fmt", "gray")


def test_all_videos_of_a_file_are_kept_and_compared(tmp_path, proof_of, make_with, ffmpeg):
    source = make_with("two.mkv", "-map", "0", "-map", "1", *FFV1, inputs=SECOND_VIDEO)

    is_proven, _, _ = proof_of()

    def second(video: Path) -> bytes:
        command = [ffmpeg, "-v", "error", "-i", video, "-map", "0:v:1", "-f", "rawvideo", "-"]
        return subprocess.run(command, check=True, capture_output=True).stdout

    assert is_proven
    assert second(tmp_path / "out/two.mkv") == second(source) != b""


@pytest.mark.parametrize("kind", ["subtitle", "attachment"])
def test_a_stream_that_is_left_out_is_no_proof_and_said(tmp_path, proof_of, make_with, kind):
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:00,900\nlick\n")
    if kind == "subtitle":
        make_with("eye.mkv", "-map", "0", "-map", "1", *FFV1, inputs=("-i", words))
    else:
        make_with("eye.mkv", *FFV1, "-attach", words, "-metadata:s:t", "mimetype=text/plain")

    is_proven, notes, _ = proof_of()

    assert not is_proven
    assert f"a stream of the source is left out ({kind}): eye.mkv" in notes
    assert names_in(tmp_path / "out") == ["eye.mkv"]


@pytest.mark.parametrize(("rate", "is_exact"), [("50", True), ("30", False), ("30000/1001", False)])
def test_times_that_the_container_rounds_are_no_proof(proof_of, make_with, rate, is_exact):
    make_with("eye.avi", "-c:v", "rawvideo", "-pix_fmt", "gray", rate=rate)

    is_proven, notes, _ = proof_of()

    assert is_proven is is_exact
    assert ("the times of the frames are not exactly the source's" in notes) is not is_exact


@pytest.mark.parametrize(("step_us", "is_exact"), [(101_070, False), (101_000, True)])
def test_uneven_times_of_a_microsecond_clock_are_compared_exactly(
    proof_of, make_with, step_us, is_exact
):
    uneven = f"settb=1/1000000,setpts='100000+N*{step_us}+mod(N\\,2)*7000'"
    make_with(
        "eye.mp4", "-vf", uneven, "-enc_time_base", "1/1000000", "-fps_mode", "passthrough",
        "-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p", "-video_track_timescale", 1_000_000,
        "-movie_timescale", 1_000_000,
    )  # fmt: skip

    # The second time nothing is encoded, and what was not proven is not proven now either.
    for state in ("done", "unchanged"):
        is_proven, _, said = proof_of()
        assert is_proven is is_exact
        assert f"eye.mp4: {state}" in said


@pytest.mark.parametrize(("name", "is_exact"), [("eye.mkv", True), ("eye.mov", False)])
def test_sound_is_compared_with_its_times(proof_of, make_with, name, is_exact):
    tone = ("-f", "lavfi", "-i", "sine=duration=1:sample_rate=44100")
    make_with(name, "-map", "0", "-map", "1", *FFV1, "-c:a", "pcm_s16le", inputs=tone)

    is_proven, notes, _ = proof_of()

    assert is_proven is is_exact
    assert "the times of the frames" not in notes
    assert ("the times of the sound are not exactly the source's" in notes) is not is_exact


def test_what_goes_with_a_frame_or_packet_hides_no_other_content(tmp_path):
    def digests(content: str, at: str = "5") -> list[StreamDigest]:
        program = tmp_path / "ffmpeg"
        line = f"5, {at}, 1, 9, {content * 32}, S=1, 10, {'e' * 32}"
        program.write_text(
            "#!/bin/sh\n"
            "echo 'Stream #0:0: Video: ffv1, gray' >&2\necho 'Stream #0:1: Audio: aac' >&2\n"
            f"echo '#tb 0: 1/50'\necho '#tb 1: 1/50'\necho '0, {line}'\necho '1, {line}'\n"
        )
        program.chmod(0o755)
        return Ffmpeg(program, 1).digests(tmp_path / "video", ["gray"])

    video, sound = digests("a")
    assert digests("a") == [video, sound]
    assert video.content not in {sound.content, digests("b")[0].content}
    assert digests("b")[1].content != sound.content
    assert video.times == sound.times != digests("a", at="6")[0].times
    assert digests("a", at="NOPTS")[0].times is None


def test_lossy_is_not_called_lossless(tmp_path, run, make_video):
    make_video("top.avi")

    run("behavior-videos", settings(tmp_path), "--process-record", tmp_path / "record.json")

    record = json.loads((tmp_path / "record.json").read_text())
    assert record["statistics"]["is_lossless_proven"] is False
    assert record["statistics"]["codec"] == "libx264 crf 18"


def test_a_file_without_colour_space_says_which_kind_to_take(tmp_path, run, make_video):
    make_video("top.avi")

    done = run("behavior-videos", settings(tmp_path, kind=None))

    assert done.returncode == 1
    assert "take compression_enum 'gamma fix colorspace'" in done.stderr
    assert not list((tmp_path / "out").rglob("*.mp4"))


def test_options_of_ones_own_are_used(tmp_path, run, make_video, ffmpeg):
    make_video("top.avi")
    request = {
        "compression_enum": "user defined",
        "user_ffmpeg_input_options": "-r 25",
        "user_ffmpeg_output_options": "-c:v mpeg4 -q:v '3'",
    }

    done = run("behavior-videos", settings(tmp_path, None, compression_requested=request))

    # Reading at half the rate makes it twice as long, and that is found out.
    assert done.returncode == 1
    assert "lasts 0.500 s and its encoding 1.000 s" in done.stderr

    request.pop("user_ffmpeg_input_options")
    done = run("behavior-videos", settings(tmp_path, None, compression_requested=request))
    assert done.returncode == 0, done.stderr


def test_lost_frames_are_found(tmp_path, run, make_video):
    make_video("top.avi")
    request = {
        "compression_enum": "user defined",
        "user_ffmpeg_output_options": "-vf 'select=not(eq(n\\,7))' -c:v mpeg4",
    }

    done = run("behavior-videos", settings(tmp_path, None, compression_requested=request))

    assert done.returncode == 1
    assert "top.avi has 25 frames and its encoding 24" in done.stderr
    assert names_in(tmp_path / "out") == []


def test_other_files_and_uncompressed_videos_stay_as_they_are(tmp_path, run, make_video):
    kept = make_video("side/keep me.avi")
    make_video('side/it\'s ünï: a "name".avi')
    (tmp_path / "source/times.csv").write_text("1,2\n")
    special = [["side/keep me.avi", {"compression_enum": "no compression"}]]

    done = run("behavior-videos", settings(tmp_path, video_specific_compression_requests=special))

    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert (out / "side/keep me.avi").readlink() == kept
    assert (out / "times.csv").read_text() == "1,2\n"
    assert (out / 'side/it\'s ünï: a "name".mp4').is_file()


def test_copies_instead_of_links(tmp_path, run, make_video):
    make_video("top.avi")
    (tmp_path / "source/times.csv").write_text("1,2\n")

    run("behavior-videos", settings(tmp_path, other_files="copy"))

    assert not (tmp_path / "out/times.csv").is_symlink()
    assert (tmp_path / "out/times.csv").read_text() == "1,2\n"


def test_an_unchanged_run_encodes_nothing(tmp_path, run, make_video):
    make_video("top.avi")
    run("behavior-videos", settings(tmp_path))
    before = (tmp_path / "out/top.mp4").stat()

    done = run("behavior-videos", settings(tmp_path))

    assert "(1 unchanged)" in done.stdout
    assert (tmp_path / "out/top.mp4").stat().st_mtime_ns == before.st_mtime_ns
    assert "(0 unchanged)" in run("behavior-videos", settings(tmp_path, "lossless")).stdout


def test_one_bad_video_neither_hides_nor_stops_the_others(tmp_path, run, make_video):
    make_video("good.avi")
    (tmp_path / "source/empty.avi").touch()
    cut = make_video("cut.mkv")
    os.truncate(cut, 60)

    done = run("behavior-videos", settings(tmp_path))

    assert done.returncode == 1
    assert "2 of 3 videos failed" in done.stderr
    assert "empty.avi" in done.stderr
    assert "cut.mkv" in done.stderr
    assert names_in(tmp_path / "out") == ["good.mp4"]


def test_two_videos_of_one_name_are_refused(tmp_path, run, make_video):
    make_video("top.avi")
    make_video("top.mkv")

    done = run("behavior-videos", settings(tmp_path))

    assert done.returncode == 2
    assert "top.mp4: 2 files of the source would get this name" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"compression_enum": "zip"}, "compression_enum"),
        ({"compression_enum": "user defined"}, "needs user_ffmpeg_output_options"),
        (
            {"compression_enum": "user defined", "user_ffmpeg_output_options": "-vf 'open"},
            "No closing quotation",
        ),
        ({"user_ffmpeg_output_options": "-crf 3"}, "only by compression_enum 'user defined'"),
    ],
    ids=["unknown kind", "no options", "open quote", "options unused"],
)
def test_wrong_requests_are_refused(tmp_path, run, make_video, wrong, said):
    make_video("top.avi")

    done = run("behavior-videos", settings(tmp_path, None, compression_requested=wrong))

    assert done.returncode == 2
    assert said in done.stderr


def test_a_special_request_that_fits_no_file_is_refused(tmp_path, run, make_video):
    make_video("top.avi")
    special = [["tpo.avi", {"compression_enum": "lossless"}]]

    done = run("behavior-videos", settings(tmp_path, video_specific_compression_requests=special))

    assert done.returncode == 2
    assert "tpo.avi is no file or folder" in done.stderr


def test_an_empty_folder_is_refused(tmp_path, run, videos_python):
    (tmp_path / "source").mkdir()

    assert run("behavior-videos", settings(tmp_path)).returncode == 2


def test_broken_links_are_all_named(tmp_path, run, make_video):
    make_video("top.avi")
    for name in ("a", "b"):
        (tmp_path / "source" / name).symlink_to("nowhere")

    done = run("behavior-videos", settings(tmp_path))

    assert done.returncode == 2
    assert "2 problems" in done.stderr


def test_killed_half_way_and_run_again_it_ends_right(
    tmp_path, run, make_video, ffmpeg, environments_root
):
    make_video("top.avi", frames=2_000, size="320x240")
    text = json.dumps(settings(tmp_path), default=str)
    running = subprocess.Popen(
        [FOLDER / "run", "behavior-videos", "--job-settings", text],
        env={"PATH": os.environ["PATH"], **command_environment(environments_root)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    part = tmp_path / "out/.part.top.mp4"
    end = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size):
        assert time.monotonic() < end
        time.sleep(0.01)

    os.killpg(running.pid, signal.SIGKILL)
    running.wait()

    assert not (tmp_path / "out/top.mp4").exists(), "half a video must not look whole"
    assert run("behavior-videos", settings(tmp_path)).returncode == 0
    assert names_in(tmp_path / "out") == ["top.mp4"]
    assert len(decoded(ffmpeg, tmp_path / "out/top.mp4", "gray")) == 2_000 * 320 * 240
