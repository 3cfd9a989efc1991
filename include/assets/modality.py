"""The kinds of measurement the field distinguishes, by their abbreviations.

The list is that of aind-data-schema-models; it is kept here as well because importing that library
costs a fifth of a CPU second in every process, and a test keeps the two equal.

Two abbreviations were renamed. Older rigs still send the former ones, so they are read (with a warning
where there is somebody to warn) and never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Modality:
    """One kind of measurement; in JSON ``{"name": …, "abbreviation": …}``."""

    name: str
    abbreviation: str


# fmt: off
_NAMES = {
    "BARseq":          "Barcoded anatomy resolved by sequencing",
    "behavior":        "Behavior",
    "behavior-videos": "Behavior videos",
    "brightfield":     "Brightfield microscopy",
    "confocal":        "Confocal microscopy",
    "EMG":             "Electromyography",
    "EM":              "Electron microscopy",
    "ecephys":         "Extracellular electrophysiology",
    "fib":             "Fiber photometry",
    "fMOST":           "Fluorescence micro-optical sectioning tomography",
    "icephys":         "Intracellular electrophysiology",
    "ISI":             "Intrinsic signal imaging",
    "MRI":             "Magnetic resonance imaging",
    "MAPseq":          "Multiplexed analysis of projections by sequencing",
    "merfish":         "Multiplexed error-robust fluorescence in situ hybridization",
    "one-photon":      "One-photon imaging",
    "pophys":          "Planar optical physiology",
    "slap2":           "Random access projection microscopy",
    "SPIM":            "Selective plane illumination microscopy",
    "STPT":            "Serial two-photon tomogrophy",  # spelt so in the field's list
    "scRNAseq":        "Single cell RNA sequencing",
}
# fmt: on

MODALITIES: Mapping[str, Modality] = MappingProxyType({
    abbreviation: Modality(name, abbreviation) for abbreviation, name in _NAMES.items()
})
"""Abbreviation → modality."""

FORMER_ABBREVIATIONS: Mapping[str, str] = MappingProxyType({"slap": "slap2", "ophys": "pophys"})
"""Abbreviation of earlier years → today's."""

FORMER_NAMES: Mapping[str, str] = MappingProxyType({
    "slap": "Scanned line projection imaging",
    "ophys": "Planar optical physiology",
})
"""Former abbreviation → the name it came with."""


def find_modality(abbreviation: str) -> Modality | None:
    """The modality of a present or former abbreviation, in exactly this spelling."""
    return MODALITIES.get(FORMER_ABBREVIATIONS.get(abbreviation, abbreviation))


def nearest_spelling(text: str, known: Iterable[str]) -> str | None:
    """The entry of *known* that was probably meant: case and ``_`` for ``-`` do not count."""
    folded = {entry.casefold().replace("_", "-"): entry for entry in known}
    wanted = text.strip().casefold().replace("_", "-")
    matches = get_close_matches(wanted, folded, n=1, cutoff=0.75)
    return folded[matches[0]] if matches else None
