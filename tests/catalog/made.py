"""What a bucket's documents become, without a database."""

from __future__ import annotations

from include.catalog.documents import DocumentReader
from include.catalog.entities import OF_DATASETS, OF_DEPOSITIONS
from include.catalog.finders import Item
from include.catalog.listing import DatasetListing
from include.catalog.paths import Urls
from include.catalog.rows import TableRows, make_rows
from include.catalog.tree import Tree
from tests.catalog.lab import BUCKET, EVERYTHING, HTTPS, Objects

DEPOSITIONS = (300, 301)


def of_dataset(objects: Objects) -> tuple[Tree, dict[str, TableRows]]:
    """Rows of the dataset 30001, and the tree with the problems found on the way."""
    tree = tree_of(objects, "30001/")
    return tree, make_rows(tree, OF_DATASETS, {"dataset": [Item("30001/", {})]}, EVERYTHING)


def of_depositions(objects: Objects) -> tuple[Tree, dict[str, TableRows]]:
    """Rows of the two depositions."""
    tree = tree_of(objects, "depositions_metadata/")
    items = [Item(f"depositions_metadata/{number}/", {}) for number in DEPOSITIONS]
    return tree, make_rows(tree, OF_DEPOSITIONS, {"deposition": items}, EVERYTHING)


def tree_of(objects: Objects, prefix: str) -> Tree:
    def size_of(key: str) -> int:
        """As the import asks for it: of an object, or of all that lies below."""
        found = objects.iterate_objects(BUCKET, key)
        return sum(one.size_bytes for one in found if (one.key + "/").startswith(f"{key}/"))

    return Tree(
        BUCKET,
        DatasetListing(prefix, objects.iterate_objects(BUCKET, prefix)),
        DocumentReader(objects, BUCKET, threads=2),
        Urls(BUCKET, HTTPS),
        outer_size=size_of,
        has_deposition=lambda number: number in DEPOSITIONS,
    )
