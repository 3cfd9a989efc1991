"""What loading a folder of presets into the store would change; nothing is ever removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from types import MappingProxyType
from typing import Any

from include.acquisitions.presets import (
    LAYOUT,
    PresetKey,
    parse_object,
    parse_preset,
    unknown_params,
)
from include.acquisitions.secret_settings import find_secrets, hide_secrets
from include.errors import InvalidInput, Problem


@dataclass(frozen=True, slots=True)
class PresetChanges:
    """Every key of both sides in exactly one place; the texts are the folder's."""

    created: Mapping[str, str]
    updated: Mapping[str, str]
    unchanged: tuple[str, ...]
    only_in_store: tuple[str, ...]

    @property
    def to_write(self) -> dict[str, str]:
        """Key → text of what differs."""
        return {**self.created, **self.updated}


@dataclass(frozen=True, slots=True)
class DagParams:
    """What the presets of a DAG that carries no acquisition may hold."""

    names: Collection[str]
    read: Callable[[Mapping[str, Any]], object]
    """Reads params, with defaults for those left out; raises InvalidInput when they cannot be used."""


def compare_trees(folder: Mapping[str, str], stored: Mapping[str, str]) -> PresetChanges:
    """Compare by what the JSON says; spaces, line ends and the order of keys do not count."""
    both = folder.keys() & stored.keys()
    same = {key for key in both if _same_json(folder[key], stored[key])}
    return PresetChanges(
        created={key: folder[key] for key in sorted(folder.keys() - stored.keys())},
        updated={key: folder[key] for key in sorted(both - same)},
        unchanged=tuple(sorted(same)),
        only_in_store=tuple(sorted(stored.keys() - folder.keys())),
    )


def check_tree(
    tree: Mapping[str, str],
    prefix: str,
    dags: Mapping[str, DagParams] = MappingProxyType({}),
) -> list[Problem]:
    """Everything wrong with presets before they are stored: form, unknown keys, values, secrets.

    Args:
        dags: other DAGs by their ids. Of the presets of one that is not among them only the form is checked.
    """
    problems: list[Problem] = []
    for key, text in sorted(tree.items()):
        content = parse_object(key, text, problems)
        if content is None:
            continue
        problems.extend(
            Problem(key, path, "looks like a secret", "keep it in an Airflow connection")
            for path in find_secrets(content)
        )
        if not key.startswith(f"{prefix}/{LAYOUT}/"):
            dag_id = key.removeprefix(f"{prefix}/").split("/")[0]
            if dag_id in dags:
                problems.extend(_check_params(content, dags[dag_id], dag_id=dag_id, key=key))
            continue
        if PresetKey.parse(key, prefix) is None:
            form = f"{LAYOUT}/<job type>/tasks/<task>[/<modality>]"
            problems.append(Problem(key, "", f"is not the key of a preset; expected {form}"))
            continue
        warnings: list[str] = []
        parse_preset(key, text, problems, warnings)
        # In a folder that is about to be loaded, what would have no effect is a mistake.
        problems.extend(Problem(key, "", warning) for warning in warnings)
    return problems


def _check_params(
    params: Mapping[str, Any], dag: DagParams, *, dag_id: str, key: str
) -> Iterator[Problem]:
    yield from unknown_params(params, dag.names, dag_id=dag_id, key=key)
    try:
        dag.read({name: value for name, value in params.items() if name in dag.names})
    except InvalidInput as error:
        for found in error.problems:
            yield Problem(key, found.field, found.reason, found.fix)


def diff_text(key: str, stored: str, wanted: str) -> str:
    """The change of one preset as a unified diff of its printed JSON; ``""`` when there is none.

    What looks like a secret is hidden on both sides; where nothing else differs, the diff says so.
    """
    lines = list(
        unified_diff(
            _printed(stored), _printed(wanted), f"store {key}", f"folder {key}", lineterm=""
        )
    )
    if not lines and not _same_json(stored, wanted):
        lines = [f"store {key} and folder {key} differ in what is hidden here"]
    return "\n".join(lines)


def _same_json(one: str, other: str) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return one == other


def _printed(text: str) -> list[str]:
    """The JSON, line by line, as people may see it; what is none is hidden as a text."""
    try:
        return json.dumps(hide_secrets(json.loads(text)), indent=2, sort_keys=True).splitlines()
    except ValueError:
        return str(hide_secrets(text)).splitlines()
