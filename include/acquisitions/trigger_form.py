"""The trigger form of ``transform_and_upload_v2``: fields a person fills in, and how they become a job.

Each entry of :data:`FIELDS` is the keyword arguments of one Airflow ``Param`` (JSON Schema, and
``default`` unless the field is required). Descriptions are plain text: the boxes that Airflow draws
around Markdown's code cover the lines above them. Airflow tells only the first field that breaks its
schema, so the schemas stay lenient where the job's own model checks better and reports everything.

The same conf arrives from the form, which sends every field, and from programs, which send the V2 job
as it is: both are read by :func:`job_from_params`. Form fields mean what the columns of a spreadsheet
of that name mean.

Airflow imports this module whenever it parses the DAG, so the models are imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from include.acquisitions.pipeline import TRANSFORMATION
from include.assets.modality import MODALITIES, find_modality, nearest_spelling
from include.assets.platform import PLATFORMS
from include.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from include.acquisitions.job import UploadJob

_RARELY_NEEDED = "Rarely needed"
"""Title of the section that is closed at first; Airflow has an "Advanced Options" of its own below it."""

FIELDS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "job_type": {
        "type": "string",
        "title": "Job type",
        "description": "Its presets say what this form leaves open. The type default uploads the files "
        "as they are; custom has no presets at all.",
        "examples": ["default", "custom"],
    },
    "project_name": {
        "type": "string",
        "title": "Project",
        "description": "As the metadata service spells it, such as Ephys Platform.",
    },
    "subject_id": {
        "type": "string",
        "title": "Subject",
        "description": "The animal's identifier, such as 712345.",
    },
    "acq_datetime": {
        # Plain text: the date picker would turn local time into UTC, and with it the asset's name.
        "type": "string",
        "title": "Acquired at",
        "description": "Start of the acquisition by the rig's clock, such as 2024-05-27T16:07:59. It "
        "becomes part of the asset's name.",
    },
    "modalities": {
        # No `items`: programs send objects, the form sends abbreviations.
        "type": "array",
        "title": "Modalities",
        "description": "Everything that was measured.",
        "examples": list(MODALITIES),
        "values_display": {
            abbreviation: f"{abbreviation}: {modality.name}"
            for abbreviation, modality in MODALITIES.items()
        },
    },
    "input_sources": {
        "default": None,
        "type": ["array", "null"],
        "items": {"type": "string"},
        "title": "Source folders",
        "description": "One line per modality: ecephys=/allen/aind/stage/session_1/ecephys (not needed "
        "where the presets name the folder).",
    },
    "metadata_dir": {
        "default": None,
        "type": ["string", "null"],
        "title": "Metadata folder",
        "description": "Folder with core files (acquisition.json, instrument.json, …) that exist already; "
        "what is not there comes from the metadata service.",
    },
    "s3_bucket": {
        "default": "default",
        "type": "string",
        "enum": ["default", "open", "private"],
        "values_display": {
            "default": "default: the usual one here",
            "open": "open: for public data",
            "private": "private: for everything else",
        },
        "title": "Bucket",
        "description": "Where the asset goes.",
    },
    "force_cloud_sync": {
        "default": False,
        "type": ["boolean", "null"],
        "title": "Upload into an existing asset",
        "description": "Do not stop when the asset's folder exists in S3. Files of the same names are "
        "overwritten, none is deleted.",
    },
    "user_email": {
        "default": None,
        "type": ["string", "null"],
        "title": "E-mail",
        "description": "Who is told about the run; nobody when empty.",
    },
    "email_notification_types": {
        "default": None,
        "type": ["array", "null"],
        "title": "Send a mail",
        "description": "Nothing chosen: when the run fails.",
        "examples": ["begin", "end", "fail", "retry", "all"],
        "values_display": {
            "begin": "begin: the run starts",
            "end": "end: the run is done",
            "fail": "fail: a task failed",
            "retry": "retry: a task is tried again",
            "all": "all: each of these",
        },
    },
    "dry_run": {
        "default": False,
        "type": ["boolean", "null"],
        "title": "Dry run",
        "description": "Stop after the plan and show it; nothing is written.",
    },
    "derivatives_dir": {
        "default": None,
        "type": ["string", "null"],
        "title": "Derivatives folder",
        "description": 'Folder that is copied into the asset as "derivatives".',
        "section": _RARELY_NEEDED,
    },
    "platform": {
        "default": None,
        "type": ["string", "object", "null"],
        "title": "Platform",
        "description": "Only for assets named in the former way, with the platform first.",
        "examples": list(PLATFORMS),
        "section": _RARELY_NEEDED,
    },
    "tasks": {
        "default": {},
        "type": ["object", "null"],
        "title": "Task settings",
        "description": "Settings of single tasks, over those of the presets, as in a V2 request: "
        '{"update_docdb_record": {"skip_task": true}} skips that task.',
        "section": _RARELY_NEEDED,
    },
})
"""Field → keyword arguments of its ``Param``, in the order of the form."""

ONLY_IN_THE_FORM = (
    "input_sources",
    "metadata_dir",
    "derivatives_dir",
    "force_cloud_sync",
    "dry_run",
)

FORMER_NAMES = frozenset({"metadata_dir_force", "process_name"})
"""Keys of V1 jobs that say nothing today and are spelt like a field."""

_EXPECTED = {"array": "a list of lines", "boolean": "true or false", "string": "text"}


def job_from_params(
    params: Mapping[str, Any],
    *,
    job_types: Sequence[str] | None = None,
    project_names: Sequence[str] | None = None,
) -> tuple[UploadJob, bool]:
    """The job, and whether the run is a dry one.

    Raises:
        InvalidInput: every problem of the form's own fields and of the job.
    """
    from include.acquisitions.job import job_from_conf

    problems: list[Problem] = []
    form = _read_form(params, problems)
    problems.extend(_misspelt(params))
    conf = {
        key: value
        for key, value in params.items()
        if key not in ONLY_IN_THE_FORM and not _is_left_empty(key, value)
    }
    if isinstance(conf.get("modalities"), list | tuple):
        conf["modalities"] = [_read_modality(entry) for entry in conf["modalities"]]
    if isinstance(conf.get("platform"), str):
        conf["platform"] = _read_platform(conf["platform"], problems)
    tasks = conf.get("tasks", {})
    if isinstance(tasks, Mapping):
        conf["tasks"] = _with_form_tasks(tasks, _form_tasks(form, conf, problems), problems)
    try:
        job = job_from_conf(conf, job_types=job_types, project_names=project_names)
    except InvalidInput as error:
        raise InvalidInput([*problems, *error.problems]) from error
    if problems:
        raise InvalidInput(problems)
    return job, bool(form.get("dry_run"))


def _read_form(params: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """The form's own fields that were filled in; what has another type than the field is a problem."""
    read: dict[str, Any] = {}
    for name in ONLY_IN_THE_FORM:
        value, kind = params.get(name), FIELDS[name]["type"][0]
        if value is None:
            continue
        if isinstance(value, str):
            value = value.splitlines() if kind == "array" else value.strip()
        if _is(kind, value):
            read[name] = value
        else:
            problems.append(_problem(name, f"should be {_EXPECTED[kind]}"))
    return read


def _misspelt(params: Mapping[str, Any]) -> Iterator[Problem]:
    """Keys that were probably meant as a field that nobody filled in: ``dryrun`` would start a real upload.

    Any other unknown key is accepted, since clients of other years send more than jobs have today.
    """
    from include.acquisitions.job import FORMER_KEYS

    known = {*FIELDS, *FORMER_KEYS, *FORMER_NAMES, "s3_prefix"}
    for key in sorted(params.keys() - known):
        meant = nearest_spelling(key, FIELDS)
        if meant and params.get(meant) in (None, FIELDS[meant].get("default")):
            yield _problem(key, "unknown field", f"did you mean {meant}?")


def _is(kind: str, value: object) -> bool:
    match kind:
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case _:
            return isinstance(value, list | tuple) and all(isinstance(line, str) for line in value)


def _is_left_empty(key: str, value: object) -> bool:
    """An optional field that was not filled in; what is required is left for the model to miss."""
    return value is None or (value == "" and "default" in FIELDS.get(key, {}))


def _read_modality(entry: object) -> object:
    if not isinstance(entry, str):
        return entry
    modality = find_modality(entry.strip())
    # The name is left out: the model reads former abbreviations, and warns about them.
    return {"abbreviation": entry.strip()} if modality else {"abbreviation": entry}


def _read_platform(abbreviation: str, problems: list[Problem]) -> Mapping[str, str] | None:
    platform = PLATFORMS.get(abbreviation.strip())
    if platform is None:
        known = ", ".join(PLATFORMS)
        problems.append(_problem("platform", f"{abbreviation!r} is none of {known}"))
        return None
    return {"name": platform.name, "abbreviation": platform.abbreviation}


def _form_tasks(
    form: Mapping[str, Any], conf: Mapping[str, Any], problems: list[Problem]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Task → the form's field and what it says about the task, as the spreadsheet's columns do."""
    said: dict[str, tuple[str, dict[str, Any]]] = {}
    if form.get("metadata_dir"):
        settings = {"metadata_dir": form["metadata_dir"]}
        said["gather_preliminary_metadata"] = ("metadata_dir", {"job_settings": settings})
    if form.get("derivatives_dir"):
        settings = {"input_source": form["derivatives_dir"]}
        said["copy_derivatives_folder"] = ("derivatives_dir", {"job_settings": settings})
    if form.get("force_cloud_sync"):
        said["check_s3_folder_exists"] = ("force_cloud_sync", {"skip_task": True})
    sources = _read_sources(form.get("input_sources", ()), problems)
    modalities = conf.get("modalities")
    entries = modalities if isinstance(modalities, list) else []
    listed = [_abbreviation(entry) for entry in entries]
    problems.extend(
        _problem("input_sources", f"{modality} is not among the modalities", "add it there")
        for modality in sources
        if modality not in listed
    )
    if sources:
        said[TRANSFORMATION] = (
            "input_sources",
            {key: {"job_settings": {"input_source": path}} for key, path in sources.items()},
        )
    return said


def _abbreviation(entry: object) -> object:
    text = entry.get("abbreviation") if isinstance(entry, Mapping) else None
    modality = find_modality(text) if isinstance(text, str) else None
    return modality.abbreviation if modality else text


def _read_sources(lines: Sequence[str], problems: list[Problem]) -> dict[str, str]:
    """Modality → folder, from lines ``abbreviation=/folder``."""
    sources: dict[str, str] = {}
    for line in (line.strip() for line in lines):
        if not line:
            continue
        text, mark, path = (part.strip() for part in line.partition("="))
        modality = find_modality(text)
        if not mark or not path:
            problems.append(_problem("input_sources", f"{line!r} is not <modality>=<folder>"))
        elif modality is None:
            problems.append(_problem("input_sources", f"{text!r} is not a modality abbreviation"))
        elif sources.setdefault(modality.abbreviation, path) != path:
            problems.append(_problem("input_sources", f"{text} is given twice"))
    return sources


def _with_form_tasks(
    tasks: Mapping[str, Any],
    said: Mapping[str, tuple[str, dict[str, Any]]],
    problems: list[Problem],
) -> dict[str, Any]:
    """*tasks*, and what the form's fields say, unless both say different things."""
    from include.acquisitions.presets import deep_merge

    merged = dict(tasks)
    for task_id, (field, value) in said.items():
        present = merged.get(task_id)
        if not isinstance(present, Mapping):
            if present is None:
                merged[task_id] = value
            continue  # no object: for the model to refuse
        problems.extend(
            _problem(field, f"tasks.{task_id}.{path} says something else", "give one of the two")
            for path in _differences(present, value)
        )
        merged[task_id] = deep_merge(present, value)
    return merged


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key in one.keys() & other.keys():
        where = f"{path}.{key}".lstrip(".")
        if isinstance(one[key], Mapping) and isinstance(other[key], Mapping):
            yield from _differences(one[key], other[key], where)
        elif one[key] != other[key] and one[key] is not None:
            yield where


def _problem(field: str, reason: str, fix: str = "") -> Problem:
    return Problem("job", field, reason, fix)
