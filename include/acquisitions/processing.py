"""``processing.json`` from what really ran.

Every transformation leaves one process record per modality (``work/processes/{modality}.json``). A
record without a name says that nothing was transformed (the folder was linked as it is) and makes
no process.

A ``processing.json`` that came with the acquisition is added to, never replaced. Its bytes are set
aside before the first merge, so that doing it again starts from the same point.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from include.acquisitions.json_files import json_files
from include.assets.canonical import canonical_text
from include.assets.core_files import (
    Generation,
    core_file_name,
    generation_of,
    parse_core_file,
    read_core_file,
    read_core_files,
    write_core_file,
)
from include.errors import InvalidInput, Problem

logger = logging.getLogger(__name__)

GIVEN_FILE = "processing.given.json"
"""In the work folder: the acquisition's own ``processing.json``, or nothing in it when none came."""

EXPERIMENTERS = ("AIND Scientific Computing",)


class ProcessRecord(BaseModel):
    """What one transformation of one modality says about itself."""

    model_config = ConfigDict(frozen=True)

    name: str | None
    """A process name of the schema (``Compression``), or a name of its own; None when nothing was
    transformed."""

    software_version: str | None = None
    start_date_time: AwareDatetime
    end_date_time: AwareDatetime
    input_location: str | None = None
    output_location: str | None = None
    """Folder of the output; its name is the folder inside the asset."""

    code_url: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    notes: str | None = None
    statistics: dict[str, Any] = Field(default_factory=dict)
    """What was measured: bytes before and after, files, CPU seconds, peak memory."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The code that ran the transformations: this project."""

    name: str
    url: str
    version: str


def read_process_records(folder: Path) -> dict[str, ProcessRecord]:
    """Modality → its record, sorted by modality; empty when the folder is not there.

    Raises:
        InvalidInput: every record that cannot be read, or the folder may not be listed.
        TransientError: the file system could not answer.
    """
    records: dict[str, ProcessRecord] = {}
    problems: list[Problem] = []
    for path in json_files(folder):
        try:
            text = read_core_file(path)
            if text is not None:
                records[path.stem] = ProcessRecord.model_validate(parse_core_file(str(path), text))
        except InvalidInput as error:
            problems += error.problems
        except ValidationError as error:
            problems += [
                Problem(str(path), ".".join(map(str, found["loc"])), found["msg"])
                for found in error.errors(include_url=False, include_input=False)
            ]
    if problems:
        raise InvalidInput(problems)
    return records


def staged_generation(asset_folder: Path) -> Generation:
    """Schema generation of the core files in *asset_folder*; unusable ones have no say.

    Raises:
        TransientError: the file system could not answer.
    """
    contents, _ = read_core_files(asset_folder)
    return generation_of(contents)


def write_processing(
    asset_folder: Path,
    work_folder: Path,
    records: Mapping[str, ProcessRecord],
    *,
    pipeline: Pipeline,
    generation: Generation = Generation.V2,
    experimenters: Sequence[str] = EXPERIMENTERS,
) -> Path | None:
    """Write ``processing.json`` into *asset_folder*; None when there is nothing to say.

    Nulls are left out, keys sorted, indent 3. The same records give the same bytes.

    Args:
        asset_folder: what will be under the asset's location.
        work_folder: on the same file system; never uploaded.
        records: modality → what its transformation left.
        pipeline: what every process names as its pipeline.
        generation: which schema to write; 1 when the asset's other core files are.
        experimenters: who answers for the processing.

    Raises:
        InvalidInput: the acquisition's own ``processing.json`` cannot be added to.
    """
    path = asset_folder / core_file_name("processing")
    given_text = _given(path, work_folder)
    ran = {modality: record for modality, record in records.items() if record.name}
    if not ran:
        return _restore_given(path, given_text, work_folder)
    given = parse_core_file(str(path), given_text) if given_text else None
    if generation is Generation.V1:
        content = _processing_v1(ran, given, experimenters)
    else:
        content = _processing_v2(ran, given, pipeline, experimenters)
    if write_core_file(path, canonical_text(content).encode(), work_folder=work_folder):
        logger.info("Wrote %s: %s", path, ", ".join(ran))
    return path


def set_given_aside(text: bytes, work_folder: Path) -> None:
    """Remember the acquisition's own ``processing.json``; ``b""`` when none came."""
    write_core_file(work_folder / GIVEN_FILE, text, work_folder=work_folder)


def _given(path: Path, work_folder: Path) -> bytes:
    """What was set aside; when nothing was yet, the file at *path* is what came.

    Decided before the first file of ours is written: whatever is at *path* later is ours.
    """
    known = read_core_file(work_folder / GIVEN_FILE)
    if known is None:
        known = read_core_file(path) or b""
        set_given_aside(known, work_folder)
    return known


def _restore_given(path: Path, given: bytes, work_folder: Path) -> Path | None:
    if given:
        write_core_file(path, given, work_folder=work_folder)
        return path
    path.unlink(missing_ok=True)
    return None


def _processing_v2(
    records: Mapping[str, ProcessRecord],
    given: Mapping[str, Any] | None,
    pipeline: Pipeline,
    experimenters: Sequence[str],
) -> dict[str, Any]:
    from aind_data_schema.core.processing import Processing

    in_order = sorted(records.items(), key=lambda one: (one[1].start_date_time, one[0]))
    with warnings.catch_warnings(action="ignore"):  # such as duplicates it renames
        made = Processing.model_validate({
            "data_processes": [
                _data_process(modality, record, pipeline, experimenters)
                for modality, record in in_order
            ],
            "pipelines": [_code(pipeline.url, pipeline.version) | {"name": pipeline.name}],
        })
        if given is not None:
            made = _added_to(given, made)
    content: dict[str, Any] = json.loads(made.model_dump_json(by_alias=True, exclude_none=True))
    return content


def _added_to(given: Mapping[str, Any], made: Any) -> Any:
    from aind_data_schema.core.processing import Processing

    try:
        return Processing.model_validate(json.loads(json.dumps(given))) + made
    except ValueError as error:  # the schema's ValidationError is one
        fix = "correct it in metadata_dir, or leave it out"
        reason = f"the acquisition's own file cannot be added to: {error}"
        raise InvalidInput([Problem(core_file_name("processing"), "", reason, fix)]) from error


def _data_process(
    modality: str, record: ProcessRecord, pipeline: Pipeline, experimenters: Sequence[str]
) -> dict[str, Any]:
    process_type = _process_type(record)
    parameters = dict(record.parameters)
    if record.input_location:
        parameters.setdefault("input_source", record.input_location)
    return {
        "process_type": process_type,
        # The schema wants each name once; one process per modality has the modality to tell.
        "name": f"{process_type} of {modality}",
        "stage": "Processing",
        "code": _code(record.code_url or "", record.software_version)
        | {"parameters": _storable_object(parameters)},
        "experimenters": list(experimenters),
        "pipeline_name": pipeline.name,
        "start_date_time": record.start_date_time,
        "end_date_time": record.end_date_time,
        "output_path": Path(record.output_location).name if record.output_location else None,
        "output_parameters": _storable_object(record.statistics) or None,
        "notes": record.notes,
    }


def _storable_object(values: Mapping[str, Any]) -> dict[str, Any]:
    """As :func:`_storable`, and still an object: a list becomes ``{"entries": […]}``."""
    stored = _storable(dict(values))
    return {"entries": stored} if isinstance(stored, list) else stored


def _storable(value: Any) -> Any:
    """*value* without keys that a document database refuses or cannot search (``video.mp4``).

    An object with such a key becomes a list of ``{"name": key, "value": …}``.
    """
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if not isinstance(value, dict):
        return value
    inner = {str(key): _storable(one) for key, one in value.items()}
    if any("." in key or key.startswith("$") for key in inner):
        return [{"name": key, "value": one} for key, one in inner.items()]
    return inner


def _code(url: str, version: str | None) -> dict[str, Any]:
    return {"url": url, "version": version}


def _process_type(record: ProcessRecord) -> str:
    """The record's own name where the schema knows it, else upstream's rule."""
    from aind_data_schema_models.process_names import ProcessName

    if record.name in {known.value for known in ProcessName}:
        return str(record.name)
    return "Compression" if record.code_url else "Other"


def _processing_v1(
    records: Mapping[str, ProcessRecord],
    given: Mapping[str, Any] | None,
    experimenters: Sequence[str],
) -> dict[str, Any]:
    """Generation 1 has no library any more that goes with generation 2; its shape is this."""
    base: dict[str, Any] = json.loads(json.dumps(given)) if given else {
        "describedBy": "https://raw.githubusercontent.com/AllenNeuralDynamics/aind-data-schema/"
        "main/src/aind_data_schema/core/processing.py",
        "schema_version": "1.1.4",
        "analyses": [],
    }  # fmt: skip
    pipeline = base.setdefault("processing_pipeline", {})
    if not isinstance(pipeline, dict) or not isinstance(pipeline.get("data_processes", []), list):
        fix = "correct it in metadata_dir, or leave it out"
        reason = "the acquisition's own file has no list processing_pipeline.data_processes"
        raise InvalidInput([Problem(core_file_name("processing"), "", reason, fix)])
    pipeline.setdefault("processor_full_name", ", ".join(experimenters))
    pipeline["data_processes"] = [
        *pipeline.get("data_processes", []),
        *(
            record.model_dump(mode="json", exclude={"statistics"}, exclude_none=True)
            | {"code_url": record.code_url or "", "outputs": record.statistics}
            for record in records.values()
        ),
    ]
    return base
