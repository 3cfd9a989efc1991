"""Put back what an index run removed, from its journal.

Nothing is overwritten: a record comes back unless its location or id has one, a deleted file unless there is
one. A file that the run overwrote comes back only when asked for, and only over what the run wrote.

The next index run looks at what was put back like at anything else. A record of an asset that is still
gone, or a root file of a field that its record still lacks, will be proposed for removal again: mend the
cause first.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from include.assets.core_files import Generation
from include.assets.location import AssetLocation
from include.errors import AssetflowError, NotFound, PreconditionFailed, RecordChanged
from include.indexing.changes import JSON_TYPE, AssetStore
from include.indexing.records import RecordStore

logger = logging.getLogger(__name__)


class Restored(StrEnum):
    """What became of one journal entry."""

    RESTORED = "restored"
    THERE = "already there"
    DIFFERS = "something else is there"
    LEFT = "overwritten, and left so"
    FAILED = "failed"


class RestoredEntry(BaseModel):
    """One record or file of the journal."""

    model_config = ConfigDict(frozen=True)

    item: str
    """Location of the record, or address of the file."""

    kind: str
    outcome: Restored
    reason: str = ""


def restore(
    entries: Iterable[Mapping[str, Any]],
    store: AssetStore,
    collections: Mapping[Generation, RecordStore],
    *,
    replaced: bool = False,
    dry_run: bool = False,
) -> list[RestoredEntry]:
    """Put back what the entries hold, one after another; safe to repeat.

    Args:
        replaced: files that were overwritten as well, not only removed ones.
        dry_run: only say what would happen.
    """
    results = []
    for entry in entries:
        is_record = entry["kind"] == "record"
        item = entry["location"] if is_record else f"s3://{entry['bucket']}/{entry['key']}"
        try:
            if is_record:
                records = collections[Generation(entry["generation"])]
                outcome = _restore_record(entry, records, dry_run=dry_run)
            elif entry["replaced_by"]:
                outcome = (
                    _restore_replaced(entry, store, dry_run=dry_run) if replaced else Restored.LEFT
                )
            else:
                outcome = _restore_file(entry, store, dry_run=dry_run)
            result = RestoredEntry(item=item, kind=entry["kind"], outcome=outcome)
        except AssetflowError as error:
            result = RestoredEntry(
                item=item, kind=entry["kind"], outcome=Restored.FAILED, reason=str(error)
            )
        logger.info("%s: %s", result.item, result.outcome)
        results.append(result)
    return results


def _restore_record(entry: Mapping[str, Any], records: RecordStore, *, dry_run: bool) -> Restored:
    record = records.from_json(entry["record"])
    place = AssetLocation.parse(record["location"])
    if records.find_by_id([record["_id"]]):
        return Restored.THERE
    if records.known_locations([place]):
        return Restored.DIFFERS
    if not dry_run:
        (error,) = records.insert_records([record])
        if isinstance(error, RecordChanged):
            return Restored.DIFFERS
        if error is not None:
            raise error
    return Restored.RESTORED


def _restore_file(entry: Mapping[str, Any], store: AssetStore, *, dry_run: bool) -> Restored:
    content = base64.b64decode(entry["content_base64"])
    try:
        held, _ = store.read_with_etag(entry["bucket"], entry["key"])
    except NotFound:
        if not dry_run:
            try:
                store.put_bytes(
                    entry["bucket"],
                    entry["key"],
                    content,
                    content_type=JSON_TYPE,
                    if_none_match=True,
                )
            except PreconditionFailed:
                return Restored.DIFFERS
        return Restored.RESTORED
    return Restored.THERE if held == content else Restored.DIFFERS


def _restore_replaced(entry: Mapping[str, Any], store: AssetStore, *, dry_run: bool) -> Restored:
    """Over what the run wrote, and nothing else."""
    from include.assets.canonical import digest

    content = base64.b64decode(entry["content_base64"])
    held, etag = store.read_with_etag(entry["bucket"], entry["key"])
    if held == content:
        return Restored.THERE
    if digest(held) != entry["replaced_by"]:
        return Restored.DIFFERS
    if not dry_run:
        store.put_bytes(
            entry["bucket"], entry["key"], content, content_type=JSON_TYPE, if_match=etag
        )
    return Restored.RESTORED
