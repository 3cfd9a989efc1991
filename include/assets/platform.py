"""Acquisition platforms: a list of former years that lives on in asset names.

A platform is no longer part of the metadata, but requests may carry one, and the names of assets
acquired with one start with its abbreviation. The list is closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Platform:
    """One kind of rig; in JSON ``{"name": …, "abbreviation": …}``."""

    name: str
    abbreviation: str


# fmt: off
_NAMES = {
    "behavior":           "Behavior platform",
    "confocal":           "Confocal microscopy platform",
    "ecephys":            "Electrophysiology platform",
    "exaSPIM":            "ExaSPIM platform",
    "FIP":                "Frame-projected independent-fiber photometry platform",
    "HCR":                "Hybridization chain reaction platform",
    "HSFP":               "Hyperspectral fiber photometry platform",
    "ISI":                "Intrinsic signal imaging platform",
    "MERFISH":            "MERFISH platform",
    "MRI":                "Magnetic resonance imaging platform",
    "mesoSPIM":           "MesoSPIM platform",
    "motor-observatory":  "Motor observatory platform",
    "multiplane-ophys":   "Multiplane optical physiology platform",
    "SLAP2":              "SLAP2 platform",
    "single-plane-ophys": "Single-plane optical physiology platform",
    "SmartSPIM":          "SmartSPIM platform",
}
# fmt: on

PLATFORMS: Mapping[str, Platform] = MappingProxyType({
    abbreviation: Platform(name, abbreviation) for abbreviation, name in _NAMES.items()
})
"""Abbreviation → platform."""

PLATFORMS_BY_NAME: Mapping[str, Platform] = MappingProxyType({
    platform.name: platform for platform in PLATFORMS.values()
})
