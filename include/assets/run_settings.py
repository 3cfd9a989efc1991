"""Settings of a run that a person or a program gave: every mistake at once, each with its name and a fix.

What the requests of ``index_buckets`` and ``ingest_postgres`` have in common.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from include.assets.modality import nearest_spelling
from include.errors import InvalidInput, Problem

RequestT = TypeVar("RequestT", bound=BaseModel)


def by_todays_names(params: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """Settings as they were given, without other names for them and without blank lines.

    Entries of one list that are given under several names come together. A field with many lines sends a
    blank one for a Return at its end; as an expression, that would match everything.

    Args:
        aliases: other name of a list, or of one entry of it → its name.
    """
    given = {name: _without_blanks(value) for name, value in params.items() if name not in aliases}
    for alias, name in aliases.items():
        value = params.get(alias)
        if value is not None:
            given[name] = [*_as_list(given.get(name)), *_without_blanks(_as_list(value))]
    return given


def is_filled_in(value: Any, default: Any) -> bool:
    """Whether somebody chose this value: the form sends null, or nothing, for a field left empty."""
    return not (value is None or value == [] or (value == "" and default in {None, ""}))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _without_blanks(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [one for one in value if not isinstance(one, str) or one.strip()]


def read_settings(
    model: type[RequestT],
    chosen: Mapping[str, Any],
    *,
    dag_id: str,
    given: Iterable[str],
    known: Collection[str],
    elsewhere: Mapping[str, str],
) -> RequestT:
    """The request that the settings make.

    Args:
        chosen: a value for every field of the model.
        given: names that the caller used.
        known: names that there are.
        elsewhere: names of settings that are said in other places → where.

    Raises:
        InvalidInput: all that is wrong.
    """
    problems = [_unknown(dag_id, name, known, elsewhere) for name in given if name not in known]
    try:
        request = model.model_validate(dict(chosen))
    except ValidationError as error:
        raise InvalidInput([*problems, *_wrong_values(dag_id, error)]) from error
    if problems:
        raise InvalidInput(problems)
    return request


def _wrong_values(dag_id: str, error: ValidationError) -> Iterator[Problem]:
    for found in error.errors(include_url=False, include_input=False):
        reason = found["msg"].removeprefix("Value error, ")
        yield Problem(dag_id, ".".join(map(str, found["loc"])), reason)


def _unknown(
    dag_id: str, name: str, known: Collection[str], elsewhere: Mapping[str, str]
) -> Problem:
    if name in elsewhere:
        return Problem(dag_id, name, "is not a setting of a run", elsewhere[name])
    meant = nearest_spelling(name, known)
    fix = f"did you mean {meant}?" if meant else f"settings are {', '.join(known)}"
    return Problem(dag_id, name, "unknown setting", fix)
