"""Datasets are those whose documents are there, and none is left out in silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from include.assets.stored_object import StoredObject
from include.catalog.discovery import DatasetFolder, find_datasets
from include.catalog.documents import ALIKE
from include.errors import (
    AccessDenied,
    AssetflowError,
    BucketNotFound,
    InvalidInput,
    ServiceUnavailable,
)
from tests.s3_clients import s3_client
from tests.s3_fault_proxy import Fault, FaultProxy

DATASETS = ["100", "1001", "30001", "TS [1]"]
KEYS = [
    *(f"{name}/dataset_metadata.json" for name in DATASETS),
    "30002/RUN1/run_metadata.json",
    "30003/dataset_metadata.json/x",
    "30004/dataset_metadata.json.bak",
    "dataset_metadata.json",
    "depositions_metadata/300/deposition_metadata.json",
]


@pytest.fixture
def filled(s3_server: Any, bucket: str) -> str:
    client = s3_client(s3_server)
    for key in KEYS:
        client.put_bytes(bucket, key, b"{}")
    return bucket


@pytest.fixture
def proxy(s3_server: Any) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("options", "names"),
    [
        pytest.param({}, DATASETS, id="all"),
        pytest.param({"prefix": "100"}, ["100", "1001"], id="the start of names"),
        pytest.param({"prefix": "100/"}, ["100"], id="one whole name"),
        pytest.param({"prefix": "TS [1]/"}, ["TS [1]"], id="signs of a pattern"),
        pytest.param({"prefix": "30002/"}, [], id="no document"),
        pytest.param({"prefix": "9"}, [], id="nothing"),
        pytest.param({"only": ["30001/", "100"]}, ["100", "30001"], id="slash or not"),
        pytest.param({"only": ["30001", "30001/"]}, ["30001"], id="named twice"),
        pytest.param({"only": ["10", "30002"]}, [], id="names are whole"),
        pytest.param({"only": ["100", "30001"], "prefix": "1"}, ["100"], id="both"),
        pytest.param({"only": ["100"], "prefix": "1001/"}, [], id="both, of different folders"),
        pytest.param({"exclude": ["100"]}, ["30001", "TS [1]"], id="left out by their start"),
        pytest.param({"exclude": ["100$", "T"]}, ["1001", "30001"], id="left out by expressions"),
        pytest.param({"exclude": ["001"]}, DATASETS, id="only their start counts"),
        pytest.param({"only": ["100"], "exclude": ["1"]}, [], id="named and left out"),
    ],
)
def test_datasets_are_those_asked_for(s3_server: Any, filled: str, options: Any, names: list[str]):
    found = find_datasets(s3_client(s3_server), filled, **options)
    assert found == [DatasetFolder(name) for name in names]


def test_a_whole_name_needs_no_listing(s3_server: Any, filled: str, proxy: FaultProxy):
    store = s3_client(s3_server, proxy.endpoint_url)
    (found,) = find_datasets(store, filled, prefix="30001/")
    assert (found.prefix, found.document) == ("30001/", "30001/dataset_metadata.json")
    assert proxy.count() == 1


@pytest.mark.parametrize(
    "fault", [{"status": 403, "code": "AccessDenied"}, {"status": 503}, {"drop": True}],
    ids=["403", "503", "no answer"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["30001", "30002"], ids=["a dataset", "none"])
def test_a_refusal_is_reported_and_never_taken_for_an_absence(
    s3_server: Any, filled: str, proxy: FaultProxy, fault: Any, name: str
):
    proxy.add(Fault(contains=f"/{name}/dataset_metadata.json", **fault))
    found = find_datasets(s3_client(s3_server, proxy.endpoint_url), filled)
    assert {one.name for one in found} == {*DATASETS, name}
    (unknown,) = [one.unknown for one in found if one.unknown]
    assert unknown.key == f"{name}/dataset_metadata.json"
    assert unknown.is_transient == ("status" not in fault or fault["status"] == 503)


@pytest.mark.parametrize(
    ("fault", "error"),
    [({"status": 403, "code": "AccessDenied"}, AccessDenied), ({"drop": True}, ServiceUnavailable)],
    ids=["403", "no answer"],
)
def test_a_bucket_that_cannot_be_listed_is_an_error(
    s3_server: Any, filled: str, proxy: FaultProxy, fault: Any, error: type[Exception]
):
    proxy.add(Fault(contains="list-type", **fault))
    with pytest.raises(error):
        find_datasets(s3_client(s3_server, proxy.endpoint_url), filled)


@pytest.mark.parametrize("options", [{}, {"prefix": "1/"}, {"only": ["1"]}], ids=str)
def test_a_missing_bucket_is_no_empty_one(s3_server: Any, options: Any):
    with pytest.raises(BucketNotFound):
        find_datasets(s3_client(s3_server), "no-such-bucket", **options)


@pytest.mark.parametrize(
    "options",
    [{"prefix": "30001/RUN1"}, {"prefix": "30001/RUN1/"}, {"only": ["a/b"]}, {"only": [""]},
     {"exclude": ["("]}, {"prefix": "/"}],
    ids=str,
)  # fmt: skip
def test_what_names_no_folder_at_the_top_is_refused(s3_server: Any, options: Any):
    with pytest.raises(InvalidInput):
        find_datasets(s3_client(s3_server), "any", **options)


class Heads:
    """A bucket of many folders, with one answer to every question about their documents."""

    def __init__(self, error: AssetflowError) -> None:
        self.error = error

    def iterate_folders(self, bucket: str) -> Iterator[list[str]]:
        yield [f"{number}" for number in range(30_000, 30_000 + ALIKE)]

    def head(self, bucket: str, key: str) -> StoredObject:
        raise self.error


def test_folders_that_a_policy_denies_are_each_told():
    found = find_datasets(Heads(AccessDenied("403")), "data")
    assert len(found) == ALIKE
    assert {str(one.unknown.reason) for one in found if one.unknown} == {"AccessDenied: 403"}


def test_a_store_that_answers_for_no_folder_now_is_an_error():
    with pytest.raises(ServiceUnavailable):
        find_datasets(Heads(ServiceUnavailable("503")), "data")
