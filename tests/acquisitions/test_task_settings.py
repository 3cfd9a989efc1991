"""A setting means what it says or is refused; nothing is taken for something else."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.acquisitions.task_settings import (
    SETTINGS_OF,
    DocDbRecordSettings,
    MetadataCheckSettings,
    SourceFolderSettings,
    SourceRemovalSettings,
    StagingRemovalSettings,
    TaskSettings,
    time_limit_s,
)
from include.errors import InvalidInput


@pytest.mark.parametrize("settings", [TaskSettings, *SETTINGS_OF.values()])
def test_no_settings_are_the_careful_ones(settings: type[TaskSettings]) -> None:
    assert settings.parse({}).warnings == ()
    assert DocDbRecordSettings.parse({}).overwrite_record is False
    assert StagingRemovalSettings.parse({}).keep_for_resume is False
    assert MetadataCheckSettings.parse({}).level == "files"
    assert SourceRemovalSettings.parse({}).dry_run is True


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (DocDbRecordSettings, "overwrite_record"),
        (StagingRemovalSettings, "keep_for_resume"),
        (SourceRemovalSettings, "dry_run"),
    ],
)
class TestASwitch:
    """True, false or not given."""

    @pytest.mark.parametrize("value", [True, False])
    def test_is_what_was_said(self, settings: type[TaskSettings], key: str, value: bool) -> None:
        assert getattr(settings.parse({key: value}), key) is value

    @pytest.mark.parametrize("value", ["false", "true", "", 0, 1, [], {}])
    def test_is_nothing_else(self, settings: type[TaskSettings], key: str, value: object) -> None:
        with pytest.raises(InvalidInput, match=f"{key}: Input should be a valid boolean"):
            settings.parse({key: value})

    def test_of_null_is_not_given(self, settings: type[TaskSettings], key: str) -> None:
        assert getattr(settings.parse({key: None}), key) is settings.model_fields[key].default


@pytest.mark.parametrize("level", ["schma", "Files", True, 1, ["schema"]])
def test_a_level_is_one_of_two(level: object) -> None:
    assert MetadataCheckSettings.parse({"level": "schema"}).level == "schema"
    with pytest.raises(InvalidInput, match="level"):
        MetadataCheckSettings.parse({"level": level})


@pytest.mark.parametrize("labels", ["ecephys", {"ecephys": True}, [1], [["ecephys"]]])
def test_labels_are_a_list_of_text(labels: object) -> None:
    with pytest.raises(InvalidInput, match="modalities_to_delete"):
        SourceRemovalSettings.parse({"modalities_to_delete": labels})


def test_labels_are_read_under_todays_abbreviations() -> None:
    read = SourceRemovalSettings.parse({"modalities_to_delete": ["ophys", "derivatives"]})
    assert read.modalities_to_delete == ("pophys", "derivatives")
    assert SourceRemovalSettings.parse({"modalities_to_delete": []}).modalities_to_delete == ()


@pytest.mark.parametrize("source", [7, ["/a"], {"path": "/a"}])
def test_a_source_folder_is_text(source: object) -> None:
    assert SourceFolderSettings.parse({"input_source": "/a"}).input_source == "/a"
    with pytest.raises(InvalidInput, match="input_source"):
        SourceFolderSettings.parse({"input_source": source})


def test_keys_of_other_deployments_are_warned_about() -> None:
    given = {"docdb_version": "v1", "s3_location": "s3://b/a", "directories": {}}
    assert TaskSettings.parse({"docdb_version": "v1"}).warnings == (
        "'docdb_version' is no setting of this task",
    )
    warnings = SourceRemovalSettings.parse(given).warnings
    assert [text.partition(" ")[0] for text in warnings] == [
        "'docdb_version'",
        "'directories'",
        "'s3_location'",
    ]


@pytest.mark.parametrize(
    ("settings", "key", "meant"),
    [
        (DocDbRecordSettings, "overwrite", "overwrite_record"),
        (DocDbRecordSettings, "overwriteRecord", "overwrite_record"),
        (StagingRemovalSettings, "keep-for-resume", "keep_for_resume"),
        (SourceRemovalSettings, "dryrun", "dry_run"),
        (SourceRemovalSettings, "modality_to_delete", "modalities_to_delete"),
        (SourceFolderSettings, "input_sources", "input_source"),
    ],
)
def test_a_misspelt_key_is_refused(settings: type[TaskSettings], key: str, meant: str) -> None:
    with pytest.raises(InvalidInput, match=f"{key}: is no setting of this task .was '{meant}'"):
        settings.parse({key: None, "x": 1} | {key: True})


def test_all_problems_come_at_once() -> None:
    with pytest.raises(InvalidInput) as refusal:
        SourceRemovalSettings.parse({"dry_run": "no", "modalities_to_delete": 1, "dryRun": 1})
    assert [found.field for found in refusal.value.problems] == [
        "dryRun",
        "dry_run",
        "modalities_to_delete",
    ]


@pytest.mark.parametrize(
    ("limit", "expected_s"),
    [
        (None, None),
        (90, 5400),
        (0.5, 30),
        ("90", 5400),
        ({"set": True, "number": 2}, 120),
        ({"number": "2"}, 120),
        ({"set": False}, None),
        ({"set": False, "number": 2}, None),
        ({"set": True, "infinite": True, "number": 0}, None),
    ],
)
def test_a_time_limit_is_slurms_in_minutes(limit: object, expected_s: float | None) -> None:
    assert time_limit_s({"time_limit": limit, "partition": "aind"}) == expected_s
    assert time_limit_s(None) is None
    assert time_limit_s({}) is None


@pytest.mark.parametrize(
    "limit",
    [
        *("2h", "", "1:30:00", "-1", "inf", True, 0, -1, math.nan, 10**400, [90], {}),
        *({"set": True}, {"set": "false", "number": 2}, {"number": "2h"}, {"infinite": 1}),
    ],
    ids=repr,
)
def test_anything_else_is_no_time_limit(limit: object) -> None:
    with pytest.raises(InvalidInput, match="is no time limit"):
        time_limit_s({"time_limit": limit})


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(value=JSON, name=st.sampled_from(sorted(SETTINGS_OF)))
def test_no_value_ends_in_another_error(value: Any, name: str) -> None:
    settings = SETTINGS_OF[name]
    for key in (*settings.model_fields, "anything"):
        with suppress(InvalidInput):
            settings.parse({key: value})
    try:
        limit = time_limit_s({"time_limit": value})
    except InvalidInput:
        return
    assert limit is None or limit > 0
