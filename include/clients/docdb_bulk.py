"""Many records of one collection at a time: what the index runs ask of DocDB.

Few requests, whatever the number of records: locations are read from an index alone (see
:meth:`~include.clients.docdb.DocDbClient.ensure_indexes`), records are fetched and written by the hundred.
A bulk answer only counts what it matched, so after each write one look tells, record by record, whose
write took effect. Every write is on the condition that the record is as it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from include.assets.location import AssetLocation
from include.assets.record_state import FieldChange, RecordState
from include.clients.docdb import Record, translated
from include.errors import AssetflowError, RecordChanged, RecordRefused, ServiceUnavailable

if TYPE_CHECKING:
    from pymongo.collection import Collection

AFTER_SLASH = chr(ord("/") + 1)
"""Locations of a bucket are those from ``s3://bucket/`` up to, not including, ``s3://bucket0``."""

DUPLICATE_KEY = 11000
TRANSIENT_CODES = frozenset({
    6,
    7,
    50,
    89,
    91,
    112,
    189,
    262,
    9001,
    10107,
    11600,
    11602,
    13435,
    16500,
})
"""Host unreachable, time-outs, shutdown, write conflict, stepping down, throttled (16500)."""

RECORD_LIMIT_BYTES = 16 * 2**20

FEW = 200
"""Up to so many locations are looked for one by one; more must be neighbours."""

BATCH = 10_000
"""Records of one answer; an answer ends at 16 MiB anyway."""


class DocDbBulk:
    """Find and write many records of one collection.

    API: https://pymongo.readthedocs.io/
    """

    def __init__(self, collection: Collection[Record]) -> None:
        from pymongo import ReadPreference

        self._records = collection.with_options(read_preference=ReadPreference.PRIMARY)
        self.name = collection.full_name

    def iterate_locations(self, bucket: str, *, since: str | None = None) -> Iterator[str]:
        """Locations of a bucket's records, as they are written there, in no promised order.

        Args:
            since: only records whose ``last_modified`` is text and not below this. A record that
                changes meanwhile may come twice.
        """
        only = {"_id": 0, "location": 1}
        with translated(f"DocDB {self.name}, locations in s3://{bucket}/"):
            for found in self._records.find(_in_bucket(bucket, since), only, batch_size=BATCH):
                yield found["location"]

    def find_at(self, locations: Iterable[str]) -> list[Record]:
        """Whole records whose ``location`` is one of these texts."""
        return self._find("records", {"location": {"$in": list(locations)}})

    def known_locations(self, places: Sequence[AssetLocation]) -> set[AssetLocation]:
        """Those of one bucket's locations that have a record, however it spells them.

        One request when all have one, else a second for the rarest spelling. More than :data:`FEW` are
        looked for as a range: neighbours in a bucket's listing are neighbours in the index on the location.
        """
        if not places:
            return set()
        plain, with_slash, with_two = zip(*(place.spellings for place in places), strict=True)
        known = self._locations_among(plain, with_slash)
        found = {place for place in places if not known.isdisjoint(place.spellings)}
        if len(found) < len(places):
            known = self._locations_among(with_two, with_two)
            found |= {place for place in places if not known.isdisjoint(place.spellings)}
        return found

    def _locations_among(self, texts: Sequence[str], same_longer: Sequence[str]) -> set[str]:
        place: dict[str, Any] = {"$gte": min(texts), "$lte": max(same_longer)}
        if len(texts) <= FEW:
            place = {"$in": [*texts, *same_longer]}
        found = self._find("locations", {"location": place}, {"_id": 0, "location": 1})
        return {record["location"] for record in found}

    def find_states(self, ids: Sequence[Any]) -> dict[str, RecordState]:
        """What the records of these ids are like now, by :func:`id_text`; absent ones are left out."""
        fields = {"location": 1, "last_modified": 1}
        found = self._find("ids", {"_id": {"$in": list(ids)}}, fields)
        return {id_text(record["_id"]): RecordState.of(record) for record in found}

    def find_by_id(self, ids: Sequence[Any]) -> list[Record]:
        """Whole records."""
        return self._find("ids", {"_id": {"$in": list(ids)}})

    def update_records(self, changes: Sequence[FieldChange]) -> list[AssetflowError | None]:
        """Set fields of many records; for each change None, or why it was not made.

        Raises:
            ServiceUnavailable: how far it came is not known.
        """
        from pymongo import UpdateOne

        errors = [self._storable(change.fields) for change in changes]
        for place, change in enumerate(changes):
            if bad := [name for name in change.fields if "." in name or name.startswith("$")]:
                errors[place] = RecordRefused(f"{bad[0]!r} cannot be a top-level field")
        self._write(
            errors,
            [
                UpdateOne(
                    {**change.state.query, **dict.fromkeys(change.if_null)},
                    {"$set": dict(change.fields)},
                )
                for change in changes
            ],
        )
        now = self.find_states([change.state.record_id for change in changes])
        for place, change in enumerate(changes):
            state = now.get(id_text(change.state.record_id))
            written = state and state.last_modified == change.fields["last_modified"]
            if errors[place] is None and not written:
                errors[place] = RecordChanged(f"{change.state.location}: its record has changed")
        return errors

    def insert_records(self, records: Sequence[Record]) -> list[AssetflowError | None]:
        """Insert many records; for each None, or why it is not there.

        Raises:
            ServiceUnavailable: how far it came is not known.
        """
        from pymongo import InsertOne

        errors = [self._storable(record) for record in records]
        self._write(errors, [InsertOne(dict(record)) for record in records])
        return errors

    def delete_records(self, states: Sequence[RecordState]) -> list[AssetflowError | None]:
        """Delete many records that are still so; for each None, or why it is still there.

        Raises:
            ServiceUnavailable: how far it came is not known.
        """
        from pymongo import DeleteOne

        errors: list[AssetflowError | None] = [None] * len(states)
        self._write(errors, [DeleteOne(state.query) for state in states])
        left = self.find_states([state.record_id for state in states])
        for place, state in enumerate(states):
            if errors[place] is None and id_text(state.record_id) in left:
                errors[place] = RecordChanged(f"{state.location}: its record has changed")
        return errors

    def to_json(self, record: Mapping[str, Any]) -> Any:
        """A record as plain JSON that :meth:`from_json` turns back, ids and dates included."""
        import json

        from bson.json_util import CANONICAL_JSON_OPTIONS, dumps

        return json.loads(dumps(record, json_options=CANONICAL_JSON_OPTIONS))

    def from_json(self, content: Any) -> Record:
        """The record that :meth:`to_json` was given."""
        import json

        from bson.json_util import CANONICAL_JSON_OPTIONS, loads

        # Dates as this collection's own answers have them, so that the two are equal.
        is_aware = self._records.codec_options.tz_aware
        options = CANONICAL_JSON_OPTIONS.with_options(
            tz_aware=is_aware, tzinfo=UTC if is_aware else None
        )
        record: Record = loads(json.dumps(content), json_options=options)
        return record

    def _find(
        self, what: str, query: dict[str, Any], fields: dict[str, int] | None = None
    ) -> list[Record]:
        with translated(f"DocDB {self.name}, {what}"):
            return list(self._records.find(query, fields, batch_size=BATCH))

    def _storable(self, record: Mapping[str, Any]) -> AssetflowError | None:
        """What would make pymongo refuse the whole bulk because of this one."""
        import bson

        try:
            with translated(f"DocDB {self.name}"):
                size_bytes = len(bson.encode(record))
        except RecordRefused as error:
            return error
        if size_bytes > RECORD_LIMIT_BYTES:
            return RecordRefused(
                f"DocDB {self.name}: {size_bytes} bytes; a record holds {RECORD_LIMIT_BYTES}"
            )
        return None

    def _write(self, errors: list[AssetflowError | None], operations: Sequence[Any]) -> None:
        """Carry out the operations that have no error yet; note those that DocDB refuses."""
        places = [place for place, error in enumerate(errors) if error is None]
        self._write_at(places, errors, operations)

    def _write_at(
        self,
        places: Sequence[int],
        errors: list[AssetflowError | None],
        operations: Sequence[Any],
    ) -> None:
        if not places:
            return
        try:
            self._bulk_write(places, errors, operations)
        except RecordRefused as error:
            # The command as a whole, for what is in one of them (nested too deeply, say).
            if len(places) == 1:
                errors[places[0]] = error
                return
            middle = len(places) // 2
            for half in (places[:middle], places[middle:]):
                self._write_at(half, errors, operations)

    def _bulk_write(
        self,
        places: Sequence[int],
        errors: list[AssetflowError | None],
        operations: Sequence[Any],
    ) -> None:
        from pymongo.errors import BulkWriteError

        with translated(f"DocDB {self.name}"):
            try:
                self._records.bulk_write([operations[place] for place in places], ordered=False)
            except BulkWriteError as error:
                if concerns := error.details.get("writeConcernErrors"):
                    raise ServiceUnavailable(f"DocDB {self.name}: {concerns[0]}") from error
                for refused in error.details["writeErrors"]:
                    errors[places[refused["index"]]] = _refusal(self.name, refused)


def id_text(record_id: Any) -> str:
    """A record's id as text, whatever its type: text in quotes, others as MongoDB's extended JSON."""
    from bson.json_util import dumps

    return dumps(record_id)


def _in_bucket(bucket: str, since: str | None) -> dict[str, Any]:
    place = {"$gte": f"s3://{bucket}/", "$lt": f"s3://{bucket}{AFTER_SLASH}"}
    return {"location": place} | ({} if since is None else {"last_modified": {"$gte": since}})


def _refusal(name: str, refused: Mapping[str, Any]) -> AssetflowError:
    said = f"DocDB {name}: {refused.get('errmsg', refused)}"
    code = refused.get("code")
    if code == DUPLICATE_KEY:
        return RecordChanged(f"{said} (somebody else wrote one meanwhile)")
    return ServiceUnavailable(said) if code in TRANSIENT_CODES else RecordRefused(said)
