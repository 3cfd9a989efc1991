"""The whole way, through the real SDK and a real store: done twice, it is there once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from include.acquisitions.captures import (
    capture_name,
    capture_result,
    finish_capture,
    record_result,
)
from include.acquisitions.job import UploadJob
from include.acquisitions.pipeline_settings import PipelineMonitorSettings, plan_pipelines
from include.acquisitions.pipelines import check_computation, input_name, start_computation
from include.acquisitions.plan import RunPlan, TaskPlan
from include.acquisitions.registration import (
    TASK,
    check_ready,
    data_asset_params,
    find_or_create,
    finish,
    update_record,
)
from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.assets.record import RecordAction, link_ids
from include.clients.code_ocean import CodeOceanClient
from include.clients.docdb import DocDbClient
from include.local.stand_ins.code_ocean import create_app
from include.local.stand_ins.serving import serve_in_thread

if TYPE_CHECKING:
    from pymongo.collection import Collection

TOKEN = "cop_test"
NAME = "712345_2024-03-05_14-22-10"
LOCATION = AssetLocation("open-data", NAME)
NOW = datetime(2026, 3, 5, 14, 22, 10, tzinfo=UTC)
ECEPHYS = {"name": "Extracellular electrophysiology", "abbreviation": "ecephys"}
CAPTURE = {
    "tags": ["derived"],
    "process_name_suffix": "sorted",
    "docdb_settings": {"docdb_version": "v2", "results_bucket": "co-results"},
}


@pytest.fixture(scope="module")
def code_ocean() -> Iterator[CodeOceanClient]:
    with serve_in_thread(create_app(token=TOKEN)) as address:
        yield CodeOceanClient(address, TOKEN)


@pytest.fixture
def docdb(docdb_collection: Collection[dict[str, Any]]) -> DocDbClient:
    client = DocDbClient(docdb_collection)
    client.ensure_indexes()
    return client


def make_plan() -> RunPlan:
    job = {
        "job_type": "default",
        "project_name": "Ephys Platform",
        "modalities": [ECEPHYS],
        "subject_id": "712345",
        "acq_datetime": "2024-03-05T14:22:10",
        "tasks": {},
    }
    monitor = {"run_params": {"pipeline_id": "p"}, "capture_settings": CAPTURE}
    return RunPlan(
        dag_id="transform_and_upload_v2",
        run_id="manual",
        run_key=f"{NAME}_0123456789",
        job=UploadJob.model_validate(job),
        bucket=LOCATION.bucket,
        asset_name=NAME,
        staging_folder=Path("/staging"),
        tasks={TASK: TaskPlan()},
        modalities={},
        pipelines={"ecephys": TaskPlan(job_settings={"pipeline_monitor_settings": monitor})},
    )


def until(is_done: Callable[[], bool]) -> None:
    assert any(is_done() for _ in range(50))


def register(code_ocean: CodeOceanClient, docdb: DocDbClient) -> tuple[str, RecordAction]:
    plan = make_plan()
    keys = code_ocean.custom_metadata_keys()
    params = data_asset_params(plan, is_public=True, custom_metadata_keys=keys).params
    registration = find_or_create(params, code_ocean)
    until(lambda: check_ready(code_ocean.data_asset(registration.asset_id)))
    asset_id = finish(registration, LOCATION, code_ocean).asset_id
    aggregate = {"subject": {"subject_id": "712345"}, "other_identifiers": None}
    done = update_record(
        LOCATION, NAME, aggregate, asset_id, docdb, generation=Generation.V2, now=NOW
    )
    return asset_id, done.action


def run_and_capture(
    settings: PipelineMonitorSettings, code_ocean: CodeOceanClient, docdb: DocDbClient
) -> tuple[str, str, RecordAction]:
    run, capture = settings.run_params, settings.capture_settings
    assert capture is not None
    since = datetime.now(UTC) - timedelta(minutes=5)
    computation_id = start_computation(run, code_ocean, started_after=since).id
    until(lambda: check_computation(code_ocean.computation(computation_id)))
    name = capture_name(
        capture, computation_id, code_ocean, input_name=input_name(run, code_ocean), at=NOW
    )
    asset_id = capture_result(capture, computation_id, name, code_ocean).asset_id
    until(lambda: check_ready(code_ocean.data_asset(asset_id)))
    asset = finish_capture(capture, asset_id, code_ocean)
    done = record_result(asset, computation_id, capture, code_ocean, docdb, now=NOW)
    assert done is not None
    return computation_id, asset.id, done.action


def test_everything_done_twice_is_there_once(
    code_ocean: CodeOceanClient,
    docdb: DocDbClient,
    docdb_collection: Collection[dict[str, Any]],
) -> None:
    raw_id, first = register(code_ocean, docdb)
    assert register(code_ocean, docdb) == (raw_id, RecordAction.NOTHING)
    assert first is RecordAction.INSERT
    planned = plan_pipelines(make_plan().pipelines, asset_id=raw_id, asset_name=NAME)
    settings = planned.runs["ecephys"]
    computation_id, result_id, captured = run_and_capture(settings, code_ocean, docdb)
    assert captured is RecordAction.INSERT
    assert run_and_capture(settings, code_ocean, docdb) == (
        computation_id,
        result_id,
        RecordAction.NOTHING,
    )

    made = sorted(asset.id for asset in code_ocean.iterate_data_assets())
    assert made == sorted([raw_id, result_id])
    assert len(code_ocean.find_computations("p", created_after=0)) == 1
    assert docdb_collection.count_documents({}) == 2
    raw, result = (
        docdb.find_record(str(LOCATION)),
        docdb.find_record(f"s3://co-results/{result_id}"),
    )
    assert raw is not None
    assert result is not None
    assert link_ids(raw) == (raw_id,)
    assert link_ids(result) == (result_id,)
    assert result["name"] == code_ocean.data_asset(result_id).name


def test_writers_who_meet_make_one_record_with_what_all_of_them_know(
    docdb: DocDbClient, docdb_collection: Collection[dict[str, Any]]
) -> None:
    together = Barrier(4)

    def update(number: int) -> RecordAction:
        together.wait()
        aggregate = {f"core_{number}": {"from": number}}
        return update_record(
            LOCATION,
            NAME,
            aggregate,
            f"co-{number}",
            docdb,
            generation=Generation.V1,
            now=NOW + timedelta(seconds=number),
        ).action

    with ThreadPoolExecutor(4) as writers:
        actions = list(writers.map(update, range(4)))
    assert sorted(action.value for action in actions) == ["insert", "update", "update", "update"]
    assert docdb_collection.count_documents({}) == 1
    record = docdb.find_record(str(LOCATION))
    assert record is not None
    assert sorted(link_ids(record)) == [f"co-{number}" for number in range(4)]
    assert all(record[f"core_{number}"] == {"from": number} for number in range(4))
