"""Two things of one identity: which is the row, that it is told, and what holds while one of them is not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from include.errors import AccessDenied, ServiceUnavailable
from tests.catalog.lab import Lab
from tests.catalog.test_import import (
    ALIGNMENT,
    ANNOTATION,
    FRAMES,
    RUN1,
    SPACING,
    TILTSERIES,
    TOMOGRAM,
    edit,
)

OTHER_SPACING = f"{RUN1}/Reconstructions/VoxelSpacing12.3"
"""Of the same number as the first, and before it in the order of keys."""


def content_of(lab: Lab, key: str, **changed: Any) -> Any:
    return {**json.loads(lab.objects[key]), **changed}


def second_alignment(lab: Lab) -> str:
    key = f"{RUN1}/Alignments/101/alignment_metadata.json"
    sections = [{"z_index": z, "x_offset": 1.5} for z in (0, 5, 6)]
    lab.objects.put(
        key, content_of(lab, ALIGNMENT, tilt_offset=7, per_section_alignment_parameters=sections)
    )
    return key


def second_tomogram(lab: Lab) -> str:
    key = f"{SPACING}/Tomograms/101/tomogram_metadata.json"
    authors = [{"name": "John Doe"}, {"name": "Somebody Else"}]
    lab.objects.put(key, content_of(lab, TOMOGRAM, tomogram_version=9, authors=authors))
    return key


def second_annotation(lab: Lab, spacing: str = SPACING) -> str:
    key = f"{spacing}/Annotations/101/foo-1.0.json"
    lab.objects.put(
        key,
        content_of(
            lab, ANNOTATION, object_count=99, authors=[{"name": "Somebody Else"}],
            files=[{"format": "glb", "shape": "Mesh", "path": f"{spacing}/x.glb"}], method_links=[],
        ),
    )  # fmt: skip
    return key


def annotation_of_another_spacing(lab: Lab) -> str:
    return second_annotation(lab, f"{RUN1}/Reconstructions/VoxelSpacing13.000")


def second_run(lab: Lab) -> str:
    for key in [key for key in lab.objects if key.startswith(f"{RUN1}/")]:
        lab.objects[key.replace(f"{RUN1}/", "30001/RUN1_again/")] = lab.objects[key]
    edit(
        lab,
        "30001/RUN1_again/Frames/frames_metadata.json",
        lambda content: content.update(frames=content["frames"][:2]),
    )
    return "30001/RUN1_again/run_metadata.json"


SECOND: dict[str, tuple[str, Callable[[Lab], str], Callable[[Any], Any]]] = {
    "alignment": (ALIGNMENT, second_alignment, lambda content: content.update(tilt_offset=3)),
    "tomogram": (TOMOGRAM, second_tomogram, lambda content: content.update(tomogram_version=3)),
    "annotation": (ANNOTATION, second_annotation, lambda content: content.update(object_count=3)),
    "annotation of another spacing": (
        ANNOTATION,
        annotation_of_another_spacing,
        lambda content: content.update(object_count=3),
    ),
    "run": (FRAMES, second_run, lambda content: content["frames"][0].update(exposure_dose=8)),
}
"""What there are two of → a document of the first, what makes the second, a change of the first."""

FAULTS = {
    "403": AccessDenied("403"),
    "503": ServiceUnavailable("503"),
    "cut short": b'{"a": 1',
    "a value that no column takes": {"run_name": ["a\0"], "dates": {"release_date": "soon"},
                                     "volume_dimension": "wide"},
}  # fmt: skip


def hide(lab: Lab, key: str, kind: str) -> None:
    fault = FAULTS[kind]
    if isinstance(fault, Exception):
        lab.objects.faults[key] = fault
    elif isinstance(fault, bytes):
        lab.objects[key] = fault
    else:
        edit(lab, key, lambda content: content.update(fault))


def versions(lab: Lab) -> dict[str, list[Any]]:
    """Of all rows but the dataset's, whose size changes with every document."""
    return {table: rows for table, rows in lab.versions().items() if table != "dataset"}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("two", SECOND)
def test_the_first_of_two_is_no_substitute_for_a_second_that_cannot_be_read(
    lab: Lab, two: str, kind: str
):
    first, make, change = SECOND[two]
    second = make(lab)
    assert lab.run().problems == ()
    before, good = versions(lab), lab.objects[second]
    hide(lab, second, kind)
    edit(lab, first, change)

    report = lab.run()

    assert any(second in problem for problem in report.problems)
    assert any("is not used now" in warning and second.rpartition("/")[0] in warning
               for warning in report.warnings)  # fmt: skip
    assert versions(lab) == before
    lab.objects.faults.clear()
    lab.objects[second] = good
    assert lab.run().problems == ()
    assert versions(lab) == before


@pytest.mark.parametrize("two", ["alignment", "annotation", "run"])
def test_a_row_that_was_made_of_the_first_is_kept_up_to_date(lab: Lab, two: str):
    first, make, change = SECOND[two]
    assert lab.run().problems == ()
    ids = {table: lab.rows(table, "id") for table in lab.counts()}
    before = versions(lab)
    lab.objects.faults[make(lab)] = AccessDenied("403")
    edit(lab, first, change)
    report = lab.run()
    assert report.warnings == ()
    assert versions(lab) != before
    assert {table: lab.rows(table, "id") for table in lab.counts()} == ids


def test_a_tomogram_of_another_identity_is_kept_up_to_date(lab: Lab):
    second = second_tomogram(lab)
    edit(lab, second, lambda content: content.update(processing="denoised"))
    lab.run()
    edit(lab, second, lambda content: content.update(size={"x": "wide"}))
    edit(lab, TOMOGRAM, lambda content: content.update(tomogram_version=3))
    assert lab.run().warnings == ()
    assert lab.rows("tomogram", "tomogram_version", order="tomogram_version") == [1, 3, 9]


def test_a_tomogram_before_which_another_cannot_be_read_is_kept_up_to_date(lab: Lab):
    second = second_tomogram(lab)
    lab.run()
    lab.objects.faults[TOMOGRAM] = AccessDenied("403")
    edit(lab, second, lambda content: content.update(tomogram_version=3))
    assert lab.run().warnings == ()
    assert 3 in lab.rows("tomogram", "tomogram_version")


# Two folders of one voxel spacing ------------------------------------------------------------------


def share_out(lab: Lab) -> dict[str, str]:
    """Put another tomogram and annotation into a second folder of the first one's number."""
    found = {
        "tomogram": f"{OTHER_SPACING}/Tomograms/200/tomogram_metadata.json",
        "annotation": f"{OTHER_SPACING}/Annotations/200/bar-1.0.json",
    }
    lab.objects.put(found["tomogram"], content_of(lab, TOMOGRAM, processing="denoised"))
    lab.objects.put(found["annotation"], content_of(lab, ANNOTATION, annotation_ingest_id="bar"))
    return found


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("what", ["tomogram", "annotation"])
@pytest.mark.parametrize("where", ["first folder", "second folder"])
def test_what_one_of_two_folders_hides_the_other_has_not_seen(
    lab: Lab, where: str, what: str, kind: str
):
    other = share_out(lab)
    assert lab.run().problems == ()
    before = {table: lab.rows(table, "id") for table in lab.counts()}
    assert len(before["tomogram"]) == 3
    key = (
        other[what]
        if where == "first folder"
        else {"tomogram": TOMOGRAM, "annotation": ANNOTATION}[what]
    )
    hide(lab, key, kind)
    report = lab.run()
    assert any(key in problem for problem in report.problems)
    assert {table: lab.rows(table, "id") for table in lab.counts()} == before


def test_of_two_folders_of_one_spacing_the_last_one_has_the_last_word(lab: Lab):
    lab.objects.put(
        f"{OTHER_SPACING}/Tomograms/100/tomogram_metadata.json",
        content_of(lab, TOMOGRAM, tomogram_version=9),
    )
    report = lab.run()
    assert lab.rows("tomogram", "tomogram_version", order="tomogram_version") == [1, 1]
    assert any(TOMOGRAM in one and "is used" in one for one in report.warnings)


# Two entries of one list ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        (
            ANNOTATION,
            lambda content: content["files"].append({**content["files"][0], "path": "30001/y"}),
            "entry 8 is used; entry 1 has the same format",
        ),
        (
            TILTSERIES,
            lambda content: content["per_section_parameter"].append({
                **content["per_section_parameter"][0],
                "z_index": 5,
            }),
            "entry 2 is used; entry 1 has the same frame_id",
        ),
        (
            FRAMES,
            lambda content: content["frames"][2].update(acquisition_order=1),
            "entry 3 is used; entry 2 has the same run_id, acquisition_order of frame",
        ),
        (
            TOMOGRAM,
            lambda content: content["authors"].append({"name": "John Doe"}),
            "entry 3 is used; entry 1 has the same tomogram_id, name of tomogram_author",
        ),
    ],
    ids=[
        "files of one shape and format",
        "sections of one frame",
        "frames of one order",
        "authors",
    ],
)
def test_of_two_entries_of_one_identity_the_last_is_used_with_a_warning(
    lab: Lab, key: str, change: Callable[[Any], Any], told: str
):
    edit(lab, key, change)
    report = lab.run()
    assert report.problems == ()
    (warning,) = report.warnings
    assert key in warning
    assert told in warning


def test_an_entry_that_makes_no_row_hides_no_earlier_one_of_its_identity(lab: Lab):
    lab.run()
    edit(
        lab,
        TOMOGRAM,
        lambda content: content["authors"].append({"name": "John Doe", "email": "new"}),
    )
    lab.run()
    before = versions(lab)
    edit(
        lab, TOMOGRAM, lambda content: content["authors"][2].update(primary_author_status="perhaps")
    )
    report = lab.run()
    assert "primary_author_status of entry 3" in report.problems[0]
    assert versions(lab) == before
