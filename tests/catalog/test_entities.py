"""What a document does not say, or says in words that no column takes, is told and deletes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from include.catalog.documents import ALIKE
from include.catalog.rows import TableRows
from include.errors import AccessDenied
from tests.catalog import made
from tests.catalog.lab import BUCKET, TREE, Lab, Objects
from tests.catalog.test_import import (
    ALIGNMENT,
    ANNOTATION,
    COUNTS,
    FRAMES,
    TILTSERIES,
    TOMOGRAM,
    edit,
)

DATASET_DOCUMENT = "30001/dataset_metadata.json"


def without(*path: Any) -> Callable[[Any], None]:
    """Take away what stands at a path, with its key; ``...`` stands for each entry of a list."""
    return lambda content: at_each(content, path, lambda owner, step: owner.pop(step))


def with_(*path: Any, value: Any) -> Callable[[Any], None]:
    """Put something in its place."""
    return lambda content: at_each(
        content, path, lambda owner, step: owner.__setitem__(step, value)
    )


def at_each(content: Any, path: tuple[Any, ...], do: Callable[[Any, Any], Any]) -> None:
    if len(path) == 1:
        do(content, path[0])
        return
    for one in content if path[0] is ... else [content[path[0]]]:
        at_each(one, path[1:], do)


def renamed(*path: Any) -> Callable[[Any], None]:
    """As a new version of a producer may call it."""
    return lambda content: at_each(
        content, path, lambda owner, step: owner.__setitem__(f"new_{step}", owner.pop(step))
    )


@pytest.fixture
def objects() -> Objects:
    """The shared tree, without a database."""
    return Objects.of_folder(TREE)


def changed(objects: Objects, key: str, change: Callable[[Any], Any]) -> Objects:
    content = json.loads(objects[key])
    change(content)
    objects.put(key, content)
    return objects


def column(rows: TableRows, name: str) -> list[Any]:
    place = rows.columns.index(name)
    return [row[place] for row in rows.rows.values()]


# Nothing is deleted ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        pytest.param(
            ANNOTATION, with_("files", 1, value="garbled"),
            "files[1]: expected an object", id="a file that is no object",
        ),
        pytest.param(
            ANNOTATION, with_("files", 1, "shape", value="Sphere"),
            "shape of entry 2: expected one of", id="a file of a shape that does not exist",
        ),
        pytest.param(
            ANNOTATION, with_("files", 1, "shape", value=["SegmentationMask"]),
            "shape of entry 2: expected one of", id="a file whose shape is a list",
        ),
        pytest.param(
            ANNOTATION, without("files", 1, "shape"),
            "shape of entry 2: shape is missing", id="a file without a shape",
        ),
        pytest.param(
            ANNOTATION, with_("files", 1, "shape", value=None),
            "shape of entry 2: shape is missing", id="a file whose shape is null",
        ),
        pytest.param(
            ANNOTATION, renamed("deposition_id"),
            "deposition_id: deposition_id is missing", id="an annotation's deposition",
        ),
        pytest.param(
            ANNOTATION, with_("annotation_ingest_id", value=""),
            "annotation_ingest_id: annotation_ingest_id: expected a name, found ''", id="an annotation's name, empty",
        ),
        pytest.param(
            "30001/RUN1/run_metadata.json", with_("run_name", value=[]),
            "name: run_name: expected a name, found []", id="a run's name, a list",
        ),
        pytest.param(
            "30001/RUN1/run_metadata.json", renamed("run_name"), "name: is missing", id="a run's name",
        ),
        pytest.param(
            ANNOTATION, renamed("files", ..., "shape"),
            "shape of entry 1: shape is missing", id="the shapes of all files",
        ),
        pytest.param(
            ANNOTATION, with_("files", 2, "path", value=7),
            "s3_path of entry 3: path: expected a path, found 7", id="a file is told by its place in the document",
        ),
        pytest.param(
            ANNOTATION, renamed("alignment_metadata_path"),
            "alignment_metadata_path is missing", id="an annotation's alignment",
        ),
        pytest.param(
            FRAMES, renamed("frames", ..., "acquisition_order"),
            "acquisition_order of entry 3: acquisition_order is missing", id="orders of frames",
        ),
        pytest.param(
            FRAMES, renamed("frames", 0, "accumulated_dose"),
            "accumulated_dose of entry 1", id="an accumulated dose",
        ),
        pytest.param(
            FRAMES, renamed("frames", 1, "exposure_dose"), "exposure_dose of entry 2", id="a dose",
        ),
        pytest.param(
            FRAMES, renamed("frames", 2, "is_gain_corrected"),
            "is_gain_corrected of entry 3", id="whether a gain is corrected",
        ),
        pytest.param(
            TOMOGRAM, renamed("alignment_metadata_path"),
            "alignment_metadata_path is missing", id="a tomogram's alignment",
        ),
        pytest.param(TOMOGRAM, renamed("omezarr_dir"), "omezarr_dir is missing", id="an image folder"),
        pytest.param(TOMOGRAM, renamed("mrc_file"), "mrc_file is missing", id="an image file"),
        pytest.param(TOMOGRAM, renamed("scales"), "scales is missing", id="the scales"),
        pytest.param(TOMOGRAM, with_("scales", value=None), "scales: expected a list", id="scales that are null"),
        pytest.param(TOMOGRAM, without("scales", 2), "scales[2] is missing", id="one of three scales"),
        pytest.param(TOMOGRAM, renamed("scales", 1, "y"), "scales[1]: expected numbers", id="an axis"),
        pytest.param(
            TOMOGRAM, without("key_photo", "thumbnail"), "key_photo.thumbnail is missing", id="a thumbnail"
        ),
        pytest.param(TOMOGRAM, renamed("authors"), "authors: is missing", id="a tomogram's authors"),
        *(
            pytest.param(key, with_(name, value=None), f"{name}: expected a list, found None", id=f"{name} of {kind}, null")
            for kind, key, name in [
                ("a tomogram", TOMOGRAM, "authors"),
                ("an annotation", ANNOTATION, "authors"),
                ("an annotation", ANNOTATION, "files"),
                ("an annotation", ANNOTATION, "method_links"),
                ("a dataset", DATASET_DOCUMENT, "authors"),
                ("a dataset", DATASET_DOCUMENT, "funding"),
                ("a run", FRAMES, "frames"),
                ("a tilt series", TILTSERIES, "per_section_parameter"),
                ("an alignment", ALIGNMENT, "per_section_alignment_parameters"),
            ]
        ),
    ],
)  # fmt: skip
def test_what_a_document_does_not_say_is_told_and_deletes_nothing(
    lab: Lab, key: str, change: Callable[[Any], Any], told: str
):
    lab.run()
    ids = {table: lab.rows(table, "id") for table in COUNTS}
    edit(lab, key, change)
    report = lab.run()
    assert any(f"s3://{BUCKET}/{key}: " in one and told in one for one in report.problems), report
    assert {table: lab.rows(table, "id") for table in COUNTS} == ids


@pytest.mark.parametrize(
    ("key", "change"),
    [
        pytest.param(DATASET_DOCUMENT, without("authors"), id="authors of a dataset"),
        pytest.param(ANNOTATION, without("authors"), id="authors of an annotation"),
        pytest.param(TOMOGRAM, with_("authors", value=[]), id="authors of a tomogram, empty"),
        pytest.param(
            TOMOGRAM, with_("alignment_metadata_path", value=None), id="an alignment, null"
        ),
        pytest.param(TOMOGRAM, with_("mrc_file", value=None), id="an image file, null"),
        pytest.param(TOMOGRAM, without("key_photo"), id="a key photo"),
        pytest.param(TOMOGRAM, with_("key_photo", value={}), id="a key photo, empty"),
        pytest.param(FRAMES, with_("frames", ..., "exposure_dose", value=None), id="doses, null"),
    ],
)
def test_what_may_be_left_out_is_no_problem(
    objects: Objects, key: str, change: Callable[[Any], Any]
):
    tree, _ = made.of_dataset(changed(objects, key, change))
    assert tree.problems == []


def test_files_of_one_shape_are_one_row_with_all_of_them(objects: Objects):
    _, rows = made.of_dataset(objects)
    assert sorted(column(rows["annotation_shape"], "shape_type")) == [
        "AnnotationCaption", "GlobalCaption", "InstanceSegmentationMask", "Point", "SegmentationMask",
    ]  # fmt: skip
    assert len(rows["annotation_file"].rows) == 7
    assert len(rows["annotation_file"].complete) == 5


# Values of the wrong kind ----------------------------------------------------------------------------

SECTION = ("per_section_parameter", 0, "frame_acquisition_order")


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        pytest.param(TOMOGRAM, with_("key_photo", "snapshot", value=7), "key_photo_url: key_photo.snapshot: expected a path", id="a number for a photo"),
        pytest.param(TOMOGRAM, with_("key_photo", "thumbnail", value={"a": 1}), "key_photo_thumbnail_url: key_photo.thumbnail: expected a path", id="an object for a photo"),
        pytest.param(DATASET_DOCUMENT, with_("key_photos", "snapshot", value=[1]), "key_photo_url: key_photos.snapshot: expected a path", id="a list for a photo"),
        pytest.param(TOMOGRAM, with_("processing", value=["raw"]), "processing: expected one of", id="a list for a word"),
        pytest.param(TOMOGRAM, with_("fiducial_alignment_status", value=["true"]), "expected FIDUCIAL", id="a list for a status"),
        pytest.param(TOMOGRAM, with_("deposition_id", value=float("inf")), "deposition_id: expected a whole number", id="a deposition without end"),
        pytest.param(TOMOGRAM, with_("deposition_id", value=300.5), "deposition_id: expected a whole number", id="half a deposition"),
        pytest.param(TOMOGRAM, with_("mrc_file", value="/"), "s3_mrc_file: mrc_file: expected a path", id="the whole bucket for a file"),
        pytest.param(TOMOGRAM, with_("alignment_metadata_path", value="a\0b"), "alignment_id: alignment_metadata_path: expected a path", id="NUL in a tomogram's link"),
        pytest.param(ANNOTATION, with_("alignment_metadata_path", value=["a"]), "alignment_id of entry 1: alignment_metadata_path: expected a path", id="a list for an annotation's link"),
        pytest.param(ALIGNMENT, with_("tiltseries_path", value="30001/\0/a"), "tiltseries_id: tiltseries_path: expected a path", id="NUL in an alignment's link"),
        pytest.param(ALIGNMENT, with_("affine_transformation_matrix", value=[["\0"]]), "affine_transformation_matrix: holds a NUL", id="NUL in a matrix"),
        pytest.param(ALIGNMENT, with_("per_section_alignment_parameters", 1, "in_plane_rotation", value=[float("nan")]), "in_plane_rotation of entry 2: holds nan", id="NaN in a rotation"),
        pytest.param(ALIGNMENT, with_("per_section_alignment_parameters", 0, "in_plane_rotation", value={"\0": 1}), "in_plane_rotation of entry 1: holds a NUL", id="NUL in a rotation"),
        pytest.param(TILTSERIES, with_("tilt_range", "min", value="steep"), "tilt_min: tilt_range.min: expected a number", id="a word for a tilt"),
        pytest.param(TILTSERIES, with_("tilt_range", value={"min": 1}), "tilt_range: tilt_range.max: is missing", id="half a tilt range"),
        pytest.param(FRAMES, with_("frames_acquisition_file", value=7), "s3_mdoc_path: frames_acquisition_file: expected a path", id="a number for an acquisition file"),
        pytest.param(FRAMES, without("frames_acquisition_file"), "frames_acquisition_file is missing", id="no acquisition file"),
        pytest.param(FRAMES, with_("frames_acquisition_file", value=None), "s3_mdoc_path: is missing", id="an acquisition file, null"),
        *(
            pytest.param(TILTSERIES, with_(*SECTION, value=value), "frame_id of entry 1: frame_acquisition_order: expected a whole number", id=f"{value!r} for a frame")
            for value in ("", [], {"a": 1}, 2**31, 0.5, True)
        ),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_told_by_name(
    objects: Objects, key: str, change: Callable[[Any], Any], told: str
):
    tree, _ = made.of_dataset(changed(objects, key, change))
    assert any(told in str(one) and f"s3://{BUCKET}/{key}: " in str(one) for one in tree.problems)


@pytest.mark.parametrize("value", [0, 0.0, "0"], ids=repr)
def test_one_frame_has_one_number_however_it_is_written(objects: Objects, value: Any):
    tree, rows = made.of_dataset(changed(objects, TILTSERIES, with_(*SECTION, value=value)))
    assert tree.problems == []
    (order,) = column(rows["per_section_parameters"], "frame_acquisition_order")
    assert (order, type(order)) == (0, int)


@pytest.mark.parametrize(
    ("value", "is_of_dataset"), [(300, True), ("300", True), (300.0, True), (301, False)], ids=repr
)
def test_a_tomogram_is_of_the_datasets_deposition_however_the_id_is_written(
    objects: Objects, value: Any, is_of_dataset: bool
):
    _, rows = made.of_dataset(changed(objects, TOMOGRAM, with_("deposition_id", value=value)))
    assert column(rows["tomogram"], "is_author_submitted")[0] == is_of_dataset


@pytest.mark.parametrize("word", [7, None, ["dataset"], {}, "Dataset"], ids=repr)
def test_a_kind_of_deposition_that_is_no_word_is_told(objects: Objects, word: Any):
    key = "depositions_metadata/300/deposition_metadata.json"
    tree, rows = made.of_depositions(
        changed(objects, key, with_("deposition_types", value=[" dataset ", word]))
    )
    (problem,) = tree.problems
    assert str(problem).startswith(f"s3://{BUCKET}/{key}: type of entry 2: ")
    assert column(rows["deposition_type"], "type") == ["dataset", "tomogram", "annotation"]


# The viewer's configuration --------------------------------------------------------------------------

ELSEWHERE = "viewers/RUN1.json"


@pytest.mark.parametrize("key", ["30001/none.json", ELSEWHERE], ids=["inside", "outside"])
def test_a_viewer_configuration_that_is_not_there_is_an_empty_one_with_a_warning(
    objects: Objects, key: str
):
    change = with_("neuroglancer_config_path", value=key)
    tree, rows = made.of_dataset(changed(objects, TOMOGRAM, change))
    assert tree.problems == []
    (warning,) = tree.warnings
    assert warning.startswith(f"s3://{BUCKET}/{key}: is named by")
    assert column(rows["tomogram"], "neuroglancer_config") == ["{}", None]


def test_a_viewer_configuration_may_lie_outside_of_the_dataset(objects: Objects):
    objects.put(ELSEWHERE, {"é": 1.50})
    change = with_("neuroglancer_config_path", value=ELSEWHERE)
    tree, rows = made.of_dataset(changed(objects, TOMOGRAM, change))
    assert tree.problems == tree.warnings == []
    assert column(rows["tomogram"], "neuroglancer_config")[0] == '{"\\u00e9":1.5}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(AccessDenied("403"), "AccessDenied: 403", id="denied"),
        pytest.param(b"{", "is not JSON", id="cut short"),
        pytest.param(b'{"a": NaN}', "is not JSON", id="NaN"),
        pytest.param(b"[" * 5000, "is not JSON", id="nested without end"),
        pytest.param(b"\xff", "is not UTF-8", id="no text"),
    ],
)
@pytest.mark.parametrize("place", ["30001/viewer.json", ELSEWHERE], ids=["inside", "outside"])
def test_a_viewer_configuration_that_cannot_be_read_is_told(
    objects: Objects, place: str, content: bytes | Exception, words: str
):
    objects[place] = b"{}"
    if isinstance(content, bytes):
        objects[place] = content
    else:
        objects.faults[place] = content
    change = with_("neuroglancer_config_path", value=place)
    tree, _ = made.of_dataset(changed(objects, TOMOGRAM, change))
    (problem,) = tree.problems
    assert str(problem).startswith(f"s3://{BUCKET}/{TOMOGRAM}: neuroglancer_config_path: {place}")
    assert words in str(problem)


def test_many_missing_viewer_configurations_outside_are_no_fault_of_the_store(objects: Objects):
    document = json.loads(objects[TOMOGRAM])
    folder, _, name = TOMOGRAM.rpartition("/100/")
    for number in range(ALIKE + 1):
        document["neuroglancer_config_path"] = f"viewers/{number}.json"
        document["processing_software"] = f"software {number}"
        objects.put(f"{folder}/{200 + number}/{name}", document)
    tree, _ = made.of_dataset(objects)
    assert tree.problems == []
    assert len(tree.warnings) == ALIKE + 1
