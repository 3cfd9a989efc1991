"""Frames as the camera gave them, the file that tells how they were taken, and gain references."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from include.catalog.entities.sources import (
    https,
    own_https,
    own_s3,
    present,
    s3,
    s3_of_present,
    size,
)
from include.catalog.entity import Entity
from include.catalog.finders import Documents, Entries, Files, Item, Unseen

if TYPE_CHECKING:
    from include.catalog.tree import Tree

FRAME_ACQUISITION_FILE = Entity(
    table="frame_acquisition_file",
    flag="frame_acquisition_files",
    parent="run",
    parent_column="run_id",
    find=Documents("Frames/frames_metadata.json"),
    columns={
        "s3_mdoc_path": s3_of_present("frames_acquisition_file"),
        "https_mdoc_path": https("frames_acquisition_file"),
    },
)


class FramesOfRun:
    """Entries of the run's ``frames_metadata.json``, whether or not it names an acquisition file.

    Without that document the run's frames stay: sections of its tilt series point to them, and their ids are
    public. An empty list in it says that there are none.
    """

    _document = Documents("Frames/frames_metadata.json")
    _entries = Entries("frames")

    def keys(self, tree: Tree, parent: Item) -> list[str]:
        return self._document.keys(tree, parent)

    def items(self, tree: Tree, parent: Item) -> Iterator[Item | Unseen]:
        documents = list(self._document.items(tree, parent))
        if not documents:
            yield Unseen(parent.key, "")
        for document in documents:
            if isinstance(document, Item):
                for found in self._entries.items(tree, document):
                    if isinstance(found, Item):
                        found.parent = parent
                    yield found
            else:
                yield document


FRAME = Entity(
    table="frame",
    flag="frames",
    parent="run",
    parent_column="run_id",
    find=FramesOfRun(),
    columns={
        "deposition_id": lambda _, tree: tree.dataset_deposition_id,
        "acquisition_order": present("acquisition_order"),
        "accumulated_dose": present("accumulated_dose"),
        "exposure_dose": present("exposure_dose"),
        "is_gain_corrected": present("is_gain_corrected"),
        "s3_frame_path": s3("path"),
        "https_frame_path": https("path"),
        "file_size": size("path"),
    },
)

GAIN_FILE = Entity(
    table="gain_file",
    flag="gains",
    parent="run",
    parent_column="run_id",
    find=Files("Gains/*_gain*"),
    columns={"s3_file_path": own_s3, "https_file_path": own_https},
)
