"""What an index run costs, in requests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.indexing.lab import Lab
from tests.s3_fault_proxy import FaultProxy

FIELDS = ("subject", "data_description", "procedures", "session", "rig", "processing")


@pytest.fixture
def proxied(lab: Lab) -> Iterator[tuple[Lab, FaultProxy]]:
    with FaultProxy(lab.server.endpoint_url) as proxy:
        lab.endpoint_url = proxy.endpoint_url
        yield lab, proxy


def assets(lab: Lab, count: int) -> None:
    for number in range(count):
        lab.record(f"asset-{number}", **{name: {"number": number} for name in FIELDS})
        lab.put(f"asset-{number}", {"data.bin": b"x"})


ABOUT_THE_BUCKET = 2
"""Requests beside those for single assets: whether it is empty, and its folders."""


def test_an_asset_in_step_takes_two_requests(proxied: tuple[Lab, FaultProxy]):
    lab, proxy = proxied
    assets(lab, 20)
    lab.run()
    proxy.clear()
    assert lab.run().report.unchanged == 20
    assert len(proxy.requests) <= 20 * 2 + ABOUT_THE_BUCKET


def test_a_stale_asset_without_copies_takes_fifteen_requests(proxied: tuple[Lab, FaultProxy]):
    lab, proxy = proxied
    assets(lab, 5)
    for number in range(5):
        stale = {f"{name}.json": {"old": number} for name in FIELDS}
        lab.put(f"asset-{number}", {**stale, "metadata.nd.json": {"old": number}})
    proxy.clear()
    assert lab.run(halves=["records"]).report.done == 5
    assert len(proxy.requests) <= 5 * 15 + ABOUT_THE_BUCKET


def test_a_thousand_known_folders_take_three_requests_of_each_store(
    proxied: tuple[Lab, FaultProxy],
):
    lab, proxy = proxied
    lab.v1.insert_many([
        {"location": lab.location(f"asset-{number:04}"), "last_modified": "2020"}
        for number in range(1000)
    ])
    lab.put("", {f"asset-{number:04}/data.bin": b"x" for number in range(1000)})
    asked: list[str] = []

    def around(inner: object) -> object:
        class Counting:
            def __getattr__(self, name: str) -> object:
                asked.append(name)
                return getattr(inner, name)

        return Counting()

    lab.wrap_records = around
    proxy.clear()
    assert lab.run(halves=["prefixes"]).report.folders_known == 1000
    assert len(proxy.requests) <= 3
    assert asked == ["known_locations"]
