"""The statuses of generation 1, by the real schema in its own environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from include.transformations.environment_paths import FOLDER
from include.transformations.environments import build_environment, command_environment

ENVIRONMENTS = Path(__file__).parents[2] / ".local" / "environments"
NAME = "MRI_632269_2023-04-03_18-17-07"
MRI = {"name": "Magnetic resonance imaging", "abbreviation": "MRI"}

SUBJECT = {
    "schema_version": "1.0.3",
    "subject_id": "632269",
    "sex": "Female",
    "date_of_birth": "2022-11-22",
    "genotype": "wt/wt",
    "species": {"name": "Mus musculus"},
    "source": {"name": "Jackson Laboratory"},
}
DATA_DESCRIPTION = {
    "schema_version": "1.0.4",
    "name": NAME,
    "subject_id": "632269",
    "platform": {"name": "Magnetic resonance imaging platform", "abbreviation": "MRI"},
    "creation_time": "2023-04-03T18:17:07Z",
    "institution": {"name": "Allen Institute for Neural Dynamics"},
    "funding_source": [{"funder": {"name": "Allen Institute"}}],
    "data_level": "raw",
    "investigators": [{"name": "Jane Smith"}],
    "modality": [MRI],
}
DERIVED_DESCRIPTION = DATA_DESCRIPTION | {
    "name": f"{NAME}_sorted_2023-05-01_00-00-00",
    "creation_time": "2023-05-01T00:00:00Z",
    "data_level": "derived",
    "input_data_name": NAME,
    "process_name": "sorted",
}
PROCEDURES = {"schema_version": "1.2.1", "subject_id": "632269"}
SESSION = {
    "schema_version": "1.1.2",
    "subject_id": "632269",
    "experimenter_full_name": ["Jane Smith"],
    "session_start_time": "2023-04-03T18:17:07Z",
    "session_type": "scan",
    "rig_id": "440_MRI1_20230101",
    "data_streams": [],
    "mouse_platform_name": "tube",
    "active_mouse_platform": False,
}
RIG = {
    "schema_version": "1.1.1",
    "rig_id": "440_MRI1_20230101",
    "modification_date": "2023-01-01",
    "mouse_platform": {"device_type": "Tube", "name": "tube", "diameter": 4},
    "calibrations": [],
    "modalities": [MRI],
}
COMPLETE: dict[str, Any] = {
    "subject": SUBJECT,
    "data_description": DATA_DESCRIPTION,
    "procedures": PROCEDURES,
    "session": SESSION,
    "rig": RIG,
}
"""All that generation 1 asks of an MRI scan."""

Ask = Callable[[bytes], dict[str, Any]]
Check = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="session")
def ask() -> Iterator[Ask]:
    """Sends a line to the one program of all these tests, and reads its answer."""
    build_environment("metadata-status-v1", ENVIRONMENTS)
    program = subprocess.Popen(
        [FOLDER / "run", "metadata-status-v1"],
        env={"PATH": os.environ["PATH"], **command_environment(ENVIRONMENTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    stdin, stdout = program.stdin, program.stdout
    assert stdin is not None
    assert stdout is not None

    def call(line: bytes) -> dict[str, Any]:
        stdin.write(line + b"\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline())
        return answer

    with program:
        yield call
    assert program.returncode == 0


@pytest.fixture(scope="session")
def check(ask: Ask) -> Check:
    """The answer about an asset with these core contents."""

    def call(core: dict[str, Any]) -> dict[str, Any]:
        asset = {"name": NAME, "location": f"s3://private/{NAME}", "core": core}
        return ask(json.dumps(asset).encode())

    return call


@pytest.mark.parametrize(
    ("core", "status"),
    [
        pytest.param({}, "Missing", id="no core file"),
        pytest.param({"subject": None, "rig": None}, "Missing", id="nulls"),
        pytest.param({"procedures": PROCEDURES}, "Missing", id="no subject"),
        pytest.param({"subject": SUBJECT}, "Valid", id="only a subject"),
        pytest.param({"subject": SUBJECT, "model": 1}, "Valid", id="no field of generation 1"),
        pytest.param(COMPLETE, "Valid", id="a complete asset"),
        pytest.param(
            COMPLETE | {"data_description": DERIVED_DESCRIPTION}, "Valid", id="a derived asset"
        ),
        pytest.param(
            {field: content | {"schema_version": "0.5.0"} for field, content in COMPLETE.items()},
            "Valid",
            id="an older version that still fits",
        ),
    ],
)
def test_what_is_fine_is_valid_or_lacks_a_subject(check: Check, core: Any, status: str) -> None:
    assert check(core) == {"status": status, "problems": {}}


@pytest.mark.parametrize(
    ("core", "field", "reason"),
    [
        pytest.param(
            {"subject": SUBJECT, "processing": {"odd": 1}}, "processing",
            "processing_pipeline: Field required", id="an odd object",
        ),
        pytest.param({"processing": {"odd": 1}}, "processing", "odd: Extra inputs are not permitted",
                     id="no subject either"),
        pytest.param(
            {"subject": SUBJECT | {"species": {"name": "Unicorn"}}}, "subject", "species: ",
            id="a wrong word",
        ),
        pytest.param(
            {"subject": SUBJECT, "data_description": DERIVED_DESCRIPTION | {"process_name": "a/b"}},
            "data_description", "process_name: ", id="a derived asset's own rules",
        ),
        pytest.param({"subject": []}, "subject", "holds a list, not a JSON object", id="a list"),
        pytest.param({"subject": "x"}, "subject", "holds a str, not a JSON object", id="a string"),
        pytest.param({"rig": 0}, "rig", "holds a int, not a JSON object", id="a number"),
        pytest.param({"rig": False}, "rig", "holds a bool, not a JSON object", id="false"),
        pytest.param(
            COMPLETE | {"session": SESSION | {"rig_id": "another"}}, "metadata",
            "Rig ID in session another does not match", id="parts contradict each other",
        ),
        pytest.param(
            {"subject": SUBJECT, "data_description": DATA_DESCRIPTION}, "metadata",
            "missing required file: procedures", id="parts that its modality must have",
        ),
        pytest.param(
            {key: COMPLETE[key] for key in COMPLETE if key != "subject"}, "metadata",
            "missing required file: subject", id="its modality must have a subject",
        ),
        pytest.param(
            COMPLETE | {"data_description": DATA_DESCRIPTION | {"modality": []}}, "metadata",
            "the schema's rules failed on it: KeyError", id="the rules between parts crash",
        ),
        pytest.param(
            {"subject": SUBJECT, "rig": RIG | {"mouse_platform": ["tube"]}}, "rig",
            "mouse_platform", id="a list within",
        ),
        pytest.param(
            {"subject": SUBJECT, "session": SESSION | {"data_streams": ["odd"]}}, "session",
            "the schema's rules failed on it: AttributeError", id="the rules of a part crash",
        ),
    ],
)  # fmt: skip
def test_what_the_schema_refuses_is_invalid_for_a_reason(
    check: Check, core: Any, field: str, reason: str
) -> None:
    answer = check(core)

    assert answer["status"] == "Invalid"
    assert list(answer["problems"]) == [field]
    assert any(reason in one for one in answer["problems"][field]), answer


def test_every_part_that_is_wrong_is_named(check: Check) -> None:
    answer = check(COMPLETE | {"subject": {}, "rig": [], "session": {}})

    assert list(answer["problems"]) == ["subject", "session", "rig"]


def test_countless_problems_are_not_all_told(check: Check) -> None:
    answer = check({"subject": SUBJECT | {f"key_{number}": 1 for number in range(1_000)}})

    assert len(answer["problems"]["subject"]) == 51
    assert answer["problems"]["subject"][-1] == "and 950 more"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"{", "does not parse as JSON", id="cut short"),
        pytest.param(b"", "does not parse as JSON", id="empty"),
        pytest.param(b'{"name": "\xff"}', "does not parse as JSON", id="not UTF-8"),
        pytest.param(b"[" * 100_000, "does not parse as JSON", id="bottomless"),
        pytest.param(b"null", "is not an object with name, location and core", id="null"),
        pytest.param(b'{"core": []}', "is not an object with name, location and core", id="a list"),
        pytest.param(b'{"core": {}}', "name: Input should be a valid string", id="no name"),
    ],
)
def test_a_broken_line_is_answered_and_the_next_one_too(
    ask: Ask, check: Check, line: bytes, reason: str
) -> None:
    answer = ask(line)

    assert answer["status"] == "Invalid"
    assert reason in answer["problems"]["metadata"][0]
    if "parse" in reason:
        assert answer["problems"]["metadata"][0].startswith("input line ")
    assert check({"subject": SUBJECT})["status"] == "Valid"
