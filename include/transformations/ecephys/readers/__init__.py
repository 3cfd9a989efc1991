"""Formats of recordings, one file each; a new one is a module here and a line below."""

from __future__ import annotations

from pathlib import Path

from include.errors import InvalidInput, Problem
from include.transformations.ecephys.readers import open_ephys, plain, spikeglx
from include.transformations.ecephys.recording import Recording
from include.transformations.ecephys.settings import EcephysSettings


def find_recordings(settings: EcephysSettings, files: list[Path]) -> list[Recording]:
    """Every recording among *files*, in whatever format they are or are said to be.

    Raises:
        InvalidInput: none is found, or some are not as their format says; all problems.
    """
    folder = settings.input_source
    reader = _recognise(files, settings) if settings.reader == "auto" else settings.reader
    if reader == "open_ephys":
        recordings = open_ephys.find_recordings(folder, files)
    elif reader == "spikeglx":
        recordings = spikeglx.find_recordings(folder, files)
    else:
        assert settings.plain_layout  # noqa: S101  checked with the settings
        recordings = plain.find_recordings(folder, files, settings.plain_layout)
    problems = [problem for recording in recordings for problem in recording.problems()]
    names = [recording.name for recording in recordings]
    problems += [
        Problem(str(folder), "", f"two recordings would both be named {name!r}")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if not recordings:
        problems.append(Problem(str(folder), "", f"holds no recording of the format {reader}"))
    if problems:
        raise InvalidInput(problems)
    return recordings


def _recognise(files: list[Path], settings: EcephysSettings) -> str:
    if any(path.name == open_ephys.STRUCTURE for path in files):
        return "open_ephys"
    there = set(files)
    if any(path.suffix == ".bin" and path.with_suffix(".meta") in there for path in files):
        return "spikeglx"
    if settings.plain_layout is not None:
        return "plain"
    problem = Problem(
        str(settings.input_source),
        "",
        "holds no recording: neither structure.oebin (Open Ephys) nor .bin with .meta (SpikeGLX)",
        "describe the files in job_settings.plain_layout, or upload them without a transformation",
    )
    raise InvalidInput([problem])
