"""The rows that a dataset's tree makes, before any of them is stored.

Level by level: the documents of one entity are read for all parents at once, then its rows are made. What
cannot be read, or cannot become a row, is a problem with its bucket, key, field and reason; its parent is
then *incomplete*: rows of the database that were not found again below it are not stale.

Of several items of one identity the last one is the row. When it is one of those that made no row, an
earlier one is no substitute: its row is *doubted*, and stays as it is where it was made of the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.catalog.entity import KEEP, Entity
from include.catalog.finders import Item, Unseen
from include.catalog.tree import Tree
from include.catalog.values import UnusableValue, walk

ADDRESSES: Mapping[str, str] = {
    "run": "s3_prefix",
    "alignment": "s3_alignment_metadata",
    "annotation": "s3_metadata_path",
}
"""Table → column that tells of which document a stored row was made. Rows of other tables do not tell."""


@dataclass
class TableRows:
    """Rows of one table, and below which parents all of them were found."""

    entity: Entity
    columns: tuple[str, ...]
    """Of the values in :attr:`rows`: own columns, columns of parents, extra values of links."""

    rows: dict[int, list[Any]] = field(default_factory=dict)
    """Number of the row → its values. Columns of parents hold the number of the parent's row."""

    kept: dict[int, set[str]] = field(default_factory=dict)
    """Number of the row → columns whose source could not be read: they keep what they hold."""

    items: list[Item] = field(default_factory=list)
    complete: set[int] = field(default_factory=set)
    """Numbers of parents below which everything was seen."""

    doubts: dict[int, set[str]] = field(default_factory=dict)
    """Number of the row → addresses (as in :data:`ADDRESSES`) of later items that made no row, and of which
    the stored row may have been made."""


def columns_of(entity: Entity) -> tuple[str, ...]:
    """Columns that the rows of an entity have before they are stored."""
    parents = ((entity.parent_column,) if entity.parent else ()) + tuple(entity.further_parents)
    named = tuple(name for link in entity.links for name in link.named)
    return (*entity.columns, *parents, *named)


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


_UNKNOWN = object()
"""Stands for a value of an identity that is not known."""


@dataclass(frozen=True, slots=True)
class _Rowless:
    """An item that made no row."""

    place: int
    """Among all items of the entity, in their order."""

    identity: tuple[Any, ...]
    address: str


class _Maker:
    """Makes the rows of one entity."""

    def __init__(self, tree: Tree, entity: Entity, number: Callable[[], int]) -> None:
        self._tree = tree
        self._entity = entity
        self._number = number
        self._found = TableRows(entity, columns_of(entity))
        self._by_identity: dict[tuple[Any, ...], Item] = {}
        self._places: dict[int, int] = {}
        """Number of a row → where its item stands among all items."""
        self._items_seen = 0
        self._rowless: list[_Rowless] = []
        places = {name: place for place, name in enumerate(self._found.columns)}
        named = {link.column: tuple(link.named) for link in entity.links}
        self._identity_names = tuple(
            name for column in entity.identity for name in named.get(column, (column,))
        )
        self._identity_places = tuple(places[name] for name in self._identity_names)

    def make(self, parents: Sequence[Item]) -> TableRows:
        find, tree = self._entity.find, self._tree
        tree.documents.read_all([key for parent in parents for key in find.keys(tree, parent)])
        found = [(parent, list(find.items(tree, parent))) for parent in parents]
        self._read_further(one for _, items in found for one in items)
        incomplete = set()
        for parent, items in found:
            added = [self._add(one, parent) for one in items]  # also after one that failed
            if not all(added):
                incomplete.add(parent.n)
        # Several parents may be one row: what one of them hides, none of the others has seen.
        self._found.complete = {parent.n for parent in parents} - incomplete
        self._doubt()
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

    def _add(self, item: Item | Unseen, parent: Item) -> bool:
        """Make an item's row; False when there is none, and why is told."""
        self._items_seen += 1
        if isinstance(item, Unseen):
            if item.reason:
                self._tree.fail(item.key, item.field, item.reason)
            if item.reason and not item.field:  # a whole document
                self._note_rowless(item.key, parent, self._identity_below(parent))
            return False
        row, kept, has_failed = self._row(item)
        identity = tuple(_hashable(row[place]) for place in self._identity_places)
        if has_failed:
            # Entries of a list hide each other only when it is known that they are of one identity.
            is_document = not item.index and item.key != parent.key
            if is_document or _UNKNOWN not in identity:
                self._note_rowless(item.key, parent, identity)
            return False
        earlier = self._by_identity.pop(identity, None)
        if earlier is None:
            item.n = self._number()
        else:
            # The row stays one row, the last item is what it says.
            item.n = earlier.n
            self._warn_of_collision(earlier, item)
            if self._entity.merges:
                # Children of both belong to the row: the earlier one stays, under a key of its own.
                self._by_identity["also", earlier.key] = earlier
        self._by_identity[identity] = item
        self._places[item.n] = self._items_seen
        self._found.rows[item.n] = row
        self._found.kept.pop(item.n, None)
        if kept:
            self._found.kept[item.n] = kept
        return True

    def _warn_of_collision(self, earlier: Item, item: Item) -> None:
        same = f"the same {', '.join(self._entity.identity)} of {self._entity.table}"
        if earlier.key != item.key:
            self._tree.warn(item.key, f"is used; {self._tree.urls.s3(earlier.key)} has {same}")
        else:
            self._tree.warn(
                item.key, f"entry {item.index} is used; entry {earlier.index} has {same}"
            )

    def _identity_below(self, parent: Item) -> tuple[Any, ...]:
        """What is known of the identity of anything below a parent: which rows are above it."""
        entity = self._entity
        levels = {entity.parent_column: 1, **entity.further_parents}
        return tuple(
            parent.above(levels[name] - 1).n if entity.parent and name in levels else _UNKNOWN
            for name in self._identity_names
        )

    def _note_rowless(self, key: str, parent: Item, identity: tuple[Any, ...]) -> None:
        source = self._entity.columns.get(ADDRESSES.get(self._entity.table, ""))
        address = (
            source(Item(key, {}, parent), self._tree)
            if callable(source)
            else self._tree.urls.s3(key)
        )
        self._rowless.append(_Rowless(self._items_seen, identity, address))

    def _doubt(self) -> None:
        """Find the rows that are another item's, if one that made no row has their identity."""
        if not self._rowless or self._entity.merges:
            return
        levels = {self._entity.parent_column, *self._entity.further_parents}
        above = [place for place, name in enumerate(self._identity_names) if name in levels]
        exact: dict[tuple[Any, ...], list[_Rowless]] = defaultdict(list)
        vague: dict[tuple[Any, ...], list[_Rowless]] = defaultdict(list)
        for one in self._rowless:
            if _UNKNOWN in one.identity:
                vague[tuple(one.identity[place] for place in above)].append(one)
            else:
                exact[one.identity].append(one)
        for identity, item in self._by_identity.items():
            rivals = [
                *exact.get(identity, ()),
                *vague.get(tuple(identity[place] for place in above), ()),
            ]
            doubts = {
                one.address
                for one in rivals
                if one.place > self._places[item.n] and _may_be(one.identity, identity)
            }
            if doubts:
                self._found.doubts[item.n] = doubts

    def _row(self, item: Item) -> tuple[list[Any], set[str], bool]:
        """Its values, the columns that keep theirs, and whether it is none: why is told."""
        entity, tree = self._entity, self._tree
        row: list[Any] = []
        kept: set[str] = set()
        has_failed = False
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
                value, has_failed = _UNKNOWN, True
            else:
                if value is None and is_required:
                    tree.fail(item.key, _where(item, ".".join(path or (name,))), "is missing")
                    value, has_failed = _UNKNOWN, True
            row.append(value)
        if entity.parent and item.parent is not None:
            row.append(item.parent.n)
        row += (item.above(levels).n for levels in entity.further_parents.values())
        for link in entity.links:
            try:
                row += [source(item, tree) for _, source in link.named.values()]
            except UnusableValue as error:
                tree.fail(item.key, _where(item, link.column), str(error))
                row += [_UNKNOWN] * len(link.named)
                has_failed = True
        return row, kept, has_failed


def _where(item: Item, name: str) -> str:
    return f"{name} of entry {item.index}" if item.index else name


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value


def _may_be(known: tuple[Any, ...], identity: tuple[Any, ...]) -> bool:
    """Whether two identities are equal, as far as the first is known."""
    return all(ours is _UNKNOWN or ours == its for ours, its in zip(known, identity, strict=True))
