"""The invented rig's files are valid, whatever was recorded."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from aind_data_schema_models.modalities import Modality

from include.acquisitions.data_description import start_of
from include.assets.aggregate import MetadataStatus, aggregate_v2
from include.assets.location import AssetLocation
from include.local.sample_metadata import is_recorded_elsewhere, write_sample_metadata

STARTED_AT = datetime(2023, 4, 3, 18, 17, 7, tzinfo=timezone(timedelta(hours=-7)))
CALIBRATION = {
    "subject_id": "632269",
    "subject_details": {"object_type": "Calibration object", "description": "beads"},
}


@pytest.mark.parametrize(
    "modalities", [*([one] for one in Modality.abbreviation_map), ["ecephys", "behavior-videos"]],
    ids="+".join,
)  # fmt: skip
def test_every_modality_gives_files_that_are_valid_together(
    tmp_path: Path, modalities: list[str]
) -> None:
    write_sample_metadata(tmp_path, "632269", STARTED_AT, modalities)
    files = {path.stem: json.loads(path.read_bytes()) for path in tmp_path.iterdir()}
    assert ("instrument" in files) is not is_recorded_elsewhere(modalities)
    assert start_of(files["acquisition"]) == STARTED_AT
    location = AssetLocation("private", "632269_2023-04-03_18-17-07")
    _, report = aggregate_v2(location, files | {"subject": CALIBRATION})
    assert report.status is MetadataStatus.VALID, report
