"""A record as it was read: what a write of it is conditional on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RecordState:
    """What tells that a record is still the one that was read."""

    record_id: Any
    location: Any
    last_modified: Any
    """None: null or absent."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RecordState:
        """Of a record that was read."""
        return cls(record["_id"], record.get("location"), record.get("last_modified"))

    @property
    def query(self) -> dict[str, Any]:
        """Matches the record only while it is so."""
        return {
            "_id": self.record_id,
            "location": self.location,
            "last_modified": self.last_modified,
        }


@dataclass(frozen=True, slots=True)
class FieldChange:
    """Top-level fields of one record that are to be set."""

    state: RecordState
    fields: Mapping[str, Any]
    """Without dots; ``last_modified`` among them."""

    if_null: tuple[str, ...] = ()
    """Fields that must still be null or absent: not every writer touches ``last_modified``."""
