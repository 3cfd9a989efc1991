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
