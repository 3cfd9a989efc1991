"""A result is captured once, under one name, and DocDB knows it or the run is red."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from codeocean.models.components import EveryoneRole, Permissions, UserPermissions, UserRole
from codeocean.models.data_asset import (
    DataAsset,
    DataAssetOrigin,
    DataAssetState,
    DataAssetType,
    Provenance,
    SourceBucket,
)

from include.acquisitions.captures import (
    capture_name,
    capture_result,
    finish_capture,
    record_result,
    result_location,
)
from include.acquisitions.pipeline_settings import CaptureSettings
from include.acquisitions.registration import RecordUpdate
from include.assets.core_files import Generation
from include.assets.record import LINK_FIELDS, RecordAction
from include.errors import (
    ComputationFailed,
    InvalidInput,
    NotFound,
    ServiceUnavailable,
    VerificationFailed,
)
from tests.acquisitions.code_ocean_fake import FakeCodeOcean

INPUT = "712345_2024-03-05_14-22-10"
DERIVED = f"{INPUT}_sorted_2026-03-05_14-22-10"
AT = datetime(2026, 3, 5, 14, 22, 10, tzinfo=UTC)
COMPUTATION = "computation-1"


def make_capture(**fields: Any) -> CaptureSettings:
    return CaptureSettings.model_validate({"tags": ["derived", "712345"], **fields})


@pytest.fixture
def code_ocean() -> FakeCodeOcean:
    return FakeCodeOcean()


def name_of(code_ocean: FakeCodeOcean, *, of: str | None = INPUT, **fields: Any) -> str:
    return capture_name(make_capture(**fields), COMPUTATION, code_ocean, input_name=of, at=AT)


# The name


def test_a_given_name_is_taken_without_looking(code_ocean: FakeCodeOcean) -> None:
    code_ocean.results["data_description.json"] = b"not json"
    assert name_of(code_ocean, name="mine") == "mine"


def test_a_derived_name_in_the_result_is_taken(code_ocean: FakeCodeOcean) -> None:
    description = {"data_level": "derived", "name": DERIVED}
    code_ocean.results["data_description.json"] = json.dumps(description).encode()
    assert name_of(code_ocean) == DERIVED
    assert name_of(code_ocean, of=None) == DERIVED


@pytest.mark.parametrize(
    "description",
    [
        pytest.param(None, id="no file"),
        pytest.param({}, id="empty"),
        pytest.param({"data_level": "raw", "name": DERIVED}, id="raw"),
        pytest.param({"data_level": "derived", "name": INPUT}, id="the input's own name"),
        pytest.param({"data_level": "derived", "name": f"{DERIVED}_more"}, id="text behind it"),
        pytest.param({"data_level": "derived", "name": f"a/{DERIVED}"}, id="a slash"),
        pytest.param({"data_level": "derived", "name": None}, id="no name"),
        pytest.param({"data_level": "derived", "name": 5}, id="a number"),
    ],
)
def test_otherwise_the_name_is_made_from_the_input(
    code_ocean: FakeCodeOcean, description: Any
) -> None:
    if description is not None:
        code_ocean.results["data_description.json"] = json.dumps(description).encode()
    assert name_of(code_ocean) == f"{INPUT}_processed_2026-03-05_14-22-10"


def test_a_made_name_has_the_suffix_and_the_time_of_its_zone(code_ocean: FakeCodeOcean) -> None:
    fields = {
        "process_name_suffix": "sorted",
        "process_name_suffix_tz": "America/Los_Angeles",
    }
    assert name_of(code_ocean, **fields) == f"{INPUT}_sorted_2026-03-05_06-22-10"


def test_without_input_and_derived_name_there_is_no_name(code_ocean: FakeCodeOcean) -> None:
    with pytest.raises(InvalidInput, match=r"computation-1: capture_settings\.name"):
        name_of(code_ocean, of=None)


@pytest.mark.parametrize("content", [b"", b'{"name": ', b"[]", b"null", b"\xff\xfe{}"])
def test_a_description_that_cannot_be_read_is_not_guessed_around(
    code_ocean: FakeCodeOcean, content: bytes
) -> None:
    code_ocean.results["data_description.json"] = content
    with pytest.raises(InvalidInput, match=r"data_description\.json of computation computation-1"):
        name_of(code_ocean)


# The asset


def capture(code_ocean: FakeCodeOcean, known_id: str | None = None, **fields: Any) -> str:
    return capture_result(
        make_capture(**fields), COMPUTATION, DERIVED, code_ocean, known_id=known_id
    ).asset_id


def test_a_result_is_captured_once_even_when_the_answer_got_lost(code_ocean: FakeCodeOcean) -> None:
    code_ocean.loses_answers = 1
    with pytest.raises(ServiceUnavailable):
        capture(code_ocean)
    assert capture(code_ocean) == "asset-1"
    assert len(code_ocean.created) == 1


def test_a_stored_id_is_used_even_when_the_search_lags_behind(code_ocean: FakeCodeOcean) -> None:
    stored = capture(code_ocean)
    code_ocean.lists_new_things = False
    assert capture(code_ocean, stored) == stored
    assert len(code_ocean.created) == 1


def test_a_stored_id_that_is_gone_is_replaced(code_ocean: FakeCodeOcean) -> None:
    assert capture(code_ocean, "gone") == "asset-1"


def test_a_stored_id_that_has_failed_is_replaced_and_named(code_ocean: FakeCodeOcean) -> None:
    stored = capture(code_ocean)
    code_ocean.change(stored, state=DataAssetState.Failed, failure_reason="disk full")
    made = capture_result(make_capture(), COMPUTATION, DERIVED, code_ocean, known_id=stored)
    assert (made.asset_id, made.is_new) == ("asset-2", True)
    assert ["disk full" in warning for warning in made.warnings] == [True]


def test_the_result_of_another_computation_of_the_same_name_is_not_ours(
    code_ocean: FakeCodeOcean,
) -> None:
    for number, provenance in enumerate([None, Provenance(), Provenance(computation="other")]):
        code_ocean.add_asset(
            f"other-{number}", name=DERIVED, type=DataAssetType.Result, provenance=provenance
        )
    assert capture(code_ocean) == "asset-1"


def test_an_internal_result_stays_with_code_ocean(code_ocean: FakeCodeOcean) -> None:
    capture(code_ocean, custom_metadata={"data level": "derived"}, description="d")
    body = code_ocean.created[0].to_dict()  # type: ignore[attr-defined]
    assert body == {
        "name": DERIVED,
        "tags": ["derived", "712345"],
        "mount": DERIVED,
        "description": "d",
        "source": {
            "aws": None,
            "gcp": None,
            "computation": {"id": COMPUTATION, "path": None},
            "cloud_workstation": None,
        },
        "target": None,
        "custom_metadata": {"data level": "derived"},
        "data_asset_ids": None,
        "results_info": None,
    }


def test_a_target_gets_the_name_as_its_prefix(code_ocean: FakeCodeOcean) -> None:
    target = {"aws": {"bucket": "open-data", "prefix": "somewhere/else"}}
    capture(code_ocean, target=target, mount="results", results_info={"commit": "c"})
    body = code_ocean.created[0].to_dict()  # type: ignore[attr-defined]
    assert body["target"]["aws"] == {
        "bucket": "open-data",
        "endpoint_name": None,
        "prefix": DERIVED,
    }
    assert body["mount"] == "results"
    assert body["results_info"]["commit"] == "c"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Permissions(everyone=EveryoneRole.Viewer)),
        (
            {"permissions": {"users": [{"email": "a@b.org", "role": "owner"}]}},
            Permissions(users=[UserPermissions("a@b.org", UserRole.Owner)]),
        ),
    ],
)
def test_a_captured_asset_gets_its_permissions(
    code_ocean: FakeCodeOcean, fields: dict[str, Any], expected: Permissions
) -> None:
    asset_id = capture(code_ocean)
    code_ocean.change(asset_id, state=DataAssetState.Ready)
    assert finish_capture(make_capture(**fields), asset_id, code_ocean).id == asset_id
    assert code_ocean.permissions[asset_id] == expected


@pytest.mark.parametrize(
    ("state", "error"), [("draft", VerificationFailed), ("failed", ComputationFailed)]
)
def test_an_asset_that_is_not_ready_is_not_called_captured(
    code_ocean: FakeCodeOcean, state: str, error: type[Exception]
) -> None:
    asset_id = capture(code_ocean)
    code_ocean.change(asset_id, state=DataAssetState(state))
    with pytest.raises(error, match=asset_id):
        finish_capture(make_capture(), asset_id, code_ocean)


# The record


@pytest.mark.parametrize(
    ("source", "location"),
    [
        pytest.param(None, "s3://co-results/asset-1", id="internal"),
        pytest.param(
            SourceBucket(DataAssetOrigin.Local), "s3://co-results/asset-1", id="marked local"
        ),
        pytest.param(
            SourceBucket(DataAssetOrigin.AWS, "b", DERIVED, external=False),
            "s3://co-results/asset-1",
            id="copied from a bucket",
        ),
        pytest.param(
            SourceBucket(DataAssetOrigin.AWS, "b", f"{DERIVED}/", external=True),
            f"s3://b/{DERIVED}",
            id="external",
        ),
    ],
)
def test_a_result_is_where_code_ocean_put_it(
    code_ocean: FakeCodeOcean, source: SourceBucket | None, location: str
) -> None:
    asset = code_ocean.add_asset("asset-1", name=DERIVED, source_bucket=source)
    assert str(result_location(asset, "co-results")) == location


class FakeDocDb:
    """One record that is inserted and linked, or a store that is down."""

    def __init__(self, *, is_down: bool = False) -> None:
        self.is_down = is_down
        self.record: dict[str, Any] | None = None

    def find_record(self, location: str) -> dict[str, Any] | None:
        if self.is_down:
            raise ServiceUnavailable("DocDB")
        return deepcopy(self.record)

    def insert_record(self, record: Mapping[str, Any]) -> bool:
        self.record = dict(record)
        return True

    def set_fields(self, *args: Any, **options: Any) -> None:
        raise AssertionError("nothing to set")

    def add_link(self, *args: Any, **options: Any) -> bool:
        raise AssertionError("linked at once")


def record(
    code_ocean: FakeCodeOcean, docdb: FakeDocDb, asset: DataAsset, version: str = "v2"
) -> RecordUpdate | None:
    settings = make_capture(
        docdb_settings={"results_bucket": "co-results", "docdb_version": version}
    )
    return record_result(
        asset,
        COMPUTATION,
        settings,
        code_ocean,
        docdb,
        now=AT,
    )


@pytest.mark.parametrize("generation", Generation)
def test_the_record_of_a_result_holds_its_core_files_and_its_id(
    code_ocean: FakeCodeOcean, generation: Generation
) -> None:
    code_ocean.results = {
        "processing.json": b'{"data_processes": []}',
        "rig.json": b'{"rig_id": "323"}',
        "notes.json": b"not a core file",
    }
    docdb = FakeDocDb()
    asset = code_ocean.add_asset("asset-1", name=DERIVED)
    done = record(code_ocean, docdb, asset, generation)
    assert done is not None
    assert done.action is RecordAction.INSERT
    assert docdb.record is not None
    assert (docdb.record["name"], docdb.record["location"]) == (DERIVED, "s3://co-results/asset-1")
    assert docdb.record["processing"]["data_processes"] == []
    assert docdb.record.get("rig") == ({"rig_id": "323"} if generation == "v1" else None)
    assert docdb.record[LINK_FIELDS[generation]] == {"Code Ocean": ["asset-1"]}
    again = record(code_ocean, docdb, asset, generation)
    assert again is not None
    assert again.action is RecordAction.NOTHING


def test_without_settings_there_is_no_record(code_ocean: FakeCodeOcean) -> None:
    asset = code_ocean.add_asset("asset-1", name=DERIVED)
    docdb = FakeDocDb(is_down=True)
    done = record_result(
        asset,
        COMPUTATION,
        make_capture(),
        code_ocean,
        docdb,
        now=AT,
    )
    assert done is None


def test_all_core_files_that_cannot_be_read_are_named_and_nothing_is_recorded(
    code_ocean: FakeCodeOcean,
) -> None:
    code_ocean.results = {"subject.json": b'{"a":', "processing.json": b"", "model.json": b"{}"}
    docdb = FakeDocDb()
    with pytest.raises(InvalidInput) as raised:
        record(code_ocean, docdb, code_ocean.add_asset("asset-1"))
    assert [problem.item.split()[1] for problem in raised.value.problems] == [
        "subject.json",
        "processing.json",
    ]
    assert docdb.record is None


def test_a_store_that_is_down_is_not_passed_over(code_ocean: FakeCodeOcean) -> None:
    with pytest.raises(ServiceUnavailable):
        record(code_ocean, FakeDocDb(is_down=True), code_ocean.add_asset("asset-1"))


def test_a_result_that_is_gone_is_not_recorded_as_empty() -> None:
    class Gone(FakeCodeOcean):
        def list_results(self, computation_id: str) -> Any:
            raise NotFound(computation_id)

    gone, docdb = Gone(), FakeDocDb()
    with pytest.raises(NotFound):
        record(gone, docdb, gone.add_asset("asset-1"))
    assert docdb.record is None
