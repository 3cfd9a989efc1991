"""The grammar of asset names.

A raw asset is named after the acquisition that produced it::

    ecephys_712345_2024-03-05_14-22-10
    <-- label ---> <--- acquired ---->

The label is the subject's id; in assets of former years the platform's abbreviation stands before it.
A derived asset is named after the asset it was computed from::

    ecephys_712345_2024-03-05_14-22-10_sorted_2024-03-06_01-02-03
    <------------- input ------------> <----> <--- created ----->
                                       process

The input may itself be derived. A derived name also has the form of a raw one (with a very long label),
so it is always tried first, and on the whole text.

Times are wall-clock digits as they were given, and carry no zone. A name is a folder, a key prefix and
a record's name at once: :func:`unsafe_part` says what therefore may not stand in it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from include.assets.platform import PLATFORMS, Platform
from include.errors import InvalidInput, Problem

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}"
RAW = re.compile(rf"(?P<label>.+?)_(?P<acquired>{_TIME})", re.DOTALL)
DERIVED = re.compile(
    rf"(?P<input>.+_{_TIME})_(?P<process>.+?)_(?P<created>{_TIME})",
    re.DOTALL,
)
_TIME_AS_A_PART = re.compile(rf"(^|_){_TIME}(_|$)")

MAX_NAME_BYTES = 180
"""File systems allow 255 bytes; a run adds a suffix to the name for its own folders and jobs."""


@dataclass(frozen=True, slots=True)
class RawAssetName:
    """The name of one acquisition's data."""

    label: str
    """Subject id, or ``{platform}_{subject id}``."""

    acquired_local: datetime
    """Start of acquisition by the clock that named it, to the second; no zone."""

    def __post_init__(self) -> None:
        _check_part(self.label, "label")
        object.__setattr__(self, "acquired_local", _wall_clock(self.acquired_local))

    @classmethod
    def of(cls, subject_id: str, acquired: datetime, platform: Platform | None = None) -> Self:
        """Name an acquisition; a zone or a fraction of a second in *acquired* is cut off, not applied."""
        label = f"{platform.abbreviation}_{subject_id}" if platform else subject_id
        return cls(label, acquired)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a raw asset's name.

        Raises:
            InvalidInput: another form, a derived name, or a moment that does not exist.
        """
        match = RAW.fullmatch(text)
        if match is None or DERIVED.fullmatch(text):
            raise _not_a_name(text, "<label>_<YYYY-MM-DD>_<HH-MM-SS>")
        return cls(match["label"], _parse_time(match["acquired"], text))

    @property
    def platform(self) -> Platform | None:
        """The platform the label starts with, if any."""
        first, _, rest = self.label.partition("_")
        return PLATFORMS.get(first) if rest else None

    @property
    def subject_id(self) -> str:
        """The label without its platform."""
        return self.label.partition("_")[2] if self.platform else self.label

    def __str__(self) -> str:
        return f"{self.label}_{_print_time(self.acquired_local)}"


@dataclass(frozen=True, slots=True)
class DerivedAssetName:
    """The name of what was computed from another asset."""

    input: AssetName
    process: str
    """What was done, such as ``sorted``; has no date and time within."""

    created_local: datetime
    """When it was made, to the second; no zone."""

    def __post_init__(self) -> None:
        _check_part(self.process, "process")
        object.__setattr__(self, "created_local", _wall_clock(self.created_local))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a derived asset's name.

        Raises:
            InvalidInput: another form, or a moment that does not exist.
        """
        match = DERIVED.fullmatch(text)
        if match is None:
            raise _not_a_name(text, "<input asset>_<process>_<YYYY-MM-DD>_<HH-MM-SS>")
        return cls(
            parse_asset_name(match["input"]), match["process"], _parse_time(match["created"], text)
        )

    @property
    def raw(self) -> RawAssetName:
        """The acquisition at the beginning of the chain."""
        return self.input if isinstance(self.input, RawAssetName) else self.input.raw

    def __str__(self) -> str:
        return f"{self.input}_{self.process}_{_print_time(self.created_local)}"


AssetName = RawAssetName | DerivedAssetName


def parse_asset_name(text: str) -> AssetName:
    """Read a raw or derived name; ``str()`` of the result is *text* again.

    Raises:
        InvalidInput: neither form fits, or a moment in it does not exist.
    """
    return DerivedAssetName.parse(text) if DERIVED.fullmatch(text) else RawAssetName.parse(text)


def unsafe_part(text: str) -> str | None:
    """Why *text* cannot be part of a name that is a folder, a key prefix and a record's name; or None."""
    if not text.strip():
        return "is blank"
    if text != text.strip():
        return "starts or ends with white space"
    if text[0] in ".-":
        return f"starts with {text[0]!r}"
    if ".." in text:
        return "has '..' in it"
    for character in text:
        if character in "/\\":
            return f"has {character!r} in it"
        # Controls, invisible format marks (two names that look the same), lone surrogates, line ends.
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
            return f"has the invisible character U+{ord(character):04X} in it"
    if len(text.encode()) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    return None


def _check_part(text: str, field: str) -> None:
    reason = unsafe_part(text)
    if reason is None and _TIME_AS_A_PART.search(text):
        reason = "has a date and time in it, which would make the name ambiguous"
    if reason is not None:
        raise InvalidInput([Problem("asset name", field, f"{text!r} {reason}")])


def _wall_clock(moment: datetime) -> datetime:
    return moment.replace(microsecond=0, tzinfo=None, fold=0)


def _print_time(moment: datetime) -> str:
    # Not strftime: it prints years before 1000 with fewer than four digits.
    return moment.isoformat(sep="_").replace(":", "-")


def _parse_time(digits: str, text: str) -> datetime:
    try:
        return datetime.strptime(digits, "%Y-%m-%d_%H-%M-%S")  # noqa: DTZ007  wall-clock digits
    except ValueError as error:
        raise InvalidInput([Problem(text, "", f"{digits} is not a moment: {error}")]) from error


def _not_a_name(text: str, form: str) -> InvalidInput:
    return InvalidInput([Problem(text, "asset name", f"expected {form}")])
