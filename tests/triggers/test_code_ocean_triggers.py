"""Waiting for Code Ocean without a worker."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.serialization.serialized_objects import BaseSerialization
from airflow.triggers.base import TriggerEvent

from include.errors import AccessDenied, NotFound, ServiceUnavailable
from include.triggers.code_ocean import CodeOceanTrigger, ComputationTrigger, DataAssetTrigger

Look = str | Exception


class FakeCodeOcean:
    """Answers one state, or error, per look."""

    def __init__(self, looks: list[Look]) -> None:
        self.looks = looks
        self.stopped: list[str] = []

    def data_asset(self, _: str) -> Any:
        look = self.looks.pop(0)
        if isinstance(look, Exception):
            raise look
        return SimpleNamespace(state=look)

    computation = data_asset

    def stop_computation(self, computation_id: str) -> bool:
        self.stopped.append(computation_id)
        return True


def with_client(kind: type[CodeOceanTrigger], client: FakeCodeOcean, **more: Any) -> Any:
    """A trigger that has its client already."""

    async def ready() -> FakeCodeOcean:
        return client

    trigger = kind("an-id", poll_interval_s=0, **more)
    trigger.client = ready  # type: ignore[method-assign, assignment]
    return trigger


def first_event(trigger: CodeOceanTrigger) -> TriggerEvent:
    async def wait() -> TriggerEvent:
        return await anext(trigger.run())

    return asyncio.run(wait())


@pytest.mark.parametrize(
    ("kind", "looks"),
    [
        pytest.param(DataAssetTrigger, ["draft", "draft", "ready"], id="a ready asset"),
        pytest.param(DataAssetTrigger, ["draft", "failed"], id="a failed asset"),
        pytest.param(ComputationTrigger, ["initializing", "running", "completed"], id="completed"),
        pytest.param(ComputationTrigger, ["running", "failed"], id="a failed computation"),
        pytest.param(
            ComputationTrigger, [ServiceUnavailable("503"), "completed"], id="an outage passes"
        ),
        pytest.param(ComputationTrigger, [NotFound("gone")], id="deleted meanwhile"),
        pytest.param(DataAssetTrigger, ["draft", AccessDenied("403")], id="the token expired"),
    ],
)
def test_the_task_is_woken_by_every_end_and_only_by_an_end(
    kind: type[CodeOceanTrigger], looks: list[Look]
):
    client = FakeCodeOcean(looks)
    assert first_event(with_client(kind, client)).payload == {"external_id": "an-id"}
    assert client.looks == []


@pytest.mark.parametrize("look", ["running", ServiceUnavailable("503")])
def test_the_task_is_woken_when_its_time_is_over(look: Look):
    trigger = with_client(ComputationTrigger, FakeCodeOcean([look]), give_up_at=time.time() - 1)
    assert first_event(trigger).payload == {"external_id": "an-id"}


def test_stopping_the_task_stops_the_computation():
    client = FakeCodeOcean([])
    asyncio.run(with_client(ComputationTrigger, client).on_kill())
    assert client.stopped == ["an-id"]


def test_stopping_the_task_leaves_a_data_asset_alone():
    client = FakeCodeOcean([])
    asyncio.run(with_client(DataAssetTrigger, client).on_kill())
    assert client.stopped == []


@pytest.mark.parametrize("kind", [DataAssetTrigger, ComputationTrigger])
def test_a_trigger_survives_its_way_to_the_triggerer(kind: type[CodeOceanTrigger]):
    trigger = kind("an-id", 5.0, give_up_at=1e9, code_ocean_conn_id="elsewhere")
    path, arguments = trigger.serialize()
    assert path == f"include.triggers.code_ocean.{kind.__name__}"
    carried = BaseSerialization.deserialize(BaseSerialization.serialize(arguments))
    assert kind(**carried).serialize() == (path, arguments)
