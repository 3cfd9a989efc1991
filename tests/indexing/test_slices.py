"""Shares of a bucket: everything in exactly one, few of them, none too large."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.indexing.report import Half
from include.indexing.slices import (
    HELD,
    LARGEST,
    SMALLEST,
    share_prefixes,
    share_records,
    share_size,
    since_when,
)

NOW = datetime(2026, 11, 25, tzinfo=UTC)


class Bucket:
    """A bucket, and its collection, of so many assets."""

    def __init__(self, count: int, *, page: int = 1000, twice: Sequence[int] = ()) -> None:
        self.names = [f"asset_{number:07}" for number in range(count)]
        self._page = page
        self._twice = twice
        self.asked_since: list[str | None] = []

    def iterate_folders(self, bucket: str) -> Iterator[list[str]]:
        for start in range(0, len(self.names), self._page):
            yield self.names[start : start + self._page]

    def iterate_locations(self, bucket: str, *, since: str | None = None) -> Iterator[str]:
        self.asked_since.append(since)
        yield from (f"s3://{bucket}/{name}" for name in self.names)
        yield from (f"s3://{bucket}/{self.names[number]}" for number in self._twice)

    def known_locations(self, places: Sequence[AssetLocation]) -> set[AssetLocation]:
        return {place for place in places if place.name in self.names}


@pytest.mark.parametrize("at_most", [1, 7, 20])
@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 9_999, 10_000, 10_001, 47_123])
def test_everything_is_in_exactly_one_share(count: int, at_most: int):
    bucket = Bucket(count)
    folders = list(share_prefixes("open", bucket, at_most=at_most))
    records = list(share_records("open", Generation.V1, bucket, since=None, at_most=at_most))
    assert list(itertools.chain(*(about for _, about in folders))) == bucket.names
    assert list(itertools.chain(*(about for _, about in records))) == [
        f"s3://open/{name}" for name in bucket.names
    ]
    for shares in (folders, records):
        assert [one.number for one, _ in shares] == list(range(len(shares)))
        assert len({one.name for one, _ in shares}) == len(shares)
        assert all(one.size == len(about) <= LARGEST for one, about in shares)


@given(half=st.sampled_from(Half), count=st.integers(0, 10**7), at_most=st.integers(1, 200))
def test_ten_thousand_assets_are_tens_of_tasks_and_never_thousands(
    half: Half, count: int, at_most: int
):
    size = share_size(half, count, at_most)
    assert SMALLEST[half] <= size <= LARGEST
    assert -(-count // size) <= max(at_most, -(-count // LARGEST))


def test_memory_holds_so_many_names_whatever_the_bucket():
    class Endless(Bucket):
        listed = 0

        def iterate_folders(self, bucket: str) -> Iterator[list[str]]:
            for page in itertools.count():
                self.listed += 1000
                yield [f"{page}-{n}" for n in range(1000)]

    bucket = Endless(0)
    shares = share_prefixes("open", bucket, at_most=20)
    assert [len(about) for _, about in itertools.islice(shares, 3)] == [LARGEST] * 3
    assert bucket.listed <= HELD + 1000


def test_two_workers_share_a_thousand_records_but_not_a_thousand_folders():
    bucket = Bucket(1000)
    records = share_records("open", Generation.V1, bucket, since=None, at_most=20)
    assert [one.size for one, _ in records] == [500, 500]
    assert [one.size for one, _ in share_prefixes("open", bucket, at_most=20)] == [1000]


def test_a_record_that_comes_twice_while_it_changes_is_examined_once():
    bucket = Bucket(30, twice=[3, 17])
    shares = share_records("open", Generation.V1, bucket, since=NOW, at_most=20)
    ((_, about),) = shares
    assert len(about) == len(set(about)) == 30
    assert bucket.asked_since == ["2026-11-25T00:00:00.000000Z"]


def test_only_the_assets_asked_for():
    bucket = Bucket(5)
    only = ["asset_0000003", "unknown", "asset_0000003"]
    records = list(share_records("open", Generation.V2, bucket, since=NOW, at_most=20, only=only))
    assert [about for _, about in records] == [["s3://open/asset_0000003"]]
    folders = list(share_prefixes("open", bucket, at_most=20, only=only))
    assert [about for _, about in folders] == [["asset_0000003", "unknown"]]


def test_no_look_back_is_everything():
    assert since_when(None, NOW) is None
    assert since_when(14, NOW) == datetime(2026, 11, 11, tzinfo=UTC)
