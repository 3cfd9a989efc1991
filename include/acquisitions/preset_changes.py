"""What loading a folder of presets into the store would change; nothing is ever removed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff

from include.acquisitions.presets import LAYOUT, PresetKey, parse_object, parse_preset
from include.acquisitions.secret_settings import find_secrets
from include.errors import Problem


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


def check_tree(tree: Mapping[str, str], prefix: str) -> list[Problem]:
    """Everything wrong with presets before they are stored: form, unknown keys, secrets."""
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
            continue  # params of another DAG, which knows their names
        if PresetKey.parse(key, prefix) is None:
            form = f"{LAYOUT}/<job type>/tasks/<task>[/<modality>]"
            problems.append(Problem(key, "", f"is not the key of a preset; expected {form}"))
            continue
        warnings: list[str] = []
        parse_preset(key, text, problems, warnings)
        # In a folder that is about to be loaded, what would have no effect is a mistake.
        problems.extend(Problem(key, "", warning) for warning in warnings)
    return problems


def diff_text(key: str, stored: str, wanted: str) -> str:
    """The change of one preset as a unified diff of its printed JSON; ``""`` when there is none."""
    lines = unified_diff(
        _printed(stored), _printed(wanted), f"store {key}", f"folder {key}", lineterm=""
    )
    return "\n".join(lines)


def _same_json(one: str, other: str) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return one == other


def _printed(text: str) -> list[str]:
    try:
        return json.dumps(json.loads(text), indent=2, sort_keys=True).splitlines()
    except ValueError:
        return text.splitlines()
