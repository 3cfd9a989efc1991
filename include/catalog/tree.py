"""One dataset in S3 as the entities see it: its listing, its documents, its addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from include.catalog.documents import DocumentReader, Shape, UnreadableDocument
from include.catalog.finders import Unseen
from include.catalog.listing import DatasetListing
from include.catalog.paths import Urls, key_of
from include.catalog.values import UnusableValue, to_integer
from include.errors import Problem


class Tree:
    """What sources and finders ask.

    Args:
        bucket: all keys are in it.
        listing: of the dataset's folder.
        documents: reads what the listing shows.
        urls: addresses of keys.
        outer_size: size of a path outside of the dataset's folder, asked in S3; KEEP when it cannot be told.
        has_deposition: whether there is, or will be, a row for a deposition of this id; raises UnusableValue
            when there is a document for one, and why it makes none.
    """

    def __init__(
        self,
        bucket: str,
        listing: DatasetListing,
        documents: DocumentReader,
        urls: Urls,
        *,
        outer_size: Callable[[str], Any],
        has_deposition: Callable[[int], bool],
    ) -> None:
        self.bucket = bucket
        self.listing = listing
        self.documents = documents
        self.urls = urls
        self.dataset_deposition_id: int | None = None
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._outer_size = outer_size
        self._has_deposition = has_deposition

    def document(self, key: str, shape: Shape = Shape.OBJECT) -> Any:
        """Content of a document, or :class:`Unseen`."""
        found = self.documents.read_all([key], shape)[key]
        return Unseen(key, found.reason) if isinstance(found, UnreadableDocument) else found.content

    def key(self, path: Any) -> str | None:
        """Key of a path in a document; None for an empty one.

        Raises:
            UnusableValue: it is none.
        """
        return key_of(self.bucket, path)

    def s3(self, path: Any) -> str | None:
        """``s3://`` address of a path in a document; None for an empty one."""
        key = self.key(path)
        return None if key is None else self.urls.s3(key)

    def https(self, path: Any) -> str | None:
        """``https://`` address of a path in a document; None for an empty one."""
        key = self.key(path)
        return None if key is None else self.urls.https(key)

    def size(self, path: Any) -> Any:
        """Bytes at and below a path; 0 when nothing is there, None for an empty path, else KEEP."""
        key = self.key(path)
        if key is None:
            return None
        return self.listing.size_of(key) if self.listing.covers(key) else self._outer_size(key)

    def deposition(self, value: Any) -> int | None:
        """Id of a deposition that has a row, or will have one.

        Raises:
            UnusableValue: it has none and no document to make one of.
        """
        number = None if value == "" else to_integer(value)
        if number is None:
            return None
        if not self._has_deposition(number):
            raise UnusableValue(
                f"there is no deposition {number}: neither a row nor "
                f"depositions_metadata/{number}/deposition_metadata.json"
            )
        return number

    def fail(self, key: str, field: str, reason: str) -> None:
        """Note what is wrong with a part of the dataset."""
        self.problems.append(Problem(self.urls.s3(key), field, reason))

    def warn(self, key: str, text: str) -> None:
        """Note what somebody should know."""
        self.warnings.append(f"{self.urls.s3(key)}: {text}")
