"""An annotation of a tomogram: its shapes and their files, its authors, how it was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from include.catalog.entities.sources import (
    AUTHOR,
    DATES,
    deposition,
    https,
    is_of_dataset,
    name,
    needed,
    own_https,
    own_s3,
    s3,
    s3_of_present,
    size,
)
from include.catalog.entity import Entity, Link
from include.catalog.enums import AnnotationShapeType
from include.catalog.finders import Documents, Entries, Item, Unseen
from include.catalog.values import UnusableValue, one_of

if TYPE_CHECKING:
    from include.catalog.tree import Tree

ANNOTATION = Entity(
    table="annotation",
    flag="annotations",
    parent="tomogram_voxel_spacing",
    parent_column="tomogram_voxel_spacing_id",
    further_parents={"run_id": 2},
    # Data files lie beside the documents; only a document's name ends in a digit.
    find=Documents("Annotations/*/*[0-9].json"),
    columns={
        # Nullable, and yet without it no file's source can be told.
        "deposition_id": lambda item, tree: needed(deposition(item, tree), "deposition_id"),
        "annotation_ingest_id": name("annotation_ingest_id"),
        "s3_metadata_path": own_s3,
        "https_metadata_path": own_https,
        "annotation_publication": "annotation_publications",
        "annotation_method": "annotation_method",
        "method_type": "method_type",
        "ground_truth_status": "ground_truth_status",
        "is_curator_recommended": "is_curator_recommended",
        "object_id": "annotation_object.id",
        "object_name": "annotation_object.name",
        "object_description": "annotation_object.description",
        "object_state": "annotation_object.state",
        "object_count": "object_count",
        "confidence_precision": "confidence.precision",
        "confidence_recall": "confidence.recall",
        "ground_truth_used": "confidence.ground_truth_used",
        "annotation_software": "annotation_software",
        **DATES,
    },
)


class Shapes:
    """One item per distinct shape among an annotation's files; its data are the files of that shape.

    A file whose shape is not known may be of any: then it is not known of any shape which files it has.
    """

    _files = Entries("files")
    _shape = staticmethod(one_of([str(word) for word in AnnotationShapeType]))

    def keys(self, tree: Tree, parent: Item) -> list[str]:
        return []

    def items(self, tree: Tree, parent: Item) -> Iterator[Item | Unseen]:
        shapes: dict[str, list[Item]] = {}
        are_all_known = True
        for found in self._files.items(tree, parent):
            if isinstance(found, Item):
                try:
                    shape = needed(self._shape(found.data.get("shape")), "shape")
                except UnusableValue as error:
                    are_all_known = False
                    yield Unseen(parent.key, str(error), f"shape of entry {found.index}")
                else:
                    shapes.setdefault(shape, []).append(found)
            else:
                are_all_known = False
                yield found
        for shape, files in shapes.items():
            data = {"shape": shape, "files": files, "are_all_known": are_all_known}
            yield Item(parent.key, data, parent)


class FilesOfShape:
    """One item per file of a shape, numbered as in its document."""

    def keys(self, tree: Tree, parent: Item) -> list[str]:
        return []

    def items(self, tree: Tree, parent: Item) -> Iterator[Item | Unseen]:
        for file in parent.data["files"]:
            yield Item(file.key, file.data, parent, file.index)
        if not parent.data["are_all_known"]:
            yield Unseen(parent.key, "", "files")  # told with the shapes


def _source(item: Item, tree: Tree) -> str:
    if is_of_dataset(item.above(2).data.get("deposition_id"), tree):
        return "dataset_author"
    return "portal_standard" if item.data.get("is_portal_standard") else "community"


_alignment = s3_of_present("alignment_metadata_path")

ANNOTATION_SHAPE = Entity(
    table="annotation_shape",
    flag="annotations",
    parent="annotation",
    parent_column="annotation_id",
    find=Shapes(),
    columns={"shape_type": "shape"},
)

ANNOTATION_FILE = Entity(
    table="annotation_file",
    flag="annotations",
    parent="annotation_shape",
    parent_column="annotation_shape_id",
    further_parents={"tomogram_voxel_spacing_id": 3},
    find=FilesOfShape(),
    columns={
        "format": "format",
        "s3_path": s3("path"),
        "https_path": https("path"),
        "file_size": size("path"),
        "is_visualization_default": "is_visualization_default",
        "source": _source,
    },
    links=(
        Link(
            column="alignment_id",
            table="alignment",
            on="o.s3_alignment_metadata = n.alignment_url AND o.run_id = (SELECT v.run_id "
            "FROM tomogram_voxel_spacing v WHERE v.id = n.tomogram_voxel_spacing_id)",
            named={
                "alignment_url": ("text", lambda item, tree: _alignment(item.above(2), tree)),
            },
        ),
    ),
)

ANNOTATION_AUTHOR = Entity(
    table="annotation_author",
    flag="annotation_authors",
    parent="annotation",
    parent_column="annotation_id",
    find=Entries("authors"),
    columns={
        **AUTHOR,
        "corresponding_author_status": lambda item, _: (
            item.data.get("corresponding_author_status") or False
        ),
        "primary_author_status": lambda item, _: item.data.get("primary_author_status") or False,
    },
)

ANNOTATION_METHOD_LINK = Entity(
    table="annotation_method_link",
    flag="annotation_method_links",
    parent="annotation",
    parent_column="annotation_id",
    find=Entries("method_links"),
    columns={"link_type": "link_type", "name": "custom_name", "link": "link"},
)
