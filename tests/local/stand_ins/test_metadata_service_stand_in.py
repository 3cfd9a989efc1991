"""The metadata-service stand-in over real HTTP: what its records are and how they are steered."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aind_data_schema.core.instrument import Instrument
from aind_data_schema.core.procedures import Procedures
from aind_data_schema.core.subject import Subject
from hypothesis import given
from hypothesis import strategies as st

from include.local.stand_ins import metadata_records as records
from include.local.stand_ins.control import StandInControl
from include.local.stand_ins.metadata_service import create_app
from include.local.stand_ins.serving import serve_in_thread


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with serve_in_thread(create_app()) as url, httpx.Client(base_url=url) as session:
        yield session


@pytest.fixture(scope="module")
def control(http: httpx.Client) -> Iterator[StandInControl]:
    with StandInControl(str(http.base_url)) as control:
        yield control


@pytest.fixture
def stand_in(control: StandInControl) -> StandInControl:
    control.reset()
    return control


@given(subject_id=st.from_regex(r"[0-9]{1,9}", fullmatch=True))
def test_every_number_is_a_subject_with_procedures(subject_id: str) -> None:
    for kind, model in (("subject", Subject), ("procedures", Procedures)):
        content = records.find(kind, subject_id)
        assert model.model_validate(content).subject_id == subject_id


@given(text=st.text(max_size=5).filter(lambda text: not text.isascii() or not text.isdigit()))
def test_nothing_else_is_a_subject(text: str) -> None:
    assert records.find("subject", text) is None


def test_the_instrument_is_one_the_schema_takes() -> None:
    (instrument,) = records.find("instrument", "EPHYS_1") or []
    assert Instrument.model_validate(instrument).instrument_id == "EPHYS_1"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v2/subject/632269", 200),
        ("/api/v2/subject/mouse", 406),
        ("/api/v2/subject/٣", 406),
        ("/api/v2/procedures/632269", 200),
        ("/api/v2/procedures/mouse", 406),
        ("/api/v2/instrument/EPHYS_1", 400),
        ("/api/v2/instrument/EPHYS?partial_match=true", 400),
        ("/api/v2/instrument/EPHYS", 404),
        ("/api/v2/funding/Ephys Platform", 200),
        ("/api/v2/funding/Foraging", 406),
        ("/api/v2/funding/Foraging - Learning", 200),
        ("/api/v2/funding/Unheard of", 404),
        ("/api/v2/investigators/Foraging", 406),
        ("/api/v2/investigators/Ephys Platform", 200),
        ("/api/v2/project_names", 200),
        ("/api/v2/healthcheck", 200),
        ("/subject/632269", 200),
        ("/subject/mouse", 404),
        ("/procedures/632269", 200),
        ("/funding/Ephys Platform", 200),
        ("/funding/Unheard of", 404),
        ("/project_names", 200),
        ("/instrument/EPHYS_1", 422),
        ("/instrument/EPHYS", 404),
        ("/rig/323_EPHYS1_20250205", 422),
        ("/rig/nowhere", 404),
    ],
)
def test_each_path_answers_with_its_status(
    http: httpx.Client, stand_in: StandInControl, path: str, status: int
) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    if not path.startswith("/api/v2"):
        assert set(answer.json()) == {"message", "data"}
        assert (answer.json()["data"] is None) is (status == 404)


def test_no_record_is_said_in_other_words_than_no_path(
    http: httpx.Client, stand_in: StandInControl
) -> None:
    assert http.get("/api/v2/funding/Unheard of").json() == {"detail": "Not found"}
    assert http.get("/api/v2/nonsense").json() == {"detail": "Not Found"}


def test_an_answer_is_put_spoilt_and_taken_away(
    http: httpx.Client, stand_in: StandInControl
) -> None:
    path, answer = "/api/v2/funding/New", "answers/funding/New"
    stand_in.put(answer, http.get("/api/v2/funding/Ephys Platform").json())
    assert http.get(path).status_code == 200
    assert "New" in http.get("/api/v2/project_names").json()
    stand_in.post(f"{answer}/invalid")
    spoilt = http.get(path)
    assert spoilt.status_code == 400
    assert json.loads(spoilt.headers["X-Error-Message"])[0]["loc"] == [0, "funder"]
    stand_in.delete(answer)
    assert http.get(path).status_code == 404
    assert "New" not in http.get("/api/v2/project_names").json()
    stand_in.reset()
    assert http.get(path).status_code == 404


def test_a_record_taken_away_stays_away_over_a_kill(
    served: Callable[[str, int, Path], Any], free_port: int, tmp_path: Path
) -> None:
    url, state = f"http://127.0.0.1:{free_port}", tmp_path / "metadata.sqlite"
    with served("metadata_service", free_port, state) as running, StandInControl(url) as control:
        control.delete("answers/subject/632269")
        running.send_signal(signal.SIGKILL)
        running.wait(10)
    with served("metadata_service", free_port, state) as running:
        assert httpx.get(f"{url}/api/v2/subject/632269").status_code == 404
        assert httpx.get(f"{url}/api/v2/subject/632270").status_code == 200
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) in {0, -signal.SIGTERM}
