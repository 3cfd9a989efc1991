"""The rows that a dataset's tree makes, before any of them is stored.

Level by level: the documents of one entity are read for all parents at once, then its rows are made. What
cannot be read, or cannot become a row, is a problem with its bucket, key, field and reason; its parent is
then *incomplete*: rows of the database that were not found again below it are not stale.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.catalog.entity import KEEP, Entity
from include.catalog.finders import Item, Unseen
from include.catalog.tree import Tree
from include.catalog.values import UnusableValue, walk


@dataclass
class TableRows:
    """Rows of one table, and below which parents all of them were found."""

    entity: Entity
    columns: tuple[str, ...]
    """Of the values in :attr:`rows`: own columns, columns of parents, extra values of links, then one
    ``keep_…`` for each column that may keep what it holds."""

    rows: dict[int, list[Any]] = field(default_factory=dict)
    """Number of the row → its values. Columns of parents hold the number of the parent's row."""

    items: list[Item] = field(default_factory=list)
    complete: set[int] = field(default_factory=set)
    """Numbers of parents below which everything was seen."""


def columns_of(entity: Entity) -> tuple[str, ...]:
    """Columns that the rows of an entity have before they are stored."""
    parents = ((entity.parent_column,) if entity.parent else ()) + tuple(entity.further_parents)
    named = tuple(name for link in entity.links for name in link.named)
    keeps = tuple(f"keep_{name}" for name in entity.keepable)
    return (*entity.columns, *parents, *named, *keeps)


def make_rows(
    tree: Tree,
    entities: Sequence[Entity],
    roots: Mapping[str, Sequence[Item]],
    flags: Collection[str],
) -> dict[str, TableRows]:
    """Rows of all entities that the flags ask for, by table.

    Args:
        entities: parents before children.
        roots: table → the items from which the first entities are found; their documents are read here.
        flags: parts that are asked for.
    """
    made: dict[str, TableRows] = {}
    numbers = iter(range(1, 2**31))
    for entity in entities:
        if entity.flag not in flags:
            continue
        parents = made[entity.parent].items if entity.parent else roots.get(entity.table, ())
        made[entity.table] = _Maker(tree, entity, lambda: next(numbers)).make(parents)
    return made


class _Maker:
    """Makes the rows of one entity."""

    def __init__(self, tree: Tree, entity: Entity, number: Callable[[], int]) -> None:
        self._tree = tree
        self._entity = entity
        self._number = number
        self._found = TableRows(entity, columns_of(entity))
        self._by_identity: dict[tuple[Any, ...], Item] = {}
        places = {name: place for place, name in enumerate(self._found.columns)}
        named = {link.column: tuple(link.named) for link in entity.links}
        self._identity_places = tuple(
            places[name] for column in entity.identity for name in named.get(column, (column,))
        )

    def make(self, parents: Sequence[Item]) -> TableRows:
        find, tree = self._entity.find, self._tree
        tree.documents.read_all([key for parent in parents for key in find.keys(tree, parent)])
        found = [(parent, list(find.items(tree, parent))) for parent in parents]
        self._read_further(one for _, items in found for one in items)
        for parent, items in found:
            added = [self._add(one) for one in items]  # every item, also after one that failed
            if all(added):
                self._found.complete.add(parent.n)
        self._found.items = list(self._by_identity.values())
        return self._found

    def _read_further(self, items: Iterable[Item | Unseen]) -> None:
        """Read at once what single columns are made of."""
        also_reads = self._entity.also_reads
        if also_reads is None:
            return
        keys = []
        for item in items:
            if isinstance(item, Item):
                try:
                    key = also_reads(item, self._tree)
                except UnusableValue:
                    continue  # told when the column is made
                if key is not None and (
                    not self._tree.listing.covers(key) or self._tree.listing.has(key)
                ):
                    keys.append(key)
        self._tree.documents.read_texts(keys)

    def _add(self, item: Item | Unseen) -> bool:
        """Make an item's row; False when there is none, and why is told."""
        if isinstance(item, Unseen):
            if item.reason:
                self._tree.fail(item.key, item.field, item.reason)
            return False
        row = self._row(item)
        if row is None:
            return False
        identity = tuple(map(_hashable, (row[place] for place in self._identity_places)))
        earlier = self._by_identity.pop(identity, None)
        if earlier is None:
            item.n = self._number()
        else:
            # The row stays one row, the last item is what it says.
            item.n = earlier.n
            if earlier.key != item.key or not item.index:
                self._tree.warn(
                    item.key,
                    f"is used; {self._tree.urls.s3(earlier.key)} has the same "
                    f"{', '.join(self._entity.identity)} of {self._entity.table}",
                )
        self._by_identity[identity] = item
        self._found.rows[item.n] = row
        if earlier is not None and self._entity.merges:
            self._merged(earlier, item)
        return True

    def _merged(self, earlier: Item, item: Item) -> None:
        """Children of both belong to the row: the earlier one stays in the list under a key of its own."""
        self._by_identity[(*("also",), earlier.key)] = earlier
        earlier.n = item.n

    def _row(self, item: Item) -> list[Any] | None:
        entity, tree = self._entity, self._tree
        row: list[Any] = []
        kept = set()
        failed = False
        for name, source, path, convert, is_required in entity.converters:
            try:
                if path is None:
                    value = source(item, tree)  # type: ignore[operator]
                elif len(path) == 1:
                    value = item.data.get(path[0])
                    if value == {}:
                        value = None
                else:
                    value = walk(item.data, path)
                if value is KEEP:
                    kept.add(name)
                    value = None
                value = convert(value)
            except UnusableValue as error:
                tree.fail(item.key, _where(item, ".".join(path or (name,))), str(error))
                failed = True
                continue
            if value is None and is_required:
                tree.fail(item.key, _where(item, ".".join(path or (name,))), "is missing")
                failed = True
            row.append(value)
        if failed:
            return None
        if entity.parent and item.parent is not None:
            row.append(item.parent.n)
        row += (item.above(levels).n for levels in entity.further_parents.values())
        try:
            for link in entity.links:
                row += (source(item, tree) for _, source in link.named.values())
        except UnusableValue as error:
            tree.fail(item.key, _where(item, link.column), str(error))
            return None
        row += (name in kept for name in entity.keepable)
        return row


def _where(item: Item, name: str) -> str:
    return f"{name} of entry {item.index}" if item.index else name


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value
