"""The runs bucket: what a run leaves for later runs and for people, as small JSON objects.

::

    runs/{dag_id}/{run_key}/plan.json
                            report.json
                            failures/{name}.json
                            mails/{name}.json        a mail that was sent: never twice
                            journal/{name}.json      what was removed, enough to account for it
                            slices/{slice}.json      index_buckets: what a slice is about
                            found/{name}.json        what it found and did; ingest_postgres: per dataset
                            removals/{bucket}.json   index_buckets: what was removed, or why not
    claims/{bucket}/{asset_name}.json                which run holds an asset (assets.claim)
    claims/index_buckets/{bucket}.json               which run indexes a bucket
    history/index_buckets/{bucket}.json              how the last index runs of a bucket went
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from include.clients.s3 import S3Client
from include.errors import MalformedAnswer, NotFound, PreconditionFailed

JSON_TYPE = "application/json"


def plan_key(dag_id: str, run_key: str) -> str:
    """Where the plan of a run is."""
    return f"runs/{dag_id}/{run_key}/plan.json"


def report_key(dag_id: str, run_key: str) -> str:
    """Where the report of a run is."""
    return f"runs/{dag_id}/{run_key}/report.json"


def failure_key(dag_id: str, run_key: str, name: str) -> str:
    """Where the reason of one failed task is."""
    return f"runs/{dag_id}/{run_key}/failures/{name}.json"


def mail_key(dag_id: str, run_key: str, name: str) -> str:
    """What marks one mail of a run as sent."""
    return f"runs/{dag_id}/{run_key}/mails/{name}.json"


def journal_key(dag_id: str, run_key: str, name: str) -> str:
    """Where a run writes down what it is about to remove."""
    return f"runs/{dag_id}/{run_key}/journal/{name}.json"


def slice_key(dag_id: str, run_key: str, name: str) -> str:
    """Where it says what a slice of an index run is about."""
    return f"runs/{dag_id}/{run_key}/slices/{name}.json"


def found_key(dag_id: str, run_key: str, name: str) -> str:
    """Where the report of a slice of an index run is."""
    return f"runs/{dag_id}/{run_key}/found/{name}.json"


def removals_key(dag_id: str, run_key: str, bucket: str) -> str:
    """Where it says what an index run removed from a bucket."""
    return f"runs/{dag_id}/{run_key}/removals/{bucket}.json"


def history_key(dag_id: str, bucket: str) -> str:
    """Where it says how the last runs over a bucket went."""
    return f"history/{dag_id}/{bucket}.json"


class RunsBucket:
    """Read and write the JSON objects of one runs bucket."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self.bucket = bucket

    def read(self, key: str) -> Any:
        """One object.

        Raises:
            NotFound: it is not there.
            MalformedAnswer: it is not JSON.
        """
        return self.read_with_etag(key)[0]

    def read_with_etag(self, key: str) -> tuple[Any, str]:
        """One object and its ETag, to write it back under a condition."""
        content, etag = self._s3.read_with_etag(self.bucket, key)
        try:
            return json.loads(content), etag
        except ValueError as error:
            raise MalformedAnswer(f"s3://{self.bucket}/{key} is not JSON: {error}") from error

    def find(self, key: str) -> Any | None:
        """One object, or None when it is definitely not there."""
        try:
            return self.read(key)
        except NotFound:
            return None

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Keys below *prefix*, in their order."""
        return (found.key for found in self._s3.iterate_objects(self.bucket, prefix))

    def list_folders(self, prefix: str) -> list[str]:
        """Names of the folders directly below *prefix*, which ends with a slash, sorted."""
        return sorted(self._s3.list_folder(self.bucket, prefix).folders)

    def write(
        self,
        key: str,
        content: Any,
        *,
        if_none_match: bool = False,
        if_match: str | None = None,
    ) -> str:
        """Write one object and return its ETag.

        Raises:
            PreconditionFailed: it is there (*if_none_match*), or is another one (*if_match*).
        """
        return self._s3.put_bytes(
            self.bucket,
            key,
            json.dumps(content, indent=1, ensure_ascii=False).encode(),
            content_type=JSON_TYPE,
            if_none_match=if_none_match,
            if_match=if_match,
        )

    def put_once(self, key: str, content: Mapping[str, Any] | None = None) -> bool:
        """Write one object unless it is there; True for the one caller that wrote it."""
        writer = uuid4().hex
        try:
            self.write(key, {**(content or {}), "writer": writer}, if_none_match=True)
        except PreconditionFailed:
            # Ours all the same when the answer to the first try was lost on its way.
            return bool(self.read(key).get("writer") == writer)
        return True

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Delete one object, with *if_match* only while it is the one with that ETag."""
        self._s3.delete_object(self.bucket, key, if_match=if_match)
