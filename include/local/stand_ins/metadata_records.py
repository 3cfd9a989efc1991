"""The records the metadata-service stand-in knows, built from the schema's own classes.

Built at start, so that they are as valid as the installed schema says, whichever version that is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from functools import cache
from typing import Any

from aind_data_schema.components.coordinates import CoordinateSystemLibrary
from aind_data_schema.components.devices import (
    Camera,
    CameraAssembly,
    EphysAssembly,
    EphysProbe,
    Lens,
    Manipulator,
)
from aind_data_schema.components.identifiers import Person
from aind_data_schema.components.subjects import BreedingInfo, Housing, MouseSubject, Sex
from aind_data_schema.core.data_description import Funding
from aind_data_schema.core.instrument import Instrument
from aind_data_schema.core.procedures import Procedures
from aind_data_schema.core.subject import Subject
from aind_data_schema_models.coordinates import AnatomicalRelative
from aind_data_schema_models.devices import CameraTarget, DataInterface, ProbeModel
from aind_data_schema_models.modalities import Modality
from aind_data_schema_models.organizations import Organization
from aind_data_schema_models.species import Species, Strain
from pydantic import BaseModel, TypeAdapter, ValidationError

Content = Any
"""A record or a list of records, as JSON."""

INVESTIGATORS = {
    "Behavior Platform": ("Ada Example",),
    "Ephys Platform": ("Jane Doe", "Ada Example"),
    "Foraging - Learning": ("Santiago Sample",),
    "Foraging - Neuromodulation": ("Jane Doe",),
    "MSMA Platform": ("Camillo Case",),
    "Thalamus in the middle": ("Santiago Sample", "Camillo Case"),
}
"""Project → investigators; ``A - B`` is sub-project B of A, and A alone is not enough."""

MODELS: dict[str, TypeAdapter[Any]] = {
    "subject": TypeAdapter(Subject),
    "procedures": TypeAdapter(Procedures),
    "funding": TypeAdapter(list[Funding]),
    "investigators": TypeAdapter(list[Person]),
}
"""What an answer of each kind has to be; instruments are never checked."""

TAKEN_AWAY = {
    "subject": "subject_details",
    "procedures": "subject_id",
    "funding": "funder",
    "investigators": "name",
}
"""Kind → the field without which a record is invalid but still worth having."""


def find(kind: str, key: str) -> Content | None:
    """The record of a kind for a subject, project or instrument; None when there is none.

    Every id of digits is a subject with procedures.
    """
    if kind in {"subject", "procedures"}:
        return {**_template(kind), "subject_id": key} if is_subject_id(key) else None
    return _listed(kind).get(key)


def is_subject_id(text: str) -> bool:
    """Whether the service takes the text for the id of a subject."""
    return text.isascii() and text.isdecimal()


def build() -> None:
    """Build every record now, so that a schema that refuses one is noticed at start."""
    for kind in ("subject", "procedures"):
        _template(kind)
    for kind in ("funding", "investigators", "instrument", "rig"):
        _listed(kind)


def keys_of(kind: str) -> list[str]:
    """The ids or names with a record of this kind; subjects are not listed, there is no end of them."""
    return [] if kind in {"subject", "procedures"} else list(_listed(kind))


def validation_errors(kind: str, content: Content) -> list[dict[str, Any]]:
    """What keeps the content from being what it should be, as pydantic puts it."""
    try:
        MODELS[kind].validate_json(json.dumps(content))
    except ValidationError as error:
        listed: list[dict[str, Any]] = json.loads(error.json(include_url=False))
        return listed
    return []


def without_a_required_field(kind: str, content: Content) -> Content:
    """The content as the service hands out a record that fails the schema."""
    field = TAKEN_AWAY[kind]
    if isinstance(content, list):
        return [{key: value for key, value in item.items() if key != field} for item in content]
    return {key: value for key, value in content.items() if key != field}


@cache
def _template(kind: str) -> dict[str, Any]:
    if kind == "procedures":
        return _json(Procedures(subject_id="0"))
    mouse = MouseSubject(
        sex=Sex.FEMALE,
        date_of_birth=date(2024, 5, 1),
        strain=Strain.C57BL_6J,
        species=Species.HOUSE_MOUSE,
        genotype="Pvalb-IRES-Cre/wt",
        breeding_info=BreedingInfo(
            maternal_id="615310",
            maternal_genotype="wt/wt",
            paternal_id="623236",
            paternal_genotype="Pvalb-IRES-Cre/wt",
        ),
        housing=Housing(cage_id="1234", room_id="000"),
        source=Organization.AI,
    )
    return _json(Subject(subject_id="0", subject_details=mouse))


@cache
def _listed(kind: str) -> dict[str, Content]:
    build: dict[str, Callable[[], dict[str, Content]]] = {
        "funding": lambda: {name: [_json(_funding(name))] for name in INVESTIGATORS},
        "investigators": lambda: {
            name: [_json(Person(name=person)) for person in people]
            for name, people in INVESTIGATORS.items()
        },
        "instrument": lambda: {"EPHYS_1": [_json(_ephys_instrument("EPHYS_1"))]},
        # Rigs are of the schema's first generation, whose classes are not installed.
        "rig": lambda: {
            "323_EPHYS1_20250205": {
                "schema_version": "1.1.1",
                "rig_id": "323_EPHYS1_20250205",
                "modification_date": "2025-02-05",
                "modalities": [
                    {"name": "Extracellular electrophysiology", "abbreviation": "ecephys"}
                ],
            }
        },
    }
    return build[kind]()


def _funding(project: str) -> Funding:
    fundee = [Person(name=name) for name in INVESTIGATORS[project]]
    return Funding(funder=Organization.AI, fundee=fundee)


def _ephys_instrument(instrument_id: str) -> Instrument:
    camera = CameraAssembly(
        name="Face camera assembly",
        target=CameraTarget.FACE,
        relative_position=[AnatomicalRelative.ANTERIOR],
        camera=Camera(
            name="Face camera",
            manufacturer=Organization.ALLIED,
            data_interface=DataInterface.USB,
        ),
        lens=Lens(name="Face camera lens", manufacturer=Organization.EDMUND_OPTICS),
    )
    probe = EphysAssembly(
        name="Probe A assembly",
        manipulator=Manipulator(
            name="Manipulator A", manufacturer=Organization.NEW_SCALE_TECHNOLOGIES
        ),
        probes=[
            EphysProbe(name="Probe A", manufacturer=Organization.IMEC, probe_model=ProbeModel.NP1)
        ],
    )
    return Instrument(
        instrument_id=instrument_id,
        modification_date=date(2025, 2, 5),
        modalities=[Modality.ECEPHYS, Modality.BEHAVIOR, Modality.BEHAVIOR_VIDEOS],
        global_coordinate_system=CoordinateSystemLibrary.BREGMA_ARI,
        components=[camera, probe],
    )


def _json(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True)
