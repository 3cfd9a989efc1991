"""Sources of columns that several entities have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.catalog.entity import Function, Source
from include.catalog.paths import path_of
from include.catalog.values import UnusableValue, to_integer, walk

if TYPE_CHECKING:
    from include.catalog.finders import Item
    from include.catalog.tree import Tree

AUTHOR: dict[str, Source] = {
    "author_list_order": lambda item, _: item.index,
    "name": "name",
    "orcid": "ORCID",
    "kaggle_id": "kaggle_id",
    "email": "email",
    "affiliation_name": "affiliation_name",
    "affiliation_address": "affiliation_address",
    "affiliation_identifier": "affiliation_identifier",
    "corresponding_author_status": "corresponding_author_status",
    "primary_author_status": "primary_author_status",
}
"""Columns of the four author tables, but the parent."""

ORDERED_AUTHOR: dict[str, Source] = {
    **AUTHOR,
    "author_list_order": lambda item, _: item.data.get("author_list_order") or item.index,
}
"""Of depositions and datasets, whose entries may say their order themselves."""

DATES: dict[str, Source] = {
    "deposition_date": "dates.deposition_date",
    "release_date": "dates.release_date",
    "last_modified_date": "dates.last_modified_date",
}


def present(key: str) -> Function:
    """What stands at a key that must be there, be it null: without it, the document is not what we know.

    A producer that renames a key would otherwise make NULL of a column, and one row of many whose identity
    it is.
    """
    return lambda item, _: required(item.data, key)


def integer(key: str) -> Function:
    """The whole number at a key, for a link: nothing else converts its values."""
    return lambda item, _: to_integer(item.data.get(key))


def s3(path: str) -> Function:
    """``s3://`` address of the path that stands there."""
    steps = tuple(path.split("."))
    return lambda item, tree: tree.s3(walk(item.data, steps))


def s3_of_present(key: str) -> Function:
    """``s3://`` address of the path at a key that must be there, be it null."""
    return lambda item, tree: tree.s3(required(item.data, key))


def https(path: str) -> Function:
    """``https://`` address of the path that stands there."""
    steps = tuple(path.split("."))
    return lambda item, tree: tree.https(walk(item.data, steps))


def size(path: str) -> Function:
    """Bytes of the path that stands there."""
    steps = tuple(path.split("."))
    return lambda item, tree: tree.size(walk(item.data, steps))


def photo(path: str) -> Function:
    """Address of a picture, whose path is never one with the bucket in front."""
    steps = tuple(path.split("."))

    def address(item: Item, tree: Tree) -> str | None:
        found = path_of(walk(item.data, steps))
        return None if found is None else tree.urls.photo(found)

    return address


def deposition(item: Item, tree: Tree) -> int | None:
    """The deposition that the item names."""
    return tree.deposition(item.data.get("deposition_id"))


def own_s3(item: Item, tree: Tree) -> str:
    """``s3://`` address of the item's own document, file or folder."""
    return tree.urls.s3(item.key)


def own_https(item: Item, tree: Tree) -> str:
    """``https://`` address of the item's own document, file or folder."""
    return tree.urls.https(item.key)


def folder_s3(item: Item, tree: Tree) -> str:
    """``s3://`` address of the folder of the item's document, with its slash."""
    return tree.urls.s3(item.folder)


def folder_https(item: Item, tree: Tree) -> str:
    """``https://`` address of the folder of the item's document, with its slash."""
    return tree.urls.https(item.folder)


def folder_of(path: Any, tree: Tree) -> str | None:
    """Key of the folder of a path in a document, with its slash; None for an empty one."""
    key = tree.key(path)
    return None if key is None or "/" not in key else key[: key.rindex("/") + 1]


def is_of_dataset(value: Any, tree: Tree) -> bool:
    """Whether a deposition id is the dataset's; text or number, it is the same id."""
    try:
        number = to_integer(value)
    except UnusableValue:
        return False  # told where the id itself is stored
    return number is not None and number == tree.dataset_deposition_id


def needed(value: Any, what: str) -> Any:
    """A value that must be there.

    Raises:
        UnusableValue: it is not.
    """
    if not value:
        raise UnusableValue(f"{what} is missing")
    return value


def required(data: dict[str, Any], key: str) -> Any:
    """The value at a key, whatever it is.

    Raises:
        UnusableValue: there is no such key.
    """
    if key not in data:
        raise UnusableValue(f"{key} is missing")
    return data[key]
