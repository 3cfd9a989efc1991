"""The client against the stand-in over real HTTP, in both versions of the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal
from urllib.parse import unquote

import httpx
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

from include.clients.metadata_service import Answer, MetadataServiceClient
from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    MalformedAnswer,
    PermanentError,
    ServiceUnavailable,
)
from include.local.stand_ins.control import StandInControl
from include.local.stand_ins.metadata_service import create_app
from include.local.stand_ins.serving import serve_in_thread

AT_ONCE = stamina.RetryingCaller(attempts=3, wait_initial=0, wait_max=0, wait_jitter=0)

KINDS: dict[str, Callable[[MetadataServiceClient], Answer | None]] = {
    "subject": lambda client: client.subject("632269"),
    "procedures": lambda client: client.procedures("632269"),
    "instrument": lambda client: client.instrument("EPHYS_1"),
    "funding": lambda client: client.funding("Ephys Platform"),
    "investigators": lambda client: client.investigators("Ephys Platform"),
    "project_names": lambda client: client.project_names(),
}
IN_V1 = sorted(KINDS.keys() - {"investigators"})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_in_thread(create_app()) as address:
        yield address


@pytest.fixture(scope="module")
def control(url: str) -> Iterator[StandInControl]:
    with StandInControl(url) as control:
        yield control


@pytest.fixture
def stand_in(control: StandInControl) -> StandInControl:
    control.reset()
    return control


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as session:
        yield session


@pytest.fixture
def v2(http: httpx.Client, stand_in: StandInControl) -> MetadataServiceClient:
    return MetadataServiceClient(http, retries=AT_ONCE)


@pytest.fixture
def v1(http: httpx.Client, stand_in: StandInControl) -> MetadataServiceClient:
    return MetadataServiceClient(http, "v1", retries=AT_ONCE)


def answering(
    status: int, body: Any, api: Literal["v1", "v2"] = "v2", **headers: str
) -> MetadataServiceClient:
    """A client whose service answers everything with this."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=content, headers=headers)

    session = httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))
    return MetadataServiceClient(session, api, retries=AT_ONCE)


# Records


@pytest.mark.parametrize("kind", ["subject", "procedures"])
def test_a_valid_record_is_valid_in_both_versions(
    v1: MetadataServiceClient, v2: MetadataServiceClient, kind: str
) -> None:
    for client in (v1, v2):
        answer = KINDS[kind](client)
        assert answer is not None
        assert answer.is_valid
        assert answer.problems == ()
        assert answer.content["subject_id"] == "632269"


def test_what_a_project_is_paid_by_and_led_by_are_lists(v2: MetadataServiceClient) -> None:
    funding, people = v2.funding("Ephys Platform"), v2.investigators("Ephys Platform")
    assert funding is not None
    assert people is not None
    assert [grant["funder"]["abbreviation"] for grant in funding.content] == ["AI"]
    assert [person["name"] for person in people.content] == ["Jane Doe", "Ada Example"]


def test_one_grant_of_version_1_is_a_list_too(v1: MetadataServiceClient) -> None:
    funding = v1.funding("Ephys Platform")
    assert funding is not None
    assert [grant["object_type"] for grant in funding.content] == ["Funding"]


def test_several_grants_of_version_1_are_all_there(
    v1: MetadataServiceClient, stand_in: StandInControl
) -> None:
    one = v1.funding("Ephys Platform")
    assert one is not None
    stand_in.put("answers/funding/Ephys Platform", one.content * 3)
    several = v1.funding("Ephys Platform")
    assert several is not None
    assert (len(several.content), several.is_valid) == (3, True)


def test_project_names_are_a_list_in_both_versions(
    v1: MetadataServiceClient, v2: MetadataServiceClient
) -> None:
    for client in (v1, v2):
        answer = client.project_names()
        assert answer is not None
        assert "Foraging - Learning" in answer.content


def test_an_instrument_is_usable_though_the_service_answers_400(v2: MetadataServiceClient) -> None:
    answer = v2.instrument("EPHYS_1")
    assert answer is not None
    assert answer.problems == ("Models have not been validated.",)
    assert not answer.is_valid
    assert [record["instrument_id"] for record in answer.content] == ["EPHYS_1"]


def test_an_instrument_of_version_1_is_usable_though_answered_with_422(
    v1: MetadataServiceClient,
) -> None:
    answer = v1.instrument("EPHYS_1")
    assert answer is not None
    assert not answer.is_valid
    assert "not been validated" in answer.problems[0]
    assert [record["instrument_id"] for record in answer.content] == ["EPHYS_1"]


@pytest.mark.parametrize(
    ("kind", "key", "problem"),
    [
        ("subject", "632269", "subject_details: Field required"),
        ("procedures", "632269", "subject_id: Field required"),
        ("funding", "Ephys Platform", "0.funder: Field required"),
        ("investigators", "Ephys Platform", "0.name: Field required"),
    ],
)
def test_an_invalid_record_of_version_2_is_usable_and_says_what_is_wrong(
    v2: MetadataServiceClient, stand_in: StandInControl, kind: str, key: str, problem: str
) -> None:
    stand_in.post(f"answers/{kind}/{key}/invalid")
    answer = KINDS[kind](v2)
    assert answer is not None
    assert not answer.is_valid
    assert answer.problems[0] == problem
    assert answer.content


@pytest.mark.parametrize("kind", ["subject", "procedures", "funding"])
def test_an_invalid_record_of_version_1_is_usable_and_says_what_is_wrong(
    v1: MetadataServiceClient, stand_in: StandInControl, kind: str
) -> None:
    key = "Ephys Platform" if kind == "funding" else "632269"
    stand_in.post(f"answers/{kind}/{key}/invalid")
    answer = KINDS[kind](v1)
    assert answer is not None
    assert not answer.is_valid
    assert "Validation Errors" in answer.problems[0]


def test_procedures_of_a_service_with_a_back_end_down_are_usable_but_not_valid(
    v1: MetadataServiceClient, stand_in: StandInControl
) -> None:
    stand_in.set(procedures_incomplete=True)
    answer = v1.procedures("632269")
    assert answer is not None
    assert not answer.is_valid
    assert "error retrieving" in answer.problems[0]


def test_a_list_of_errors_too_long_for_a_header_comes_as_a_sentence(
    v2: MetadataServiceClient, stand_in: StandInControl
) -> None:
    spoilt = {"subject_id": "632269", "subject_procedures": [{}] * 100}
    stand_in.put("answers/procedures/632269", spoilt)
    answer = v2.procedures("632269")
    assert answer is not None
    assert answer.problems == ("The model has too many validation errors to list them here.",)


# None


@pytest.mark.parametrize("kind", ["subject", "procedures", "instrument", "funding"])
def test_none_is_said_by_both_versions_and_not_asked_twice(
    v1: MetadataServiceClient,
    v2: MetadataServiceClient,
    stand_in: StandInControl,
    kind: str,
) -> None:
    key = {"instrument": "EPHYS_1", "funding": "Ephys Platform"}.get(kind, "632269")
    stand_in.delete(f"answers/{kind}/{key}")
    assert KINDS[kind](v2) is None
    assert KINDS[kind](v1) is None
    assert [request["status"] for request in stand_in.requests()] == [404, 404]


def test_an_instrument_whose_id_only_begins_the_same_is_none(v2: MetadataServiceClient) -> None:
    assert v2.instrument("EPHYS") is None


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"detail": "Not Found"}, id="a path the server does not have"),
        pytest.param(b"<html>404 Not Found</html>", id="a page of a proxy"),
        pytest.param(b"", id="nothing"),
        pytest.param([], id="a list"),
        pytest.param({}, id="an empty object"),
    ],
)
def test_a_404_of_something_else_is_no_absence(api: Literal["v1", "v2"], body: Any) -> None:
    with pytest.raises(MalformedAnswer):
        answering(404, body, api).subject("632269")


# Wrong questions


def test_an_id_the_service_does_not_take_is_named(v2: MetadataServiceClient) -> None:
    with pytest.raises(InvalidInput, match="subject 'mouse-5'"):
        v2.subject("mouse-5")


def test_a_project_with_sub_projects_has_to_be_asked_for_by_both_names(
    v2: MetadataServiceClient,
) -> None:
    with pytest.raises(InvalidInput, match="Foraging - <subproject>"):
        v2.funding("Foraging")
    assert v2.funding("Foraging - Learning") is not None


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_a_key_that_would_change_the_path_is_not_sent(
    v2: MetadataServiceClient, stand_in: StandInControl, key: str
) -> None:
    with pytest.raises(InvalidInput):
        v2.subject(key)
    assert stand_in.requests() == []


@pytest.mark.parametrize("project", ["A/B", "A?b=c", "A#b", "A%2FB", "Zoë's Ünit", "A B"])
def test_a_name_is_asked_for_as_it_is(project: str) -> None:
    asked: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return httpx.Response(404, json={"detail": "Not found"})

    session = httpx.Client(base_url="http://service", transport=httpx.MockTransport(note))
    assert MetadataServiceClient(session, retries=AT_ONCE).funding(project) is None
    (path,) = asked
    sent = path.removeprefix("/api/v2/funding/")
    assert unquote(sent) == project
    assert not set(sent) & set("/?#")


def test_version_1_has_no_investigators(v1: MetadataServiceClient) -> None:
    with pytest.raises(PermanentError, match="investigators"):
        v1.investigators("Ephys Platform")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(400, {"detail": "no"}, id="400 with only a reason"),
        pytest.param(400, {"message": "no"}, id="400 with only a message"),
        pytest.param(422, {"detail": [{"msg": "no"}]}, id="422 of FastAPI"),
        pytest.param(406, {"detail": "no"}, id="406"),
    ],
)
def test_a_refusal_of_version_2_is_not_taken_for_a_record(status: int, body: Any) -> None:
    with pytest.raises(InvalidInput, match="no"):
        answering(status, body).subject("632269")


def test_a_bad_question_to_version_1_is_not_taken_for_a_record() -> None:
    with pytest.raises(InvalidInput, match="what\\?"):
        answering(400, {"message": "what?", "data": None}, "v1").subject("632269")


# Services in trouble

FAULTS = [
    pytest.param({"status": 429}, ServiceUnavailable, id="429"),
    pytest.param({"status": 500}, ServiceUnavailable, id="500"),
    pytest.param({"status": 502}, ServiceUnavailable, id="502"),
    pytest.param({"status": 503}, ServiceUnavailable, id="503"),
    pytest.param({"close": True}, ServiceUnavailable, id="connection lost"),
    pytest.param({"truncate": True}, ServiceUnavailable, id="half an answer"),
    pytest.param({"status": 401}, AccessDenied, id="401"),
    pytest.param({"status": 403}, AccessDenied, id="403"),
    pytest.param({"status": 302}, MalformedAnswer, id="redirected to a sign-in"),
    pytest.param({"garbage": True}, MalformedAnswer, id="a page of HTML"),
    pytest.param({"status": 200, "body": "text"}, MalformedAnswer, id="a text"),
    pytest.param({"status": 200, "body": 5}, MalformedAnswer, id="a number"),
    pytest.param({"status": 200, "body": [None]}, MalformedAnswer, id="a list of nothing"),
    pytest.param({"status": 400, "body": []}, MalformedAnswer, id="400 with nothing"),
    pytest.param({"status": 404, "body": []}, MalformedAnswer, id="404 of something else"),
    pytest.param({"status": 418}, MalformedAnswer, id="a status nobody agreed on"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("effect", "expected"), FAULTS)
def test_a_service_in_trouble_is_never_one_that_knows_nothing(
    v2: MetadataServiceClient,
    stand_in: StandInControl,
    kind: str,
    effect: dict[str, Any],
    expected: type[AssetflowError],
) -> None:
    stand_in.fail(times=None, **effect)
    with pytest.raises(expected):
        KINDS[kind](v2)


@pytest.mark.parametrize("kind", IN_V1)
@pytest.mark.parametrize(("effect", "expected"), FAULTS)
def test_the_same_holds_for_version_1(
    v1: MetadataServiceClient,
    stand_in: StandInControl,
    kind: str,
    effect: dict[str, Any],
    expected: type[AssetflowError],
) -> None:
    stand_in.fail(times=None, **effect)
    with pytest.raises(expected):
        KINDS[kind](v1)


@pytest.mark.parametrize("effect", [{"status": 503}, {"close": True}, {"truncate": True}], ids=str)
def test_a_service_in_trouble_is_asked_three_times(
    v2: MetadataServiceClient, stand_in: StandInControl, effect: dict[str, Any]
) -> None:
    stand_in.fail(times=2, **effect)
    assert v2.subject("632269") is not None
    assert len(stand_in.requests()) == 3
    stand_in.fail(times=None, **effect)
    with pytest.raises(ServiceUnavailable):
        v2.subject("632269")
    assert len(stand_in.requests()) == 6


@pytest.mark.parametrize("effect", [{"garbage": True}, {"status": 403}], ids=str)
def test_what_asking_again_cannot_mend_is_asked_once(
    v2: MetadataServiceClient, stand_in: StandInControl, effect: dict[str, Any]
) -> None:
    stand_in.fail(times=None, **effect)
    with pytest.raises(PermanentError):
        v2.subject("632269")
    assert len(stand_in.requests()) == 1


def test_a_slow_service_is_unavailable() -> None:
    def hang(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("nothing came", request=request)

    session = httpx.Client(base_url="http://service", transport=httpx.MockTransport(hang))
    with pytest.raises(ServiceUnavailable, match="ReadTimeout"):
        MetadataServiceClient(session, retries=AT_ONCE).subject("632269")


def test_a_service_that_is_not_there_is_unavailable() -> None:
    with (
        httpx.Client(base_url="http://127.0.0.1:9") as session,
        pytest.raises(ServiceUnavailable, match="subject '632269'"),
    ):
        MetadataServiceClient(session, retries=AT_ONCE).subject("632269")


def test_procedures_may_take_minutes_and_a_connection_seconds() -> None:
    limits: dict[str, dict[str, float]] = {}

    def note(request: httpx.Request) -> httpx.Response:
        limits[request.url.path.split("/")[3]] = request.extensions["timeout"]
        return httpx.Response(404, json={"detail": "Not found"})

    session = httpx.Client(base_url="http://service", transport=httpx.MockTransport(note))
    client = MetadataServiceClient(session)
    client.subject("1")
    client.procedures("1")
    assert (limits["subject"]["connect"], limits["subject"]["read"]) == (5, 60)
    assert (limits["procedures"]["connect"], limits["procedures"]["read"]) == (5, 300)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"subject_id": "632270"}, id="another subject"),
        pytest.param([{"subject_id": "632269"}], id="a list"),
    ],
)
def test_the_record_of_another_subject_is_not_taken(content: Any) -> None:
    with pytest.raises(MalformedAnswer, match="632269"):
        answering(200, content).subject("632269")


def test_several_records_of_one_subject_are_not_guessed_between() -> None:
    several = {"message": "Multiple Items Found.", "data": [{"a": 1}, {"a": 2}]}
    with pytest.raises(MalformedAnswer, match="expected one record"):
        answering(300, several, "v1").subject("632269")


def test_one_session_answers_all_kinds_at_once(v2: MetadataServiceClient) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda kind: KINDS[kind](v2), KINDS))
    assert None not in answers


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    status=st.integers(200, 599),
    body=JSON | st.binary(max_size=20),
    api=st.sampled_from(["v1", "v2"]),
)
def test_whatever_the_service_says_is_an_answer_or_an_error_of_ours(
    status: int, body: Any, api: Literal["v1", "v2"]
) -> None:
    client = answering(status, body, api)
    for kind in IN_V1:
        try:
            answer = KINDS[kind](client)
        except AssetflowError:
            continue
        if answer is None:
            assert status == 404
        else:
            assert status in {200, 207, 300, 400, 406, 422}
