"""Parts of an import, and which of them need which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PARTS: Mapping[str, str] = {
    "dataset_authors": "authors of datasets",
    "dataset_funding": "funding of datasets",
    "runs": "runs",
    "frame_acquisition_files": "files that tell how frames were taken",
    "frames": "frames",
    "gains": "gain references",
    "tiltseries": "tilt series and their sections",
    "alignments": "alignments and their sections",
    "identified_objects": "objects that were identified in a run",
    "tomogram_voxel_spacing": "voxel spacings",
    "tomograms": "tomograms",
    "tomogram_authors": "authors of tomograms",
    "annotations": "annotations, their shapes and files",
    "annotation_authors": "authors of annotations",
    "annotation_method_links": "links to how annotations were made",
}
"""Part → what it is. Rows of datasets, and depositions that have no row yet, are always part of an import."""

ALWAYS = frozenset({"datasets", "depositions"})

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "annotation_authors": ("annotations",),
    "annotation_method_links": ("annotations",),
    "annotations": ("tomogram_voxel_spacing",),
    "tomogram_authors": ("tomograms",),
    "tomograms": ("tomogram_voxel_spacing",),
    "tomogram_voxel_spacing": ("runs",),
    "alignments": ("tiltseries",),
    # Each section of a tilt series points to its frame.
    "tiltseries": ("frames",),
    "frames": ("frame_acquisition_files",),
    "frame_acquisition_files": ("runs",),
    "gains": ("runs",),
    "identified_objects": ("runs",),
}


def with_needed(parts: Iterable[str]) -> frozenset[str]:
    """The parts asked for, those that they need, and what is always part of an import."""
    found: set[str] = set(ALWAYS)
    waiting = list(parts)
    while waiting:
        part = waiting.pop()
        if part not in found:
            found.add(part)
            waiting.extend(_NEEDS.get(part, ()))
    return frozenset(found)
