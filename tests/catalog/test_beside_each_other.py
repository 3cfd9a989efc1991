"""Imports at the same time: of one dataset one after another, of different ones beside each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from include.assets.stored_object import StoredObject
from include.catalog.discovery import DatasetFolder
from include.catalog.report import DatasetReport
from include.errors import AccessDenied, AssetflowError, InvalidInput, NotFound, ServiceUnavailable
from tests.catalog.lab import BUCKET, DATASET, Lab
from tests.catalog.test_import import COUNTS, edit

COPY = DatasetFolder("30001_old")
PATIENCE_S = 60.0
"""Until somebody who should have come is no longer waited for."""


def copy(lab: Lab, name: str, **changed: Any) -> DatasetFolder:
    """A second folder with all that is in the first, and another identifier of the dataset."""
    for key in [key for key in lab.objects if key.startswith("30001/")]:
        lab.objects[key.replace("30001/", f"{name}/", 1)] = lab.objects[key]
    edit(lab, f"{name}/dataset_metadata.json", lambda content: content.update(changed))
    return DatasetFolder(name)


def at_once(*work: Callable[[], Any]) -> list[Any]:
    """Do all of it in threads; results, or what was raised."""

    def done(one: Callable[[], Any]) -> Any:
        try:
            return one()
        except AssetflowError as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(done, work))


def test_imports_of_one_dataset_at_once_make_each_row_once(lab: Lab):
    reports = at_once(*[lab.run] * 4)
    assert [report.problems for report in reports] == [()] * 4
    assert lab.counts() == COUNTS


def test_two_datasets_of_one_new_deposition_at_once_make_it_once(lab: Lab):
    other = copy(lab, "30002", dataset_identifier=30002)
    reports = at_once(lab.run, lambda: lab.run(folder=other))
    assert [report.problems for report in reports] == [(), ()]
    assert lab.rows("dataset", "id") == [30001, 30002]
    assert lab.rows("deposition", "id") == [300, 301]
    assert lab.counts()["deposition_author"] == COUNTS["deposition_author"]


class Meeting:
    """A connection whose transaction does not end before another one's has come as far."""

    def __init__(self, connection: Any, barrier: threading.Barrier) -> None:
        self._connection = connection
        self._barrier = barrier

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with self._connection.transaction() as transaction:
            yield transaction
            self._barrier.wait(PATIENCE_S)


def test_imports_of_different_datasets_go_on_beside_each_other(lab: Lab):
    lab.importer().import_depositions([300, 301])  # who makes one of them waits for who made it
    other = copy(lab, "30002", dataset_identifier=30002)
    reading = threading.Barrier(2)
    writing = threading.Barrier(2)

    class Store:
        """Lists no dataset before the other import has come as far."""

        def iterate_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
            if prefix in {DATASET.prefix, other.prefix}:
                reading.wait(PATIENCE_S)
            return lab.objects.iterate_objects(bucket, prefix)

    made = replace(lab.importer(), store=Store(), connect=lambda: Meeting(lab.connect(), writing))
    reports = at_once(lambda: made.import_dataset(DATASET), lambda: made.import_dataset(other))
    assert [report.problems for report in reports] == [(), ()]
    assert lab.rows("dataset", "id") == [30001, 30002]


# Two folders that say that they are one dataset ----------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_copied_folder_is_refused_by_the_names_of_both(lab: Lab, dry_run: bool):
    lab.run()
    versions = lab.versions()
    copy(lab, COPY.name)
    with pytest.raises(InvalidInput) as caught:
        lab.run(folder=COPY, dry_run=dry_run)
    for name in ("30001", COPY.name):
        assert f"s3://{BUCKET}/{name}/dataset_metadata.json" in str(caught.value)
    assert lab.versions() == versions
    assert lab.run().problems == ()


def test_of_two_folders_of_one_dataset_at_once_one_is_imported(lab: Lab):
    copy(lab, COPY.name)
    found = at_once(lab.run, lambda: lab.run(folder=COPY))
    assert {type(one) for one in found} == {DatasetReport, InvalidInput}
    assert lab.counts() == COUNTS


def remove(lab: Lab) -> None:
    for key in [key for key in lab.objects if key.startswith("30001/")]:
        del lab.objects[key]


def renumber(lab: Lab) -> None:
    edit(
        lab, "30001/dataset_metadata.json", lambda content: content.update(dataset_identifier=30009)
    )


@pytest.mark.parametrize("give_up", [remove, renumber])
def test_a_dataset_that_has_moved_is_imported_from_where_it_is(
    lab: Lab, give_up: Callable[[Lab], None]
):
    lab.run()
    ids = lab.rows("run", "id")
    copy(lab, COPY.name)
    give_up(lab)
    assert lab.run(folder=COPY).problems == ()
    assert lab.one("dataset")["s3_prefix"] == f"s3://{BUCKET}/{COPY.name}/"
    assert lab.rows("run", "id") == ids


@pytest.mark.parametrize(
    ("fault", "raised", "told"),
    [
        (AccessDenied("403"), InvalidInput, "may say so, too: 403"),
        (ServiceUnavailable("503"), ServiceUnavailable, "whether s3://.* is there: 503"),
        (b"{", InvalidInput, "may say so, too"),
    ],
    ids=["403", "503", "cut short"],
)
def test_a_folder_that_cannot_be_looked_into_may_be_there(
    lab: Lab, fault: Any, raised: type[Exception], told: str
):
    lab.run()
    copy(lab, COPY.name)
    key = "30001/dataset_metadata.json"
    if isinstance(fault, bytes):
        lab.objects[key] = fault
    else:
        lab.objects.faults[key] = fault
    with pytest.raises(raised, match=told):
        lab.run(folder=COPY)


@pytest.mark.parametrize(("is_there", "is_refused"), [(True, True), (False, False)])
def test_the_same_folder_of_another_bucket_is_another_folder(
    lab: Lab, is_there: bool, is_refused: bool
):
    lab.run()
    asked: list[tuple[str, str]] = []

    class Reader:
        """Two buckets of which only the new one has everything."""

        def read(self, bucket: str, key: str) -> bytes:
            asked.append((bucket, key))
            if bucket == BUCKET and not is_there:
                raise NotFound(f"s3://{bucket}/{key}")
            return lab.objects.read(bucket, key)

    elsewhere = replace(lab.importer(), bucket="new-bucket", reader=Reader())
    if is_refused:
        with pytest.raises(InvalidInput, match=f"s3://{BUCKET}/30001/dataset_metadata.json"):
            elsewhere.import_dataset(DATASET)
    else:
        elsewhere.import_dataset(DATASET)
        assert lab.one("dataset")["s3_prefix"] == "s3://new-bucket/30001/"
    assert asked.count((BUCKET, "30001/dataset_metadata.json")) == 1
