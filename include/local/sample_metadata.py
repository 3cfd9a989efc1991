"""Valid ``acquisition.json`` and ``instrument.json`` of an invented rig, for the demo and the tests.

Built from the schema's classes, so that they stay valid when the schema moves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

INSTRUMENT_ID = "447_DemoRig_20240105"

ASKING_FOR_DEVICES = frozenset({"fib", "pophys", "MRI", "SPIM", "slap2"})
"""Modalities for which the schema asks for devices that the invented rig lacks. An acquisition with
one of them counts as recorded elsewhere, and then has no instrument: the schema's rules crash on
such a stream beside an instrument (release 2.9.2)."""

OF_SPECIMENS = frozenset({"SPIM", "confocal"})
"""Modalities whose acquisitions must name a specimen."""


def sample_acquisition(
    subject_id: str, started_at: datetime, modalities: Sequence[str], *, minutes: float = 10
) -> dict[str, Any]:
    """Content of ``acquisition.json``.

    Args:
        subject_id: the animal.
        started_at: start, with its zone.
        modalities: abbreviations; at least one.
        minutes: how long every stream lasts.
    """
    from aind_data_schema.core.acquisition import Acquisition, AcquisitionSubjectDetails

    ended_at = started_at + timedelta(minutes=minutes)
    is_external = is_recorded_elsewhere(modalities)
    stream = _external_stream if is_external else _own_stream
    acquisition = Acquisition(
        subject_id=subject_id,
        specimen_id=f"{subject_id}_001" if OF_SPECIMENS & set(modalities) else None,
        acquisition_start_time=started_at,
        acquisition_end_time=ended_at,
        experimenters=["Demo Experimenter"],
        instrument_id=None if is_external else INSTRUMENT_ID,
        acquisition_type="Demonstration",
        data_streams=[stream(modalities, started_at, ended_at)],
        subject_details=AcquisitionSubjectDetails(mouse_platform_name="Demo wheel"),
    )
    return _content(acquisition)


def is_recorded_elsewhere(modalities: Sequence[str]) -> bool:
    """Whether the acquisition has no instrument of ours."""
    return bool(ASKING_FOR_DEVICES & set(modalities))


def sample_instrument(started_at: datetime) -> dict[str, Any]:
    """Content of ``instrument.json``: a probe, a camera and a computer.

    Args:
        started_at: the instrument was last modified on the day before.
    """
    from aind_data_schema.components.coordinates import CoordinateSystemLibrary
    from aind_data_schema.components.devices import Computer
    from aind_data_schema.core.instrument import Instrument

    instrument = Instrument(
        instrument_id=INSTRUMENT_ID,
        location="Demo room",
        modification_date=(started_at - timedelta(days=1)).date(),
        modalities=_modalities(["behavior", "behavior-videos", "ecephys"]),
        global_coordinate_system=CoordinateSystemLibrary.BREGMA_ARI,
        components=[
            _ephys_assembly(),
            _camera_assembly(),
            Computer(name="Demo computer", operating_system="Debian 12"),
        ],
    )
    return _content(instrument)


def write_sample_metadata(
    folder: Path, subject_id: str, started_at: datetime, modalities: Sequence[str]
) -> None:
    """Write what there is of the two into *folder*, as a rig would: the ``metadata_dir`` of a job."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"acquisition.json": sample_acquisition(subject_id, started_at, modalities)}
    if not is_recorded_elsewhere(modalities):
        files["instrument.json"] = sample_instrument(started_at)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=3), encoding="utf-8")


def _own_stream(modalities: Sequence[str], started_at: datetime, ended_at: datetime) -> Any:
    from aind_data_schema.core.acquisition import DataStream

    has_probe = "ecephys" in modalities
    return DataStream(
        stream_start_time=started_at,
        stream_end_time=ended_at,
        modalities=_modalities(modalities),
        active_devices=["Demo camera assembly", *(["Demo manipulator"] if has_probe else [])],
        configurations=[_manipulator_config()] if has_probe else [],
    )


def _external_stream(modalities: Sequence[str], started_at: datetime, ended_at: datetime) -> Any:
    from aind_data_schema.core.acquisition import ExternalDataStream

    return ExternalDataStream(
        stream_start_time=started_at,
        stream_end_time=ended_at,
        modalities=_modalities(modalities),
    )


def _manipulator_config() -> Any:
    from aind_data_schema.components.configs import ManipulatorConfig
    from aind_data_schema.components.coordinates import CoordinateSystemLibrary, Translation

    return ManipulatorConfig(
        device_name="Demo manipulator",
        local_coordinate_system=CoordinateSystemLibrary.MPM_MANIP_RFB,
        local_axis_positions=Translation(translation=[8.0, 9.0, 10.0]),
    )


def _ephys_assembly() -> Any:
    from aind_data_schema.components.devices import EphysAssembly, EphysProbe, Manipulator
    from aind_data_schema_models.organizations import Organization

    return EphysAssembly(
        name="Demo ephys assembly",
        manipulator=Manipulator(
            name="Demo manipulator", manufacturer=Organization.NEW_SCALE_TECHNOLOGIES
        ),
        probes=[EphysProbe(name="Demo probe", probe_model="Neuropixels 1.0")],
    )


def _camera_assembly() -> Any:
    from aind_data_schema.components.devices import Camera, CameraAssembly, Lens
    from aind_data_schema_models.organizations import Organization

    return CameraAssembly(
        name="Demo camera assembly",
        target="Body",
        relative_position=["Superior"],
        camera=Camera(name="Demo camera", manufacturer=Organization.BASLER, data_interface="USB"),
        lens=Lens(name="Demo lens", manufacturer=Organization.THORLABS),
    )


def _modalities(abbreviations: Sequence[str]) -> list[Any]:
    from aind_data_schema_models.modalities import Modality

    return [Modality.from_abbreviation(one) for one in abbreviations]


def _content(core_object: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(core_object.model_dump_json(by_alias=True))
    return content
