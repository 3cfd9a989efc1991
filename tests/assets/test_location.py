"""``s3://bucket/name`` and what is no such place."""

from __future__ import annotations

import pytest

from include.assets.location import AssetLocation
from include.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s3://bucket/a", "a"),
        ("s3://bucket/a/", "a"),
        ("s3://bucket//a//", "a"),
        ("S3://bucket/a", "a"),
        ("s3://bucket/a#b", "a#b"),
        ("s3://bucket/a?b=c", "a?b=c"),
        ("s3://bucket/a%2Fb", "a%2Fb"),
        ("s3://bucket/a b é", "a b é"),
    ],
)
def test_the_name_is_taken_as_it_is(text: str, name: str):
    assert AssetLocation.parse(text) == AssetLocation("bucket", name)


@pytest.mark.parametrize(
    "text",
    ["", "bucket/a", "s3://bucket", "s3://bucket/", "s3://bucket//", "s3:///a", "s3://bucket/a/b",
     "s3a://bucket/a", "https://bucket/a"],
)  # fmt: skip
def test_what_is_no_place_of_an_asset_is_refused_with_what_was_expected(text: str):
    with pytest.raises(InvalidInput, match="expected s3://<bucket>/<asset name>"):
        AssetLocation.parse(text)


@pytest.mark.parametrize("name", ["a", "a#b", "é"])
def test_every_spelling_is_read_as_the_same_place(name: str):
    place = AssetLocation("bucket", name)
    assert place.spellings[0] == str(place)
    assert {AssetLocation.parse(text) for text in place.spellings} == {place}
