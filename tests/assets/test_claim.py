"""One run holds an asset; whoever comes second fails before it writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from include.assets.claim import RunIdentity, acquire, claim_key, holder_of, release
from include.assets.location import AssetLocation
from include.clients.runs_bucket import RunsBucket
from include.errors import (
    AccessDenied,
    AssetBusy,
    AssetflowError,
    MalformedAnswer,
    ServiceUnavailable,
)
from tests.s3_clients import s3_client
from tests.s3_fault_proxy import Fault, FaultProxy

ASSET = AssetLocation("open", "ecephys_1_2026-01-01_00-00-00")
FIRST = RunIdentity(dag_id="transform_and_upload_v2", run_id="manual__1")
SECOND = RunIdentity(dag_id="transform_and_upload_v2", run_id="manual__2")


def active(dag_id: str, run_id: str) -> bool:
    return True


def ended(dag_id: str, run_id: str) -> bool:
    return False


@pytest.fixture
def runs(s3_server: Any, bucket: str) -> RunsBucket:
    return RunsBucket(s3_client(s3_server), bucket)


@pytest.fixture
def proxy(s3_server: Any) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


def test_the_claim_is_where_the_design_says() -> None:
    assert claim_key(ASSET) == "claims/open/ecephys_1_2026-01-01_00-00-00.json"


def test_the_holder_may_ask_again_and_again(runs: RunsBucket) -> None:
    acquire(runs, ASSET, FIRST, active)
    acquire(runs, ASSET, FIRST, active)
    assert holder_of(runs, ASSET) == FIRST


def test_the_second_run_is_told_who_is_first(runs: RunsBucket) -> None:
    acquire(runs, ASSET, FIRST, active)
    with pytest.raises(AssetBusy, match="manual__1"):
        acquire(runs, ASSET, SECOND, active)
    assert not release(runs, ASSET, SECOND)
    assert holder_of(runs, ASSET) == FIRST


def test_a_released_asset_is_free(runs: RunsBucket) -> None:
    acquire(runs, ASSET, FIRST, active)
    assert release(runs, ASSET, FIRST)
    assert not release(runs, ASSET, FIRST)
    assert holder_of(runs, ASSET) is None
    acquire(runs, ASSET, SECOND, active)


def test_the_claim_of_an_ended_run_is_taken_over(runs: RunsBucket) -> None:
    acquire(runs, ASSET, FIRST, active)
    acquire(runs, ASSET, SECOND, ended)
    assert holder_of(runs, ASSET) == SECOND


def test_assets_do_not_stand_in_each_others_way(runs: RunsBucket) -> None:
    acquire(runs, ASSET, FIRST, active)
    acquire(runs, AssetLocation("open", f"{ASSET.name}-extra"), SECOND, active)
    acquire(runs, AssetLocation("private", ASSET.name), SECOND, active)


def race(runs: RunsBucket, is_active: Callable[[str, str], bool]) -> list[str]:
    """Eight runs at once; who won."""
    start = threading.Barrier(8)
    winners: list[str] = []

    def take(number: int) -> None:
        run = RunIdentity(dag_id="dag", run_id=f"run-{number}")
        start.wait()
        try:
            acquire(runs, ASSET, run, is_active)
        except AssetBusy:
            return
        winners.append(run.run_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(8)))
    return winners


@pytest.mark.parametrize("was_claimed", [False, True])
def test_of_many_at_once_exactly_one_wins(runs: RunsBucket, was_claimed: bool) -> None:
    for _ in range(10):
        if was_claimed:
            acquire(runs, ASSET, FIRST, active)
        [winner] = race(runs, lambda _, run_id: run_id != FIRST.run_id)
        holder = RunIdentity(dag_id="dag", run_id=winner)
        assert holder_of(runs, ASSET) == holder
        assert release(runs, ASSET, holder)


def test_an_answer_lost_on_its_way_does_not_lock_the_winner_out(
    s3_server: Any, bucket: str, proxy: FaultProxy
) -> None:
    proxy.add(Fault(method="PUT", times=1, lose_answer=True))
    acquire(
        RunsBucket(s3_client(s3_server, proxy.endpoint_url, attempts=3), bucket),
        ASSET,
        FIRST,
        active,
    )


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=403, code="AccessDenied"), AccessDenied),
        (Fault(status=503, code="SlowDown"), ServiceUnavailable),
        (Fault(method="GET", status=200, body=b"{}"), MalformedAnswer),
        (Fault(method="GET", status=200, body=b""), MalformedAnswer),
    ],
)
def test_a_claim_that_cannot_be_read_is_not_free(
    s3_server: Any,
    bucket: str,
    runs: RunsBucket,
    proxy: FaultProxy,
    fault: Fault,
    error: type[AssetflowError],
) -> None:
    acquire(runs, ASSET, FIRST, active)
    proxy.add(fault)
    through = RunsBucket(s3_client(s3_server, proxy.endpoint_url), bucket)
    for act in (
        lambda: acquire(through, ASSET, SECOND, ended),
        lambda: holder_of(through, ASSET),
        lambda: release(through, ASSET, FIRST),
    ):
        with pytest.raises(error):
            act()
    assert holder_of(runs, ASSET) == FIRST


def test_nothing_is_taken_over_while_airflow_does_not_answer(runs: RunsBucket) -> None:
    def silent(dag_id: str, run_id: str) -> bool:
        raise ServiceUnavailable("Airflow")

    acquire(runs, ASSET, FIRST, active)
    with pytest.raises(ServiceUnavailable):
        acquire(runs, ASSET, SECOND, silent)
    assert holder_of(runs, ASSET) == FIRST


def test_asking_who_holds_an_asset_costs_one_request(
    s3_server: Any, bucket: str, proxy: FaultProxy
) -> None:
    runs = RunsBucket(s3_client(s3_server, proxy.endpoint_url), bucket)
    acquire(runs, ASSET, FIRST, active)
    proxy.clear()
    assert holder_of(runs, ASSET) == FIRST
    assert len(proxy.requests) == 1
