"""Which run holds an asset, or a bucket that is indexed: two runs at once cannot both write.

A claim is one JSON object in the runs bucket, made only if it is not there and replaced or deleted
only while it is still the one that was read. It has no expiry: whether its run still works is asked
from Airflow. A run that was cleared, retried or killed finds its own claim and goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from include.errors import AssetBusy, MalformedAnswer, NotFound, PreconditionFailed

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""Times a claim that changes under our eyes is looked at again."""


class RunIdentity(BaseModel):
    """One DAG run, as Airflow names it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dag_id: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.dag_id} / {self.run_id}"


class ClaimStore(Protocol):
    """The JSON objects of the runs bucket."""

    def read_with_etag(self, key: str) -> tuple[Any, str]:
        """One object and its ETag.

        Raises:
            NotFound: it is definitely not there.
        """

    def write(
        self, key: str, content: Any, *, if_none_match: bool = False, if_match: str | None = None
    ) -> str:
        """Write one object under a condition; its ETag.

        Raises:
            PreconditionFailed: the condition does not hold.
        """

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Delete one object under a condition."""


CLAIMS = "claims"
"""First part of every claim's key."""


class Claimed(Protocol):
    """What a run can hold: an asset's location, or a bucket while it is indexed."""

    @property
    def claim_name(self) -> str:
        """Key of the claim without its ending, below ``claims/``."""


@dataclass(frozen=True, slots=True)
class IndexedBucket:
    """A bucket that an index run works on. No bucket can be called ``index_buckets``."""

    bucket: str

    @property
    def claim_name(self) -> str:
        """``index_buckets/{bucket}``."""
        return f"index_buckets/{self.bucket}"

    def __str__(self) -> str:
        return f"s3://{self.bucket}"


def claim_key(subject: Claimed) -> str:
    """Where it says which run holds *subject*."""
    return f"{CLAIMS}/{subject.claim_name}.json"


def claim_prefix(bucket: str) -> str:
    """What the keys of the claims of a bucket's assets begin with."""
    return f"{CLAIMS}/{bucket}/"


def acquire(
    store: ClaimStore,
    subject: Claimed,
    run: RunIdentity,
    is_active: Callable[[str, str], bool],
) -> None:
    """Take *subject* for *run*; nothing changes when it has it.

    Args:
        is_active: whether Airflow has a run (DAG id, run id) that is not finished. It raises when
            Airflow does not answer: then nobody's claim is taken over.

    Raises:
        AssetBusy: another run works on it.
    """
    for _ in range(ATTEMPTS):
        found = _read(store, subject)
        if found is None:
            condition: dict[str, Any] = {"if_none_match": True}
        else:
            holder, etag = found
            if holder == run:
                return
            if is_active(holder.dag_id, holder.run_id):
                raise _busy(subject, holder)
            logger.info("%s: taking over the claim of %s, which ended", subject, holder)
            condition = {"if_match": etag}
        # The nonce makes each claim another object, also a second one of the same run.
        claim = {**run.model_dump(), "nonce": uuid4().hex}
        try:
            store.write(claim_key(subject), claim, **condition)
        except PreconditionFailed:
            # Somebody was faster; or it was us, and the answer was lost on its way. Look again.
            continue
        logger.info("%s: claimed by %s", subject, run)
        return
    raise AssetBusy(f"{subject}: the claim keeps changing hands; try again later")


def release(store: ClaimStore, subject: Claimed, run: RunIdentity) -> bool:
    """Give *subject* back; a claim that is not this run's stays.

    Returns:
        Whether this run had it.
    """
    found = _read(store, subject)
    if found is None or found[0] != run:
        return False
    try:
        store.delete(claim_key(subject), if_match=found[1])
    except PreconditionFailed:
        return False
    logger.info("%s: released by %s", subject, run)
    return True


def holder_of(store: ClaimStore, subject: Claimed) -> RunIdentity | None:
    """The run that holds *subject*, whether or not it still works; None when nobody does."""
    found = _read(store, subject)
    return None if found is None else found[0]


def _read(store: ClaimStore, subject: Claimed) -> tuple[RunIdentity, str] | None:
    key = claim_key(subject)
    try:
        content, etag = store.read_with_etag(key)
    except NotFound:
        return None
    try:
        return RunIdentity.model_validate(content), etag
    except ValidationError as error:
        raise MalformedAnswer(f"{key} is not a claim; look at it and delete it") from error


def _busy(subject: Claimed, holder: RunIdentity) -> AssetBusy:
    return AssetBusy(
        f"{subject} is being worked on by {holder}; wait until that run has ended, or end it"
    )
