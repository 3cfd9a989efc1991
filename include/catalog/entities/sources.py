"""Sources of columns that several entities have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from include.catalog.entity import Function, Source
from include.catalog.paths import path_of
from include.catalog.values import UnusableValue, shown, to_float, to_integer, walk

if TYPE_CHECKING:
    from include.catalog.finders import Item
    from include.catalog.tree import Tree

T = TypeVar("T")

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


def name(key: str) -> Function:
    """The text at a key that names a row whose id is public: an empty one names none.

    With another name it would be another row, and all below the one that it was would go.
    """

    def found(item: Item, _: Tree) -> Any:
        value = item.data.get(key)
        if value in ("", [], {}):
            raise UnusableValue(f"{key}: expected a name, found {shown(value)}")
        return value

    return found


def integer(path: str) -> Function:
    """The whole number that stands there, for a link: nothing else converts its values."""
    return _made_of(path, lambda _, value: to_integer(value))


def s3(path: str) -> Function:
    """``s3://`` address of the path that stands there."""
    return _made_of(path, lambda tree, value: tree.s3(value))


def s3_of_present(key: str) -> Function:
    """``s3://`` address of the path at a key that must be there, be it null."""
    address = s3(key)

    def found(item: Item, tree: Tree) -> Any:
        required(item.data, key)
        return address(item, tree)

    return found


def https(path: str) -> Function:
    """``https://`` address of the path that stands there."""
    return _made_of(path, lambda tree, value: tree.https(value))


def size(path: str) -> Function:
    """Bytes of the path that stands there."""
    return _made_of(path, lambda tree, value: tree.size(value))


def photo(path: str) -> Function:
    """Address of a picture, whose path is never one with the bucket in front."""

    def address(tree: Tree, value: Any) -> str | None:
        found = path_of(value)
        return None if found is None else tree.urls.photo(found)

    return _made_of(path, address)


def s3_of_folder(path: str) -> Function:
    """``s3://`` address of the folder of the path that stands there, with its slash."""

    def address(tree: Tree, value: Any) -> str | None:
        key = tree.key(value)
        return None if key is None or "/" not in key else tree.urls.s3(key[: key.rindex("/") + 1])

    return _made_of(path, address)


def number(path: str) -> Callable[[Item, Tree], float]:
    """The number that stands there and must."""

    def found(_: Tree, value: Any) -> float:
        if (converted := to_float(value)) is None:
            raise UnusableValue("is missing")
        return converted

    return _made_of(path, found)


def _made_of(path: str, make: Callable[[Tree, Any], T]) -> Callable[[Item, Tree], T]:
    """What is made of the value that stands there; why it cannot be made is told with the path.

    The column, which is told as well, often has another name.
    """
    steps = tuple(path.split("."))

    def found(item: Item, tree: Tree) -> T:
        try:
            return make(tree, walk(item.data, steps))
        except UnusableValue as error:
            raise UnusableValue(f"{path}: {error}") from error

    return found


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


def is_of_dataset(value: Any, tree: Tree) -> bool:
    """Whether a deposition id is the dataset's; text or number, it is the same id."""
    try:
        found = to_integer(value)
    except UnusableValue:
        return False  # told where the id itself is stored
    return found is not None and found == tree.dataset_deposition_id


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
