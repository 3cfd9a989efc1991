"""Sizes of what a dataset's documents name outside of the dataset's folder."""

from __future__ import annotations

from typing import Any

from include.catalog.entity import KEEP
from include.catalog.listing import ObjectLister
from include.catalog.paths import Urls
from include.errors import AssetflowError, BucketNotFound, Problem, TransientError


class OuterSizes:
    """Sizes of paths outside of the dataset's folder; each is asked for once."""

    def __init__(self, store: ObjectLister, bucket: str) -> None:
        self._store = store
        self._bucket = bucket
        self._known: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.may_pass = False

    def __call__(self, key: str) -> Any:
        """Bytes at and below a path; :data:`KEEP` when it cannot be told, and why is a problem."""
        path = key.removesuffix("/")
        if path not in self._known:
            self._known[path] = self._ask(path)
        return self._known[path]

    def _ask(self, path: str) -> Any:
        try:
            return sum(
                found.size_bytes
                for found in self._store.iterate_objects(self._bucket, path)
                if found.key == path or found.key.startswith(f"{path}/")
            )
        except BucketNotFound:
            raise
        except AssetflowError as error:
            self.may_pass |= isinstance(error, TransientError)
            reason = f"its size is not known: {type(error).__name__}: {error}"
            self.problems.append(Problem(Urls(self._bucket).s3(path), "", reason))
            return KEEP
