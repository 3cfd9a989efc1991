"""How the parts of an upload job are read that are neither plain text nor plain numbers.

Modality and platform are objects of two fields. The abbreviation selects a modality; the *name* selects a
platform. Instances of the schema library's own classes are read by their attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic_core import PydanticCustomError

from include.assets.modality import (
    FORMER_NAMES,
    MODALITIES,
    Modality,
    find_modality,
    nearest_spelling,
)
from include.assets.platform import PLATFORMS_BY_NAME, Platform


def read_modality(value: object) -> Modality:
    """``{"abbreviation": …, "name"?: …}`` → modality."""
    abbreviation, name = _two_fields(value)
    if not isinstance(abbreviation, str):
        raise _error("union_tag_not_found", "A modality is selected by its abbreviation")
    modality = find_modality(abbreviation)
    if modality is None:
        meant = nearest_spelling(abbreviation, MODALITIES)
        hint = f"; did you mean '{meant}'?" if meant else f"; known are {', '.join(MODALITIES)}"
        raise _error("union_tag_invalid", f"'{abbreviation}' is not a modality abbreviation{hint}")
    expected = FORMER_NAMES.get(abbreviation, modality.name)
    if name is not None and name not in {expected, modality.name}:
        raise _error("literal_error", f"Input should be '{expected}'")
    return modality


def read_platform(value: object) -> Platform:
    """``{"name": …, "abbreviation"?: …}`` → platform."""
    abbreviation, name = _two_fields(value)
    if not isinstance(name, str):
        raise _error("union_tag_not_found", "A platform is selected by its name")
    platform = PLATFORMS_BY_NAME.get(name)
    if platform is None:
        meant = nearest_spelling(name, PLATFORMS_BY_NAME)
        hint = f"; did you mean '{meant}'?" if meant else ""
        raise _error("union_tag_invalid", f"'{name}' is not the name of a platform{hint}")
    if abbreviation not in {None, platform.abbreviation}:
        raise _error("literal_error", f"Input should be '{platform.abbreviation}'")
    return platform


def read_moment(value: object) -> object:
    """Leave anything but numbers, and texts that are only digits, to the ordinary reading."""
    is_number = isinstance(value, int | float)
    if is_number or (
        isinstance(value, str) and value.strip().lstrip("+-").replace(".", "").isdigit()
    ):
        raise _error(
            "datetime_type",
            "Input should be a date and time such as 2024-05-27T16:07:59, not a number",
        )
    return value


def _two_fields(value: object) -> tuple[object, object]:
    """Abbreviation and name, None where absent."""
    if isinstance(value, Mapping):
        return value.get("abbreviation"), value.get("name")
    if isinstance(value, str) or not hasattr(value, "abbreviation"):
        raise _error(
            "model_attributes_type",
            "Input should be an object with the fields name and abbreviation",
        )
    return value.abbreviation, getattr(value, "name", None)


def _error(
    kind: Literal[
        "union_tag_not_found",
        "union_tag_invalid",
        "literal_error",
        "datetime_type",
        "model_attributes_type",
    ],
    text: str,
) -> PydanticCustomError:
    # The text goes in as a value: braces in what a person typed are no placeholders.
    return PydanticCustomError(kind, "{text}", {"text": text})
