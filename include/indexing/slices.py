"""A bucket's work in shares, for many workers: every record and every folder in exactly one of them.

A share holds what it is about, a few tens of bytes per asset: locations as the records spell them, or names
of folders. So nothing is counted out by position while others add and remove, nothing is examined twice and
nothing is missed. How large the shares are to be is known only when there are no more names; until then names
are held back, but never more than :data:`HELD`, however large the bucket. Where dates count, the names of
what changed since then are remembered as well, for what changes meanwhile comes twice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.assets.record import iso_moment
from include.indexing.report import Half, Slice
from include.indexing.workplace import in_batches

SMALLEST = {Half.RECORDS: 500, Half.PREFIXES: 1_000}
"""Assets in one share, unless there are fewer: a task has a price of its own.

Two workers are quicker with five hundred records each than one with a thousand. A thousand folders are one
question, asked in less time than a task takes to start.
"""

LARGEST = 10_000
"""A share that is lost half-way is examined again from its beginning."""

HELD = 200_000
"""Names held back to see whether there are more: some 25 MiB. With more, shares are as large as may be."""

LOOKED_UP = 200
"""Names that are asked about at a time."""

Share = tuple[Slice, list[str]]


class LocationSource(Protocol):
    """One collection of DocDB."""

    def iterate_locations(self, bucket: str, *, since: str | None = None) -> Iterator[str]:
        """Locations of the bucket's records that have changed since then; some perhaps twice."""

    def known_locations(self, places: Sequence[AssetLocation]) -> set[AssetLocation]:
        """Those that have a record."""


class FolderSource(Protocol):
    """A bucket."""

    def iterate_folders(self, bucket: str) -> Iterator[list[str]]:
        """Names of the folders at the top, by the page."""


def share_records(
    bucket: str,
    generation: Generation,
    records: LocationSource,
    *,
    since: datetime | None,
    at_most: int,
    only: Sequence[str] = (),
) -> Iterator[Share]:
    """Records of a bucket that may have changed.

    Args:
        since: only records changed since then (by their ``last_modified``); None: all.
        at_most: how many shares, as long as none exceeds :data:`LARGEST`.
        only: names of the assets that are meant; empty: all, then *since* counts.
    """
    if only:
        places = [AssetLocation(bucket, name) for name in dict.fromkeys(only)]
        # So many at a time are looked for one by one: these are no neighbours.
        known = {
            place
            for batch in in_batches(places, LOOKED_UP)
            for place in records.known_locations(batch)
        }
        locations: Iterable[str] = [str(place) for place in places if place in known]
    else:
        moment = None if since is None else iso_moment(since)
        found = records.iterate_locations(bucket, since=moment)
        # A record that changes while it is looked for may come twice, but only where dates count.
        locations = found if since is None else _each_once(found)
    for number, share in enumerate(_shared(_without_repeats(locations), Half.RECORDS, at_most)):
        yield (
            Slice(
                bucket=bucket,
                half=Half.RECORDS,
                number=number,
                size=len(share),
                generation=generation,
            ),
            share,
        )


def share_prefixes(
    bucket: str, folders: FolderSource, *, at_most: int, only: Sequence[str] = ()
) -> Iterator[Share]:
    """Folders at the top of a bucket. Lists the bucket from its beginning to its end.

    Args:
        at_most: how many shares, as long as none exceeds :data:`LARGEST`.
        only: names of the assets that are meant; empty: all.

    Raises:
        BucketNotFound, AccessDenied, ServiceUnavailable, MalformedAnswer: it is not known what is there.
    """
    names: Iterable[str] = dict.fromkeys(only)
    if not only:
        names = (name for page in folders.iterate_folders(bucket) for name in page)
    for number, share in enumerate(_shared(names, Half.PREFIXES, at_most)):
        yield Slice(bucket=bucket, half=Half.PREFIXES, number=number, size=len(share)), share


def share_size(half: Half, count: int, at_most: int) -> int:
    """Assets in one share when there are *count* in all."""
    return min(LARGEST, max(SMALLEST[half], math.ceil(count / at_most)))


def since_when(lookback_days: int | None, now: datetime) -> datetime | None:
    """The moment from which on changes count; None: from the beginning."""
    return None if lookback_days is None else now - timedelta(days=lookback_days)


def _shared(names: Iterable[str], half: Half, at_most: int) -> Iterator[list[str]]:
    names = iter(names)
    held = list(itertools.islice(names, HELD))
    size = share_size(half, len(held), at_most) if len(held) < HELD else LARGEST
    return _in_shares(itertools.chain(held, names), size)


def _in_shares(items: Iterable[str], size: int) -> Iterator[list[str]]:
    share: list[str] = []
    for item in items:
        share.append(item)
        if len(share) == size:
            yield share
            share = []
    if share:
        yield share


def _each_once(items: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for item in items:
        if item not in seen:
            seen.add(item)
            yield item


def _without_repeats(items: Iterable[str]) -> Iterator[str]:
    """Neighbours that are equal count as one: two records of one location are looked at together."""
    last = None
    for item in items:
        if item != last:
            yield item
        last = item
