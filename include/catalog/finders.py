"""Where the items of an entity are: documents below a folder, entries of a list, files, folders.

A finder says which documents it needs (:meth:`keys`), so that those of all parents are read at once, and then
yields its items below one parent. What it cannot look into it yields as :class:`Unseen`: rows that would be
found there may exist, so nothing below that parent is stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from include.catalog.documents import Shape
from include.catalog.values import shown

if TYPE_CHECKING:
    from include.catalog.tree import Tree


@dataclass(slots=True, eq=False)
class Item:
    """One thing that becomes a row, on its way there."""

    key: str
    """Of the document it is from, of the file, or of the folder (with its slash)."""

    data: Any
    """Its part of the document: a JSON object, as a rule."""

    parent: Item | None = None
    index: int = 0
    """Position in its list, from 1; 0 when it is not from a list."""

    n: int = 0
    """Number of its row; what children point to until the database has given an id."""

    @property
    def folder(self) -> str:
        """Where it lies, with a slash at the end."""
        return self.key[: self.key.rindex("/") + 1] if "/" in self.key else ""

    def above(self, levels: int) -> Item:
        """Its parent, the parent's parent, …"""
        found: Item = self
        for _ in range(levels):
            if found.parent is None:
                raise ValueError(f"{self.key} has no parent {levels} levels up")
            found = found.parent
        return found


@dataclass(frozen=True, slots=True)
class Unseen:
    """Something that could not be looked into, or of which nothing is said."""

    key: str
    reason: str
    """What is wrong; ``""`` when nothing is, or when it is told elsewhere: nothing is stale all the same."""

    field: str = ""


class Finder(Protocol):
    """Finds the items of an entity below one item of its parent."""

    def keys(self, tree: Tree, parent: Item) -> list[str]:
        """Documents that are needed for it."""

    def items(self, tree: Tree, parent: Item) -> Iterator[Item | Unseen]:
        """In the order in which a later one wins over an earlier one of the same identity."""


@dataclass(frozen=True, slots=True)
class Documents:
    """One item per document whose key, below the parent's folder, matches a pattern.

    Args:
        pattern: ``*`` does not cross a slash; run names are never part of it.
        only_first: the first in byte order counts, the others are told.
    """

    pattern: str
    only_first: bool = False

    def keys(self, tree: Tree, parent: Item) -> list[str]:
        found = tree.listing.match(parent.folder, self.pattern)
        return found[:1] if self.only_first else found

    def items(self, tree: Tree, parent: Item) -> Iterator[Item | Unseen]:
        if self.only_first and len(found := tree.listing.match(parent.folder, self.pattern)) > 1:
            tree.warn(found[0], f"is used; there are {len(found) - 1} more beside it")
        for key in self.keys(tree, parent):
            content = tree.document(key)
            yield content if isinstance(content, Unseen) else Item(key, content, parent)


@dataclass(frozen=True, slots=True)
class Entries:
    """One item per element of a list in the parent's document.

    Args:
        name: key of the list. A missing list is an empty one, unless it is *required*; null is no list.
    """

    name: str
    of_objects: bool = True
    required: bool = False

    def keys(self, tree: Tree, parent: Item) -> list[str]:
        return []

    def items(self, tree: Tree, parent: Item) -> Iterator[Item | Unseen]:
        if self.name in parent.data:
            yield from entries(
                parent, parent.data[self.name], self.name, of_objects=self.of_objects
            )
        elif self.required:
            yield Unseen(parent.key, "is missing", self.name)


@dataclass(frozen=True, slots=True)
class ListDocument:
    """One item per element of a document that is a list itself; a missing document is an empty list."""

    path: str

    def keys(self, tree: Tree, parent: Item) -> list[str]:
        key = f"{parent.folder}{self.path}"
        return [key] if tree.listing.has(key) else []

    def items(self, tree: Tree, parent: Item) -> Iterator[Item | Unseen]:
        for key in self.keys(tree, parent):
            content = tree.document(key, Shape.LIST)
            if isinstance(content, Unseen):
                yield content
            else:
                yield from entries(Item(key, None, parent), content, "", owner=parent)


@dataclass(frozen=True, slots=True)
class Files:
    """One item per file that matches a pattern below the parent's folder."""

    pattern: str

    def keys(self, tree: Tree, parent: Item) -> list[str]:
        return []

    def items(self, tree: Tree, parent: Item) -> Iterator[Item | Unseen]:
        for key in tree.listing.match(parent.folder, self.pattern):
            yield Item(key, {}, parent)


@dataclass(frozen=True, slots=True)
class Folders:
    """One item per folder that matches a pattern directly in a folder of the parent."""

    inside: str
    pattern: str

    def keys(self, tree: Tree, parent: Item) -> list[str]:
        return []

    def items(self, tree: Tree, parent: Item) -> Iterator[Item | Unseen]:
        prefix = f"{parent.folder}{self.inside}"
        for name in tree.listing.folders(prefix):
            if fnmatchcase(name, self.pattern):
                yield Item(f"{prefix}{name}/", {}, parent)


def entries(
    document: Item, found: Any, name: str, *, of_objects: bool = True, owner: Item | None = None
) -> Iterator[Item | Unseen]:
    """The elements of a list as items below *owner* (the document's own item when None)."""
    if not isinstance(found, list):
        yield Unseen(document.key, f"expected a list, found {shown(found)}", name)
        return
    for index, element in enumerate(found, 1):
        if of_objects and not isinstance(element, dict):
            where = f"{name}[{index - 1}]"
            yield Unseen(document.key, f"expected an object, found {shown(element)}", where)
        else:
            yield Item(document.key, element, owner or document, index)
