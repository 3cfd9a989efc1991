"""Gather the core files of one acquisition before its data is transformed.

Where each core file comes from, first that has it:

1. the user's folder (``metadata_dir``), byte for byte;
2. aind-metadata-mapper, when it was asked for (:mod:`include.acquisitions.mapper`);
3. the metadata service: ``subject``, ``procedures``, ``instrument``;
4. built here: ``data_description``; subject and procedures of a calibration.

A service that is down, slow or refuses ends the task: transient failures are retried, and an asset
never silently lacks its subject. ``on_service_failure: continue`` goes on without and says so. What
the service returns although it is invalid is kept, and reported as invalid.

Safe to run again: the same sources give the same bytes, files are whole or absent, and a core file
that no source gives any more is taken away (``processing.json`` excepted: it is written later).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from include.acquisitions.data_description import Acquired, acquired_at, build_data_description
from include.acquisitions.gathered_metadata import GatheredFile, GatheredMetadata, Source, Status
from include.acquisitions.json_files import json_files
from include.acquisitions.metadata_checks import cross_problems
from include.acquisitions.metadata_merge import calibration_files, merge_procedures
from include.acquisitions.metadata_settings import GatherSettings
from include.acquisitions.metadata_sources import (
    Answer,
    MetadataService,
    ServiceAnswers,
    UserFile,
    ask_service,
    list_content,
    newest_instrument,
    object_content,
    read_uploaded_json,
    read_user_files,
)
from include.acquisitions.processing import set_given_aside
from include.assets.canonical import canonical_text
from include.assets.core_files import (
    ALL_CORE_FIELDS,
    CORE_FIELDS,
    Generation,
    core_file_name,
    generation_of,
    parse_core_file,
    read_core_file,
    schema_problems,
    write_core_file,
)
from include.errors import InvalidInput

logger = logging.getLogger(__name__)

CALIBRATION = "calibration"
"""Subject id of an acquisition without an animal; the service is not asked about it."""

UPLOADED_JSON = Path("original_metadata", "uploaded_json")
"""Where the user's JSON files are kept as they came, as upstream does. The indexing jobs keep their
dated copies one folder above and look at no deeper level."""

WRITTEN_LATER = frozenset({"processing"})


class CoreFileMapper(Protocol):
    """Makes more core files of what there is."""

    def __call__(
        self, known: Mapping[str, bytes], uploaded: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        """Core field → text of the files it made or completed.

        Args:
            known: core field → text, of every core file gathered so far.
            uploaded: file name → text, of every JSON file of the user's.
        """


@dataclass(frozen=True, slots=True)
class _CoreFile:
    text: bytes
    content: dict[str, Any]
    source: Source
    problems: tuple[str, ...] = ()


def gather_preliminary_metadata(
    acquired: Acquired,
    settings: GatherSettings,
    service: MetadataService,
    *,
    asset_folder: Path,
    work_folder: Path,
    source_roots: Sequence[Path],
    mapper: CoreFileMapper | None = None,
) -> GatheredMetadata:
    """Put the core files of *acquired* into *asset_folder* and say what became of each.

    Args:
        acquired: what the job says.
        settings: merged ``job_settings`` of the task.
        service: asked only for what the user's folder does not hold, all at once.
        asset_folder: what will be under the asset's location.
        work_folder: on the same file system; never uploaded.
        source_roots: the user's folder must lie under one of these.
        mapper: makes further core files, when its options are set.

    Raises:
        InvalidInput: unusable files or settings; in strict mode (``raise_if_invalid``) also
            whatever is invalid, contradictory or missing. All problems at once.
        ServiceUnavailable, AccessDenied, MalformedAnswer: the service gave no answer to some
            question, and the settings do not let the run go on without.
        CommandFailed: the mapper failed.
    """
    user: dict[str, UserFile] = {}
    uploaded: dict[str, bytes] = {}
    if settings.metadata_dir:
        user = read_user_files(settings.metadata_dir, allowed_roots=source_roots)
        uploaded = read_uploaded_json(settings.metadata_dir, allowed_roots=source_roots)
    answers = ask_service(
        _questions(acquired, settings, service, user, mapped=mapper is not None),
        go_on_without=settings.on_service_failure == "continue",
    )
    files = _from_users(user) | _from_service(acquired, settings, answers, user)
    files |= _kept_from_last_try(answers, files, asset_folder)
    if mapper is not None:
        known = {field: file.text for field, file in files.items()}
        files |= {
            field: _CoreFile(text, parse_core_file(core_file_name(field), text), Source.MAPPER)
            for field, text in mapper(known, uploaded).items()
        }
    gathered = _assess(acquired, settings, files, answers)
    if settings.raise_if_invalid and (problems := gathered.refused_when_strict):
        raise InvalidInput(problems)
    _keep_uploaded_json(uploaded, asset_folder, work_folder)
    # Before the file itself: until then, processing.json in the folder may be our own.
    set_given_aside(files["processing"].text if "processing" in files else b"", work_folder)
    _write(files, asset_folder, work_folder)
    gathered.log()
    return gathered


def _questions(
    acquired: Acquired,
    settings: GatherSettings,
    service: MetadataService,
    user: Mapping[str, UserFile],
    *,
    mapped: bool,
) -> dict[str, Any]:
    """What only the service can say, by core field or list."""
    questions: dict[str, Any] = {}
    if acquired.subject_id != CALIBRATION:
        if "subject" not in user:
            questions["subject"] = lambda: service.subject(acquired.subject_id)
        if "procedures" not in user or settings.procedures_settings.merge_with_service:
            questions["procedures"] = lambda: service.procedures(acquired.subject_id)
    if "data_description" not in user:
        questions["funding"] = lambda: service.funding(acquired.project_name)
        questions["investigators"] = lambda: service.investigators(acquired.project_name)
    instrument_id = _instrument_id(settings, user)
    in_parts = mapped and settings.metadata_dir and has_parts(settings.metadata_dir, "instrument")
    if instrument_id and not {"instrument", "rig"} & user.keys() and not in_parts:
        questions["instrument"] = lambda: service.instrument(instrument_id)
    return questions


def has_parts(folder: Path, field: str) -> bool:
    """Whether *folder* holds ``{field}_….json``: parts that only the mapper puts together.

    Raises:
        InvalidInput: the folder may not be listed.
        TransientError: the file system could not answer.
    """
    return any(path.name.startswith(f"{field}_") for path in json_files(folder))


def _instrument_id(settings: GatherSettings, user: Mapping[str, UserFile]) -> str | None:
    """The settings', else the one that the user's acquisition names."""
    acquisition = user.get("acquisition")
    named = acquisition.content.get("instrument_id") if acquisition else None
    return settings.instrument_settings.instrument_id or (str(named) if named else None)


def _from_users(user: Mapping[str, UserFile]) -> dict[str, _CoreFile]:
    return {field: _CoreFile(file.text, file.content, Source.USER) for field, file in user.items()}


def _from_service(
    acquired: Acquired,
    settings: GatherSettings,
    service: ServiceAnswers,
    user: Mapping[str, UserFile],
) -> dict[str, _CoreFile]:
    """What the answers give, and what is built of them."""
    files: dict[str, _CoreFile] = {}
    for field in ("subject", "procedures"):
        answer = service.answers.get(field)
        if answer is None:
            continue
        content = object_content(field, answer)
        if field in user:
            merged = merge_procedures(user[field].content, content)
            if merged is None:
                continue
            content = merged
        files[field] = _canonical(content, Source.SERVICE, _complaints(answer))
    instrument_id = _instrument_id(settings, user)
    answer = service.answers.get("instrument")
    if answer is not None and instrument_id:
        # The service validates no instrument and says so with every one; our own check decides.
        newest = newest_instrument(answer, instrument_id)
        if newest is not None:
            files["instrument"] = _canonical(newest, Source.SERVICE)
    if acquired.subject_id == CALIBRATION:
        made = calibration_files(CALIBRATION, settings.subject_settings.calibration_object)
        files |= {f: _canonical(made[f], Source.BUILT) for f in made if f not in user}
    if {"funding", "investigators"} <= service.answers.keys():
        recorded = user.get("acquisition") or user.get("session")
        description = build_data_description(
            acquired,
            settings.data_description_settings,
            creation_time=acquired_at(
                acquired,
                time_zone=settings.time_zone,
                acquisition=recorded.content if recorded else None,
            ),
            funding=list_content("funding", service.answers["funding"]),
            investigators=list_content("investigators", service.answers["investigators"]),
        )
        files["data_description"] = _canonical(description, Source.BUILT)
    return files


def _complaints(answer: Answer) -> tuple[str, ...]:
    if answer.is_valid:
        return ()
    return tuple(answer.problems) or ("the metadata service says that it is not valid",)


def _canonical(
    content: dict[str, Any], source: Source, problems: tuple[str, ...] = ()
) -> _CoreFile:
    return _CoreFile(canonical_text(content).encode(), content, source, problems)


def _kept_from_last_try(
    service: ServiceAnswers, files: Mapping[str, _CoreFile], asset_folder: Path
) -> dict[str, _CoreFile]:
    """What an earlier try of this run got, for questions that went unanswered this time."""
    of_lists = {"funding": "data_description", "investigators": "data_description"}
    unanswered = {of_lists.get(question, question) for question in service.failures}
    kept = {}
    for field in sorted(unanswered - files.keys()):
        text = read_core_file(asset_folder / core_file_name(field))
        if text is not None:
            kept[field] = _CoreFile(text, parse_core_file(field, text), Source.SERVICE)
    return kept


def _assess(
    acquired: Acquired,
    settings: GatherSettings,
    files: Mapping[str, _CoreFile],
    service: ServiceAnswers,
) -> GatheredMetadata:
    contents = {field: file.content for field, file in files.items()}
    generation = generation_of(contents)
    warnings = [
        f"job_settings: {key!r} is no setting of this task" for key in settings.unknown_keys
    ]
    warnings += [
        f"{core_file_name(field)} belongs to the other schema generation"
        for field in files
        if field not in CORE_FIELDS[generation]
    ]
    return GatheredMetadata(
        asset_name=acquired.asset_name,
        generation=generation,
        files={
            field: _assess_file(field, files.get(field), generation, service)
            for field in CORE_FIELDS[generation]
        },
        problems=cross_problems(acquired, settings, contents),
        warnings=tuple(warnings),
    )


def _assess_file(
    field: str, file: _CoreFile | None, generation: Generation, service: ServiceAnswers
) -> GatheredFile:
    if file is None:
        return GatheredFile(source=None, status=Status.MISSING, problems=_absence(field, service))
    if generation is Generation.V1:
        return GatheredFile(source=file.source, status=Status.UNCHECKED, problems=file.problems)
    problems = tuple(dict.fromkeys((*file.problems, *schema_problems(field, file.content))))
    status = Status.INVALID if problems else Status.VALID
    return GatheredFile(source=file.source, status=status, problems=problems)


def _absence(field: str, service: ServiceAnswers) -> tuple[str, ...]:
    questions = ("funding", "investigators") if field == "data_description" else (field,)
    failed = [service.failures[one] for one in questions if one in service.failures]
    if failed:
        return tuple(f"the metadata service gave no answer: {reason}" for reason in failed)
    if field in service.answers:
        return ("the metadata service has none",)
    if field == "instrument":
        return ("not in metadata_dir, and instrument_settings.instrument_id is not set",)
    return ("not in metadata_dir",)


def _keep_uploaded_json(
    uploaded: Mapping[str, bytes], asset_folder: Path, work_folder: Path
) -> None:
    """Keep every JSON file of the user's that names a core field, as upstream's mapper does."""
    for name, text in uploaded.items():
        if any(field in name for field in ALL_CORE_FIELDS):
            write_core_file(asset_folder / UPLOADED_JSON / name, text, work_folder=work_folder)


def _write(files: Mapping[str, _CoreFile], asset_folder: Path, work_folder: Path) -> None:
    for field in ALL_CORE_FIELDS:
        path = asset_folder / core_file_name(field)
        if field in files:
            write_core_file(path, files[field].text, work_folder=work_folder)
        elif field not in WRITTEN_LATER and (path.is_file() or path.is_symlink()):
            logger.warning("No source gives %s any more; taking it out of the asset", path)
            path.unlink()
