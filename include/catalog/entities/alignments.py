"""An alignment of a tilt series, and the parameters of each section in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.catalog.entities.sources import deposition, own_https, own_s3, s3_of_folder
from include.catalog.entity import Entity, Link
from include.catalog.finders import Documents, Entries

if TYPE_CHECKING:
    from include.catalog.finders import Item
    from include.catalog.tree import Tree

UNDEFINED = "undefined"
"""Method of a placeholder."""


def _method(item: Item, _: Tree) -> str | None:
    found = item.data.get("method_type")
    return None if found == UNDEFINED or not found else found


ALIGNMENT = Entity(
    table="alignment",
    flag="alignments",
    parent="run",
    parent_column="run_id",
    find=Documents("Alignments/*/alignment_metadata.json"),
    columns={
        "deposition_id": deposition,
        "alignment_type": "alignment_type",
        "alignment_method": _method,
        "volume_x_dimension": "volume_dimension.x",
        "volume_y_dimension": "volume_dimension.y",
        "volume_z_dimension": "volume_dimension.z",
        "volume_x_offset": "volume_offset.x",
        "volume_y_offset": "volume_offset.y",
        "volume_z_offset": "volume_offset.z",
        "tilt_offset": "tilt_offset",
        "x_rotation_offset": "x_rotation_offset",
        "affine_transformation_matrix": "affine_transformation_matrix",
        "is_portal_standard": "is_portal_standard",
        "s3_alignment_metadata": own_s3,
        "https_alignment_metadata": own_https,
    },
    links=(
        Link(
            column="tiltseries_id",
            table="tiltseries",
            on="o.run_id = n.run_id AND starts_with(o.s3_mrc_file, n.tiltseries_folder)",
            named={"tiltseries_folder": ("text", s3_of_folder("tiltseries_path"))},
        ),
    ),
)

PER_SECTION_ALIGNMENT_PARAMETERS = Entity(
    table="per_section_alignment_parameters",
    flag="alignments",
    parent="alignment",
    parent_column="alignment_id",
    find=Entries("per_section_alignment_parameters"),
    columns={
        "z_index": "z_index",
        "x_offset": "x_offset",
        "y_offset": "y_offset",
        "volume_x_rotation": "volume_x_rotation",
        "tilt_angle": "tilt_angle",
        "in_plane_rotation": "in_plane_rotation",
    },
)
