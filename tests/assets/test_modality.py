"""The field's list of modalities, and what is made of other spellings."""

from __future__ import annotations

import pytest

from include.assets.modality import (
    FORMER_ABBREVIATIONS,
    FORMER_NAMES,
    MODALITIES,
    find_modality,
    nearest_spelling,
)


def test_the_list_is_that_of_the_schema_library():
    from aind_data_schema_models.modalities import Modality

    theirs = {short: Modality.from_abbreviation(short).name for short in Modality.abbreviation_map}
    assert {short: modality.name for short, modality in MODALITIES.items()} == theirs
    assert all(modality.abbreviation == short for short, modality in MODALITIES.items())


@pytest.mark.parametrize(("former", "today"), FORMER_ABBREVIATIONS.items())
def test_a_former_abbreviation_finds_todays_modality(former, today):
    assert find_modality(former) is MODALITIES[today]
    assert former not in MODALITIES
    assert FORMER_NAMES[former]


@pytest.mark.parametrize("text", ["Ecephys", "behavior_videos", "ECEPHYS", "", "nothing"])
def test_other_spellings_are_no_modality(text):
    assert find_modality(text) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ECEPHYS", "ecephys"),
        ("behavior_videos", "behavior-videos"),
        ("spim ", "SPIM"),
        ("qq", None),
    ],
)
def test_the_probably_meant_spelling_is_found(text, meant):
    assert nearest_spelling(text, MODALITIES) == meant
