"""Which data assets a search of Code Ocean finds.

Queries are ``name:``, ``tag:``, ``run_script:``, ``commit_id:``, ``contained_data_id:`` or free text.
The same field twice means either, different fields mean both; no wildcards, no case. A value matches
when its words stand next to each other in the field, so a name match is less than equality.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from include.local.stand_ins.code_ocean_bodies import Filter, Search

Asset = dict[str, Any]

TERM = re.compile(r'(?:(?P<field>\w+):)?(?:"(?P<phrase>[^"]*)"|(?P<word>\S+))')


def _provenance(key: str) -> Callable[[Asset], list[str]]:
    return lambda asset: [(asset.get("provenance") or {}).get(key) or ""]


FIELDS: dict[str, Callable[[Asset], list[str]]] = {
    "name": lambda asset: [asset["name"]],
    "tag": lambda asset: asset.get("tags") or [],
    "run_script": _provenance("run_script"),
    "commit_id": _provenance("commit"),
    "contained_data_id": lambda asset: [
        contained["id"] for contained in asset.get("contained_data_assets") or []
    ],
}


def is_external(asset: Asset) -> bool:
    """Whether the files stay in a bucket of the lab."""
    return bool((asset.get("source_bucket") or {}).get("external"))


def finds(search: Search, asset: Asset, *, archived: bool) -> bool:
    """Whether the search finds the asset."""
    return (
        (search.archived is None or search.archived == archived)
        and (search.type is None or search.type == asset["type"])
        and (search.origin is None or (search.origin == "external") == is_external(asset))
        # Everything here was made by the one account there is, and nothing is anybody's favourite.
        and search.ownership != "shared"
        and not search.favorite
        and (not search.query or _matches_query(search.query, asset))
        and all(_passes(condition, asset) for condition in search.filters or [])
    )


def in_order(search: Search, assets: Iterable[Asset]) -> list[Asset]:
    """The assets as the search wants them; newest first when it does not say."""
    field = search.sort_field or "created"
    empty: str | int = 0 if field in {"created", "size"} else ""
    return sorted(
        assets,
        key=lambda asset: (asset.get(field, empty), asset["id"]),
        reverse=search.sort_order != "asc",
    )


def _matches_query(query: str, asset: Asset) -> bool:
    wanted: dict[str, list[str]] = {}
    for term in TERM.finditer(query):
        field, phrase, word = term["field"], term["phrase"], term["word"]
        value = phrase if phrase is not None else word
        if field in FIELDS:
            wanted.setdefault(field, []).append(value)
        elif not _is_phrase_of_any(value, _free_text(asset)):
            return False
    return all(
        any(_is_phrase_of_any(value, FIELDS[field](asset)) for value in values)
        for field, values in wanted.items()
    )


def _free_text(asset: Asset) -> list[str]:
    custom = (asset.get("custom_metadata") or {}).values()
    return [
        asset["name"],
        asset.get("description") or "",
        *(asset.get("tags") or []),
        *(str(value) for value in custom),
    ]


def _is_phrase_of_any(phrase: str, texts: Iterable[str]) -> bool:
    # Spaces around both make sure that only whole words match.
    wanted = f" {' '.join(_words(phrase))} "
    return any(wanted in f" {' '.join(_words(text))} " for text in texts)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _passes(condition: Filter, asset: Asset) -> bool:
    found = _values(condition.key, asset)
    if condition.range is not None:
        bounds = condition.range
        passed = any(
            isinstance(value, int | float) and bounds.min <= value <= bounds.max for value in found
        )
    else:
        wanted = condition.values if condition.values is not None else [condition.value]
        passed = any(_same(value, want) for value in found for want in wanted)
    return passed is not bool(condition.exclude)


def _values(key: str, asset: Asset) -> list[Any]:
    if key in {"name", "description", "tags"}:
        value = asset.get(key)
    else:
        value = (asset.get("custom_metadata") or {}).get(key)
    return value if isinstance(value, list) else [] if value is None else [value]


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value.casefold() == wanted.casefold()
    return bool(value == wanted)
