"""One collection of DocDB (Amazon DocumentDB or MongoDB), spoken to through pymongo.

DocumentDB knows a subset of MongoDB and no retryable writes, so queries stay plain and nothing
here relies on ``retryWrites``: after a broken connection the caller plans again, and every write
either finds its work done or says that the record has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from include.assets.record import CODE_OCEAN, links_with, read_links
from include.errors import (
    AccessDenied,
    AssetflowError,
    DuplicateRecords,
    NotFound,
    RecordChanged,
    RecordRefused,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.errors import PyMongoError

logger = logging.getLogger(__name__)

Record = dict[str, Any]

_ACCESS_CODES = frozenset({13, 18, 8000})
"""Unauthorized, AuthenticationFailed, AtlasError (bad credentials at a proxy)."""

_LINK_ATTEMPTS = 5
"""How often a link is added anew when others change the links meanwhile."""


class DocDbClient:
    """Find, insert and change the records of one collection.

    API: https://pymongo.readthedocs.io/
    """

    def __init__(self, collection: Collection[Record]) -> None:
        from pymongo import ReadPreference

        # What was just written is read back to verify it; a secondary may not have it yet.
        self._records = collection.with_options(read_preference=ReadPreference.PRIMARY)

    def ensure_indexes(self) -> None:
        """Make the index that lets DocDB refuse a second record of one location, and one by date.

        With the two, what an index run asks for (which locations, changed since when) is answered from
        an index alone.

        Raises:
            DuplicateRecords: the collection already holds some.
        """
        from pymongo.errors import OperationFailure

        with self._translated("indexing locations"):
            self._records.create_index([("last_modified", 1), ("location", 1)])
            try:
                self._records.create_index("location", unique=True)
            except OperationFailure as error:
                if error.code != 11000:
                    raise
                raise DuplicateRecords(
                    f"{self._records.full_name}: no unique index on location: {error}"
                ) from error

    def find_record(self, location: str) -> Record | None:
        """The record of *location*, with or without a final slash; None when there is none.

        Raises:
            DuplicateRecords: there are several; names their ids.
        """
        plain = location.rstrip("/")
        with self._translated(plain):
            found = list(self._records.find({"location": {"$in": [plain, f"{plain}/"]}}))
        if len(found) > 1:
            ids = ", ".join(sorted(str(record["_id"]) for record in found))
            raise DuplicateRecords(
                f"{plain} has {len(found)} records in {self._records.full_name}: {ids}; "
                "remove all but the right one"
            )
        return found[0] if found else None

    def insert_record(self, record: Mapping[str, Any]) -> bool:
        """Insert *record*; False when one of its id or location is already there."""
        from pymongo.errors import DuplicateKeyError

        with self._translated(str(record.get("location"))):
            try:
                self._records.insert_one(dict(record))
            except DuplicateKeyError:
                return False
        return True

    def set_fields(
        self,
        record_id: Any,
        fields: Mapping[str, Any],
        *,
        if_last_modified: Any,
        if_null: Iterable[str] = (),
    ) -> None:
        """Set top-level *fields* of a record that is still as it was when they were planned.

        Args:
            record_id: the record's ``_id``.
            fields: names without dots, their new values; include ``last_modified``.
            if_last_modified: what ``last_modified`` must still be; None is null or absent.
            if_null: fields that must still be null or absent. Not every writer of this
                collection touches ``last_modified``.

        Raises:
            RecordChanged: the record is gone or no longer so; read it again and plan again.
            RecordRefused: a name has a dot or starts with ``$``, or DocDB refused the value.
        """
        for name in fields:
            if "." in name or name.startswith("$"):
                raise RecordRefused(f"record {record_id}: {name!r} cannot be a top-level field")
        unchanged = {"last_modified": if_last_modified, **dict.fromkeys(if_null)}
        with self._translated(f"record {record_id}"):
            result = self._records.update_one({"_id": record_id, **unchanged}, {"$set": fields})
        if result.matched_count == 0:
            raise RecordChanged(f"record {record_id} changed since {if_last_modified}")

    def add_link(
        self,
        record_id: Any,
        link_field: str,
        link: str,
        *,
        last_modified: str,
        platform: str = CODE_OCEAN,
    ) -> bool:
        """Add *link* to the platform's ids of a record; False when it was there.

        ``$addToSet`` fails below a null, so where the list is missing the whole field is set, on
        the condition that it still is what was read.

        Raises:
            NotFound: no such record.
            InvalidInput: the field holds something that is not links.
            RecordChanged: others kept changing the links.
        """
        path = f"{link_field}.{platform}"
        for _ in range(_LINK_ATTEMPTS):
            with self._translated(f"record {record_id}"):
                record = self._records.find_one({"_id": record_id}, {"location": 1, link_field: 1})
            if record is None:
                raise NotFound(f"record {record_id} is not in {self._records.full_name}")
            if link in read_links(record, link_field).get(platform, []):
                return False
            held = record.get(link_field)
            has_list = isinstance(held, dict) and isinstance(held.get(platform), list)
            moment = {"last_modified": last_modified}
            update: dict[str, Any]
            if has_list:
                query = {"_id": record_id, path: {"$exists": True, "$ne": link}}
                update = {"$addToSet": {path: link}, "$set": moment}
            else:
                query = {"_id": record_id, link_field: held}
                links = links_with(record, link_field, platform, link)
                update = {"$set": {link_field: links, **moment}}
            with self._translated(f"record {record_id}"):
                if self._records.update_one(query, update).matched_count:
                    return True
            logger.info("The links of record %s changed meanwhile; looking again", record_id)
        raise RecordChanged(f"record {record_id}: {link_field} changed {_LINK_ATTEMPTS} times")

    def _translated(self, item: str) -> AbstractContextManager[None]:
        return translated(f"DocDB {self._records.full_name}, {item}")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn pymongo's errors into ours, naming *where*."""
    from bson.errors import BSONError
    from pymongo.errors import PyMongoError

    try:
        yield
    except PyMongoError as error:
        raise _kind_of(error)(f"{where}: {error}") from error
    except (BSONError, OverflowError, UnicodeEncodeError) as error:
        # The latter two: a number of more than 64 bits, half of a surrogate pair.
        raise RecordRefused(f"{where}: {error}") from error


def _kind_of(error: PyMongoError) -> type[AssetflowError]:
    from pymongo.errors import ConnectionFailure, OperationFailure

    if (
        isinstance(error, ConnectionFailure)
        or error.timeout
        or error.has_error_label("RetryableWriteError")
    ):
        return ServiceUnavailable
    if isinstance(error, OperationFailure) and error.code in _ACCESS_CODES:
        return AccessDenied
    return RecordRefused
