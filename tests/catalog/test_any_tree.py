"""Import of one tree and then of another is the import of the other, whatever the two are."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.catalog.discovery import DatasetFolder
from include.catalog.entities import BY_TABLE
from include.catalog.imports import DeletionLimits
from include.catalog.tables import Base
from include.errors import AccessDenied
from tests.catalog.lab import Lab, Objects

FOLDER = DatasetFolder("1")
LIMITS = DeletionLimits(10**6, 1.0)
AUTHORS = st.lists(st.fixed_dictionaries({"name": st.sampled_from(["A", "B", "C"])}), max_size=3)
DATES = dict.fromkeys(("deposition_date", "release_date", "last_modified_date"), "2024-01-02")
IDS = st.sampled_from([300, 301])


def deposition(number: int) -> dict[str, Any]:
    return {
        "deposition_identifier": number,
        "deposition_title": "t",
        "deposition_description": "d",
        "deposition_types": ["dataset"],
        "dates": DATES,
        "authors": [{"name": "D"}],
    }


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """Documents of one dataset: any part may be missing, and everything may collide."""
    tree: dict[str, Any] = {
        "1/dataset_metadata.json": {
            "dataset_identifier": 1,
            "dataset_title": draw(st.sampled_from(["x", "y"])),
            "dataset_description": "d",
            "deposition_id": draw(IDS),
            "dates": DATES,
            "authors": draw(AUTHORS),
            "funding": draw(
                st.lists(
                    st.sampled_from([{"funding_agency_name": "N"}, {"grant_id": "1"}]), max_size=2
                )
            ),
        },
    }
    for run in draw(st.sets(st.sampled_from(["R1", "R [1]", "R_2"]), max_size=2)):
        draw_run(draw, tree, f"1/{run}", run)
    return tree


def draw_run(draw: st.DrawFn, tree: dict[str, Any], at: str, run: str) -> None:
    tree[f"{at}/run_metadata.json"] = {"run_name": draw(st.sampled_from([run, "shared"]))}
    frames = draw(st.integers(0, 3))
    # Always there: frames stay when it goes.
    tree[f"{at}/Frames/frames_metadata.json"] = {
        "frames_acquisition_file": f"{at}/Frames/a.mdoc",
        "frames": [
            {
                "acquisition_order": n,
                "accumulated_dose": 0,
                "is_gain_corrected": None,
                "exposure_dose": draw(st.sampled_from([1, 1.5])),
                "path": None,
            }
            for n in range(frames)
        ],
    }
    # Of frames that there are: a section of one that is gone is no part of the tree, and stays.
    sections = draw(st.lists(st.integers(0, frames - 1), max_size=3)) if frames else []
    for number in draw(st.sets(st.sampled_from(["100", "101"]), max_size=2)):
        tree[f"{at}/TiltSeries/{number}/tiltseries_metadata.json"] = {
            "deposition_id": draw(IDS), "acceleration_voltage": 1, "spherical_aberration_constant": 1,
            "microscope": {"manufacturer": "TFS", "model": "m"}, "camera": {"manufacturer": "c", "model": "m"},
            "microscope_optical_setup": {"energy_filter": "e"}, "tilt_range": {"min": -1, "max": 2.5},
            "tilt_step": 1, "tilt_axis": 1, "total_flux": 1, "pixel_spacing": 1, "tilting_scheme": "s",
            "data_acquisition_software": "s", "tilt_series_quality": 1,
            "mrc_file": draw(st.sampled_from([None, f"{at}/TiltSeries/{number}/x.mrc"])),
            "per_section_parameter": [
                {"z_index": z, "raw_angle": 0.5, "frame_acquisition_order": order}
                for z, order in enumerate(sections)
            ],
        }  # fmt: skip
    for number in draw(st.sets(st.sampled_from(["100", "101"]), max_size=2)):
        tree[f"{at}/Alignments/{number}/alignment_metadata.json"] = {
            "deposition_id": draw(IDS),
            "tiltseries_path": draw(st.sampled_from([None, f"{at}/TiltSeries/100/t.json"])),
            "per_section_alignment_parameters": [
                {"z_index": z, "in_plane_rotation": [z, 0.5]}
                for z in range(draw(st.integers(0, 2)))
            ],
        }
    if draw(st.booleans()):
        tree[f"{at}/IdentifiedObjects/identified_objects.json"] = [
            {"object_id": one, "object_name": name}
            for one, name in draw(
                st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), max_size=3)
            )
        ]
    for spacing in draw(st.sets(st.sampled_from(["1.0", "1.00", "2.5"]), max_size=2)):
        below = f"{at}/Reconstructions/VoxelSpacing{spacing}"
        tree[f"{below}/x.txt"] = "x"
        alignment = draw(st.sampled_from([None, f"{at}/Alignments/100/alignment_metadata.json"]))
        for number in draw(st.sets(st.sampled_from(["100", "101"]), max_size=2)):
            tree[f"{below}/Tomograms/{number}/tomogram_metadata.json"] = {
                "deposition_id": draw(IDS), "voxel_spacing": 1, "size": {"x": 1, "y": 1, "z": 1},
                "offset": {"x": 0, "y": 0, "z": 0}, "processing": draw(st.sampled_from(["raw", "denoised"])),
                "alignment_metadata_path": alignment, "authors": draw(AUTHORS),
                "mrc_file": None, "omezarr_dir": None, "scales": [{"x": 1, "y": 1, "z": 1}] * 3,
            }  # fmt: skip
        for number in draw(st.sets(st.sampled_from(["100", "101"]), max_size=2)):
            tree[f"{below}/Annotations/{number}/a-1.json"] = {
                "deposition_id": draw(IDS), "annotation_ingest_id": draw(st.sampled_from(["i", "j"])),
                "annotation_method": "m", "method_type": "manual", "dates": DATES,
                "annotation_object": {"id": "o", "name": "n"}, "authors": draw(AUTHORS),
                "alignment_metadata_path": alignment,
                "files": [
                    {"shape": shape, "format": "f", "path": f"{below}/f.{shape}"}
                    for shape in draw(st.lists(st.sampled_from(["Point", "Mesh"]), max_size=3))
                ],
                "method_links": [],
            }  # fmt: skip


def natural(lab: Lab) -> dict[str, list[str]]:
    """All rows with the row that a foreign key points to in the place of its id."""
    rows = {table: {row["id"]: row for row in lab.rows(table)} for table in BY_TABLE}
    # Depositions are never deleted.
    compared = {table for table in BY_TABLE if not table.startswith("deposition")}

    def told(table: str, row: dict[str, Any]) -> str:
        keys = Base.metadata.tables[table].c
        parts = []
        for name, value in sorted(row.items()):
            if name == "id" and table not in {"deposition", "dataset"}:
                continue
            pointed = [key.column.table.name for key in keys[name].foreign_keys]
            if pointed and value is not None:
                value = told(pointed[0], rows[pointed[0]][value])
            parts.append(f"{name}={value}")
        return f"({', '.join(parts)})"

    return {table: sorted(told(table, row) for row in rows[table].values()) for table in compared}


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=trees(), second=trees())
def test_one_tree_after_another_is_the_other(
    catalog_url: str, first: dict[str, Any], second: dict[str, Any]
):
    lab = Lab(catalog_url, Objects())
    alone = import_anew(lab, second)
    import_anew(lab, first)
    kept = {row["name"]: row["id"] for row in lab.rows("run")}
    fill(lab, second)
    report = lab.run(folder=FOLDER, limits=LIMITS)
    assert report.refused == ""
    assert natural(lab) == alone
    for row in lab.rows("run"):
        assert kept.get(row["name"], row["id"]) == row["id"]
    versions = lab.versions()
    lab.run(folder=FOLDER, limits=LIMITS)
    assert lab.versions() == versions


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tree=trees(), data=st.data())
def test_whatever_cannot_be_read_of_a_tree_that_did_not_change_no_row_changes(
    catalog_url: str, tree: dict[str, Any], data: st.DataObject
):
    lab = Lab(catalog_url, Objects())
    import_anew(lab, tree)
    versions = lab.versions()
    documents = sorted(key for key in tree if key.endswith(".json"))
    hidden = data.draw(st.sets(st.sampled_from(documents), min_size=1, max_size=4))
    lab.objects.faults |= dict.fromkeys(hidden, AccessDenied("403"))
    lab.run(folder=FOLDER, limits=LIMITS)
    assert lab.versions() == versions


def import_anew(lab: Lab, tree: dict[str, Any]) -> dict[str, list[str]]:
    """Into an empty database; what it then holds."""
    lab.execute(f"TRUNCATE {', '.join(BY_TABLE)} RESTART IDENTITY CASCADE")
    fill(lab, tree)
    lab.run(folder=FOLDER, limits=LIMITS)
    return natural(lab)


def fill(lab: Lab, tree: dict[str, Any]) -> None:
    lab.objects.clear()
    for number in (300, 301):
        lab.objects.put(
            f"depositions_metadata/{number}/deposition_metadata.json", deposition(number)
        )
    for key, content in tree.items():
        lab.objects.put(key, content)
