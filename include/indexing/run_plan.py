"""What an index run is going to examine: the request, and each bucket's slices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from include.indexing.report import Slice
from include.indexing.request import IndexRequest


class BucketPlan(BaseModel):
    """One bucket's share of a run."""

    model_config = ConfigDict(frozen=True)

    bucket: str
    full_pass: bool = False
    """Whether every record is examined."""

    since: datetime | None = None
    """From when on records must have changed to be examined; None: all are."""

    is_empty: bool = False
    """Whether the bucket had no folder at all."""

    busy: frozenset[str] = frozenset()
    """Names of assets into which a run uploaded at that moment."""

    slices: tuple[Slice, ...] = ()
    problem: str = ""
    """Why it is not examined."""


class IndexPlan(BaseModel):
    """One index run."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    run_key: str
    started_at: datetime
    request: IndexRequest
    buckets: dict[str, BucketPlan] = Field(default_factory=dict)

    @property
    def slices(self) -> Iterator[Slice]:
        """All slices, of records first: they are what people wait for."""
        for half in ("records", "prefixes"):
            for bucket in self.buckets.values():
                yield from (one for one in bucket.slices if one.half == half)
