"""A run: one place on a grid, and what is directly in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from include.catalog.entities.sources import folder_https, folder_s3, name, own_https, own_s3
from include.catalog.entity import Entity
from include.catalog.finders import Documents, Folders, ListDocument
from include.catalog.values import UnusableValue

if TYPE_CHECKING:
    from include.catalog.finders import Item
    from include.catalog.tree import Tree

_SPACING = re.compile(r"VoxelSpacing(\d+(?:\.\d+)?)/$")

RUN = Entity(
    table="run",
    flag="runs",
    parent="dataset",
    parent_column="dataset_id",
    find=Documents("*/run_metadata.json"),
    columns={"name": name("run_name"), "s3_prefix": folder_s3, "https_prefix": folder_https},
)

IDENTIFIED_OBJECT = Entity(
    table="identified_object",
    flag="identified_objects",
    parent="run",
    parent_column="run_id",
    find=ListDocument("IdentifiedObjects/identified_objects.json"),
    columns={
        "object_id": "object_id",
        "object_name": "object_name",
        "object_description": "object_description",
        "object_state": "object_state",
    },
)


def _spacing(item: Item, _: Tree) -> float:
    found = _SPACING.search(item.key)
    if found is None:
        raise UnusableValue("expected a number after VoxelSpacing in the folder's name")
    return float(found[1])


TOMOGRAM_VOXEL_SPACING = Entity(
    table="tomogram_voxel_spacing",
    flag="tomogram_voxel_spacing",
    parent="run",
    parent_column="run_id",
    find=Folders("Reconstructions/", "VoxelSpacing*"),
    columns={"voxel_spacing": _spacing, "s3_prefix": own_s3, "https_prefix": own_https},
    merges=True,
)
