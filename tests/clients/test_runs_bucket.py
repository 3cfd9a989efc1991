"""The runs bucket: small JSON objects, some of them written once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from include.clients import runs_bucket
from include.clients.runs_bucket import RunsBucket
from include.errors import AccessDenied, MalformedAnswer, NotFound, PreconditionFailed
from tests.s3_clients import s3_client
from tests.s3_fault_proxy import Fault, FaultProxy


@pytest.fixture
def runs(s3_server: Any, bucket: str) -> RunsBucket:
    return RunsBucket(s3_client(s3_server), bucket)


@pytest.fixture
def proxy(s3_server: Any) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


def test_what_was_written_is_read(runs: RunsBucket) -> None:
    key = runs_bucket.plan_key("transform_and_upload_v2", "asset_0123456789")
    runs.write(key, {"name": "Übung", "n": 1})
    assert key == "runs/transform_and_upload_v2/asset_0123456789/plan.json"
    assert runs.read(key) == runs.find(key) == {"name": "Übung", "n": 1}


def test_only_a_definite_absence_is_none(
    s3_server: Any, bucket: str, runs: RunsBucket, proxy: FaultProxy
) -> None:
    assert runs.find("runs/none.json") is None
    with pytest.raises(NotFound):
        runs.read("runs/none.json")
    proxy.add(Fault(status=403, code="AccessDenied"))
    with pytest.raises(AccessDenied):
        RunsBucket(s3_client(s3_server, proxy.endpoint_url), bucket).find("runs/none.json")


def test_garbage_is_malformed(s3_server: Any, bucket: str, runs: RunsBucket) -> None:
    s3_client(s3_server).put_bytes(bucket, "runs/x.json", b"\xff{")
    with pytest.raises(MalformedAnswer, match=r"runs/x\.json"):
        runs.find("runs/x.json")


def test_a_mail_is_marked_by_one_of_many(runs: RunsBucket) -> None:
    key = runs_bucket.mail_key("dag", "run", "end")
    with ThreadPoolExecutor(8) as pool:
        marked = list(pool.map(lambda number: runs.put_once(key, {"number": number}), range(8)))
    assert sum(marked) == 1
    assert runs.read(key)["number"] == marked.index(True)
    assert not runs.put_once(key)


def test_a_mark_whose_answer_was_lost_is_still_ours(
    s3_server: Any, bucket: str, proxy: FaultProxy
) -> None:
    proxy.add(Fault(method="PUT", times=1, lose_answer=True))
    runs = RunsBucket(s3_client(s3_server, proxy.endpoint_url, attempts=3), bucket)
    assert runs.put_once("runs/mark.json")
    assert proxy.count("PUT") == 2


def test_another_object_is_neither_replaced_nor_deleted(runs: RunsBucket) -> None:
    old = runs.write("claims/a.json", {"by": "one"})
    runs.write("claims/a.json", {"by": "two"}, if_match=old)
    with pytest.raises(PreconditionFailed):
        runs.write("claims/a.json", {"by": "three"}, if_match=old)
    with pytest.raises(PreconditionFailed):
        runs.delete("claims/a.json", if_match=old)
    assert runs.read_with_etag("claims/a.json")[0] == {"by": "two"}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (runs_bucket.report_key("d", "r"), "runs/d/r/report.json"),
        (runs_bucket.failure_key("d", "r", "upload"), "runs/d/r/failures/upload.json"),
        (runs_bucket.journal_key("d", "r", "sources"), "runs/d/r/journal/sources.json"),
        (runs_bucket.mail_key("d", "r", "begin"), "runs/d/r/mails/begin.json"),
    ],
)
def test_paths_are_as_drawn(key: str, expected: str) -> None:
    assert key == expected
