"""Presets: the default settings of a job type, under what the caller gives.

Two layouts share one prefix. Upload jobs have one preset per task, or per task and modality; every other
DAG has one preset per name, an object of params::

    {prefix}/v2/{job_type}/tasks/{task_id}[/{modality}]     a Task as JSON
    {prefix}/{dag_id}/{name}                                params as JSON

For an upload job a preset is looked up under its job type, then under ``default``; the first that exists
is taken whole (an empty object exists), the two are never mixed. The caller's settings then win key by
key. Job type ``custom`` has no presets at all.

When a preset skips a task
--------------------------
A request that gives a task any setting means it to run, as it always did: the wire form of such a Task
says ``skip_task: false``. A Task that says nothing (``{}``) leaves the preset's word. Tasks that remove
something (:data:`~include.acquisitions.pipeline.SKIPPED_UNLESS_ASKED`) run only when told so in so many
words.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

from pydantic import ValidationError

from include.acquisitions.job import problems_from
from include.acquisitions.pipeline import canonical_task_name
from include.acquisitions.task import Task
from include.assets.modality import FORMER_ABBREVIATIONS, nearest_spelling
from include.assets.run_settings import is_filled_in
from include.errors import InvalidInput, Problem

DEFAULT = "default"
CUSTOM = "custom"
LAYOUT = "v2"


class PresetStore(Protocol):
    """Where presets are kept."""

    def read_tree(self, path: str) -> Mapping[str, str]:
        """Full key → text of everything below *path*; nothing below it gives an empty mapping.

        Raises:
            AccessDenied, ServiceUnavailable: it is not known what is there.
        """
        ...


@dataclass(frozen=True, slots=True)
class PresetKey:
    """Which task, and modality, of which job type a preset is for."""

    job_type: str
    task_id: str
    modality: str | None = None

    @classmethod
    def parse(cls, text: str, prefix: str) -> Self | None:
        """Read ``{prefix}/v2/{job_type}/tasks/{task_id}[/{modality}]``; None for any other key."""
        match text.removeprefix(f"{prefix}/{LAYOUT}/").split("/"):
            case [job_type, "tasks", task_id] if text.startswith(f"{prefix}/{LAYOUT}/"):
                parsed = cls(job_type, task_id)
            case [job_type, "tasks", task_id, modality] if text.startswith(f"{prefix}/{LAYOUT}/"):
                parsed = cls(job_type, task_id, modality)
            case _:
                return None
        return parsed if all([parsed.job_type, parsed.task_id, parsed.modality != ""]) else None

    def path(self, prefix: str) -> str:
        """The key itself; :meth:`parse` of it is this value again."""
        modality = f"/{self.modality}" if self.modality else ""
        return f"{job_type_path(prefix, self.job_type)}/tasks/{self.task_id}{modality}"


@dataclass(frozen=True, slots=True)
class Preset:
    """One stored Task and the key it was found under."""

    key: str
    task: Task


@dataclass(frozen=True, slots=True)
class JobTypePresets:
    """Everything stored for one job type and, below it, for ``default``."""

    own: Mapping[tuple[str, str | None], Preset]
    fallback: Mapping[tuple[str, str | None], Preset]
    warnings: tuple[str, ...] = ()

    def find(self, task_id: str, modality: str | None = None) -> Preset | None:
        """The preset that applies; decided per task and modality."""
        return self.own.get((task_id, modality)) or self.fallback.get((task_id, modality))


def job_type_path(prefix: str, job_type: str) -> str:
    """Where everything of one job type is kept."""
    return f"{prefix}/{LAYOUT}/{job_type}"


def list_job_types(store: PresetStore, prefix: str) -> list[str]:
    """Every job type that has at least one preset, sorted."""
    keys = (PresetKey.parse(text, prefix) for text in store.read_tree(f"{prefix}/{LAYOUT}"))
    return sorted({key.job_type for key in keys if key})


def load_job_type(store: PresetStore, prefix: str, job_type: str) -> JobTypePresets:
    """Read all presets of a job type, and the default ones beside them, in one go each.

    Raises:
        InvalidInput: there is no such job type, or presets cannot be read: each with its full key.
    """
    if job_type.strip().casefold() == CUSTOM:
        return JobTypePresets({}, {})
    names = [DEFAULT] if job_type == DEFAULT else [job_type, DEFAULT]
    with ThreadPoolExecutor(len(names)) as pool:
        trees = list(pool.map(store.read_tree, (job_type_path(prefix, name) for name in names)))
    problems: list[Problem] = []
    warnings: list[str] = []
    found = [_read_presets(tree, prefix, problems, warnings) for tree in trees]
    if not found[0] and job_type != DEFAULT and not problems:
        known = list_job_types(store, prefix)
        meant = nearest_spelling(job_type, known)
        fix = f"did you mean {meant}?" if meant else f"known are {', '.join(known) or 'none'}"
        problems.append(Problem("job", "job_type", f"there is no job type {job_type!r}", fix))
    if problems:
        raise InvalidInput(problems)
    return JobTypePresets(found[0], found[-1], tuple(warnings))


def _read_presets(
    tree: Mapping[str, str], prefix: str, problems: list[Problem], warnings: list[str]
) -> dict[tuple[str, str | None], Preset]:
    presets: dict[tuple[str, str | None], Preset] = {}
    for text, content in sorted(tree.items()):
        key = PresetKey.parse(text, prefix)
        if key is None:
            continue
        task_id = canonical_task_name(key.task_id)
        modality = FORMER_ABBREVIATIONS.get(key.modality or "", key.modality)
        if (task_id, modality) in presets and (task_id, modality) != (key.task_id, key.modality):
            warnings.append(f"preset {text} has no effect: it is kept under today's name as well")
            continue
        task = parse_preset(text, content, problems, warnings)
        if task is not None:
            presets[task_id, modality] = Preset(text, task)
    return presets


def parse_preset(
    key: str, content: str, problems: list[Problem], warnings: list[str]
) -> Task | None:
    """The Task stored under *key*; what is wrong with it goes to *problems* and *warnings*.

    A key that is nearly a Task's is a problem (it was meant, and would be ignored); any other unknown
    key is a warning: stores that serve other readers as well hold more than Tasks.
    """
    fields = parse_object(key, content, problems)
    if fields is None:
        return None
    count = len(problems)
    for unknown in fields.keys() - Task.model_fields.keys():
        meant = nearest_spelling(unknown, Task.model_fields)
        if meant:
            problems.append(Problem(key, unknown, "unknown key", f"did you mean {meant}?"))
        else:
            warnings.append(f"preset {key}: {unknown} is not a field of a Task and has no effect")
    try:
        task = Task.model_validate(fields)
    except ValidationError as error:
        problems.extend(problems_from(error, key))
        return None
    return task if len(problems) == count else None


def parse_object(key: str, content: str, problems: list[Problem]) -> dict[str, Any] | None:
    """The JSON object stored under *key*; None, and a problem, when it is not one."""
    try:
        value = json.loads(content)
    except ValueError as error:
        problems.append(Problem(key, "", f"is not JSON: {error}"))
        return None
    if not isinstance(value, dict):
        problems.append(Problem(key, "", f"is a JSON {type(value).__name__}, not an object"))
        return None
    return value


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A new mapping: objects merge key by key; of anything else, *above* wins, null included."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = deep_merge(under if isinstance(under, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


# Presets of the other DAGs -------------------------------------------------------------------------


def load_dag_preset(
    store: PresetStore, prefix: str, dag_id: str, name: str, *, known_params: Sequence[str]
) -> dict[str, Any]:
    """The params stored as ``{prefix}/{dag_id}/{name}``; ``default`` need not exist.

    Raises:
        InvalidInput: no such preset (the others are listed), not a JSON object, or unknown params.
    """
    tree = store.read_tree(f"{prefix}/{dag_id}")
    key = f"{prefix}/{dag_id}/{name}"
    if key not in tree:
        if name == DEFAULT:
            return {}
        known = sorted(text.removeprefix(f"{prefix}/{dag_id}/") for text in tree)
        fix = f"known are {', '.join(known) or 'none'}"
        raise InvalidInput([Problem(dag_id, "preset", f"there is no preset {key}", fix)])
    problems: list[Problem] = []
    params = parse_object(key, tree[key], problems) or {}
    problems.extend(unknown_params(params, known_params, dag_id=dag_id, key=key))
    if problems:
        raise InvalidInput(problems)
    return params


def unknown_params(
    params: Mapping[str, Any], known: Collection[str], *, dag_id: str, key: str
) -> Iterator[Problem]:
    """Params in the preset stored under *key* that the DAG does not have."""
    for name in sorted(params.keys() - set(known)):
        meant = nearest_spelling(name, known)
        fix = f"did you mean {meant}?" if meant else f"params are {', '.join(known)}"
        yield Problem(key, name, f"{dag_id} has no such param", fix)


def merge_params(
    preset: Mapping[str, Any],
    conf: Mapping[str, Any],
    defaults: Mapping[str, Any],
    *,
    nullable: Collection[str] = (),
) -> dict[str, Any]:
    """Defaults, under the preset, under what the caller chose.

    Airflow's form sends every field, untouched and empty ones too. A value equal to its default is
    therefore not a choice, nor is an empty one: the preset's stands.

    Args:
        nullable: names of params for which null says something.
    """

    def is_chosen(key: str, value: Any) -> bool:
        if key not in defaults:
            return True
        if value == defaults[key]:
            return False
        return is_filled_in(value, defaults[key]) or (value is None and key in nullable)

    chosen = {key: value for key, value in conf.items() if is_chosen(key, value)}
    return deep_merge(deep_merge(defaults, preset), chosen)
