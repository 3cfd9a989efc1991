"""A deposition: what was handed in together, by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.catalog.entities.sources import DATES, ORDERED_AUTHOR, photo
from include.catalog.entity import Entity
from include.catalog.finders import Documents, Entries
from include.catalog.values import UnusableValue, shown

if TYPE_CHECKING:
    from include.catalog.finders import Item
    from include.catalog.tree import Tree


def _type(item: Item, _: Tree) -> str:
    """A word of the list; blanks around it mean nothing."""
    if not isinstance(item.data, str):
        raise UnusableValue(f"expected a word, found {shown(item.data)}")
    return item.data.strip()


DEPOSITION = Entity(
    table="deposition",
    flag="depositions",
    find=Documents("deposition_metadata.json"),
    columns={
        "id": "deposition_identifier",
        "title": "deposition_title",
        "description": "deposition_description",
        "tag": "tag",
        "deposition_publications": "cross_references.publications",
        "related_database_entries": "cross_references.related_database_entries",
        **DATES,
        "key_photo_url": photo("key_photos.snapshot"),
        "key_photo_thumbnail_url": photo("key_photos.thumbnail"),
    },
)

DEPOSITION_AUTHOR = Entity(
    table="deposition_author",
    flag="depositions",
    parent="deposition",
    parent_column="deposition_id",
    find=Entries("authors"),
    columns=ORDERED_AUTHOR,
)

DEPOSITION_TYPE = Entity(
    table="deposition_type",
    flag="depositions",
    parent="deposition",
    parent_column="deposition_id",
    find=Entries("deposition_types", of_objects=False),
    columns={"type": _type},
)
