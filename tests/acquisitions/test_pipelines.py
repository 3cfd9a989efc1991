"""A computation is started once, however often it is asked for, and its end is told truly."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from codeocean.models.computation import (
    ComputationEndStatus,
    ComputationState,
    InputDataAsset,
)

from include.acquisitions.pipeline_settings import RunSettings
from include.acquisitions.pipelines import (
    alert_body,
    check_computation,
    describe_run,
    input_name,
    is_same_run,
    send_alert,
    start_computation,
    stop_if_overdue,
)
from include.errors import AccessDenied, ComputationFailed, ServiceUnavailable
from tests.acquisitions.code_ocean_fake import STARTED_S, FakeCodeOcean

BEFORE = datetime.fromtimestamp(STARTED_S, UTC)


def make_run(**fields: Any) -> RunSettings:
    return RunSettings.model_validate({
        "pipeline_id": "p",
        "data_assets": [{"id": "asset", "mount": "ecephys"}],
        **fields,
    })


def start(run: RunSettings, code_ocean: FakeCodeOcean, **options: Any) -> str:
    return start_computation(run, code_ocean, **{"started_after": BEFORE, **options}).id


def end(
    code_ocean: FakeCodeOcean,
    computation_id: str,
    state: str = "completed",
    end_status: str | None = "succeeded",
    exit_code: int | None = 0,
) -> None:
    code_ocean.change(
        computation_id,
        state=ComputationState(state),
        end_status=ComputationEndStatus(end_status) if end_status else None,
        exit_code=exit_code,
    )


@pytest.fixture
def code_ocean() -> FakeCodeOcean:
    return FakeCodeOcean()


RUNS = [
    pytest.param({}, id="an asset"),
    pytest.param({"data_assets": None}, id="nothing"),
    pytest.param({"data_assets": [{"id": "asset"}]}, id="an asset without mount"),
    pytest.param({"pipeline_id": None, "capsule_id": "c"}, id="a capsule"),
    pytest.param({"parameters": ["1", "2"]}, id="parameters in order"),
    pytest.param({"named_parameters": [{"param_name": "n", "value": "1"}]}, id="named parameters"),
    pytest.param(
        {"parameters": ["1"], "named_parameters": [{"param_name": "n", "value": "1"}]}, id="both"
    ),
    pytest.param({"processes": [{"name": "sort", "parameters": ["x"]}]}, id="processes"),
    pytest.param({"nextflow_profile": "slurm"}, id="a profile"),
]


@pytest.mark.parametrize("fields", RUNS)
def test_a_start_whose_answer_got_lost_is_not_repeated(
    code_ocean: FakeCodeOcean, fields: dict[str, Any]
) -> None:
    run = make_run(**fields)
    code_ocean.loses_answers = 1
    with pytest.raises(ServiceUnavailable):
        start(run, code_ocean)
    assert start(run, code_ocean) == "computation-1"
    assert start(run, code_ocean, known_id="computation-1") == "computation-1"
    assert len(code_ocean.computations) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"data_assets": [{"id": "another", "mount": "ecephys"}]},
        {"data_assets": [{"id": "asset", "mount": "elsewhere"}]},
        {"data_assets": None},
        {"data_assets": [{"id": "asset", "mount": "ecephys"}, {"id": "more"}]},
        {"pipeline_id": "another"},
        {"pipeline_id": None, "capsule_id": "c"},
        {"parameters": ["1"]},
        {"parameters": ["2", "1"]},
        {"parameters": None},
        {"named_parameters": [{"param_name": "n", "value": "2"}]},
        {"named_parameters": [{"param_name": "m", "value": "1"}]},
        {"processes": [{"name": "sort", "parameters": ["y"]}]},
        {"processes": [{"name": "curate", "parameters": ["x"]}]},
        {"nextflow_profile": "slurm"},
    ],
    ids=str,
)
def test_another_run_is_not_taken_for_ours(
    code_ocean: FakeCodeOcean, other: dict[str, Any]
) -> None:
    ours = make_run(parameters=["1", "2"], processes=[{"name": "sort", "parameters": ["x"]}])
    theirs = RunSettings.model_validate({**ours.model_dump(), **other})
    assert start(theirs, code_ocean) == "computation-1"
    assert start(ours, code_ocean) == "computation-2"


def test_a_computation_of_an_earlier_time_is_not_taken_for_ours(code_ocean: FakeCodeOcean) -> None:
    start(make_run(), code_ocean)
    later = BEFORE + timedelta(hours=1)
    assert start(make_run(), code_ocean, started_after=later) == "computation-2"


def test_a_clock_that_is_a_little_behind_ours_does_not_matter(code_ocean: FakeCodeOcean) -> None:
    start(make_run(), code_ocean)
    ahead = BEFORE + timedelta(minutes=1)
    assert start(make_run(), code_ocean, started_after=ahead) == "computation-1"


def test_of_several_the_oldest_is_followed(code_ocean: FakeCodeOcean) -> None:
    first = start(make_run(), code_ocean)
    code_ocean.run(make_run().as_params())
    assert start(make_run(), code_ocean) == first


@pytest.mark.parametrize("state", ["initializing", "running", "finalizing", "completed"])
def test_a_known_computation_is_followed(code_ocean: FakeCodeOcean, state: str) -> None:
    known = start(make_run(), code_ocean)
    end(code_ocean, known, state, None, None)
    far_later = BEFORE + timedelta(days=3)
    assert start(make_run(), code_ocean, known_id=known, started_after=far_later) == known


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("end_status", ["failed", "stopped"])
def test_whoever_asks_again_after_a_failure_gets_another(
    code_ocean: FakeCodeOcean, is_known: bool, end_status: str
) -> None:
    first = start(make_run(), code_ocean)
    end(code_ocean, first, end_status=end_status)
    known_id = first if is_known else None
    assert start(make_run(), code_ocean, known_id=known_id) == "computation-2"


def test_a_known_computation_that_was_deleted_is_started_again(code_ocean: FakeCodeOcean) -> None:
    assert start(make_run(), code_ocean, known_id="deleted") == "computation-1"


def test_a_known_computation_that_cannot_be_looked_at_is_not_started_again() -> None:
    class Refusing(FakeCodeOcean):
        def computation(self, computation_id: str) -> Any:
            raise AccessDenied("403")

    refusing = Refusing()
    with pytest.raises(AccessDenied):
        start(make_run(), refusing, known_id="computation-1")
    assert refusing.computations == {}


def test_a_mount_that_code_ocean_leaves_out_is_no_difference(code_ocean: FakeCodeOcean) -> None:
    started = start(make_run(), code_ocean)
    code_ocean.change(started, data_assets=[InputDataAsset("asset")])
    assert is_same_run(make_run(), code_ocean.computation(started))


def test_the_input_is_called_by_its_name(code_ocean: FakeCodeOcean) -> None:
    code_ocean.add_asset("asset", name="712345_2024-03-05_14-22-10")
    assert input_name(make_run(), code_ocean) == "712345_2024-03-05_14-22-10"
    assert input_name(make_run(data_assets=None), code_ocean) is None


@pytest.mark.parametrize(
    ("state", "end_status", "exit_code", "has_succeeded"),
    [
        ("initializing", None, None, False),
        ("running", None, None, False),
        ("finalizing", None, None, False),
        ("completed", None, None, True),
        ("completed", "succeeded", None, True),
        ("completed", "succeeded", 0, True),
    ],
)
def test_a_computation_runs_or_has_succeeded(
    code_ocean: FakeCodeOcean,
    state: str,
    end_status: str | None,
    exit_code: int | None,
    has_succeeded: bool,
) -> None:
    started = start(make_run(), code_ocean)
    end(code_ocean, started, state, end_status, exit_code)
    assert check_computation(code_ocean.computation(started)) is has_succeeded


@pytest.mark.parametrize(
    ("state", "end_status", "exit_code", "words"),
    [
        ("failed", None, None, "state failed"),
        ("failed", "succeeded", 0, "state failed"),
        ("completed", "failed", 0, "failed"),
        ("completed", "stopped", None, "stopped"),
        ("completed", "succeeded", 1, "exit code 1"),
        ("completed", None, -9, "exit code -9"),
    ],
)
def test_a_computation_that_failed_says_how(
    code_ocean: FakeCodeOcean, state: str, end_status: str | None, exit_code: int, words: str
) -> None:
    started = start(make_run(), code_ocean)
    end(code_ocean, started, state, end_status, exit_code)
    with pytest.raises(ComputationFailed, match=f"{started}.*{words}"):
        check_computation(code_ocean.computation(started))


@pytest.mark.parametrize(
    ("time_limit_s", "age_s", "state", "is_stopped"),
    [
        (None, 10**6, "running", False),
        (60, 60, "running", False),
        (60, 61, "running", True),
        (60, 61, "completed", False),
        (60, 61, "failed", False),
    ],
)
def test_only_a_computation_that_runs_beyond_its_limit_is_stopped(
    code_ocean: FakeCodeOcean,
    time_limit_s: float | None,
    age_s: float,
    state: str,
    is_stopped: bool,
) -> None:
    started = start(make_run(), code_ocean)
    end(code_ocean, started, state, None, None)
    computation = code_ocean.computation(started)
    now = datetime.fromtimestamp(computation.created + age_s, UTC)
    if is_stopped:
        with pytest.raises(ComputationFailed, match="time limit is 60 s"):
            stop_if_overdue(computation, time_limit_s, code_ocean, now=now)
    else:
        stop_if_overdue(computation, time_limit_s, code_ocean, now=now)
    assert code_ocean.stopped == ([started] if is_stopped else [])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "pipeline p"),
        ({"version": 3}, "pipeline p, version 3"),
        ({"pipeline_id": None, "capsule_id": "c"}, "capsule c"),
    ],
)
def test_an_alert_says_what_runs(fields: dict[str, Any], text: str) -> None:
    assert describe_run(make_run(**fields)) == text


def test_an_alert_is_an_adaptive_card() -> None:
    title = {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "text": "Starting x"}
    body = alert_body("Starting x", "pipeline p")
    assert body["type"] == "message"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"] == {
        "type": "AdaptiveCard",
        "version": "1.0",
        "body": [title, {"type": "TextBlock", "text": "pipeline p"}],
    }
    assert alert_body("Starting x")["attachments"][0]["content"]["body"] == [title]


def test_alerts_go_to_the_webhook_if_there_is_one() -> None:
    sent: list[tuple[str, Mapping[str, Any]]] = []

    def post_alert(url: str, body: Mapping[str, Any]) -> None:
        sent.append((url, body))

    assert send_alert("https://hook", "Finished x", "", post_alert)
    assert not send_alert(None, "Finished x", "", post_alert)
    assert not send_alert("", "Finished x", "", post_alert)
    assert sent == [("https://hook", alert_body("Finished x"))]


def test_a_lost_alert_is_logged_without_its_secret_address_and_fails_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def post_alert(url: str, body: Mapping[str, Any]) -> None:
        raise ServiceUnavailable(f"{url} answered 500")

    assert not send_alert("https://hook/secret", "Finished x", "", post_alert)
    assert "Finished x" in caplog.text
    assert "secret" not in caplog.text
