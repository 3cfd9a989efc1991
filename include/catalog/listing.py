"""One listing of a dataset, held compactly; it answers whatever is asked about keys.

The listing is made once. After it a size, an existence, the sub-folders of a folder or the matches of a glob
cost no request, and are of one moment: a dataset that changes meanwhile does not look different from one
question to the next. A million keys take 140 MB.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Protocol

from include.assets.stored_object import StoredObject

_CLASS_OR_STAR = re.compile(r"\*|\[[^\]]+\]")


class ObjectLister(Protocol):
    """What is needed of S3 beside documents; strict about its answers."""

    def iterate_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """All objects whose keys start with the prefix."""


class DatasetListing:
    """The keys and sizes below one prefix; safe to share between threads.

    Keys are bucket-relative. Answers come in the order of the keys, byte by byte, as S3 lists them: what
    lies in ``a-b/`` comes before what lies in ``a/``.

    Args:
        prefix: what was listed, ending with a slash; ``""`` for a whole bucket.
        objects: all that the listing showed, in any order.

    Raises:
        ValueError: *prefix* has no slash at its end, or an object does not lie below it.
    """

    def __init__(self, prefix: str, objects: Iterable[StoredObject]) -> None:
        self.prefix = _folder(prefix)
        keys: list[str] = []
        sizes = array("q")
        is_sorted = True
        for one in objects:
            if not one.key.startswith(prefix):
                raise ValueError(f"{one.key!r} does not lie below {prefix!r}")
            is_sorted = is_sorted and (not keys or keys[-1] < one.key)
            keys.append(one.key)
            sizes.append(one.size_bytes)
        if not is_sorted:
            # By key, so that an object that was replaced while it was listed counts once.
            latest = dict(zip(keys, sizes, strict=True))
            keys = sorted(latest)
            sizes = array("q", map(latest.__getitem__, keys))
        self._keys = keys
        self._sums = array("q", [0])
        for size in sizes:
            self._sums.append(self._sums[-1] + size)

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self._keys)

    def covers(self, path: str) -> bool:
        """Whether *path* lies in what was listed, so that nothing found means that nothing is there."""
        return path.startswith(self.prefix)

    def has(self, key: str) -> bool:
        """Whether there is an object with exactly this key.

        Raises:
            ValueError: the listing does not cover it.
        """
        self._check(key)
        return self._has(key)

    def size_of(self, path: str) -> int:
        """Bytes of the object with exactly this key and of everything below it as a folder.

        The original summed whatever started with the text, so that ``frame1`` counted ``frame10``
        as well; here a path ends where its name ends.

        Args:
            path: with a slash at its end, or empty, only what lies below counts.

        Returns:
            0 when there is nothing.

        Raises:
            ValueError: the listing does not cover it.
        """
        self._check(path)
        if not path or path.endswith("/"):
            return self._sum(*self._range(path))
        start = bisect_left(self._keys, path)
        own = self._sum(start, start + 1) if self._has(path) else 0
        return own + self._sum(*self._range(f"{path}/"))

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders directly below *prefix*, which ends with a slash.

        Raises:
            ValueError: no slash at its end, or the listing does not cover it.
        """
        self._check(_folder(prefix))
        return list(self._children(prefix, want_folders=True))

    def files(self, prefix: str) -> list[str]:
        """Names of the objects directly below *prefix*, which ends with a slash.

        An object whose key is the prefix itself, as some tools make to show a folder, is none of them.

        Raises:
            ValueError: no slash at its end, or the listing does not cover it.
        """
        self._check(_folder(prefix))
        return list(self._children(prefix, want_folders=False))

    def match(self, prefix: str, pattern: str) -> list[str]:
        """Keys below *prefix* whose remainder matches *pattern*.

        Args:
            prefix: ends with a slash and means itself: a run may be called ``TS [1]`` or ``a*``, which
                the original took for patterns and so lost.
            pattern: ``*`` is any text without a slash, ``[0-9]`` one character of a class,
                ``[!0-9]`` one that is not; everything else means itself.

        Raises:
            ValueError: no slash at the prefix's end, or the listing does not cover it.
        """
        self._check(_folder(prefix))
        return list(self._walk(prefix, tuple(pattern.split("/"))))

    def _walk(self, prefix: str, parts: tuple[str, ...]) -> Iterator[str]:
        """Folder by folder, so that what lies deeper than the pattern costs nothing."""
        part, deeper = parts[0], parts[1:]
        if not _CLASS_OR_STAR.search(part):
            if deeper:
                yield from self._walk(f"{prefix}{part}/", deeper)
            elif part and self._has(prefix + part):
                yield prefix + part
            return
        matches = _compiled(part).fullmatch
        for name in self._children(prefix, want_folders=bool(deeper)):
            if matches(name):
                if deeper:
                    yield from self._walk(f"{prefix}{name}/", deeper)
                else:
                    yield prefix + name

    def _children(self, prefix: str, *, want_folders: bool) -> Iterator[str]:
        keys, cut = self._keys, len(prefix)
        at, end = self._range(prefix)
        while at < end:
            name, slash, _ = keys[at][cut:].partition("/")
            if slash:
                if want_folders:
                    yield name
                at = bisect_left(keys, _after(f"{prefix}{name}/"), at, end)
            else:
                if name and not want_folders:
                    yield name
                at += 1

    def _has(self, key: str) -> bool:
        at = bisect_left(self._keys, key)
        return at < len(self._keys) and self._keys[at] == key

    def _range(self, prefix: str) -> tuple[int, int]:
        if not prefix:
            return 0, len(self._keys)
        start = bisect_left(self._keys, prefix)
        return start, bisect_left(self._keys, _after(prefix), start)

    def _sum(self, start: int, end: int) -> int:
        return self._sums[end] - self._sums[start]

    def _check(self, path: str) -> None:
        if not self.covers(path):
            raise ValueError(f"{path!r} is not below {self.prefix!r}, which is all that was listed")


def _after(prefix: str) -> str:
    """The smallest text after all that start with *prefix*, whose last character is a slash."""
    return prefix[:-1] + "0"


def _folder(prefix: str) -> str:
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} would also match its longer neighbours; end it with a slash")
    return prefix


@cache
def _compiled(part: str) -> re.Pattern[str]:
    pieces: list[str] = []
    end = 0
    for found in _CLASS_OR_STAR.finditer(part):
        pieces.append(re.escape(part[end : found.start()]))
        pieces.append("[^/]*" if found.group() == "*" else _character_class(found.group()[1:-1]))
        end = found.end()
    return re.compile("".join(pieces) + re.escape(part[end:]))


def _character_class(inner: str) -> str:
    sign, inner = ("^", inner[1:]) if inner[0] == "!" and len(inner) > 1 else ("", inner)
    escaped = re.sub(r"([^\w-])", r"\\\1", inner)  # all but the hyphen of a range
    return f"[{sign}{escaped}]"
