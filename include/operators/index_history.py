"""How a bucket's index runs went, kept in the runs bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.errors import MalformedAnswer, NotFound

if TYPE_CHECKING:
    from include.clients.runs_bucket import RunsBucket
    from include.indexing.history import BucketHistory


def read_history(runs_bucket: RunsBucket, bucket: str) -> BucketHistory:
    """How the last runs over a bucket went."""
    return read_history_with_etag(runs_bucket, bucket)[0]


def read_history_with_etag(
    runs_bucket: RunsBucket, bucket: str
) -> tuple[BucketHistory, dict[str, Any]]:
    """The history, and the condition on which it may be written back.

    Raises:
        MalformedAnswer: it is no history.
    """
    from pydantic import ValidationError

    from include.clients.runs_bucket import history_key
    from include.indexing.history import BucketHistory
    from include.indexing.request import DAG_ID

    key = history_key(DAG_ID, bucket)
    try:
        content, etag = runs_bucket.read_with_etag(key)
    except NotFound:
        return BucketHistory(bucket=bucket), {"if_none_match": True}
    try:
        return BucketHistory.model_validate(content), {"if_match": etag}
    except ValidationError as error:
        raise MalformedAnswer(f"{key} is no history; look at it and move it away") from error
