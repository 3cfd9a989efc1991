"""Every route of the Code Ocean stand-in, driven by the vendor's SDK over real HTTP."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from aind_data_schema.core.data_description import DataDescription
from codeocean.client import CodeOcean
from codeocean.error import Error
from codeocean.models.components import (
    EveryoneRole,
    Ownership,
    Permissions,
    SearchFilter,
    SearchFilterRange,
    SortOrder,
    UserPermissions,
    UserRole,
)
from codeocean.models.computation import (
    Computation,
    ComputationEndStatus,
    ComputationState,
    DataAssetsRunParam,
    NamedRunParam,
    RunParams,
)
from codeocean.models.data_asset import (
    AWSS3Source,
    AWSS3Target,
    ComputationSource,
    DataAsset,
    DataAssetOrigin,
    DataAssetParams,
    DataAssetSearchOrigin,
    DataAssetSearchParams,
    DataAssetSortBy,
    DataAssetState,
    DataAssetType,
    DataAssetUpdateParams,
    Source,
    SourceBucket,
    Target,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from include.local.stand_ins.code_ocean import create_app
from include.local.stand_ins.code_ocean_storage import Storage
from include.local.stand_ins.control import StandInControl
from include.local.stand_ins.serving import serve_in_thread

TOKEN = "cop_test"
NAME = "ecephys_655019_2023-04-03_18-17-07"

KEYS = st.sampled_from([
    "name",
    "tags",
    "mount",
    "source",
    "aws",
    "computation",
    "id",
    "bucket",
    "prefix",
    "target",
    "custom_metadata",
    "query",
    "limit",
    "offset",
    "filters",
    "key",
    "value",
    "values",
    "range",
    "data_assets",
    "capsule_id",
    "pipeline_id",
    "path",
    "everyone",
])
"""Keys of the bodies the stand-in reads."""


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
def sdk(url: str, stand_in: StandInControl) -> CodeOcean:
    return CodeOcean(url, TOKEN)


def raw_asset(name: str = NAME, **changes: Any) -> DataAssetParams:
    source = AWSS3Source(bucket="lab", prefix=name, keep_on_external_storage=True)
    given = {"name": name, "mount": name, "tags": ["raw"], "source": Source(aws=source)}
    return DataAssetParams(**{**given, **changes})


def ready(sdk: CodeOcean, params: DataAssetParams) -> DataAsset:
    asset = sdk.data_assets.create_data_asset(params)
    while asset.state is DataAssetState.Draft:
        asset = sdk.data_assets.get_data_asset(asset.id)
    return asset


def ended(sdk: CodeOcean, params: RunParams) -> Computation:
    computation = sdk.computations.run_capsule(params)
    while computation.state not in {ComputationState.Completed, ComputationState.Failed}:
        computation = sdk.computations.get_computation(computation.id)
    return computation


def found(sdk: CodeOcean, **search: Any) -> list[str]:
    page = sdk.data_assets.search_data_assets(DataAssetSearchParams(**search))
    return [asset.name for asset in page.results]


# Data assets


@pytest.mark.parametrize("polls", [0, 1, 3])
def test_a_new_asset_is_a_draft_for_as_many_looks_as_told(
    sdk: CodeOcean, stand_in: StandInControl, polls: int
) -> None:
    stand_in.set(draft_polls=polls)
    asset = sdk.data_assets.create_data_asset(raw_asset())
    assert asset.state is DataAssetState.Draft
    seen = [sdk.data_assets.get_data_asset(asset.id).state for _ in range(polls + 1)]
    assert seen == [DataAssetState.Draft] * polls + [DataAssetState.Ready]


def test_an_asset_is_made_to_fail_once(sdk: CodeOcean, stand_in: StandInControl) -> None:
    stand_in.set(fail_next_asset="disk full")
    failed, fine = ready(sdk, raw_asset()), ready(sdk, raw_asset())
    assert (failed.state, failed.failure_reason) == (DataAssetState.Failed, "disk full")
    assert fine.state is DataAssetState.Ready


def test_an_external_asset_says_where_its_files_are(sdk: CodeOcean) -> None:
    asset = ready(sdk, raw_asset(custom_metadata={"data level": "raw"}))
    assert asset.type is DataAssetType.Dataset
    assert asset.source_bucket == SourceBucket(
        origin=DataAssetOrigin.AWS, bucket="lab", prefix=NAME, external=True
    )
    assert asset.custom_metadata == {"data level": "raw"}


def test_one_folder_may_have_several_assets_unless_told(
    sdk: CodeOcean, stand_in: StandInControl
) -> None:
    first, second = ready(sdk, raw_asset()), ready(sdk, raw_asset())
    assert first.id != second.id
    stand_in.set(reject_duplicates=True)
    with pytest.raises(Error, match="already is an asset") as refused:
        ready(sdk, raw_asset())
    assert refused.value.status_code == 400


@pytest.mark.parametrize(
    "params",
    [
        pytest.param(raw_asset(source=None), id="no source"),
        pytest.param(raw_asset(source=Source()), id="an empty source"),
        pytest.param(raw_asset(custom_metadata={"colour": "red"}), id="unknown metadata"),
        pytest.param(raw_asset(mount=""), id="no mount"),
        pytest.param(raw_asset(tags=None), id="no tags"),
        pytest.param(
            raw_asset(source=Source(computation=ComputationSource(id="c"))), id="no computation"
        ),
        pytest.param(raw_asset(source=None, data_asset_ids=["a"]), id="no part"),
    ],
)
def test_an_asset_that_cannot_be_is_refused_with_a_message(
    sdk: CodeOcean, params: DataAssetParams
) -> None:
    with pytest.raises(Error) as refused:
        sdk.data_assets.create_data_asset(params)
    assert refused.value.status_code == 400
    assert refused.value.message


def test_changing_an_asset_leaves_what_is_null(sdk: CodeOcean) -> None:
    asset = ready(sdk, raw_asset(description="old"))
    changed = sdk.data_assets.update_metadata(asset.id, DataAssetUpdateParams(tags=["a", "b"]))
    assert (changed.name, changed.description, changed.tags) == (NAME, "old", ["a", "b"])


def test_permissions_are_kept_part_by_part(sdk: CodeOcean) -> None:
    asset = ready(sdk, raw_asset())
    user = UserPermissions(email="a@example.org", role=UserRole.Editor)
    sdk.data_assets.update_permissions(asset.id, Permissions(users=[user]))
    sdk.data_assets.update_permissions(asset.id, Permissions(everyone=EveryoneRole.Viewer))
    assert sdk.data_assets.get_permissions(asset.id) == Permissions(
        users=[user], everyone=EveryoneRole.Viewer
    )


def test_an_archived_asset_is_found_only_when_asked_for(sdk: CodeOcean) -> None:
    ready(sdk, raw_asset("live"))
    sdk.data_assets.archive_data_asset(ready(sdk, raw_asset("old")).id, archive=True)
    assert found(sdk, archived=False) == ["live"]
    assert found(sdk, archived=True) == ["old"]
    assert sorted(found(sdk)) == ["live", "old"]


def test_a_deleted_asset_is_gone(sdk: CodeOcean) -> None:
    asset = ready(sdk, raw_asset())
    sdk.data_assets.delete_data_asset(asset.id)
    with pytest.raises(Error) as gone:
        sdk.data_assets.get_data_asset(asset.id)
    assert gone.value.status_code == 404


def test_a_combined_asset_names_its_parts(sdk: CodeOcean) -> None:
    parts = [ready(sdk, raw_asset(name)).id for name in ("a", "b")]
    made = ready(sdk, raw_asset("both", source=None, data_asset_ids=parts))
    assert made.type is DataAssetType.Combined
    assert [part.id for part in made.contained_data_assets or []] == parts
    assert found(sdk, query=f"contained_data_id:{parts[0]}") == ["both"]


# Search


@pytest.fixture
def library(stand_in: StandInControl, sdk: CodeOcean) -> CodeOcean:
    external = {"origin": "aws", "bucket": "lab", "prefix": "p", "external": True}
    stand_in.put(
        "data_assets",
        [
            {
                "id": "1",
                "name": NAME,
                "created": 1,
                "tags": ["raw", "Ephys"],
                "source_bucket": external,
                "custom_metadata": {"subject id": "655019", "data level": "raw", "age": 60},
            },
            {
                "id": "2",
                "name": f"{NAME}_sorted_2023-05-01_00-00-00",
                "created": 2,
                "type": "result",
                "tags": ["derived"],
                "custom_metadata": {"subject id": "655019", "data level": "derived"},
                "provenance": {"commit": "abc123", "run_script": "code/run"},
            },
            {"id": "3", "name": "a plain model", "created": 3, "type": "model", "size": 9},
        ],
    )
    return sdk


@pytest.mark.parametrize(
    ("search", "ids"),
    [
        pytest.param({"query": f'name:"{NAME}"'}, "12", id="a name is matched, not compared"),
        pytest.param({"query": f"name:{NAME.upper()}"}, "12", id="no case"),
        pytest.param({"query": "name:65501"}, "", id="whole words only"),
        pytest.param({"query": 'name:"plain model"'}, "3", id="a phrase"),
        pytest.param({"query": 'name:"model plain"'}, "", id="a phrase has an order"),
        pytest.param({"query": "tag:ephys tag:derived"}, "12", id="same field: either"),
        pytest.param({"query": "tag:ephys name:plain"}, "", id="different fields: both"),
        pytest.param({"query": "commit_id:abc123"}, "2", id="commit"),
        pytest.param({"query": "run_script:run"}, "2", id="run script"),
        pytest.param({"query": "655019"}, "12", id="free text in custom metadata"),
        pytest.param({"query": "model*"}, "3", id="no wildcards: the star is no word"),
        pytest.param({"query": "mod*"}, "", id="no wildcards"),
        pytest.param({"origin": DataAssetSearchOrigin.External}, "1", id="external"),
        pytest.param({"origin": DataAssetSearchOrigin.Internal}, "23", id="internal"),
        pytest.param({"type": DataAssetType.Result}, "2", id="type"),
        pytest.param({"ownership": Ownership.Created}, "123", id="mine"),
        pytest.param({"ownership": Ownership.Shared}, "", id="shared with me"),
        pytest.param({"favorite": True}, "", id="favourites"),
        pytest.param({"filters": [SearchFilter("subject id", value="655019")]}, "12", id="value"),
        pytest.param(
            {"filters": [SearchFilter("data level", values=["derived", "model"])]}, "2", id="values"
        ),
        pytest.param(
            {"filters": [SearchFilter("age", range=SearchFilterRange(50, 70))]}, "1", id="range"
        ),
        pytest.param(
            {"filters": [SearchFilter("age", range=SearchFilterRange(61, 70))]}, "", id="off range"
        ),
        pytest.param(
            {"filters": [SearchFilter("subject id", value="655019", exclude=True)]},
            "3",
            id="exclude",
        ),
        pytest.param({"filters": [SearchFilter("tags", value="raw")]}, "1", id="tags"),
    ],
)
def test_a_search_finds(library: CodeOcean, search: dict[str, Any], ids: str) -> None:
    page = library.data_assets.search_data_assets(DataAssetSearchParams(**search))
    assert "".join(sorted(asset.id for asset in page.results)) == ids


@pytest.mark.parametrize(
    ("field", "order", "ids"),
    [
        (DataAssetSortBy.Created, SortOrder.Ascending, "123"),
        (DataAssetSortBy.Created, SortOrder.Descending, "321"),
        (DataAssetSortBy.Name, SortOrder.Ascending, "312"),
        (DataAssetSortBy.Size, SortOrder.Descending, "321"),
        (DataAssetSortBy.Type, SortOrder.Ascending, "132"),
        (None, None, "321"),
    ],
)
def test_a_search_is_sorted(
    library: CodeOcean, field: DataAssetSortBy | None, order: SortOrder | None, ids: str
) -> None:
    params = DataAssetSearchParams(sort_field=field, sort_order=order)
    page = library.data_assets.search_data_assets(params)
    assert "".join(asset.id for asset in page.results) == ids


def test_a_search_comes_in_pages(library: CodeOcean, stand_in: StandInControl) -> None:
    params = DataAssetSearchParams(limit=2, offset=0)
    found = list(library.data_assets.search_data_assets_iterator(params))
    assert [asset.id for asset in found] == ["3", "2", "1"]
    bodies = [request["body"] for request in stand_in.requests("POST", "*/search")]
    assert [bool(body["next_token"]) for body in bodies] == [False, True]


def test_a_search_may_begin_further_on_and_gives_100_unless_told(
    sdk: CodeOcean, stand_in: StandInControl
) -> None:
    stand_in.put("data_assets", [{"id": f"{n:03}", "name": "a"} for n in range(150)])
    page = sdk.data_assets.search_data_assets(DataAssetSearchParams())
    assert (len(page.results), page.has_more) == (100, True)
    page = sdk.data_assets.search_data_assets(DataAssetSearchParams(offset=100))
    assert (len(page.results), page.has_more, page.next_token) == (50, False, None)


@pytest.mark.parametrize(
    "search",
    [
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        {"next_token": "nonsense"},
        {"sort_field": DataAssetSortBy.Name},
        {"sort_order": SortOrder.Ascending},
    ],
    ids=str,
)
def test_a_search_that_cannot_be_is_refused(sdk: CodeOcean, search: dict[str, Any]) -> None:
    with pytest.raises(Error) as refused:
        sdk.data_assets.search_data_assets(DataAssetSearchParams(**search))
    assert refused.value.status_code == 400


# Computations


@pytest.mark.parametrize(
    ("pace", "states"),
    [(0, ["completed"]), (1, ["running", "finalizing", "completed"]), (2, ["initializing"])],
)
def test_a_computation_moves_on_as_it_is_looked_at(
    sdk: CodeOcean, stand_in: StandInControl, pace: int, states: list[str]
) -> None:
    stand_in.set(polls_per_state=pace)
    computation = sdk.computations.run_capsule(RunParams(capsule_id="sorting"))
    assert computation.state is ComputationState.Initializing
    seen = [sdk.computations.get_computation(computation.id).state for _ in states]
    assert seen == states


def test_a_computation_tells_what_it_was_given(sdk: CodeOcean) -> None:
    asset = ready(sdk, raw_asset())
    params = RunParams(
        pipeline_id="whole",
        data_assets=[DataAssetsRunParam(id=asset.id)],
        parameters=["7"],
        named_parameters=[NamedRunParam(param_name="mode", value="fast")],
    )
    computation = sdk.computations.run_capsule(params)
    assert [(given.id, given.mount) for given in computation.data_assets or []] == [
        (asset.id, asset.mount)
    ]
    assert [given.value for given in computation.parameters or []] == ["7", "fast"]
    assert [known.id for known in sdk.pipelines.list_computations("whole")] == [computation.id]
    assert sdk.capsules.list_computations("whole") == []


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ({"state": "failed"}, ComputationState.Failed),
        ({"state": "completed", "end_status": "failed"}, ComputationState.Completed),
        ({"state": "completed", "end_status": "stopped"}, ComputationState.Completed),
    ],
    ids=str,
)
def test_a_computation_is_made_to_end_badly_once(
    sdk: CodeOcean, stand_in: StandInControl, end: dict[str, str], state: ComputationState
) -> None:
    stand_in.set(fail_next_computation=end)
    bad, good = (ended(sdk, RunParams(capsule_id="sorting")) for _ in range(2))
    assert (bad.state, bad.has_results, bad.exit_code) == (state, False, 1)
    assert (good.end_status, good.exit_code) == (ComputationEndStatus.Succeeded, 0)


def test_a_computation_is_renamed_and_deleted(sdk: CodeOcean) -> None:
    computation = sdk.computations.run_capsule(RunParams(capsule_id="sorting"))
    sdk.computations.rename_computation(computation.id, "a name & more")
    assert sdk.computations.get_computation(computation.id).name == "a name & more"
    sdk.computations.delete_computation(computation.id)
    with pytest.raises(Error) as gone:
        sdk.computations.get_computation(computation.id)
    assert gone.value.status_code == 404


@pytest.mark.parametrize(
    ("params", "status"),
    [
        pytest.param(RunParams(), 400, id="neither capsule nor pipeline"),
        pytest.param(RunParams(capsule_id="sorting", pipeline_id="b"), 400, id="both"),
        pytest.param(RunParams(capsule_id="nowhere"), 404, id="unknown capsule"),
        pytest.param(
            RunParams(capsule_id="sorting", data_assets=[DataAssetsRunParam(id="a")]),
            400,
            id="unknown input",
        ),
        pytest.param(
            RunParams(capsule_id="sorting", data_assets=[DataAssetsRunParam(id="")]),
            400,
            id="an input without id",
        ),
    ],
)
def test_a_run_that_cannot_be_is_refused(
    sdk: CodeOcean, stand_in: StandInControl, params: RunParams, status: int
) -> None:
    stand_in.set(known_capsules=["sorting"])
    with pytest.raises(Error) as refused:
        sdk.computations.run_capsule(params)
    assert refused.value.status_code == status


def test_a_draft_is_no_input(sdk: CodeOcean) -> None:
    draft = sdk.data_assets.create_data_asset(raw_asset())
    params = RunParams(capsule_id="sorting", data_assets=[DataAssetsRunParam(id=draft.id)])
    with pytest.raises(Error, match="is draft, not ready"):
        sdk.computations.run_capsule(params)


# Results


@pytest.fixture
def computation(sdk: CodeOcean) -> Computation:
    asset = ready(sdk, raw_asset())
    return ended(
        sdk, RunParams(capsule_id="sorting", data_assets=[DataAssetsRunParam(id=asset.id)])
    )


def test_results_describe_themselves_as_derived_from_the_input(
    sdk: CodeOcean, computation: Computation
) -> None:
    urls = sdk.computations.get_result_file_urls(computation.id, "data_description.json")
    description = DataDescription.model_validate(requests.get(urls.download_url).json())
    assert description.data_level == "derived"
    assert description.source_data == [NAME]
    assert (description.name or "").startswith(f"{NAME}_processed_")


def test_results_of_an_input_without_a_date_do_not_describe_themselves(sdk: CodeOcean) -> None:
    asset = ready(sdk, raw_asset("atlas"))
    params = RunParams(capsule_id="sorting", data_assets=[DataAssetsRunParam(id=asset.id)])
    done = ended(sdk, params)
    listed = sdk.computations.list_computation_results(done.id)
    assert [item.name for item in listed.items] == ["output"]


def test_results_may_be_told(sdk: CodeOcean, stand_in: StandInControl) -> None:
    stand_in.set(result_files={"deep/er/{input_name}.txt": '{"of": "{input_name}"}'})
    asset = ready(sdk, raw_asset())
    params = RunParams(capsule_id="sorting", data_assets=[DataAssetsRunParam(id=asset.id)])
    done = ended(sdk, params)
    (item,) = sdk.computations.list_computation_results(done.id, "deep/er").items
    assert item.path == f"deep/er/{NAME}.txt"
    urls = sdk.computations.get_result_file_urls(done.id, item.path)
    assert requests.get(urls.view_url).json() == {"of": NAME}


def test_both_ways_of_asking_for_an_address_give_the_file(
    sdk: CodeOcean, computation: Computation
) -> None:
    path = "output/summary.txt"
    old = sdk.computations.get_result_file_download_url(computation.id, path).url
    new = sdk.computations.get_result_file_urls(computation.id, path).download_url
    assert requests.get(old).content == requests.get(new).content != b""


def test_an_address_is_good_only_as_it_was_signed(sdk: CodeOcean, computation: Computation) -> None:
    url = sdk.computations.get_result_file_urls(computation.id, "output/summary.txt").download_url
    other = url.replace("output/summary.txt", "data_description.json")
    assert requests.get(other).status_code == 403
    assert requests.get(url, auth=(TOKEN, "")).status_code == 400


def test_what_is_not_in_the_results_is_not_found(sdk: CodeOcean, computation: Computation) -> None:
    for ask in (
        lambda: sdk.computations.get_result_file_urls(computation.id, "output"),
        lambda: sdk.computations.list_computation_results(computation.id, "outp"),
    ):
        with pytest.raises(Error) as missing:
            ask()
        assert missing.value.status_code == 404


def test_there_are_no_results_before_the_end(sdk: CodeOcean) -> None:
    running = sdk.computations.run_capsule(RunParams(capsule_id="sorting"))
    assert sdk.computations.list_computation_results(running.id).items == []


def test_captured_results_know_where_they_come_from(
    sdk: CodeOcean, computation: Computation
) -> None:
    source = Source(computation=ComputationSource(id=computation.id))
    asset = ready(sdk, raw_asset("sorted", source=source))
    assert asset.type is DataAssetType.Result
    assert asset.source_bucket is None
    assert asset.provenance is not None
    assert asset.provenance.computation == computation.id
    assert asset.provenance.capsule == "sorting"
    files = sdk.data_assets.list_data_asset_files(asset.id)
    assert {item.name for item in files.items} == {"output", "data_description.json"}
    urls = sdk.data_assets.get_data_asset_file_urls(asset.id, "output/summary.txt")
    old = sdk.data_assets.get_data_asset_file_download_url(asset.id, "output/summary.txt")
    assert requests.get(urls.download_url).content == requests.get(old.url).content


def test_a_part_of_the_results_may_be_captured(sdk: CodeOcean, computation: Computation) -> None:
    source = Source(computation=ComputationSource(id=computation.id, path="output"))
    asset = ready(sdk, raw_asset("sorted", source=source))
    files = sdk.data_assets.list_data_asset_files(asset.id)
    assert [item.name for item in files.items] == ["summary.txt"]


def test_results_captured_to_a_bucket_are_external(
    sdk: CodeOcean, computation: Computation
) -> None:
    asset = ready(
        sdk,
        raw_asset(
            "sorted",
            source=Source(computation=ComputationSource(id=computation.id)),
            target=Target(aws=AWSS3Target(bucket="derived", prefix="sorted")),
        ),
    )
    assert asset.source_bucket is not None
    assert (asset.source_bucket.bucket, asset.source_bucket.external) == ("derived", True)
    with pytest.raises(Error):
        sdk.data_assets.list_data_asset_files(asset.id)


# Capsules and the rest


def test_capsules_and_pipelines_are_there(sdk: CodeOcean, stand_in: StandInControl) -> None:
    stand_in.set(known_capsules=["sorting"])
    assert sdk.capsules.get_capsule("sorting").id == "sorting"
    assert sdk.pipelines.get_pipeline("sorting").status == "release"
    with pytest.raises(Error) as missing:
        sdk.capsules.get_capsule("nowhere")
    assert missing.value.status_code == 404


def test_the_custom_metadata_can_be_told(sdk: CodeOcean, stand_in: StandInControl) -> None:
    stand_in.set(custom_metadata_fields=[{"name": "colour", "type": "string"}])
    fields = sdk.custom_metadata.get_custom_metadata().fields or []
    assert [field.name for field in fields] == ["colour"]
    assert ready(sdk, raw_asset(custom_metadata={"colour": "red"})).custom_metadata


@pytest.mark.parametrize("token", ["cop_wrong", ""])
def test_only_the_token_is_let_in(url: str, stand_in: StandInControl, token: str) -> None:
    with pytest.raises(Error) as refused:
        CodeOcean(url, token).custom_metadata.get_custom_metadata()
    assert (refused.value.status_code, bool(refused.value.message)) == (401, True)


def test_an_unknown_path_is_told_in_the_same_words(url: str, stand_in: StandInControl) -> None:
    answer = requests.get(f"{url}/api/v1/nonsense", auth=(TOKEN, ""))
    assert answer.status_code == 404
    assert "message" in answer.json()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    path=st.sampled_from([
        "data_assets",
        "data_assets/search",
        "data_assets/known",
        "data_assets/known/permissions",
        "data_assets/known/files",
        "data_assets/known/files/urls?path=a",
        "data_assets/known/archive?archive=maybe",
        "computations",
        "computations/known/results",
        "capsules/known/computations",
    ]),
    body=JSON,
)
def test_no_request_is_too_odd_for_an_answer(
    url: str, control: StandInControl, method: str, path: str, body: Any
) -> None:
    control.put("data_assets", [{"id": "known", "name": "known"}])
    answer = requests.request(method, f"{url}/api/v1/{path}", auth=(TOKEN, ""), json=body)
    assert answer.status_code < 500
    assert answer.status_code < 400 or answer.json()["message"]


# Buckets


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="lab")
    yield client
    server.stop()


@pytest.fixture(scope="module")
def seeing(s3: Any) -> Iterator[CodeOcean]:
    """Code Ocean that looks into the buckets."""
    with serve_in_thread(create_app(storage=Storage(s3))) as url:
        yield CodeOcean(url, TOKEN)


def test_an_asset_of_a_folder_with_files_knows_their_size(seeing: CodeOcean, s3: Any) -> None:
    for number in range(3):
        s3.put_object(Bucket="lab", Key=f"{NAME}/{number}.bin", Body=b"12345")
    asset = ready(seeing, raw_asset())
    assert (asset.state, asset.files, asset.size) == (DataAssetState.Ready, 3, 15)


@pytest.mark.parametrize(
    ("bucket", "prefix"),
    [
        pytest.param("lab", "empty", id="an empty folder"),
        pytest.param("lab", NAME[:-1], id="a folder that only begins the same"),
        pytest.param("nowhere", NAME, id="no such bucket"),
    ],
)
def test_an_asset_without_files_fails(seeing: CodeOcean, s3: Any, bucket: str, prefix: str) -> None:
    s3.put_object(Bucket="lab", Key=f"{NAME}/0.bin", Body=b"12345")
    source = AWSS3Source(bucket=bucket, prefix=prefix, keep_on_external_storage=True)
    asset = ready(seeing, raw_asset(source=Source(aws=source)))
    assert asset.state is DataAssetState.Failed
    assert f"s3://{bucket}/{prefix}/" in (asset.failure_reason or "")


def test_results_with_a_target_are_written_there(seeing: CodeOcean, s3: Any) -> None:
    done = ended(seeing, RunParams(capsule_id="sorting"))
    asset = ready(
        seeing,
        raw_asset(
            "sorted",
            source=Source(computation=ComputationSource(id=done.id)),
            target=Target(aws=AWSS3Target(bucket="lab", prefix="sorted")),
        ),
    )
    assert asset.state is DataAssetState.Ready
    assert s3.get_object(Bucket="lab", Key="sorted/output/summary.txt")["Body"].read()


# The process


def test_what_was_made_survives_a_kill_and_a_stop(
    served: Callable[[str, int, Path], Any], free_port: int, tmp_path: Path
) -> None:
    port, state = free_port, tmp_path / "deep" / "code_ocean.sqlite"
    sdk = CodeOcean(f"http://127.0.0.1:{port}", TOKEN)
    with served("code_ocean", port, state) as running:
        asset = sdk.data_assets.create_data_asset(raw_asset())
        running.send_signal(signal.SIGKILL)
        running.wait(10)
    with served("code_ocean", port, state) as running:
        assert sdk.data_assets.get_data_asset(asset.id).name == NAME
        computation = sdk.computations.run_capsule(RunParams(capsule_id="sorting"))
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) in {0, -signal.SIGTERM}
    with served("code_ocean", port, state):
        assert sdk.data_assets.get_data_asset(asset.id).state is DataAssetState.Ready
        assert sdk.computations.get_computation(computation.id).id == computation.id


def test_nulls_and_absent_fields_are_the_same(url: str, stand_in: StandInControl) -> None:
    sent: Any = {"name": "n", "tags": [], "mount": "n", "source": {"aws": {"bucket": "lab"}}}
    answer = requests.post(f"{url}/api/v1/data_assets", auth=(TOKEN, ""), json=sent)
    assert answer.status_code == 200
    assert None not in answer.json().values()
    assert json.loads(answer.text)["state"] == "draft"
