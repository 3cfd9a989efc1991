"""The closed list of former platforms."""

from __future__ import annotations

from include.assets.platform import PLATFORMS, PLATFORMS_BY_NAME


def test_there_are_sixteen_each_found_by_abbreviation_and_by_name():
    assert len(PLATFORMS) == len(PLATFORMS_BY_NAME) == 16
    for abbreviation, platform in PLATFORMS.items():
        assert platform.abbreviation == abbreviation
        assert PLATFORMS_BY_NAME[platform.name] is platform


def test_no_abbreviation_has_the_underscore_that_parts_a_name():
    assert not any("_" in abbreviation for abbreviation in PLATFORMS)
