"""Paths of documents become keys and addresses."""

from __future__ import annotations

from typing import Any

import pytest

from include.catalog.paths import PUBLIC_FILE_SERVER, Urls, key_of, relative_key
from include.catalog.values import UnusableValue


@pytest.mark.parametrize(
    ("path", "key"),
    [
        pytest.param("30001/RUN1/x.mrc", "30001/RUN1/x.mrc", id="as it should be"),
        pytest.param("data/30001/x", "30001/x", id="with the bucket"),
        pytest.param("data-old/x", "data-old/x", id="a longer name than the bucket's"),
        pytest.param("data", "data", id="the bucket's name alone"),
        pytest.param("data/data/x", "data/x", id="cut once"),
        pytest.param("/30001/x", "30001/x", id="a slash before it"),
        pytest.param("//data//30001/x", "30001/x", id="slashes everywhere"),
        pytest.param("30001/data/x", "30001/data/x", id="the bucket's name further on"),
        pytest.param("30001/RUN1/", "30001/RUN1/", id="a folder"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_a_path_means_a_key(path: str, key: str):
    assert relative_key("data", path) == key


@pytest.mark.parametrize("prefix", ["https://foo.com", "https://foo.com/", "https://foo.com//"])
def test_addresses_have_no_double_slash(prefix: str):
    urls = Urls("data", prefix)
    assert urls.https("30001/RUN1/") == "https://foo.com/30001/RUN1/"
    assert urls.s3("30001/x y#[1]") == "s3://data/30001/x y#[1]"


def test_without_a_prefix_files_are_on_the_public_server():
    assert Urls("data").https("30001/x") == f"{PUBLIC_FILE_SERVER}/30001/x"
    assert Urls("data", "").photo("x") == f"{PUBLIC_FILE_SERVER}/x"


def test_the_path_of_a_key_photo_is_not_cut():
    urls = Urls("data", "https://foo.com/")
    assert (
        urls.photo("data/30001/Images/snapshot.png")
        == "https://foo.com/data/30001/Images/snapshot.png"
    )
    assert urls.photo("/x.png") == "https://foo.com/x.png"


@pytest.mark.parametrize("value", [None, "", {}], ids=repr)
def test_an_empty_path_means_no_key(value: Any):
    assert key_of("data", value) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(7, "found 7", id="a number"),
        pytest.param(0, "found 0", id="zero"),
        pytest.param(False, "found False", id="false"),
        pytest.param([], "found \\[\\]", id="an empty list"),
        pytest.param({"a": 1}, "found {'a': 1}", id="an object"),
        pytest.param("30001/a\0b", "NUL", id="a NUL"),
        pytest.param("é" * 513, "1024 bytes", id="longer than any key"),
        pytest.param("/", "found '/'", id="the root"),
        pytest.param("data/", "found 'data/'", id="the bucket alone"),
    ],
)
def test_what_is_no_path_of_an_object_is_refused(value: Any, words: str):
    with pytest.raises(UnusableValue, match=words):
        key_of("data", value)
