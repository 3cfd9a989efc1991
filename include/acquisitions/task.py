"""The settings of one named task, and how the ``tasks`` of a request are read.

A value of ``tasks`` is one Task, or an object of named Tasks. Which of the two is decided by its keys,
never by trial:

=====================================================  =====================================
value                                                  read as
=====================================================  =====================================
``{}``                                                 no Tasks: the preset is left as it is
a key of Task, such as ``{"skip_task": true}``         Task
only objects, such as ``{"ecephys": {…}}``             named Tasks; ``{"ecephys": {}}`` too
both, such as ``{"skip_task": true, "ecephys": {}}``   refused: one of the two would be lost
anything else, such as ``{"retries": 3}``              Task without settings, and a warning
=====================================================  =====================================

The two modality tasks take named Tasks only, unless the single Task skips the whole step.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
)
from pydantic_core.core_schema import ValidationInfo

from include.acquisitions.pipeline import (
    MODALITY_TASKS,
    SKIPPED_UNLESS_ASKED,
    canonical_task_name,
    task_name_warning,
)
from include.assets.modality import FORMER_ABBREVIATIONS, MODALITIES, find_modality

ONE, NAMED = "Task", "dict[str,Task]"
"""Tags of the two readings; they show up in the locations of validation errors."""


class Task(BaseModel):
    """What a request or a preset says about one task."""

    model_config = ConfigDict(frozen=True)

    skip_task: bool = False
    image: str | None = None
    """Container image, without its version."""
    image_version: str | None = None
    image_resources: dict[str, Any] | None = None
    """What to ask of a cluster, in Slurm's names of a job description."""
    job_settings: dict[str, Any] | None = None
    """Handed to the command, or read by the task itself."""
    command_script: str | None = None
    """Shell script with placeholders; see ``include/acquisitions/command.py``."""

    @field_validator("image_resources", "job_settings")
    @classmethod
    def _must_be_json(
        cls, value: dict[str, Any] | None, info: ValidationInfo
    ) -> dict[str, Any] | None:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{info.field_name} must be json serializable! {error}") from error
        return value

    @model_serializer(mode="wrap")
    def _print(self, print_fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A Task that says nothing must still say nothing after a round trip: an explicit
        # `skip_task: false` would wake a task that its preset skips.
        printed: dict[str, Any] = {} if self.is_empty else print_fields(self)
        return printed

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were set to something; null counts as not set."""
        return {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name in self.model_fields_set and getattr(self, name) is not None
        }

    @property
    def is_empty(self) -> bool:
        """Whether everything is left to the preset."""
        return not self.given


def which(value: object) -> str | None:
    """Tag of the reading of one value of ``tasks``; None when it is neither."""
    if isinstance(value, Task):
        return ONE
    if not isinstance(value, Mapping):
        return None
    if any(key in Task.model_fields for key in value):
        return ONE
    return NAMED if all(isinstance(entry, Mapping | Task) for entry in value.values()) else ONE


TaskValue = Annotated[
    Annotated[Task, Tag(ONE)] | Annotated[dict[str, Task], Tag(NAMED)],
    Discriminator(
        which,
        custom_error_type="task_type",
        custom_error_message="Input should be a Task object or an object of named Task objects",
    ),
]


def rename(tasks: Mapping[str, Any]) -> dict[str, Any]:
    """*tasks* under today's names of tasks and modalities.

    Raises:
        ValueError: two spellings of one name disagree.
    """
    renamed: dict[str, Any] = {}
    spelt: dict[str, str] = {}
    for given_name, given_value in tasks.items():
        name, value = canonical_task_name(given_name), given_value
        if name in MODALITY_TASKS and which(value) == NAMED:
            value = _rename_modalities(name, value)
        if name in renamed:
            both = f'tasks["{spelt[name]}"] and tasks["{given_name}"] are the same task'
            value = _merge_agreeing(renamed[name], value, both)
        renamed[name], spelt[name] = value, given_name
    for name in SKIPPED_UNLESS_ASKED & renamed.keys():
        renamed[name] = _skipped_unless_asked(renamed[name])
    return renamed


def _skipped_unless_asked(value: object) -> object:
    """Settings alone do not start a task that removes things; the words must be there."""
    given = _plain(value)
    if which(value) != ONE or not isinstance(given, Mapping) or "skip_task" in given:
        return value
    return {**given, "skip_task": True}


def _rename_modalities(task_id: str, named: Mapping[str, Any]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for abbreviation, value in named.items():
        today = FORMER_ABBREVIATIONS.get(abbreviation, abbreviation)
        if today in renamed:
            both = f'tasks["{task_id}"] names {today} twice, once by its former abbreviation'
            renamed[today] = _merge_agreeing(renamed[today], value, both)
        else:
            renamed[today] = value
    return renamed


def _merge_agreeing(one: object, other: object, both: str) -> object:
    """Both of them in one, if nothing is said twice in different ways."""
    one, other = _plain(one), _plain(other)
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        if one == other:
            return one
        raise ValueError(f"{both}, and they disagree.")
    merged = dict(one)
    for key, value in other.items():
        merged[key] = _merge_agreeing(merged[key], value, both) if key in merged else value
    return merged


def _plain(value: object) -> object:
    return value.given if isinstance(value, Task) else value


def mixtures(tasks: Mapping[str, Any]) -> Iterator[str]:
    """One sentence per value that is neither a Task nor named Tasks, but some of both."""
    for name, value in tasks.items():
        if not isinstance(value, Mapping):
            continue
        fields = [key for key in value if key in Task.model_fields]
        others = [
            key
            for key, entry in value.items()
            if key not in Task.model_fields
            and isinstance(entry, Mapping | Task)
            and (name in MODALITY_TASKS or find_modality(key))
        ]
        if fields and others:
            yield (
                f'tasks["{name}"] mixes Task fields ({", ".join(fields)}) with named Task objects '
                f"({', '.join(others)}); give one or the other."
            )


def misplaced(tasks: Mapping[str, Task | dict[str, Task]]) -> Iterator[str]:
    """One sentence per modality task that is not an object of modalities."""
    for task_id in tasks.keys() & MODALITY_TASKS:
        value = tasks[task_id]
        if isinstance(value, Task):
            if not value.skip_task:
                yield (f"{task_id} must be a dictionary of modality abbreviations to Task objects.")
            continue
        for key in value:
            if key not in MODALITIES:
                yield f'Key {key} in tasks["{task_id}"] is not a valid modality abbreviation.'


def warnings_about(tasks: Mapping[str, Any]) -> Iterator[str]:
    """What was accepted in *tasks*, as they were given, but was probably not meant."""
    for name, value in tasks.items():
        warning = task_name_warning(name)
        if warning:
            yield warning
        task_id = canonical_task_name(name)
        if which(value) == ONE:
            yield from _unknown_keys(f"tasks.{name}", value)
            if task_id in SKIPPED_UNLESS_ASKED and "skip_task" not in _fields_given(value):
                yield f"tasks.{name} does not say skip_task: false, so it is skipped"
            continue
        for key, entry in value.items():
            yield from _unknown_keys(f"tasks.{name}.{key}", entry)
            if task_id not in MODALITY_TASKS:
                yield f"tasks.{name}.{key} has no effect: {task_id} takes one Task, not named ones"
            elif key in FORMER_ABBREVIATIONS:
                today = FORMER_ABBREVIATIONS[key]
                yield f"tasks.{name}.{key}: the modality is called {today} today"


def _fields_given(value: Mapping[str, Any] | Task) -> Iterable[str]:
    return value.given if isinstance(value, Task) else value


def _unknown_keys(where: str, value: Mapping[str, Any] | Task) -> Iterator[str]:
    if isinstance(value, Task):
        return
    for key in value:
        if key not in Task.model_fields:
            yield f"{where}.{key} is not a field of a Task and has no effect"
