"""A tilt series, and the parameters of each of its sections."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from include.catalog.entities.sources import deposition, https, integer, needed, number, s3, size
from include.catalog.entity import Entity, Link
from include.catalog.finders import Documents, Entries

if TYPE_CHECKING:
    from include.catalog.finders import Item
    from include.catalog.tree import Tree


def _angle_list(item: Item, tree: Tree) -> str | None:
    """Key of the first ``*.rawtlt``, else of the first ``*.tlt``."""
    names = tree.listing.files(item.folder)
    for pattern in ("*.rawtlt", "*.tlt"):
        for name in names:
            if fnmatchcase(name, pattern):
                return f"{item.folder}{name}"
    return None


_tilt_min, _tilt_max = number("tilt_range.min"), number("tilt_range.max")


TILTSERIES = Entity(
    table="tiltseries",
    flag="tiltseries",
    parent="run",
    parent_column="run_id",
    find=Documents("TiltSeries/*/tiltseries_metadata.json", only_first=True),
    columns={
        "deposition_id": lambda item, tree: needed(deposition(item, tree), "deposition_id"),
        "s3_mrc_file": s3("mrc_file"),
        "https_mrc_file": https("mrc_file"),
        "file_size_mrc": size("mrc_file"),
        "s3_omezarr_dir": s3("omezarr_dir"),
        "https_omezarr_dir": https("omezarr_dir"),
        "file_size_omezarr": size("omezarr_dir"),
        "s3_angle_list": lambda item, tree: tree.s3(_angle_list(item, tree)),
        "https_angle_list": lambda item, tree: tree.https(_angle_list(item, tree)),
        "acceleration_voltage": "acceleration_voltage",
        "spherical_aberration_constant": "spherical_aberration_constant",
        "microscope_manufacturer": "microscope.manufacturer",
        "microscope_model": "microscope.model",
        "microscope_additional_info": "microscope.additional_info",
        "microscope_energy_filter": "microscope_optical_setup.energy_filter",
        "microscope_phase_plate": "microscope_optical_setup.phase_plate",
        "microscope_image_corrector": "microscope_optical_setup.image_corrector",
        "camera_manufacturer": "camera.manufacturer",
        "camera_model": "camera.model",
        "tilt_min": lambda item, tree: round(_tilt_min(item, tree), 2),
        "tilt_max": lambda item, tree: round(_tilt_max(item, tree), 2),
        "tilt_range": lambda item, tree: round(
            abs(_tilt_max(item, tree) - _tilt_min(item, tree)), 2
        ),
        "tilt_step": "tilt_step",
        "tilt_axis": "tilt_axis",
        "total_flux": "total_flux",
        "pixel_spacing": "pixel_spacing",
        "tilting_scheme": "tilting_scheme",
        "data_acquisition_software": "data_acquisition_software",
        "related_empiar_entry": "related_empiar_entry",
        "binning_from_frames": "binning_from_frames",
        "tilt_series_quality": "tilt_series_quality",
        "is_aligned": lambda item, _: bool(item.data.get("is_aligned")),
        "aligned_tiltseries_binning": "aligned_tiltseries_binning",
        "size_x": "size.x",
        "size_y": "size.y",
        "size_z": "size.z",
    },
)

PER_SECTION_PARAMETERS = Entity(
    table="per_section_parameters",
    flag="tiltseries",
    parent="tiltseries",
    parent_column="tiltseries_id",
    further_parents={"run_id": 2},
    find=Entries("per_section_parameter"),
    columns={
        "z_index": "z_index",
        "raw_angle": "raw_angle",
        "astigmatic_angle": "astigmatic_angle",
        "major_defocus": "major_defocus",
        "minor_defocus": "minor_defocus",
        "max_resolution": "max_resolution",
        "phase_shift": "phase_shift",
    },
    links=(
        Link(
            column="frame_id",
            table="frame",
            on="o.run_id = n.run_id AND o.acquisition_order = n.frame_acquisition_order",
            named={"frame_acquisition_order": ("integer", integer("frame_acquisition_order"))},
            required=True,
        ),
    ),
)
