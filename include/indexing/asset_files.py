"""The metadata files of one asset, as two listings show them.

::

    {asset}/{field}.json                                a core file in the root
    {asset}/metadata.nd.json                            the aggregate: the whole record
    {asset}/original_metadata/{field}.{YYYYMMDD}.json   a dated copy of a core file

Everything else under the asset is data and is never looked at, let alone touched. The date of a copy is
that of the root file it was made of. Other names in the copy folder (no date, a date with dashes, nine
digits, another folder below) are no copies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from include.assets.canonical import digest
from include.assets.core_files import AGGREGATE_FILE, core_file_name
from include.assets.location import AssetLocation
from include.assets.stored_object import Folder, StoredObject

AGGREGATE = AGGREGATE_FILE.removesuffix(".json")
"""What stands for the field in the name of a dated copy of the aggregate."""

_DATED = re.compile(r"(?P<field>.+)\.[0-9]{8}\.json")


class FolderLister(Protocol):
    """Lists folders of one bucket."""

    def list_folder(self, prefix: str) -> Folder:
        """The objects directly below *prefix*, and the folders there.

        Raises:
            AccessDenied, NotFound, ServiceUnavailable, MalformedAnswer: it is not known what is there.
        """


ReadFile = Callable[[StoredObject], bytes]
"""Content of the object that a listing showed; raises PreconditionFailed when it is another one now."""


@dataclass(frozen=True, slots=True)
class AssetFiles:
    """What lies in an asset's root and in its copy folder."""

    location: AssetLocation
    copy_folder: str
    root: Folder
    copies: Mapping[str, tuple[StoredObject, ...]] = field(default_factory=dict)
    """Field → its dated copies; ``metadata.nd`` for copies of the aggregate."""

    @property
    def is_gone(self) -> bool:
        """Whether nothing at all is there under the asset's name."""
        return self.root.is_empty

    @property
    def aggregate(self) -> StoredObject | None:
        """``metadata.nd.json``."""
        return self.root.objects.get(AGGREGATE_FILE)

    def core_file(self, name: str) -> StoredObject | None:
        """The root file of a core field."""
        return self.root.objects.get(core_file_name(name))

    def key(self, file_name: str) -> str:
        """Key of a file in the root."""
        return f"{self.location.key_prefix}{file_name}"

    def copy_key(self, name: str, modified_at: datetime) -> str:
        """Key of the dated copy of a root file that was last modified then."""
        stamp = modified_at.astimezone(UTC).strftime("%Y%m%d")
        return f"{self.location.key_prefix}{self.copy_folder}/{name}.{stamp}.json"

    def is_copied(self, name: str, found: StoredObject) -> bool:
        """Whether a dated copy surely holds the same bytes as the root file."""
        return any(
            one.size_bytes == found.size_bytes and found.has_md5(one.etag)
            for one in self.copies.get(name, ())
        )


def list_files(lister: FolderLister, location: AssetLocation, copy_folder: str) -> AssetFiles:
    """Look at an asset: one request, and one more when it has a copy folder."""
    root = lister.list_folder(location.key_prefix)
    if copy_folder.split("/", 1)[0] not in root.folders:
        return AssetFiles(location, copy_folder, root)
    found = lister.list_folder(f"{location.key_prefix}{copy_folder}/")
    return AssetFiles(location, copy_folder, root, dated_copies(found))


def is_same(found: StoredObject, content: bytes, read: ReadFile) -> bool:
    """Whether *found* holds *content*.

    Sizes and the MD5 tell, as a rule. An ETag that is no MD5 of the content (sent in parts, encrypted by
    KMS) proves nothing, so objects of the right size are read.
    """
    if found.size_bytes != len(content):
        return False
    return found.has_md5(digest(content)) or read(found) == content


def dated_copies(folder: Folder) -> dict[str, tuple[StoredObject, ...]]:
    """Field → its dated copies, of a copy folder."""
    copies: dict[str, tuple[StoredObject, ...]] = {}
    for name, found in folder.objects.items():
        if dated := _DATED.fullmatch(name):
            copies[dated["field"]] = (*copies.get(dated["field"], ()), found)
    return copies
