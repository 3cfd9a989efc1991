"""aind-metadata-mapper as a command: when it is wanted, what it is told, what is taken from it."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from include.acquisitions.gathered_metadata import Source, Status
from include.acquisitions.mapper import (
    MetadataMapper,
    SettingsShape,
    mapper_settings,
    settings_shape,
    wants_mapper,
)
from include.acquisitions.metadata_settings import GatherSettings
from include.acquisitions.runner import Command, Ending, Outcome
from include.errors import CommandFailed, InvalidInput
from include.transformations.environments import build_environment
from tests.acquisitions.metadata_fakes import ACQUIRED, ACQUISITION, INSTRUMENT, FakeService, Place

ENVIRONMENTS = Path(__file__).parents[2] / ".local" / "environments"
"""Job environments; shared with the stacks of the demo and of the tests."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.give()
    return place


def parse(place: Place, **job_settings: Any) -> GatherSettings:
    return GatherSettings.parse({"metadata_dir": str(place.user)} | job_settings)


def make_mapper(
    place: Place,
    run: Callable[[Command], Outcome],
    *,
    python: Path | None = Path("/env/bin/python"),
    job_settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> MetadataMapper:
    mapper = MetadataMapper(
        acquired=ACQUIRED,
        settings=parse(place, **(job_settings or {})),
        work_folder=place.work,
        service_url="http://127.0.0.1:9",
        name="run1_gather",
        run=run,
        python=python,
    )
    return replace(mapper, **changes)


class FakeRun:
    """Ends as told, after writing the given files into the mapper's output."""

    def __init__(self, outcome: Outcome | None = None, **made: Any) -> None:
        self.outcome = outcome or Outcome(name="run1_gather", ending=Ending.EXITED, exit_code=0)
        self.made = made
        self.commands: list[Command] = []
        self.inputs: dict[str, bytes] = {}

    def __call__(self, command: Command) -> Outcome:
        self.commands.append(command)
        folder = command.working_folder / "input"
        self.inputs = {path.name: path.read_bytes() for path in folder.iterdir()}
        for field, content in self.made.items():
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            (command.working_folder / "output" / f"{field}.json").write_bytes(text)
        return self.outcome


# When


@pytest.mark.parametrize(
    ("job_settings", "image", "files", "wanted"),
    [
        pytest.param({}, None, [], False, id="nothing asks for it"),
        pytest.param({}, "ghcr.io/x/aind-metadata-mapper", [], True, id="the image"),
        pytest.param({}, "ghcr.io/x/other", [], False, id="another image"),
        pytest.param({"enrichment_settings": {}}, None, [], True, id="enrichment"),
        pytest.param({"enrichment_settings": {"enabled": False}}, None, [], False, id="not now"),
        pytest.param({"session_settings": {"job_settings": {}}}, None, [], True, id="a session"),
        pytest.param({"acquisition_settings": {"a": 1}}, None, [], True, id="an acquisition"),
        pytest.param({}, None, ["fip"], True, id="a rig's own file"),
        pytest.param({}, None, ["instrument_ecephys"], True, id="parts"),
        pytest.param({}, None, ["instrument_ecephys", "instrument"], False, id="parts and whole"),
    ],
)
def test_the_mapper_runs_only_when_something_asks_for_it(
    place: Place, job_settings: dict[str, Any], image: str | None, files: list[str], wanted: bool
) -> None:
    place.give(**{name: {} for name in files})
    assert wants_mapper(parse(place, **job_settings), image=image) is wanted


@pytest.mark.parametrize(
    ("version", "shape"),
    [
        ("0.29.0", SettingsShape.V0), ("v0.29", SettingsShape.V0), ("1.4.0", SettingsShape.V1),
        ("v1.1.0", SettingsShape.V1), ("v1-dev", SettingsShape.V1), ("2.0.0", SettingsShape.V1),
        ("dev-abc", SettingsShape.V1), ("", SettingsShape.V1), (None, SettingsShape.V1),
    ],
)  # fmt: skip
def test_the_major_version_decides_the_shape(version: str | None, shape: SettingsShape) -> None:
    assert settings_shape("ghcr.io/x/aind-metadata-mapper", version) is shape
    assert settings_shape("ghcr.io/x/other", version) is SettingsShape.V1


# What it is told


def test_the_newer_shape_writes_out_every_setting(place: Place) -> None:
    chosen = mapper_settings(
        ACQUIRED,
        parse(place, output_dir="/mine", data_description_settings={"tags": ["a"]}),
        shape=SettingsShape.V1,
        service_url="http://service/behind/proxy/",
        input_folder=Path("/in"),
        output_folder=Path("/out"),
    )
    assert chosen["output_dir"] == "/out"
    assert chosen["metadata_dir"] == "/in"
    assert chosen["metadata_service_url"] == "http://service/behind/proxy"
    assert chosen["metadata_service_subject_endpoint"] == "/behind/proxy/api/v2/subject"
    assert chosen["subject_id"] == "632269"
    assert chosen["acquisition_start_time"] == "2023-04-03T18:17:07-07:00"
    description = chosen["data_description_settings"]
    assert description["tags"] == ["a"]
    assert description["institution"]["abbreviation"] == "AIND"
    # A key left out would be read from variables of the same name.
    assert {"group", "restrictions", "data_summary"} <= description.keys()


def test_the_older_shape_is_filled_where_it_is_empty(place: Place) -> None:
    session = {"job_settings": {"job_settings_name": "Bergamo"}}
    chosen = mapper_settings(
        ACQUIRED,
        parse(place, session_settings=session, rig_settings={"rig_id": "447"}),
        shape=SettingsShape.V0,
        service_url="http://service",
        input_folder=Path("/in"),
        output_folder=Path("/out"),
    )
    assert chosen["directory_to_write_to"] == "/out"
    assert chosen["metadata_service_domain"] == "http://service"
    assert chosen["subject_settings"] == {"subject_id": "632269"}
    assert chosen["raw_data_description_settings"]["name"] == ACQUIRED.asset_name
    assert chosen["rig_settings"] == {"rig_id": "447"}
    assert chosen["session_settings"] == session
    assert "acquisition_settings" not in chosen


def test_no_setting_can_break_out_of_the_command(place: Place) -> None:
    root = place.root / 'it\'s $(touch pwned) "here"'
    nasty = Place(root)
    nasty.give()
    echo = root / "python"
    echo.write_text('#!/bin/bash\nprintf "%s" "${@: -1}"\n')
    echo.chmod(0o755)
    tags = ["';touch pwned;'", "$(touch pwned)", "日本", '"']
    run = FakeRun()
    make_mapper(
        nasty, run, python=echo, job_settings={"data_description_settings": {"tags": tags}}
    )({}, {})
    [command] = run.commands
    said = subprocess.run(
        ["/bin/bash", "-c", command.script], env=dict(command.environment), capture_output=True,
        cwd=command.working_folder, check=True, text=True,
    ).stdout  # fmt: skip
    assert json.loads(said)["data_description_settings"]["tags"] == tags
    assert not list(place.root.rglob("pwned"))


def test_the_users_folder_is_copied_never_handed_over(place: Place) -> None:
    place.give(fip={"a": 1}, subject={"of": "user"})
    run = FakeRun()
    make_mapper(place, run)(
        {"subject": b'{"of": "user"}', "procedures": b"{}"}, {"fip.json": b'{"a": 1}'}
    )
    assert run.inputs == {
        "fip.json": b'{"a": 1}', "subject.json": b'{"of": "user"}', "procedures.json": b"{}",
    }  # fmt: skip
    assert str(place.user) not in (place.work / "mapper" / "settings.json").read_text()


def test_a_presets_own_command_gets_the_settings(place: Place) -> None:
    run = FakeRun()
    make_mapper(
        place,
        run,
        python=None,
        script=lambda chosen: f"singularity run x {shlex.quote(json.dumps(chosen))}",
        shape=SettingsShape.V0,
        job_settings={"session_settings": {"job_settings": {}}},
    )({}, {})
    assert "directory_to_write_to" in run.commands[0].script


def test_settings_of_a_rig_that_the_built_in_release_lacks_are_refused(place: Place) -> None:
    run = FakeRun()
    with pytest.raises(InvalidInput, match=r"session_settings: needs aind-metadata-mapper 0\.x"):
        make_mapper(place, run, job_settings={"session_settings": {"a": 1}})({}, {})
    with pytest.raises(InvalidInput, match="image"):
        make_mapper(place, run, shape=SettingsShape.V0)({}, {})
    assert run.commands == []


# What is taken from it


def test_only_what_it_alone_can_make_is_taken(place: Place) -> None:
    run = FakeRun(subject={"made": 1}, data_description={"made": 1}, acquisition=ACQUISITION)
    assert make_mapper(place, run)({}, {}).keys() == {"acquisition"}


def test_an_acquisition_is_replaced_only_when_something_was_filled_in(place: Place) -> None:
    known = {"acquisition": json.dumps(ACQUISITION, indent=1).encode()}
    assert make_mapper(place, FakeRun(acquisition=ACQUISITION))(known, {}) == {}
    weighed = ACQUISITION | {"ethics_review_id": ["2414"]}
    made = make_mapper(place, FakeRun(acquisition=weighed))(known, {})
    assert json.loads(made["acquisition"]) == weighed


def test_a_mapper_that_fails_says_its_last_words(place: Place) -> None:
    failed = Outcome(
        name="run1_gather", ending=Ending.EXITED, exit_code=1, last_lines=("ValueError: no trial",)
    )
    with pytest.raises(CommandFailed, match="no trial"):
        make_mapper(place, FakeRun(failed))({}, {})


def test_half_a_file_of_the_mapper_is_refused(place: Place) -> None:
    with pytest.raises(InvalidInput, match=r"acquisition\.json: does not parse"):
        make_mapper(place, FakeRun(acquisition=b'{"subject_id"'))({}, {})


def test_what_an_earlier_try_left_is_not_taken(place: Place) -> None:
    make_mapper(place, FakeRun(acquisition=ACQUISITION))({}, {})
    assert make_mapper(place, FakeRun())({}, {}) == {}


# The real one


def run_here(command: Command) -> Outcome:
    ended = subprocess.run(
        ["/bin/bash", "-c", command.script], env=dict(command.environment), capture_output=True,
        cwd=command.working_folder, check=False, text=True, timeout=120,
    )  # fmt: skip
    return Outcome(
        name=command.name,
        ending=Ending.EXITED,
        exit_code=ended.returncode,
        last_lines=tuple(ended.stderr.splitlines()),
    )


def test_the_real_mapper_merges_parts_and_leaves_the_users_folder_alone(place: Place) -> None:
    place.give(instrument_ecephys=INSTRUMENT, acquisition_ecephys=ACQUISITION)
    before = sorted(place.user.iterdir())
    mapper = make_mapper(
        place,
        run_here,
        python=build_environment("metadata-mapper", ENVIRONMENTS),
        job_settings={"enrichment_settings": {"enabled": False}},
    )
    gathered = place.gather(FakeService(), mapper=mapper)
    for field in ("acquisition", "instrument"):
        assert gathered.files[field].source is Source.MAPPER
        assert gathered.files[field].status is Status.VALID
    assert place.content("instrument")["instrument_id"] == INSTRUMENT["instrument_id"]
    assert sorted(place.user.iterdir()) == before
    texts = place.snapshot()
    place.gather(FakeService(), mapper=mapper)
    assert place.snapshot() == texts
