"""The client, through the real SDK, against the stand-in over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stamina
from codeocean.models.components import EveryoneRole, Permissions, UserPermissions, UserRole
from codeocean.models.computation import ComputationState, DataAssetsRunParam, RunParams
from codeocean.models.data_asset import (
    AWSS3Source,
    ComputationSource,
    DataAsset,
    DataAssetParams,
    DataAssetState,
    Source,
)

from include.clients.code_ocean import CodeOceanClient
from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    MalformedAnswer,
    NotFound,
    PermanentError,
    ServiceUnavailable,
)
from include.local.stand_ins.code_ocean import create_app
from include.local.stand_ins.control import StandInControl
from include.local.stand_ins.serving import serve_in_thread

TOKEN = "cop_test"
NAME = "ecephys_655019_2023-04-03_18-17-07"
ASSETS = "/api/v1/data_assets"
COMPUTATIONS = "/api/v1/computations"

AT_ONCE = stamina.RetryingCaller(attempts=3, wait_initial=0, wait_max=0, wait_jitter=0)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_in_thread(create_app(token=TOKEN)) as address:
        yield address


@pytest.fixture(scope="module")
def control(url: str) -> Iterator[StandInControl]:
    with StandInControl(url) as control:
        yield control


@pytest.fixture
def stand_in(control: StandInControl) -> StandInControl:
    control.reset()
    return control


@pytest.fixture
def client(url: str, stand_in: StandInControl) -> CodeOceanClient:
    return CodeOceanClient(url, TOKEN, timeout_s=5, retries=AT_ONCE)


def raw_asset(name: str = NAME, bucket: str = "lab", prefix: str | None = None) -> DataAssetParams:
    source = AWSS3Source(bucket=bucket, prefix=prefix or name, keep_on_external_storage=True)
    return DataAssetParams(name=name, mount=name, tags=["raw"], source=Source(aws=source))


def result_asset(computation_id: str, name: str) -> DataAssetParams:
    source = Source(computation=ComputationSource(id=computation_id))
    return DataAssetParams(name=name, mount=name, tags=["derived"], source=source)


def ready(client: CodeOceanClient, params: DataAssetParams) -> DataAsset:
    asset = client.create_data_asset(params)
    while asset.state is DataAssetState.Draft:
        asset = client.data_asset(asset.id)
    return asset


def computed(client: CodeOceanClient, **inputs: Any) -> str:
    computation = client.run(RunParams(capsule_id="sorting", **inputs))
    while computation.state is not ComputationState.Completed:
        computation = client.computation(computation.id)
    return computation.id


# Finding


def test_an_asset_is_found_by_its_folder(client: CodeOceanClient) -> None:
    made = client.create_data_asset(raw_asset())
    assert [asset.id for asset in client.find_external_assets("lab", NAME)] == [made.id]


def test_slashes_around_the_folder_do_not_matter(client: CodeOceanClient) -> None:
    made = client.create_data_asset(raw_asset(prefix=f"{NAME}/"))
    assert [asset.id for asset in client.find_external_assets("lab", f"/{NAME}/")] == [made.id]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(raw_asset(bucket="lab-dev"), id="same name in another bucket"),
        pytest.param(raw_asset(prefix=f"{NAME}-extra"), id="another folder of the same name"),
        pytest.param(raw_asset(name=f"{NAME} copy"), id="a name that only begins the same"),
        pytest.param(raw_asset(prefix=f"archive/{NAME}"), id="the same last part deeper down"),
    ],
)
def test_what_is_only_like_the_folder_is_not_found(
    client: CodeOceanClient, other: DataAssetParams
) -> None:
    client.create_data_asset(other)
    assert client.find_external_assets("lab", NAME) == []


def test_several_assets_of_one_folder_come_oldest_first(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    place = {"origin": "aws", "bucket": "lab", "prefix": NAME, "external": True}
    stand_in.put(
        "data_assets",
        [
            {"id": "second", "name": NAME, "created": 20, "source_bucket": place},
            {"id": "first", "name": NAME, "created": 10, "source_bucket": place},
        ],
    )
    stand_in.set(repeat_found=True)
    found = [asset.id for asset in client.find_external_assets("lab", NAME)]
    assert found == ["first", "second"]


def test_failed_and_archived_assets_do_not_count_as_there(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    place = {"origin": "aws", "bucket": "lab", "prefix": NAME, "external": True}
    kept = {"name": NAME, "source_bucket": place}
    stand_in.put(
        "data_assets",
        [{"id": "a", **kept, "archived": True}, {"id": "b", **kept, "state": "failed"}],
    )
    assert client.find_external_assets("lab", NAME) == []


def test_finding_takes_one_request_however_many_assets_there_are(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    def asset(number: int) -> dict[str, Any]:
        name = f"ecephys_{number}_2023-04-03_18-17-07"
        place = {"origin": "aws", "bucket": "lab", "prefix": name, "external": True}
        return {"id": str(number), "name": name, "source_bucket": place}

    stand_in.put("data_assets", [asset(number) for number in range(3000)])
    found = client.find_external_assets("lab", "ecephys_2999_2023-04-03_18-17-07")
    assert [known.id for known in found] == ["2999"]
    assert len(stand_in.requests("POST", f"{ASSETS}/search")) == 1


def test_every_asset_is_iterated_once_over_all_pages(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    stand_in.put(
        "data_assets", [{"id": str(n), "name": f"a{n}", "created": n} for n in range(2100)]
    )
    stand_in.set(repeat_found=True)
    found = [asset.id for asset in client.iterate_data_assets()]
    assert found == [str(n) for n in range(2100)]
    assert len(stand_in.requests("POST", f"{ASSETS}/search")) == 3


def test_a_page_that_promises_more_but_names_no_next_one_is_not_asked_for_ever(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    stand_in.fail("POST", f"{ASSETS}/search", status=200, body={"has_more": True, "results": []})
    with pytest.raises(MalformedAnswer, match="no next page"):
        list(client.iterate_data_assets())


def test_a_result_asset_is_found_by_its_computation(client: CodeOceanClient) -> None:
    mine, other = computed(client), computed(client)
    made = client.create_data_asset(result_asset(mine, "sorted"))
    client.create_data_asset(result_asset(other, "sorted"))
    assert [asset.id for asset in client.find_result_assets(mine)] == [made.id]
    assert [asset.id for asset in client.find_result_assets(mine, "sorted")] == [made.id]
    assert client.find_result_assets(mine, "another") == []


def test_looking_for_results_ends_at_the_moment_the_computation_began(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    made = {"type": "result", "provenance": {"computation": "c"}}
    stand_in.put(
        "data_assets",
        [{"id": str(n), "name": f"a{n}", "created": n, **made} for n in range(2500)],
    )
    found = client.find_result_assets("c", created_after=2490)
    assert [asset.id for asset in found] == [str(n) for n in range(2490, 2500)]
    assert len(stand_in.requests("POST", f"{ASSETS}/search")) == 1


# Making


def test_an_asset_is_created_and_becomes_ready(client: CodeOceanClient) -> None:
    asset = ready(client, raw_asset())
    assert asset.state is DataAssetState.Ready
    assert asset.source_bucket is not None
    assert asset.source_bucket.prefix == NAME


def test_a_failed_asset_says_why(client: CodeOceanClient, stand_in: StandInControl) -> None:
    stand_in.set(fail_next_asset="no such bucket")
    asset = ready(client, raw_asset())
    assert (asset.state, asset.failure_reason) == (DataAssetState.Failed, "no such bucket")


def test_an_asset_is_shared(client: CodeOceanClient, stand_in: StandInControl) -> None:
    asset = client.create_data_asset(raw_asset())
    owner = UserPermissions(email="a@example.org", role=UserRole.Owner)
    client.set_permissions(asset.id, Permissions(users=[owner]))
    client.share_with_everyone(asset.id)
    sent = stand_in.requests("POST", f"{ASSETS}/{asset.id}/permissions")
    assert [request["body"]["everyone"] for request in sent] == [None, EveryoneRole.Viewer]


def test_results_are_listed_and_read(client: CodeOceanClient, stand_in: StandInControl) -> None:
    stand_in.set(result_files={"data_description.json": "{}", "output/a b é.txt": "done"})
    computation_id = computed(client)
    listed = [(item.path, item.type) for item in client.list_results(computation_id)]
    assert listed == [("data_description.json", "file"), ("output", "folder")]
    assert [i.name for i in client.list_results(computation_id, "output")] == ["a b é.txt"]
    assert client.read_result_file(computation_id, "output/a b é.txt") == b"done"


def test_computations_of_a_capsule_and_of_a_pipeline_are_found_by_age(
    client: CodeOceanClient,
) -> None:
    capsule = client.run(RunParams(capsule_id="sorting"))
    pipeline = client.run(RunParams(pipeline_id="whole"))
    found = client.find_computations("sorting", created_after=capsule.created)
    assert [computation.id for computation in found] == [capsule.id]
    found = client.find_computations("whole", created_after=pipeline.created)
    assert [computation.id for computation in found] == [pipeline.id]
    assert client.find_computations("sorting", created_after=capsule.created + 1) == []


def test_an_unknown_capsule_is_not_an_empty_one(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    stand_in.set(known_capsules=["sorting"])
    assert client.find_computations("sorting", created_after=0) == []
    with pytest.raises(NotFound, match="nowhere"):
        client.find_computations("nowhere", created_after=0)


def test_stopping_a_computation_twice_is_harmless(client: CodeOceanClient) -> None:
    computation = client.run(RunParams(capsule_id="sorting"))
    assert client.stop_computation(computation.id) is True
    assert client.stop_computation(computation.id) is False


def test_a_computation_that_has_ended_is_not_stopped_and_keeps_its_results(
    client: CodeOceanClient,
) -> None:
    computation_id = computed(client)
    assert client.stop_computation(computation_id) is False
    assert client.list_results(computation_id)


def test_the_custom_metadata_of_the_deployment_is_known(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    assert {"data level", "subject id", "experiment type"} <= client.custom_metadata_keys()
    stand_in.fail(path="*/custom_metadata", status=200, body={"fields": None, "categories": None})
    assert client.custom_metadata_keys() == set()


def test_one_client_serves_many_threads(client: CodeOceanClient) -> None:
    made = client.create_data_asset(raw_asset())
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: client.data_asset(made.id).id, range(64))
    assert set(found) == {made.id}


# Failing

CALLS: dict[str, Callable[[CodeOceanClient], Any]] = {
    "find_external_assets": lambda client: client.find_external_assets("lab", NAME),
    "find_result_assets": lambda client: client.find_result_assets("c"),
    "data_asset": lambda client: client.data_asset("a"),
    "create_data_asset": lambda client: client.create_data_asset(raw_asset()),
    "share_with_everyone": lambda client: client.share_with_everyone("a"),
    "run": lambda client: client.run(RunParams(capsule_id="sorting")),
    "computation": lambda client: client.computation("c"),
    "find_computations": lambda client: client.find_computations("s", created_after=0),
    "stop_computation": lambda client: client.stop_computation("c"),
    "list_results": lambda client: client.list_results("c"),
    "read_result_file": lambda client: client.read_result_file("c", "f"),
    "custom_metadata_keys": lambda client: client.custom_metadata_keys(),
}
ANSWERED_WITHOUT_A_BODY = {"share_with_everyone", "stop_computation"}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, InvalidInput),
        (401, AccessDenied),
        (403, AccessDenied),
        (409, PermanentError),
        (422, InvalidInput),
        (423, ServiceUnavailable),
        (429, ServiceUnavailable),
        (500, ServiceUnavailable),
        (502, ServiceUnavailable),
        (503, ServiceUnavailable),
        (504, ServiceUnavailable),
    ],
)
def test_each_status_means_one_thing_and_is_never_an_absence(
    client: CodeOceanClient,
    stand_in: StandInControl,
    call: str,
    status: int,
    expected: type[AssetflowError],
) -> None:
    stand_in.fail(times=None, status=status, body={"message": "told you so"})
    with pytest.raises(expected, match="told you so") as raised:
        CALLS[call](client)
    assert type(raised.value) is expected


@pytest.mark.parametrize("call", sorted(CALLS.keys() - ANSWERED_WITHOUT_A_BODY))
@pytest.mark.parametrize(
    "effect",
    [
        pytest.param({"garbage": True}, id="a page of HTML"),
        pytest.param({"status": 200, "body": {"fields": [{}]}}, id="keys missing"),
        pytest.param({"status": 200, "body": [1]}, id="another type"),
        pytest.param({"status": 200, "body": "text"}, id="a text"),
    ],
)
def test_an_answer_that_cannot_be_read_is_malformed(
    client: CodeOceanClient, stand_in: StandInControl, call: str, effect: dict[str, Any]
) -> None:
    stand_in.fail(times=None, **effect)
    with pytest.raises(MalformedAnswer):
        CALLS[call](client)


@pytest.mark.filterwarnings("ignore:.*NoneType.*:RuntimeWarning")
@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("find_external_assets", {"has_more": False, "results": None}),
        ("find_external_assets", {"has_more": None, "results": []}),
        ("list_results", {"items": None}),
        ("list_results", {"items": [{"name": "a", "path": None, "type": "file"}]}),
        ("read_result_file", {"download_url": None, "view_url": "x"}),
    ],
)
def test_null_where_a_value_is_needed_is_malformed(
    client: CodeOceanClient, stand_in: StandInControl, call: str, body: dict[str, Any]
) -> None:
    stand_in.fail(times=None, status=200, body=body)
    with pytest.raises(MalformedAnswer):
        CALLS[call](client)


def test_an_unknown_state_is_malformed(client: CodeOceanClient, stand_in: StandInControl) -> None:
    stand_in.put("data_assets", [{"id": "a", "name": "a", "state": "levitating"}])
    with pytest.raises(MalformedAnswer, match="levitating"):
        client.data_asset("a")


@pytest.mark.parametrize("call", sorted(CALLS.keys() - ANSWERED_WITHOUT_A_BODY))
def test_half_an_answer_is_a_service_in_trouble(
    client: CodeOceanClient, stand_in: StandInControl, call: str
) -> None:
    stand_in.fail(times=None, truncate=True)
    with pytest.raises(ServiceUnavailable):
        CALLS[call](client)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    nobody = CodeOceanClient("http://127.0.0.1:9", TOKEN, retries=AT_ONCE)
    with pytest.raises(ServiceUnavailable, match="custom metadata"):
        nobody.custom_metadata_keys()


def test_an_address_without_a_scheme_is_a_setting_to_mend() -> None:
    with pytest.raises(InvalidInput, match="domain"):
        CodeOceanClient("codeocean.example.org", TOKEN).custom_metadata_keys()


def test_a_server_that_says_nothing_is_given_up(url: str, stand_in: StandInControl) -> None:
    stand_in.fail(times=None, delay_s=1)
    hurried = CodeOceanClient(url, TOKEN, timeout_s=0.1, retries=AT_ONCE)
    with pytest.raises(ServiceUnavailable, match="ReadTimeout"):
        hurried.custom_metadata_keys()


def test_a_wrong_token_is_refused(url: str, stand_in: StandInControl) -> None:
    with pytest.raises(AccessDenied, match="401"):
        CodeOceanClient(url, "cop_wrong", retries=AT_ONCE).custom_metadata_keys()


def test_what_is_gone_is_not_found(client: CodeOceanClient) -> None:
    with pytest.raises(NotFound, match="data asset a"):
        client.data_asset("a")
    with pytest.raises(NotFound, match="result f of computation c"):
        client.read_result_file("c", "f")


def test_the_signed_address_of_a_file_is_in_no_error(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    computation_id = computed(client)
    stand_in.fail(path="/_files/*", status=403)
    with pytest.raises(AccessDenied) as raised:
        client.read_result_file(computation_id, "output/summary.txt")
    assert "signature" not in f"{raised.value}"
    assert raised.value.__cause__ is None
    stand_in.fail(path="/_files/*", times=None, close=True)
    with pytest.raises(ServiceUnavailable, match="the download broke") as broken:
        client.read_result_file(computation_id, "output/summary.txt")
    assert "signature" not in f"{broken.value}"


# Repeating


@pytest.mark.parametrize("effect", [{"status": 502}, {"close": True}, {"truncate": True}], ids=str)
@pytest.mark.parametrize("call", ["find_external_assets", "custom_metadata_keys"])
def test_a_question_is_asked_again(
    client: CodeOceanClient, stand_in: StandInControl, call: str, effect: dict[str, Any]
) -> None:
    stand_in.fail(times=2, **effect)
    CALLS[call](client)
    assert len(stand_in.requests()) == 3


def test_a_broken_download_is_tried_again(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    computation_id = computed(client, data_assets=[])
    stand_in.fail(path="/_files/*", truncate=True)
    assert client.read_result_file(computation_id, "output/summary.txt")


def test_a_definite_no_is_not_asked_again(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    with pytest.raises(NotFound):
        client.data_asset("a")
    assert len(stand_in.requests()) == 1


@pytest.mark.parametrize(("call", "path"), [("create_data_asset", ASSETS), ("run", COMPUTATIONS)])
@pytest.mark.parametrize("status", [429, 503])
def test_a_creation_that_was_turned_away_is_repeated_and_made_once(
    client: CodeOceanClient, stand_in: StandInControl, call: str, path: str, status: int
) -> None:
    stand_in.fail("POST", path, times=2, status=status)
    CALLS[call](client)
    answers = [request["status"] for request in stand_in.requests("POST", path)]
    assert answers == [status, status, 200]


@pytest.mark.parametrize(("call", "path"), [("create_data_asset", ASSETS), ("run", COMPUTATIONS)])
@pytest.mark.parametrize(
    "effect",
    [
        pytest.param({"status": 502}, id="502 of a gateway"),
        pytest.param({"status": 504}, id="504 of a gateway"),
        pytest.param({"status": 500}, id="500"),
        pytest.param({"close": True}, id="connection lost"),
        pytest.param({"truncate": True}, id="half an answer"),
    ],
)
def test_a_creation_that_may_have_taken_effect_is_not_repeated(
    client: CodeOceanClient,
    stand_in: StandInControl,
    call: str,
    path: str,
    effect: dict[str, Any],
) -> None:
    stand_in.fail("POST", path, carried_out=True, **effect)
    with pytest.raises(ServiceUnavailable):
        CALLS[call](client)
    assert len(stand_in.requests("POST", path)) == 1


def test_what_a_lost_answer_made_is_found_afterwards(
    client: CodeOceanClient, stand_in: StandInControl
) -> None:
    stand_in.fail("POST", carried_out=True, close=True)
    with pytest.raises(ServiceUnavailable):
        client.create_data_asset(raw_asset())
    assert len(client.find_external_assets("lab", NAME)) == 1
    stand_in.fail("POST", carried_out=True, close=True)
    with pytest.raises(ServiceUnavailable):
        client.run(RunParams(pipeline_id="whole"))
    assert len(client.find_computations("whole", created_after=0)) == 1


@pytest.fixture
def retries() -> Iterator[list[stamina.instrumentation.RetryDetails]]:
    """What is about to be tried again."""
    noted: list[stamina.instrumentation.RetryDetails] = []
    before = stamina.instrumentation.get_on_retry_hooks()

    def note(details: stamina.instrumentation.RetryDetails) -> None:
        noted.append(details)

    stamina.instrumentation.set_on_retry_hooks([note])
    yield noted
    stamina.instrumentation.set_on_retry_hooks(before)


def test_a_creation_nobody_heard_of_is_tried_again(
    retries: list[stamina.instrumentation.RetryDetails],
) -> None:
    nobody = CodeOceanClient("http://127.0.0.1:9", TOKEN, retries=AT_ONCE)
    with pytest.raises(ServiceUnavailable):
        nobody.run(RunParams(capsule_id="sorting"))
    assert [retry.retry_num for retry in retries] == [1, 2]


def test_the_wait_a_server_asks_for_is_waited(
    url: str,
    stand_in: StandInControl,
    retries: list[stamina.instrumentation.RetryDetails],
) -> None:
    patient = stamina.RetryingCaller(attempts=2, timeout=None, wait_initial=30, wait_max=30)
    stand_in.fail(status=429, headers={"Retry-After": "0"})
    CodeOceanClient(url, TOKEN, retries=patient).custom_metadata_keys()
    assert [retry.wait_for for retry in retries] == [0]


def test_a_run_carries_its_inputs(client: CodeOceanClient, stand_in: StandInControl) -> None:
    asset = ready(client, raw_asset())
    given = DataAssetsRunParam(id=asset.id, mount="ecephys")
    computation = client.run(RunParams(pipeline_id="whole", data_assets=[given]))
    assert [(i.id, i.mount) for i in computation.data_assets or []] == [(asset.id, "ecephys")]
