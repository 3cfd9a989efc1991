"""What has to change so that an asset's files say what its record says, as a value.

The record is the truth once there is one. For each core field it matters whether the record holds it,
whether the root has its file, and whether a dated copy of the file exists: eight cases, :data:`CASES`.
*Holds* means not null and not absent; ``{}``, ``[]``, ``""``, ``0`` and ``false`` are held.

Nothing that is overwritten or removed is lost: it is in the record, in a dated copy, or kept by the
journal of the run (:attr:`FileWrite.is_only_here`, and all removals).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from include.assets.canonical import canonical_text, object_of_texts
from include.assets.core_files import AGGREGATE_FILE, core_file_name, parse_json
from include.assets.location import AssetLocation
from include.assets.stored_object import StoredObject
from include.errors import InvalidInput, Problem
from include.indexing.asset_files import AssetFiles, ReadFile, is_same


class Presence(NamedTuple):
    """Where a core field is found."""

    in_record: bool
    in_root: bool
    in_copy: bool


class Action(Enum):
    """What is done about one core field; never more than is needed."""

    WRITE_ROOT = "write the root file from the record"
    BACK_UP_ROOT = "copy the root file to a dated copy"
    BACK_UP_WRITTEN = "copy the root file just written to a dated copy"
    ADOPT_ROOT = "take the root file into the record"
    DELETE_ROOT = "delete the root file"


# fmt: off
CASES: Mapping[Presence, tuple[int, tuple[Action, ...]]] = {
    #        record  root   copy
    Presence(True,  True,  True):  (1, (Action.WRITE_ROOT,)),
    Presence(True,  True,  False): (2, (Action.BACK_UP_ROOT, Action.WRITE_ROOT)),
    Presence(True,  False, True):  (3, (Action.WRITE_ROOT,)),
    Presence(True,  False, False): (4, (Action.WRITE_ROOT, Action.BACK_UP_WRITTEN)),
    Presence(False, True,  True):  (5, (Action.DELETE_ROOT,)),
    # A root file that cannot be read as metadata is copied and deleted instead.
    Presence(False, True,  False): (6, (Action.ADOPT_ROOT, Action.BACK_UP_ROOT, Action.WRITE_ROOT)),
    Presence(False, False, True):  (7, ()),
    Presence(False, False, False): (8, ()),
}
# fmt: on
"""Number of the case, and its actions in their order. Writing is left out when the file is so already."""

UNUSABLE_ROOT = (Action.BACK_UP_ROOT, Action.DELETE_ROOT)


@dataclass(frozen=True, slots=True)
class FileCopy:
    """A root file that is to be copied within S3, byte for byte."""

    source: StoredObject
    target: str


@dataclass(frozen=True, slots=True)
class FileWrite:
    """A file in the root that is to be written."""

    name: str
    """The core field, or ``metadata.nd``."""

    key: str
    content: bytes
    over: StoredObject | None
    """What is there now, and must still be there; None: nothing."""

    is_only_here: bool = False
    """Whether what is overwritten may be nowhere else."""

    is_copied_after: bool = False


@dataclass(frozen=True, slots=True)
class FileRemoval:
    """A root file that is to be deleted."""

    found: StoredObject
    reason: str


@dataclass(frozen=True, slots=True)
class AssetPlan:
    """Everything that brings one asset's files in step with its record."""

    location: AssetLocation
    cases: Mapping[str, int]
    """Core field → number of its case."""

    adopted: Mapping[str, Any]
    """Core field → what the record is to take from the root file, before anything else is done."""

    copies: tuple[FileCopy, ...]
    writes: tuple[FileWrite, ...]
    removals: tuple[FileRemoval, ...]
    warnings: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether all is in step."""
        return not (self.adopted or self.copies or self.writes or self.removals)

    @property
    def changed_at(self) -> datetime | None:
        """When the latest of the files was written that are not as the record says."""
        found = [
            *(one.source for one in self.copies),
            *(one.over for one in self.writes if one.over is not None),
            *(one.found for one in self.removals),
        ]
        return max((one.last_modified for one in found), default=None)

    @property
    def steps(self) -> list[str]:
        """One line per change, in the order of the work, for people."""
        prefix = self.location.key_prefix
        return [
            *(f"take {core_file_name(name)} into the record" for name in self.adopted),
            *(
                f"copy {one.source.key.removeprefix(prefix)} to {one.target.removeprefix(prefix)}"
                for one in self.copies
            ),
            *(_told(one, prefix) for one in self.writes),
            *(
                f"delete {one.found.key.removeprefix(prefix)}: {one.reason}"
                for one in self.removals
            ),
        ]


def _told(write: FileWrite, prefix: str) -> str:
    name = write.key.removeprefix(prefix)
    does = f"write {name}: there is none" if write.over is None else f"overwrite {name}: it differs"
    return f"{does}, and copy it" if write.is_copied_after else does


def plan_asset(
    record: Mapping[str, Any],
    files: AssetFiles,
    fields: Sequence[str],
    read: ReadFile,
    *,
    may_adopt: bool = True,
    untouched: Collection[str] = (),
) -> AssetPlan:
    """Compare a record with the files of its asset.

    Args:
        record: the whole record.
        fields: core fields of its schema generation.
        read: reads a file where the listing does not tell enough.
        may_adopt: whether the record takes over what it lacks (case 6). A record that was made of the
            files a moment ago lacks what its aggregate lacks: such a root file goes, after its copy.
        untouched: fields that are left as they are.

    Raises:
        PreconditionFailed, NotFound: a file is no longer as it was listed.
        AccessDenied, ServiceUnavailable: a file could not be read.
        InvalidInput: the record holds text that cannot be written.
    """
    planner = _Planner(files, read, may_adopt=may_adopt)
    texts = {name: canonical_text(value) for name, value in record.items()}
    for name in fields:
        if name not in untouched:
            planner.plan_field(name, None if record.get(name) is None else texts[name])
    texts |= planner.adopted_texts
    planner.plan_aggregate(object_of_texts(texts))
    return AssetPlan(
        location=files.location,
        cases=planner.cases,
        adopted=planner.adopted,
        copies=tuple(planner.copies),
        writes=tuple(planner.writes),
        removals=tuple(planner.removals),
        warnings=tuple(planner.warnings),
    )


class _Planner:
    """Collects the changes of one asset, field by field."""

    def __init__(self, files: AssetFiles, read: ReadFile, *, may_adopt: bool) -> None:
        self._files = files
        self._read = read
        self._may_adopt = may_adopt
        self.cases: dict[str, int] = {}
        self.adopted: dict[str, Any] = {}
        self.adopted_texts: dict[str, str] = {}
        self.copies: list[FileCopy] = []
        self.writes: list[FileWrite] = []
        self.removals: list[FileRemoval] = []
        self.warnings: list[str] = []

    def plan_field(self, name: str, text: str | None) -> None:
        """Plan one core field; *text* is the record's, None when the record lacks it."""
        root = self._files.core_file(name)
        has_copy = name in self._files.copies
        self.cases[name], actions = CASES[Presence(text is not None, root is not None, has_copy)]
        reason = "its record does not hold the field"
        if Action.ADOPT_ROOT in actions and root is not None:
            text, problem = self._adopt(name, root)
            if problem:
                actions, reason = UNUSABLE_ROOT, problem
        if root is not None and Action.BACK_UP_ROOT in actions:
            target = self._files.copy_key(name, root.last_modified)
            self.copies.append(FileCopy(root, target))
        if root is not None and Action.DELETE_ROOT in actions:
            self.removals.append(FileRemoval(root, reason))
        if text is not None and Action.WRITE_ROOT in actions:
            self._write(
                name,
                text,
                over=root,
                is_only_here=has_copy
                and root is not None
                and not self._files.is_copied(name, root),
                is_copied_after=Action.BACK_UP_WRITTEN in actions,
            )

    def plan_aggregate(self, text: str) -> None:
        """Plan ``metadata.nd.json``, which is the record as text."""
        self._write(
            AGGREGATE_FILE.removesuffix(".json"),
            text,
            over=self._files.aggregate,
            is_only_here=True,
        )

    def _adopt(self, name: str, root: StoredObject) -> tuple[str | None, str]:
        """Text of what the record takes over; or None, and why it takes nothing."""
        if not self._may_adopt:
            return None, "the aggregate that its record was made of does not hold the field"
        try:
            value = parse_json(root.key, self._read(root))
        except InvalidInput as error:
            self.warnings.extend(map(str, error.problems))
            return None, error.problems[0].reason
        self.adopted[name] = value
        self.adopted_texts[name] = text = canonical_text(value)
        return text, ""

    def _write(
        self,
        name: str,
        text: str,
        *,
        over: StoredObject | None,
        is_only_here: bool,
        is_copied_after: bool = False,
    ) -> None:
        content = _encoded(self._files.location, name, text)
        if over is not None and is_same(over, content, self._read):
            return
        key = self._files.key(core_file_name(name))
        is_lost = over is not None and is_only_here
        self.writes.append(FileWrite(name, key, content, over, is_lost, is_copied_after))


def _encoded(location: AssetLocation, name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        reason = f"holds text that is no text: {error}"
        raise InvalidInput([Problem(str(location), name, reason, "correct the record")]) from error
