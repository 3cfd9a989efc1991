"""However often it is asked and wherever it breaks: one asset, one record, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from codeocean.models.data_asset import (
    DataAssetOrigin,
    DataAssetParams,
    DataAssetState,
    SourceBucket,
)

from include.acquisitions.job import UploadJob
from include.acquisitions.plan import RunPlan, TaskPlan
from include.acquisitions.registration import (
    RECORD_ATTEMPTS,
    TASK,
    Registration,
    check_ready,
    data_asset_params,
    find_or_create,
    finish,
    update_record,
)
from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.assets.record import CODE_OCEAN, LINK_FIELDS, RecordAction, link_ids, record_id
from include.errors import (
    AccessDenied,
    ComputationFailed,
    InvalidInput,
    RecordChanged,
    ServiceUnavailable,
    VerificationFailed,
)
from tests.acquisitions.code_ocean_fake import FakeCodeOcean

NOW = datetime(2026, 3, 5, 14, 22, 10, tzinfo=UTC)
NAME = "712345_2024-03-05_14-22-10"
LOCATION = AssetLocation("open-data", NAME)
KNOWN_KEYS = {"data level", "subject id", "experiment type", "rig", "weight"}
ECEPHYS = {"name": "Extracellular electrophysiology", "abbreviation": "ecephys"}
VIDEOS = {"name": "Behavior videos", "abbreviation": "behavior-videos"}


def make_plan(job_settings: dict[str, Any] | None = None, **job: Any) -> RunPlan:
    upload_job = UploadJob.model_validate({
        "job_type": "default",
        "project_name": "Ephys Platform",
        "modalities": [ECEPHYS, VIDEOS, ECEPHYS],
        "subject_id": "712345",
        "acq_datetime": "2024-03-05T14:22:10",
        "tasks": {},
        **job,
    })
    return RunPlan(
        dag_id="transform_and_upload_v2",
        run_id="manual",
        run_key=f"{upload_job.s3_prefix}_0123456789",
        job=upload_job,
        bucket=LOCATION.bucket,
        asset_name=upload_job.s3_prefix,
        staging_folder=Path("/staging"),
        tasks={TASK: TaskPlan(job_settings=job_settings or {})},
        modalities={},
        pipelines={},
    )


def make_params(job_settings: dict[str, Any] | None = None, **job: Any) -> DataAssetParams:
    return data_asset_params(
        make_plan(job_settings, **job), is_public=False, custom_metadata_keys=KNOWN_KEYS
    ).params


@pytest.fixture
def code_ocean() -> FakeCodeOcean:
    return FakeCodeOcean()


def add_external(
    code_ocean: FakeCodeOcean, asset_id: str, state: str = "ready", **fields: Any
) -> None:
    source = SourceBucket(DataAssetOrigin.AWS, LOCATION.bucket, LOCATION.name, external=True)
    code_ocean.add_asset(
        asset_id, name=NAME, source_bucket=source, state=DataAssetState(state), **fields
    )


# What Code Ocean is asked for


@pytest.mark.parametrize("is_public", [True, False])
def test_the_asset_points_to_where_its_files_are(is_public: bool) -> None:
    planned = data_asset_params(
        make_plan(),
        is_public=is_public,
        custom_metadata_keys=KNOWN_KEYS,
        data_description_tags=["gain"],
    )
    body = planned.params.to_dict()  # type: ignore[attr-defined]
    assert (body["name"], body["mount"]) == (NAME, NAME)
    assert body["tags"] == ["712345", "gain", "raw"]
    assert body["source"]["aws"] == {
        "bucket": "open-data",
        "endpoint_name": None,
        "prefix": NAME,
        "keep_on_external_storage": True,
        "public": is_public,
        "use_input_bucket": None,
    }
    assert body["target"] is None
    assert planned.warnings == ()


def test_a_job_without_platform_is_described_by_its_modalities() -> None:
    assert make_params().custom_metadata == {
        "data level": "raw",
        "subject id": "712345",
        "experiment type": "ecephys, behavior-videos",
    }


def test_a_platform_of_former_years_is_tag_and_experiment_type() -> None:
    platform = {"name": "SmartSPIM platform", "abbreviation": "SmartSPIM"}
    params = make_params({"tags": ["raw", "pilot"]}, platform=platform)
    assert params.tags == ["712345", "SmartSPIM", "pilot", "raw"]
    assert params.custom_metadata is not None
    assert params.custom_metadata["experiment type"] == "SmartSPIM"
    assert params.name == f"SmartSPIM_{NAME}"


def test_the_users_keys_come_under_ours_and_unknown_ones_are_left_out_with_a_warning() -> None:
    own = {"rig": "323", "weight": 21.5, "data level": "derived", "mood": "good"}
    planned = data_asset_params(
        make_plan({"custom_metadata": own}), is_public=False, custom_metadata_keys=KNOWN_KEYS
    )
    assert planned.params.custom_metadata == {
        "rig": "323",
        "weight": 21.5,
        "data level": "raw",
        "subject id": "712345",
        "experiment type": "ecephys, behavior-videos",
    }
    assert [("'mood'" in warning, NAME in warning) for warning in planned.warnings] == [
        (True, True)
    ]


def test_ten_tags_are_taken_eleven_are_not() -> None:
    tags = [f"tag-{number:02}" for number in range(11)]
    assert make_params({"tags": tags[:10]}).tags == sorted({"raw", "712345", *tags[:10]})
    with pytest.raises(InvalidInput, match=r"job_settings\.tags"):
        make_params({"tags": tags})


def test_all_problems_of_the_settings_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as raised:
        make_params({"tags": [1], "custom_metadata": {"rig": []}})
    fields = {problem.field.split(".")[1] for problem in raised.value.problems}
    assert fields == {"tags", "custom_metadata"}
    assert {problem.item for problem in raised.value.problems} == {TASK}


# Find or create


def test_an_asset_is_made_once(code_ocean: FakeCodeOcean) -> None:
    first = find_or_create(make_params(), code_ocean)
    again = find_or_create(make_params(), code_ocean)
    assert first == Registration("asset-1", is_ready=False, is_new=True)
    assert again == Registration("asset-1", is_ready=False, is_new=False)
    assert len(code_ocean.created) == 1


def test_an_asset_whose_making_was_never_confirmed_is_found_again(
    code_ocean: FakeCodeOcean,
) -> None:
    code_ocean.loses_answers = 1
    with pytest.raises(ServiceUnavailable):
        find_or_create(make_params(), code_ocean)
    assert find_or_create(make_params(), code_ocean).asset_id == "asset-1"
    assert len(code_ocean.created) == 1


def test_a_stored_id_is_used_even_when_the_search_lags_behind(code_ocean: FakeCodeOcean) -> None:
    asset_id = find_or_create(make_params(), code_ocean).asset_id
    code_ocean.lists_new_things = False
    assert find_or_create(make_params(), code_ocean, known_id=asset_id).asset_id == asset_id
    assert len(code_ocean.created) == 1


def test_a_stored_id_that_is_gone_is_replaced(code_ocean: FakeCodeOcean) -> None:
    registration = find_or_create(make_params(), code_ocean, known_id="stored")
    assert (registration.asset_id, registration.warnings) == ("asset-1", ())


def test_a_stored_id_that_has_failed_is_replaced_and_named_once(code_ocean: FakeCodeOcean) -> None:
    add_external(code_ocean, "stored", "failed")
    registration = find_or_create(make_params(), code_ocean, known_id="stored")
    assert registration.asset_id == "asset-1"
    assert ["stored" in warning for warning in registration.warnings] == [True]


def test_of_several_assets_the_oldest_is_used_with_a_warning(code_ocean: FakeCodeOcean) -> None:
    add_external(code_ocean, "younger", created=200)
    add_external(code_ocean, "oldest", created=100)
    registration = find_or_create(make_params(), code_ocean)
    assert registration.asset_id == "oldest"
    assert registration.is_ready
    assert ["younger" in warning for warning in registration.warnings] == [True]


def test_assets_of_the_same_second_are_chosen_from_the_same_way_every_time(
    code_ocean: FakeCodeOcean,
) -> None:
    for asset_id in ("b", "a", "c"):
        add_external(code_ocean, asset_id, created=100)
    assert find_or_create(make_params(), code_ocean).asset_id == "a"


def test_a_failed_asset_is_named_and_not_used(code_ocean: FakeCodeOcean) -> None:
    add_external(code_ocean, "broken", "failed", failure_reason="no access to bucket")
    registration = find_or_create(make_params(), code_ocean)
    assert (registration.asset_id, registration.is_new) == ("asset-1", True)
    assert "broken" in registration.warnings[0]
    assert "no access to bucket" in registration.warnings[0]


def test_other_assets_are_not_taken_for_ours(code_ocean: FakeCodeOcean) -> None:
    for number, (bucket, prefix) in enumerate([("open-data-dev", NAME), ("open-data", NAME + "0")]):
        source = SourceBucket(DataAssetOrigin.AWS, bucket, prefix, external=True)
        code_ocean.add_asset(f"other-{number}", source_bucket=source)
    assert find_or_create(make_params(), code_ocean).is_new


def test_a_search_that_is_refused_never_leads_to_a_second_asset(code_ocean: FakeCodeOcean) -> None:
    class Refusing(FakeCodeOcean):
        def find_external_assets(self, bucket: str, prefix: str) -> Any:
            raise AccessDenied("403")

    refusing = Refusing()
    with pytest.raises(AccessDenied):
        find_or_create(make_params(), refusing)
    assert refusing.created == []


# Wait, then finish


@pytest.mark.parametrize(("state", "is_ready"), [("draft", False), ("ready", True)])
def test_an_asset_is_ready_or_still_being_made(
    code_ocean: FakeCodeOcean, state: str, is_ready: bool
) -> None:
    asset = code_ocean.add_asset("a", state=DataAssetState(state))
    assert check_ready(asset) is is_ready


@pytest.mark.parametrize("reason", ["no such bucket", None])
def test_a_failed_asset_ends_the_waiting_with_its_reason(
    code_ocean: FakeCodeOcean, reason: str | None
) -> None:
    asset = code_ocean.add_asset("a", state=DataAssetState.Failed, failure_reason=reason)
    with pytest.raises(ComputationFailed, match=reason or "no reason given"):
        check_ready(asset)


def test_everyone_may_see_the_finished_asset(code_ocean: FakeCodeOcean) -> None:
    registration = find_or_create(make_params(), code_ocean)
    code_ocean.change("asset-1", state=DataAssetState.Ready)
    for _ in range(2):
        finished = finish(registration, LOCATION, code_ocean)
        assert finished == Registration("asset-1", is_ready=True, is_new=True)
        assert code_ocean.permissions["asset-1"].everyone == "viewer"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"state": DataAssetState.Draft}, VerificationFailed, "still draft"),
        ({"state": DataAssetState.Failed}, ComputationFailed, "asset-1"),
        ({"source_bucket": None}, VerificationFailed, "no bucket"),
        (
            {"source_bucket": SourceBucket(DataAssetOrigin.AWS, "open-data", "another")},
            VerificationFailed,
            "s3://open-data/another",
        ),
    ],
)
def test_an_asset_that_is_not_as_asked_is_not_called_registered(
    code_ocean: FakeCodeOcean, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    registration = find_or_create(make_params(), code_ocean)
    code_ocean.change("asset-1", **{"state": DataAssetState.Ready, **change})
    with pytest.raises(error, match=words):
        finish(registration, LOCATION, code_ocean)


# The record


class FakeDocDb:
    """One collection in memory, with the conditions of the real client."""

    def __init__(self, record: dict[str, Any] | None = None) -> None:
        self.record = record
        self.writes: list[str] = []
        self.meanwhile: list[Callable[[FakeDocDb], None]] = []

    def find_record(self, location: str) -> dict[str, Any] | None:
        found = deepcopy(self.record)
        if self.meanwhile:
            self.meanwhile.pop(0)(self)
        return found

    def insert_record(self, record: Mapping[str, Any]) -> bool:
        if self.record is not None:
            return False
        self.writes.append("insert")
        self.record = deepcopy(dict(record))
        return True

    def set_fields(
        self, record_id: Any, fields: Mapping[str, Any], *, if_last_modified: Any, if_null: Any = ()
    ) -> None:
        assert self.record is not None
        if self.record.get("last_modified") != if_last_modified or any(
            self.record.get(name) is not None for name in if_null
        ):
            raise RecordChanged(record_id)
        self.writes.append("set")
        self.record.update(deepcopy(dict(fields)))

    def add_link(self, record_id: Any, link_field: str, link: str, *, last_modified: str) -> bool:
        assert self.record is not None
        self.writes.append("link")
        links = self.record.get(link_field) or {}
        ids = [*(links.get(CODE_OCEAN) or []), link]
        self.record.update({link_field: {**links, CODE_OCEAN: ids}, "last_modified": last_modified})
        return True


SUBJECT = {"subject_id": "712345"}
AGGREGATE = {"name": NAME, "location": str(LOCATION), "subject": SUBJECT, "procedures": None}


def update(docdb: Any, aggregate: Mapping[str, Any] = AGGREGATE, **options: Any) -> Any:
    settings = {"generation": Generation.V2, "now": NOW, **options}
    return update_record(LOCATION, NAME, aggregate, "co-1", docdb, **settings)


@pytest.mark.parametrize("generation", Generation)
def test_a_new_record_has_name_location_metadata_and_link(generation: Generation) -> None:
    docdb = FakeDocDb()
    done = update(docdb, generation=generation)
    assert (done.action, done.record_id) == (RecordAction.INSERT, record_id(str(LOCATION)))
    assert docdb.record is not None
    assert docdb.record["subject"] == SUBJECT
    assert docdb.record[LINK_FIELDS[generation]] == {CODE_OCEAN: ["co-1"]}


def test_a_second_run_writes_nothing() -> None:
    docdb = FakeDocDb()
    update(docdb)
    before = deepcopy(docdb.record)
    assert update(docdb).action is RecordAction.NOTHING
    assert docdb.record == before
    assert docdb.writes == ["insert"]


def make_existing(**fields: Any) -> dict[str, Any]:
    return {
        "_id": "r1",
        "name": NAME,
        "location": str(LOCATION),
        "last_modified": "before",
        **fields,
    }


def test_an_existing_record_is_filled_and_its_own_fields_are_kept() -> None:
    docdb = FakeDocDb(make_existing(procedures={"own": 1}, subject=None))
    done = update(docdb, {**AGGREGATE, "procedures": {"other": 1}})
    assert (done.action, done.filled, done.kept) == (
        RecordAction.UPDATE,
        ("subject",),
        ("procedures",),
    )
    assert docdb.record is not None
    assert docdb.record["subject"] == SUBJECT
    assert docdb.record["procedures"] == {"own": 1}
    assert docdb.record["last_modified"] == "2026-03-05T14:22:10.000000Z"
    assert link_ids(docdb.record) == ("co-1",)


def test_a_link_alone_is_one_write() -> None:
    docdb = FakeDocDb(make_existing(subject=SUBJECT))
    update(docdb)
    assert docdb.writes == ["link"]


def test_what_is_overwritten_is_in_the_journal_first() -> None:
    docdb = FakeDocDb(make_existing(subject={"subject_id": "9"}))
    journal: list[tuple[str, Any, list[str]]] = []

    def keep(record: str, old: Mapping[str, Any]) -> None:
        journal.append((record, dict(old), list(docdb.writes)))

    done = update(docdb, journal=keep)
    assert journal == [("r1", {"subject": {"subject_id": "9"}}, [])]
    assert (done.replaced, done.kept) == (("subject",), ())
    assert docdb.record is not None
    assert docdb.record["subject"] == SUBJECT
    update(docdb, journal=keep)
    assert len(journal) == 1


def test_a_journal_that_cannot_be_written_stops_the_overwriting() -> None:
    docdb = FakeDocDb(make_existing(subject={"subject_id": "9"}))

    def keep(record: str, old: Mapping[str, Any]) -> None:
        raise ServiceUnavailable("runs bucket")

    with pytest.raises(ServiceUnavailable):
        update(docdb, journal=keep)
    assert docdb.writes == []


def insert_meanwhile(docdb: FakeDocDb) -> None:
    docdb.record = make_existing(procedures={"theirs": 1})


def fill_meanwhile(docdb: FakeDocDb) -> None:
    assert docdb.record is not None
    docdb.record.update(subject={"theirs": 1}, last_modified="theirs")


@pytest.mark.parametrize(
    ("existing", "meanwhile", "theirs"),
    [
        pytest.param(None, insert_meanwhile, "procedures", id="inserted"),
        pytest.param(make_existing(), fill_meanwhile, "subject", id="filled"),
    ],
)
def test_what_others_write_between_plan_and_act_is_planned_with(
    existing: Any, meanwhile: Any, theirs: str
) -> None:
    docdb = FakeDocDb(deepcopy(existing))
    docdb.meanwhile = [meanwhile]
    update(docdb)
    assert docdb.record is not None
    assert docdb.record[theirs] == {"theirs": 1}
    assert link_ids(docdb.record) == ("co-1",)


def test_a_record_that_never_holds_still_is_left_to_a_later_try() -> None:
    docdb = FakeDocDb(make_existing())

    def touch(docdb: FakeDocDb) -> None:
        assert docdb.record is not None
        docdb.record["last_modified"] += "!"

    docdb.meanwhile = [touch] * RECORD_ATTEMPTS
    with pytest.raises(RecordChanged):
        update(docdb)


@pytest.mark.parametrize("answer", ["insert", "set", "link"])
def test_a_write_whose_answer_got_lost_is_not_repeated(answer: str) -> None:
    class Losing(FakeDocDb):
        def lose(self, name: str) -> None:
            if name == answer and self.writes.count(name) == 1:
                raise ServiceUnavailable("connection closed")

        def insert_record(self, record: Mapping[str, Any]) -> bool:
            inserted = super().insert_record(record)
            self.lose("insert")
            return inserted

        def set_fields(self, *args: Any, **options: Any) -> None:
            super().set_fields(*args, **options)
            self.lose("set")

        def add_link(self, *args: Any, **options: Any) -> bool:
            added = super().add_link(*args, **options)
            self.lose("link")
            return added

    docdb = Losing(None if answer == "insert" else make_existing())
    with pytest.raises(ServiceUnavailable):
        update(docdb)
    update(docdb)
    assert docdb.record is not None
    assert link_ids(docdb.record) == ("co-1",)
    assert docdb.record["subject"] == SUBJECT
    assert docdb.writes == (["insert"] if answer == "insert" else ["set", "link"])


@pytest.mark.parametrize("forgotten", ["insert_record", "set_fields", "add_link"])
def test_a_store_that_says_done_but_is_not_is_found_out(forgotten: str) -> None:
    docdb: Any = FakeDocDb(None if forgotten == "insert_record" else make_existing())
    setattr(docdb, forgotten, lambda *args, **options: True)
    with pytest.raises(VerificationFailed, match=NAME):
        update(docdb)


@pytest.mark.parametrize(
    "wrong",
    [
        {"location": "s3://open-data/another"},
        {"name": "another"},
        {"location": "s3://x/y", "name": "y"},
    ],
)
def test_the_metadata_of_another_asset_is_refused(wrong: dict[str, Any]) -> None:
    docdb = FakeDocDb()
    with pytest.raises(InvalidInput) as raised:
        update(docdb, {**AGGREGATE, **wrong})
    assert {problem.field for problem in raised.value.problems} == set(wrong)
    assert docdb.record is None


def test_metadata_without_name_and_location_gets_the_assets_own() -> None:
    docdb = FakeDocDb()
    update(docdb, {"subject": SUBJECT})
    assert docdb.record is not None
    assert (docdb.record["name"], docdb.record["location"]) == (NAME, str(LOCATION))


def test_without_a_code_ocean_id_the_links_are_left_alone() -> None:
    docdb = FakeDocDb(make_existing(other_identifiers={"DANDI": ["d"]}))
    update_record(LOCATION, NAME, AGGREGATE, None, docdb, generation=Generation.V2, now=NOW)
    assert docdb.record is not None
    assert docdb.record["other_identifiers"] == {"DANDI": ["d"]}
