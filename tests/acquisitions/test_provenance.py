"""Whose upload a target holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from include.acquisitions.plan import Deployment, RunPlan, resolve_plan
from include.acquisitions.provenance import (
    PLAN_NAME,
    TargetState,
    check_target,
    plan_text,
    uploaded_by,
)
from include.assets.location import AssetLocation
from include.assets.stored_object import StoredObject
from include.errors import AccessDenied, AssetExists, MalformedAnswer, NotFound, ServiceUnavailable
from tests.acquisitions.jobs import NAME, make_job
from tests.operators.fakes import make_plan

HERE = AssetLocation(bucket="private", name=NAME)
PLAN_KEY = f"{HERE.key_prefix}{PLAN_NAME}"
DATA_KEY = f"{HERE.key_prefix}behavior/trials.csv"


class FakeStore:
    """Keys with their JSON; an error in place of either."""

    def __init__(self, objects: dict[str, Any], error: Exception | None = None) -> None:
        self.objects = objects
        self.error = error
        self.listed = 0

    def iterate_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                self.listed += 1
                yield StoredObject(key, 1, "etag", datetime(2026, 11, 20, tzinfo=UTC))

    def read_json(self, bucket: str, key: str) -> Any:
        if self.error is not None:
            raise self.error
        if key not in self.objects:
            raise NotFound(key)
        return self.objects[key]


@pytest.mark.parametrize(
    ("objects", "state"),
    [
        pytest.param({}, TargetState.EMPTY, id="nothing"),
        pytest.param({f"{NAME}-more/file": 1}, TargetState.EMPTY, id="a name that begins the same"),
        pytest.param(
            {PLAN_KEY: {"run_key": "other"}}, TargetState.EMPTY, id="a run that sent no file"
        ),
        pytest.param(
            {PLAN_KEY: {"run_key": "mine"}, DATA_KEY: 1}, TargetState.OWN_UPLOAD, id="our own"
        ),
    ],
)
def test_a_target_is_free_when_nothing_of_anybody_else_is_there(
    objects: dict[str, Any], state: TargetState
):
    assert check_target(FakeStore(objects), HERE, "mine") is state


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param({DATA_KEY: 1}, id="files without a plan"),
        pytest.param({PLAN_KEY: {"run_key": "other"}, DATA_KEY: 1}, id="another run's upload"),
        pytest.param({PLAN_KEY: ["no plan"], DATA_KEY: 1}, id="something else at the plan's key"),
    ],
)
def test_what_is_not_ours_is_refused_with_the_way_out(objects: dict[str, Any]):
    with pytest.raises(AssetExists, match="force_cloud_sync"):
        check_target(FakeStore(objects), HERE, "mine")


@pytest.mark.parametrize(
    "error", [AccessDenied("403"), ServiceUnavailable("503"), MalformedAnswer("no JSON")]
)
def test_a_plan_that_cannot_be_read_is_not_taken_for_ours_or_absent(error: Exception):
    store = FakeStore({PLAN_KEY: {"run_key": "mine"}, DATA_KEY: 1}, error)
    with pytest.raises(type(error)):
        check_target(store, HERE, "mine")


def test_an_asset_of_a_million_files_is_not_listed_whole():
    store = FakeStore({f"{DATA_KEY}.{n}": 1 for n in range(1000)})
    with pytest.raises(AssetExists):
        check_target(store, HERE, "mine")
    assert store.listed == 2


def test_an_asset_without_a_plan_was_uploaded_by_nobody_known():
    assert uploaded_by(FakeStore({DATA_KEY: 1}), HERE) is None


def test_the_kept_plan_is_the_plan_and_always_the_same_bytes(tmp_path: Path):
    class NoPresets:
        def read_tree(self, prefix: str) -> dict[str, str]:
            return {}

    def plan() -> RunPlan:
        return resolve_plan(
            make_job(job_type="custom"),
            presets=NoPresets(),
            deployment=Deployment({"default": "private"}, tmp_path, "/presets"),
            dag_id="d",
            run_id="r",
        )

    assert plan_text(plan()) == plan_text(plan())
    kept = RunPlan.model_validate(json.loads(plan_text(plan(), is_public=False)))
    assert kept == plan()


def test_a_kept_plan_tells_nobodys_address_unless_only_we_can_read_it(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    assert b"someone@example.com" not in plan_text(plan)
    assert b"someone@example.com" in plan_text(plan, is_public=False)
