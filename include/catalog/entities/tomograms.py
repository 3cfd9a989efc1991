"""A tomogram, its authors, and how a viewer shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from include.catalog.documents import UnreadableDocument
from include.catalog.entities.sources import (
    AUTHOR,
    DATES,
    deposition,
    https,
    is_of_dataset,
    needed,
    photo,
    required,
    s3_of_present,
    size,
)
from include.catalog.entity import KEEP, Entity, Function, Link
from include.catalog.finders import Documents, Entries
from include.catalog.values import UnusableValue, shown

if TYPE_CHECKING:
    from include.catalog.finders import Item
    from include.catalog.tree import Tree

STAGING_FILES = "https://files.cryoet.staging.si.czi.technology"
PUBLIC_FILES = "https://files.cryoetdataportal.cziscience.com"
"""In a viewer configuration, replaced by the former when that is the prefix of the import."""

UNKNOWN = "Unknown"

_FIDUCIAL = {
    "true": "FIDUCIAL",
    "false": "NON_FIDUCIAL",
    "fiducial": "FIDUCIAL",
    "non_fiducial": "NON_FIDUCIAL",
}


def _fiducial(item: Item, _: Tree) -> str:
    found = item.data.get("fiducial_alignment_status", False)
    if isinstance(found, bool | str):
        word = str(found).strip().lower()
        if word in _FIDUCIAL:
            return _FIDUCIAL[word]
    raise UnusableValue(f"expected FIDUCIAL, NON_FIDUCIAL, true or false, found {shown(found)}")


def _method(item: Item, _: Tree) -> Any:
    found = item.data.get("reconstruction_method")
    return found.replace(" ", "_") if found and isinstance(found, str) else found or UNKNOWN


def _scale(place: int) -> Function:
    """Size of one of the three scales that every tomogram has, as ``980,1016,500``."""

    def dimensions(item: Item, _: Tree) -> str:
        scales = required(item.data, "scales")
        if not isinstance(scales, list):
            raise UnusableValue(f"scales: expected a list, found {shown(scales)}")
        if len(scales) <= place:
            raise UnusableValue(f"scales[{place}] is missing: expected three, found {len(scales)}")
        scale = scales[place]
        if not isinstance(scale, dict) or not all(_is_number(scale.get(axis)) for axis in "xyz"):
            raise UnusableValue(f"scales[{place}]: expected numbers x, y, z, found {shown(scale)}")
        return ",".join(str(scale[axis]) for axis in "xyz")

    return dimensions


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key_photo(which: str) -> Function:
    """Address of the snapshot or the thumbnail: of a key photo, there are both."""
    address = photo(f"key_photo.{which}")

    def found(item: Item, tree: Tree) -> Any:
        photos = item.data.get("key_photo")
        if photos and isinstance(photos, dict) and which not in photos:
            raise UnusableValue(f"key_photo.{which} is missing")
        return address(item, tree)

    return found


def _viewer_key(item: Item, tree: Tree) -> str | None:
    return tree.key(item.data.get("neuroglancer_config_path"))


def _viewer(item: Item, tree: Tree) -> Any:
    """The viewer's configuration as compact JSON; ``{}`` when the object that is named is not there."""
    key = _viewer_key(item, tree)
    if key is None:
        return None
    if tree.listing.covers(key):
        text = tree.documents.read_text(key) if tree.listing.has(key) else None
    else:
        text = tree.documents.read_text(key)
        if isinstance(text, UnreadableDocument) and text.was_not_found:
            text = None
    if text is None:
        tree.warn(key, f"is named by {tree.urls.s3(item.key)} and is not there")
        return "{}"
    if isinstance(text, UnreadableDocument):
        tree.fail(item.key, "neuroglancer_config_path", f"{key}: {text.reason}")
        return KEEP
    if tree.urls.https_prefix == STAGING_FILES:
        text = text.replace(PUBLIC_FILES, STAGING_FILES)
    try:
        # Python reads and writes NaN; a viewer does not.
        return json.dumps(json.loads(text), separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        tree.fail(item.key, "neuroglancer_config_path", f"{key} is not JSON: {error}")
        return KEEP


TOMOGRAM = Entity(
    table="tomogram",
    flag="tomograms",
    parent="tomogram_voxel_spacing",
    parent_column="tomogram_voxel_spacing_id",
    further_parents={"run_id": 2},
    find=Documents("Tomograms/*/tomogram_metadata.json"),
    columns={
        "deposition_id": lambda item, tree: needed(deposition(item, tree), "deposition_id"),
        "name": "run_name",
        "size_x": "size.x",
        "size_y": "size.y",
        "size_z": "size.z",
        "voxel_spacing": "voxel_spacing",
        "fiducial_alignment_status": _fiducial,
        "reconstruction_method": _method,
        "reconstruction_software": lambda item, _: (
            item.data.get("reconstruction_software") or UNKNOWN
        ),
        "processing": "processing",
        "processing_software": "processing_software",
        "tomogram_version": "tomogram_version",
        "ctf_corrected": lambda item, _: bool(item.data.get("ctf_corrected")),
        "is_portal_standard": lambda item, _: bool(item.data.get("is_standardized")),
        "is_author_submitted": lambda item, tree: is_of_dataset(
            item.data.get("deposition_id"), tree
        ),
        "is_visualization_default": "is_visualization_default",
        "s3_omezarr_dir": s3_of_present("omezarr_dir"),
        "https_omezarr_dir": https("omezarr_dir"),
        "file_size_omezarr": size("omezarr_dir"),
        "s3_mrc_file": s3_of_present("mrc_file"),
        "https_mrc_file": https("mrc_file"),
        "file_size_mrc": size("mrc_file"),
        "scale0_dimensions": _scale(0),
        "scale1_dimensions": _scale(1),
        "scale2_dimensions": _scale(2),
        "offset_x": "offset.x",
        "offset_y": "offset.y",
        "offset_z": "offset.z",
        "key_photo_url": _key_photo("snapshot"),
        "key_photo_thumbnail_url": _key_photo("thumbnail"),
        "neuroglancer_config": _viewer,
        **DATES,
    },
    links=(
        Link(
            column="alignment_id",
            table="alignment",
            on="o.run_id = n.run_id AND o.s3_alignment_metadata = n.alignment_url",
            named={"alignment_url": ("text", s3_of_present("alignment_metadata_path"))},
        ),
    ),
    also_reads=_viewer_key,
)

TOMOGRAM_AUTHOR = Entity(
    table="tomogram_author",
    flag="tomogram_authors",
    parent="tomogram",
    parent_column="tomogram_id",
    find=Entries("authors", required=True),
    columns=AUTHOR,
)
