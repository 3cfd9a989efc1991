"""The portal's own test tree: what it becomes, table by table, and what a change of it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from include.catalog.entities import OF_DATASETS
from include.catalog.report import TableReport
from include.catalog.write import OWNERS, POINTERS
from tests.catalog.lab import BUCKET, HTTPS, Lab

RUN1 = "30001/RUN1"
SPACING = f"{RUN1}/Reconstructions/VoxelSpacing12.300"
TILTSERIES = f"{RUN1}/TiltSeries/100/tiltseries_metadata.json"
ALIGNMENT = f"{RUN1}/Alignments/100/alignment_metadata.json"
TOMOGRAM = f"{SPACING}/Tomograms/100/tomogram_metadata.json"
ANNOTATION = f"{SPACING}/Annotations/100/foo-1.0.json"
FRAMES = f"{RUN1}/Frames/frames_metadata.json"

COUNTS = {
    "deposition": 2, "deposition_author": 5, "deposition_type": 4, "dataset": 1, "dataset_author": 3,
    "dataset_funding": 4, "run": 4, "frame_acquisition_file": 1, "frame": 3, "gain_file": 2,
    "tiltseries": 2, "per_section_parameters": 1, "alignment": 1,
    "per_section_alignment_parameters": 2, "tomogram_voxel_spacing": 3, "tomogram": 2,
    "tomogram_author": 2, "annotation": 1, "annotation_shape": 5, "annotation_file": 7,
    "annotation_author": 3, "annotation_method_link": 2,
}  # fmt: skip


def edit(lab: Lab, key: str, change: Callable[[Any], Any]) -> None:
    """Change a document of the tree."""
    content = json.loads(lab.objects[key])
    changed = change(content)
    lab.objects.put(key, content if changed is None else changed)


def changes(lab: Lab, **how: Any) -> dict[str, tuple[int, int, int]]:
    """Import; table → created, updated, deleted, where anything was done."""
    report = lab.run(**how)
    assert report.problems == (), report.problems
    return {
        table: (counts.created, counts.updated, counts.deleted)
        for table, counts in report.tables.items()
        if counts.created or counts.updated or counts.deleted
    }


# What the tree becomes -----------------------------------------------------------------------------


def test_every_table_has_the_rows_of_the_tree(lab: Lab):
    report = lab.run()
    assert lab.counts() == COUNTS
    assert report.problems == report.warnings == ()
    assert {table: counts.created for table, counts in report.tables.items()} == COUNTS


def test_a_second_import_changes_no_version_of_any_row(lab: Lab):
    lab.run()
    versions = lab.versions()
    report = lab.run()
    assert lab.versions() == versions
    assert report.tables == {
        table: TableReport(unchanged=count)
        for table, count in COUNTS.items()
        if not table.startswith("deposition")
    }


def test_the_worked_values(lab: Lab):
    lab.run()
    dataset = lab.one("dataset")
    assert dataset["file_size"] == 1_375_590
    assert (dataset["cell_strain_id"], dataset["dataset_publications"]) == (
        "999999",
        "test-publication-data",
    )
    assert dataset["s3_prefix"] == f"s3://{BUCKET}/30001/"
    assert dataset["deposition_date"].isoformat() == "2023-04-01T00:00:00+00:00"
    tiltseries = lab.rows("tiltseries")[0]
    assert [tiltseries[name] for name in ("tilt_min", "tilt_max", "tilt_range")] == [
        -40.01,
        40.97,
        80.98,
    ]
    assert [row["s3_angle_list"].rpartition("/")[2] for row in lab.rows("tiltseries")] == [
        "bar.rawtlt",
        "bar.tlt",
    ]
    spacing = lab.rows("tomogram_voxel_spacing")[0]
    assert (spacing["voxel_spacing"], spacing["s3_prefix"]) == (
        12.3,
        f"s3://{BUCKET}/{SPACING}/",
    )
    of_run1 = next(row for row in lab.rows("tomogram") if row["name"] == "RUN1")
    of_run2 = next(row for row in lab.rows("tomogram") if row["name"] == "RUN2")
    assert of_run1["scale0_dimensions"] == "980,1016,500"
    assert of_run1["neuroglancer_config"] == '{"foo":"bar","baz":"test"}'
    assert of_run1["file_size_mrc"] == 0
    assert (of_run2["reconstruction_software"], of_run2["ctf_corrected"]) == ("Unknown", False)
    assert of_run2["alignment_id"] is None
    assert of_run1["alignment_id"] == lab.one("alignment")["id"]
    assert lab.one("alignment")["affine_transformation_matrix"] == (
        "{{1,0,0,0},{0,1,0,0},{0,0,1,0},{0,0,0,1}}"
    )
    assert lab.one("alignment")["tiltseries_id"] == tiltseries["id"]
    frames = lab.rows("frame")
    assert [frame["file_size"] for frame in frames] == [11, 0, None]
    assert frames[2]["s3_frame_path"] is frames[2]["https_frame_path"] is None
    assert set(lab.rows("annotation_file", "source")) == {"community"}
    assert set(lab.rows("annotation_file", "alignment_id")) == {lab.one("alignment")["id"]}
    photo = "deposition_metadata/300/Images/snapshot.png"
    assert lab.rows("deposition")[0]["key_photo_url"] == f"{HTTPS}/{photo}"


def test_flags_that_a_document_does_not_give_are_null_from_the_start(lab: Lab):
    lab.run()
    assert lab.rows("deposition_author", "corresponding_author_status")[0] is None
    assert None not in lab.rows("annotation_author", "primary_author_status")


def test_the_older_layout_is_no_dataset_and_no_failure(lab: Lab):
    from include.catalog.discovery import DatasetFolder

    report = lab.run(folder=DatasetFolder("20001"))
    assert (report.tables, report.problems, lab.counts()) == ({}, (), {})


def test_requests_are_one_listing_and_each_document_once(lab: Lab):
    lab.run()
    lab.objects.requests.clear()
    lab.run()
    read = lab.objects.requests
    assert read.count("list 30001/") == 1
    assert len(read) == len(set(read))
    assert len(read) == 1 + 12 + 1  # listing, documents, viewer configuration


# What a change of the tree changes -----------------------------------------------------------------


def drop(*keys: str) -> Callable[[Lab], None]:
    def change(lab: Lab) -> None:
        for key in keys:
            del lab.objects[key]

    return change


def set_to(key: str, *path: Any, value: Any) -> Callable[[Lab], None]:
    def change(lab: Lab) -> None:
        def apply(content: Any) -> None:
            for step in path[:-1]:
                content = content[step]
            if value is None and isinstance(content, dict):
                del content[path[-1]]
            else:
                content[path[-1]] = value

        edit(lab, key, apply)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            set_to("30001/dataset_metadata.json", "dataset_title", value="New"),
            {"dataset": (0, 1, 0)},
            id="a title",
        ),
        pytest.param(
            set_to("30001/dataset_metadata.json", "authors", value=[{"name": "Jane Eyre"}]),
            {"dataset": (0, 1, 0), "dataset_author": (0, 1, 2)},
            id="authors go, one loses its flags, the dataset is smaller",
        ),
        pytest.param(
            set_to("30001/dataset_metadata.json", "funding", value=[]),
            {"dataset": (0, 1, 0), "dataset_funding": (0, 0, 4)},
            id="funding goes",
        ),
        pytest.param(
            set_to(FRAMES, "frames", 1, "exposure_dose", value=3.0),
            {"dataset": (0, 1, 0), "frame": (0, 1, 0)},
            id="one frame of three, and the size of the dataset",
        ),
        pytest.param(
            drop(f"{RUN1}/Gains/run1_gain.mrc"),
            {"gain_file": (0, 0, 1)},
            id="an empty file goes and nothing else changes",
        ),
        pytest.param(
            set_to(TILTSERIES, "mrc_file", value=None),
            {"dataset": (0, 1, 0), "tiltseries": (0, 1, 0), "alignment": (0, 1, 0)},
            id="a removed path clears its columns, and the link that rested on it",
        ),
        pytest.param(
            drop(TILTSERIES),
            {
                "dataset": (0, 1, 0),
                "tiltseries": (0, 0, 1),
                "per_section_parameters": (0, 0, 1),
                "alignment": (0, 1, 0),
            },
            id="a tilt series goes, the alignment stays without it",
        ),
        pytest.param(
            drop(ALIGNMENT),
            {
                "dataset": (0, 1, 0),
                "alignment": (0, 0, 1),
                "per_section_alignment_parameters": (0, 0, 2),
                "tomogram": (0, 1, 0),
                "annotation_file": (0, 7, 0),
            },
            id="an alignment goes, what used it stays without it",
        ),
        pytest.param(
            set_to(TOMOGRAM, "neuroglancer_config_path", value=None),
            {"dataset": (0, 1, 0), "tomogram": (0, 1, 0)},
            id="a removed viewer configuration is cleared",
        ),
        pytest.param(
            drop(TOMOGRAM),
            {"dataset": (0, 1, 0), "tomogram": (0, 0, 1), "tomogram_author": (0, 0, 2)},
            id="a tomogram goes with its authors",
        ),
        pytest.param(
            drop(ANNOTATION),
            {
                "dataset": (0, 1, 0),
                "annotation": (0, 0, 1),
                "annotation_shape": (0, 0, 5),
                "annotation_file": (0, 0, 7),
                "annotation_author": (0, 0, 3),
                "annotation_method_link": (0, 0, 2),
            },
            id="an annotation goes with all that is its own",
        ),
        pytest.param(
            drop("30001/RUN4/run_metadata.json"),
            {"dataset": (0, 1, 0), "run": (0, 0, 1)},
            id="an empty run goes",
        ),
        pytest.param(
            drop(FRAMES),
            {"dataset": (0, 1, 0), "frame_acquisition_file": (0, 0, 1)},
            id="frames stay without their document, and so do the sections that point to them",
        ),
        pytest.param(
            set_to(FRAMES, "frames", value=[]),
            {"dataset": (0, 1, 0), "frame": (0, 0, 3), "per_section_parameters": (0, 0, 1)},
            id="frames go when their document says that there are none",
        ),
    ],
)
def test_a_change_of_the_tree(
    lab: Lab, change: Callable[[Lab], None], expected: dict[str, tuple[int, int, int]]
):
    lab.run()
    ids = {table: set(lab.rows(table, "id")) for table in COUNTS}
    change(lab)
    if "per_section_parameters" in expected and expected.get("frame"):
        # Its sections point to frames that are gone: that part fails by name.
        report = lab.run()
        assert "there is not exactly one frame" in report.problems[0]
    else:
        assert changes(lab) == expected
    for table in COUNTS:
        now = set(lab.rows(table, "id"))
        created, _, deleted = expected.get(table, (0, 0, 0))
        assert len(ids[table] - now) == deleted, table
        assert len(now - ids[table]) == created, table


def test_a_whole_run_goes_with_everything_below_it(lab: Lab):
    lab.run()
    drop(*[key for key in lab.objects if key.startswith(f"{RUN1}/")])(lab)
    lab.run()
    assert lab.rows("run", "name") == ["RUN2", "RUN3", "RUN4"]
    left = lab.counts()
    assert not {"frame", "gain_file", "alignment", "annotation", "annotation_file"} & left.keys()
    assert (left["tiltseries"], left["tomogram"]) == (1, 1)
    (journal,) = lab.journal
    assert [row["name"] for row in journal["run"]] == ["RUN1"]
    assert len(journal["annotation_file"]) == 7
    assert lab.rows("deposition", "id") == [300, 301]


def test_rows_that_the_database_has_wrong_are_put_right(lab: Lab):
    lab.run()
    lab.execute("UPDATE run SET https_prefix = 'wrong' WHERE name = 'RUN2'")
    lab.execute("INSERT INTO frame (run_id, deposition_id, acquisition_order) VALUES (1, 300, 99)")
    lab.execute("DELETE FROM annotation_author")
    assert changes(lab) == {
        "run": (0, 1, 0),
        "frame": (0, 0, 1),
        "annotation_author": (3, 0, 0),
    }


# Only some parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "tables"),
    [
        ([], {"dataset"}),
        (["dataset_authors"], {"dataset", "dataset_author"}),
        (["identified_objects"], {"dataset", "run"}),
        (["gains"], {"dataset", "run", "gain_file"}),
        (["frames"], {"dataset", "run", "frame", "frame_acquisition_file"}),
        (
            ["tiltseries"],
            {"dataset", "run", "frame", "frame_acquisition_file", "tiltseries", "per_section_parameters"},
        ),
        (
            ["tomogram_authors"],
            {"dataset", "run", "tomogram_voxel_spacing", "tomogram", "tomogram_author"},
        ),
        (
            ["annotation_method_links"],
            {
                "dataset", "run", "tomogram_voxel_spacing", "annotation", "annotation_shape",
                "annotation_file", "annotation_method_link",
            },
        ),
    ],
)  # fmt: skip
def test_a_part_brings_what_it_needs_and_nothing_else(lab: Lab, parts: list[str], tables: set[str]):
    assert lab.run(parts).problems == ()
    filled = {table for table in lab.counts() if not table.startswith("deposition")}
    assert filled == tables


def test_a_narrow_import_deletes_nothing_that_it_does_not_own(lab: Lab):
    lab.run()
    drop(ALIGNMENT)(lab)
    lab.run(["alignments"])
    counts = lab.counts()
    assert "alignment" not in counts
    assert (counts["tomogram"], counts["annotation_file"]) == (2, 7)
    assert set(lab.rows("annotation_file", "alignment_id")) == {None}


def test_a_vanished_tilt_series_leaves_alignments_and_what_uses_them(lab: Lab):
    lab.run()
    drop(TILTSERIES)(lab)
    lab.run(["tiltseries"])
    assert lab.one("alignment")["tiltseries_id"] is None
    assert lab.counts()["annotation_file"] == 7


def test_it_is_said_of_every_pointer_what_becomes_of_it_when_its_row_goes():
    for entity in OF_DATASETS:
        for column in entity.sql_table.c:
            for key in column.foreign_keys:
                target = key.column.table.name
                is_owned = (target, column.name) in OWNERS.get(entity.table, ())
                is_cleared = (entity.table, column.name, target) in POINTERS
                # Depositions are never deleted.
                assert is_owned + is_cleared == (target != "deposition"), column


# Limits, dry run -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [None, ["alignments"]], ids=["everything", "alignments"])
@pytest.mark.parametrize(
    "gone",
    [ANNOTATION, ALIGNMENT, TILTSERIES, TOMOGRAM],
    ids=["annotation", "alignment", "tilt series", "tomogram"],
)
def test_a_dry_run_counts_as_the_import_does_and_changes_nothing(
    lab: Lab, gone: str, parts: list[str] | None
):
    lab.run()
    drop(gone)(lab)
    set_to("30001/dataset_metadata.json", "dataset_title", value="New")(lab)
    versions = lab.versions()
    told = lab.run(parts, dry_run=True)
    assert lab.versions() == versions
    assert lab.journal == []
    assert told.journal_keys == ()
    assert told.tables == lab.run(parts).tables
    assert told.tables["dataset"].updated == 1


def test_a_dry_run_of_a_first_import_counts_as_the_import_does(lab: Lab):
    told = lab.run(dry_run=True)
    assert lab.counts() == {}
    assert told.tables == lab.run().tables


def test_too_many_deletions_are_held_back_and_the_rest_is_done(lab: Lab):
    from include.catalog.imports import DeletionLimits

    lab.run()
    drop(ANNOTATION)(lab)
    set_to("30001/dataset_metadata.json", "dataset_title", value="New")(lab)
    limits = DeletionLimits(rows=5)
    report = lab.run(limits=limits)
    assert "18 rows would be deleted" in report.refused
    assert lab.counts()["annotation_file"] == 7
    assert lab.one("dataset")["title"] == "New"
    assert report.failures
    lab.run()
    assert "annotation" not in lab.counts()


@pytest.mark.parametrize("runs", [1, 2, 4])
def test_a_dataset_that_lost_all_its_runs_keeps_them(lab: Lab, runs: int):
    documents = [key for key in lab.objects if key.endswith("/run_metadata.json")]
    drop(*documents[runs:])(lab)
    lab.run()
    drop(*documents[:runs])(lab)
    report = lab.run()
    assert "every run of the dataset would be deleted" in report.refused
    assert lab.counts()["run"] == runs


def test_runs_that_took_the_place_of_all_runs_are_no_loss(lab: Lab):
    lab.run()
    for key in [key for key in lab.objects if key.endswith("/run_metadata.json")]:
        edit(lab, key, lambda content: content.update(run_name=f"new {content['run_name']}"))
    report = lab.run()
    assert report.refused == ""
    assert lab.rows("run", "name") == ["new RUN1", "new RUN2", "new RUN3", "new RUN4"]


def test_nothing_is_deleted_that_could_not_be_written_down(lab: Lab):
    from include.errors import ServiceUnavailable

    lab.run()
    versions = lab.versions()
    drop(ANNOTATION)(lab)

    def broken(*_: Any) -> str:
        raise ServiceUnavailable("the runs bucket does not answer")

    lab._keep = broken  # type: ignore[method-assign]
    with pytest.raises(ServiceUnavailable):
        lab.run()
    assert lab.versions() == versions
