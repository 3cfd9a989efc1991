"""Reading what index runs left in the runs bucket: histories, plans, reports.

A missing object is a definite answer; a bucket that is not there, a refusal or silence is none, and is
raised. Whatever is read is asked for by names that a listing or a plan gave, never by what a URL says.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from include.assets.run_key import run_digits
from include.clients.runs_bucket import (
    failure_key,
    found_key,
    history_key,
    plan_key,
    removals_key,
    report_key,
)
from include.errors import BucketNotFound, MalformedAnswer, NotFound, ServiceUnavailable
from include.indexing.history import BucketHistory
from include.indexing.report import RemovalReport, RunReport, SliceReport
from include.indexing.request import DAG_ID
from include.indexing.run_plan import IndexPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

RUN_KEY = re.compile(r"\d{8}T\d{6}Z_[0-9a-f]{10}")

CONNECT_TIME_LIMIT_S = 2
READ_TIME_LIMIT_S = 10
ATTEMPTS = 2
"""A person waits for the page, and a request that waits holds one of the API server's few threads."""

KEY_KEPT_S = 30
"""How long the key of a run's id is remembered: a page that waits asks every few seconds, and the runs of a
year take ten requests to list. A run that is deleted and triggered anew has another key."""

PLACE = "\0"
"""Stands in a key for what is looked for: what is before it is the prefix, what is after it the ending."""

FileT = TypeVar("FileT", bound=BaseModel)


class JsonObjects(Protocol):
    """What is needed of the runs bucket."""

    def read(self, key: str) -> Any:
        """One object.

        Raises:
            NotFound: it is not there.
        """

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Keys below a prefix."""


class IndexRuns:
    """The runs of ``index_buckets``, as the runs bucket knows them.

    Args:
        objects: of the runs bucket.
        list_folders: names of the folders directly below a prefix that ends with a slash.
        seconds: a clock that only goes forward.
    """

    def __init__(
        self,
        objects: JsonObjects,
        list_folders: Callable[[str], Iterable[str]],
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._list_folders = list_folders
        self._seconds = seconds
        self._run_keys: dict[str, tuple[str, float]] = {}
        """Run id → its key, and until when that counts."""

    def histories(self) -> dict[str, BucketHistory | str]:
        """Bucket → its history, or why it cannot be read."""
        prefix, ending = history_key(DAG_ID, PLACE).split(PLACE)
        found: dict[str, BucketHistory | str] = {}
        for key in self._objects.list_keys(prefix):
            bucket = key.removeprefix(prefix).removesuffix(ending)
            try:
                history = self._find(key, BucketHistory)
            except MalformedAnswer as error:
                history, found[bucket] = None, str(error)
            if history is not None:
                found[bucket] = history
        return found

    def find_run_key(self, run_id: str) -> str | None:
        """Name of what a run left; None when it left nothing yet.

        Of two runs with one id, the first of which was deleted in Airflow, that of the later one.
        """
        now = self._seconds()
        kept = {name: one for name, one in self._run_keys.items() if one[1] > now}
        if run_id not in kept:
            folder, _ = plan_key(DAG_ID, PLACE).split(PLACE)
            end = f"_{run_digits(run_id)}"
            names = self._list_folders(folder)
            found = [name for name in names if is_run_key(name) and name.endswith(end)]
            if found:
                kept[run_id] = max(found), now + KEY_KEPT_S
        self._run_keys = kept
        return kept[run_id][0] if run_id in kept else None

    def find_plan(self, run_key: str) -> IndexPlan | None:
        """What a run is about; None when it has planned nothing yet."""
        return self._find(plan_key(DAG_ID, run_key), IndexPlan)

    def find_report(self, run_key: str) -> RunReport | None:
        """What a run found and did; None until it has ended."""
        return self._find(report_key(DAG_ID, run_key), RunReport)

    def find_slice(self, run_key: str, name: str) -> SliceReport | None:
        """What one slice found; None when it was not examined."""
        return self._find(found_key(DAG_ID, run_key, name), SliceReport)

    def find_removals(self, run_key: str, bucket: str) -> RemovalReport | None:
        """What became of the removals of a bucket; None when nothing was decided on."""
        return self._find(removals_key(DAG_ID, run_key, bucket), RemovalReport)

    def examined(self, run_key: str) -> set[str]:
        """Names of the slices with a report."""
        return self._names(found_key(DAG_ID, run_key, PLACE))

    def failed(self, run_key: str) -> set[str]:
        """Names of the slices that failed at least once."""
        return self._names(failure_key(DAG_ID, run_key, PLACE))

    def _names(self, key: str) -> set[str]:
        prefix, ending = key.split(PLACE)
        return {
            found.removeprefix(prefix).removesuffix(ending)
            for found in self._objects.list_keys(prefix)
        }

    def _find(self, key: str, model: type[FileT]) -> FileT | None:
        try:
            content = self._objects.read(key)
        except BucketNotFound:
            raise
        except NotFound:
            return None
        try:
            # As JSON: some models take a list for a tuple, or text for a moment, from nothing else.
            return model.model_validate_json(json.dumps(content))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, problem["loc"]))
            raise MalformedAnswer(
                f"{key} is no {model.__name__}: {where}: {problem['msg']}"
            ) from error


def is_run_key(text: str) -> bool:
    """Whether a run can have left something under this name."""
    return RUN_KEY.fullmatch(text) is not None


def started_anew(plan: IndexPlan | None, report: RunReport) -> datetime | None:
    """When the run was cleared and began again, if that was after what the report tells."""
    if plan is None or plan.started_at <= report.started_at:
        return None
    return plan.started_at


def open_index_runs() -> IndexRuns:
    """The runs bucket of this deployment, with time limits that a person can wait for."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.config import Config

    from include.clients.runs_bucket import RunsBucket
    from include.clients.s3 import S3Client
    from include.hooks.aws import make_client
    from include.hooks.s3 import AssetStoreHook
    from include.settings import settings

    config = Config(
        connect_timeout=CONNECT_TIME_LIMIT_S,
        read_timeout=READ_TIME_LIMIT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=40,  # as many as the API server has threads
    )
    hook = S3Hook(aws_conn_id=AssetStoreHook.default_conn_name, config=config)
    client = S3Client(make_client(hook, "s3"))
    bucket = settings().runs_bucket
    return IndexRuns(
        RunsBucket(client, bucket), lambda prefix: client.list_folder(bucket, prefix).folders
    )


class Opener:
    """Opens the runs bucket when it is first needed, and again after it did not answer."""

    def __init__(self, open_runs: Callable[[], IndexRuns]) -> None:
        self._open_runs = open_runs
        self._opened: IndexRuns | None = None

    def get(self) -> IndexRuns:
        """The runs.

        Raises:
            ServiceUnavailable: whatever kept the connection from being made; the log says it.
        """
        opened = self._opened
        if opened is None:
            try:
                opened = self._opened = self._open_runs()
            except Exception as error:  # a connection's error may hold what no page should show
                logger.exception("The runs bucket cannot be opened")
                raise ServiceUnavailable(
                    "the connection to the runs bucket cannot be made; the log of the API server "
                    f"says why ({type(error).__name__})"
                ) from error
        return opened

    def forget(self) -> None:
        """Open it anew next time: the connection may have been corrected."""
        self._opened = None
