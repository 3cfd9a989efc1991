"""Judges records of schema generation 1 with the last release of that schema.

Lines of JSON come in on standard input, one asset each, and one line goes out for each, in the
same order and at once, until the input ends::

    {"name": …, "location": …, "core": {field: content of its core file}}
    {"status": "Valid" | "Invalid" | "Missing", "problems": {field: ["dotted.path: reason", …]}}

What is no single field's problem is said under ``metadata``. There are no ``--job-settings``: it
makes no files, and one start costs as much as thousands of answers, so it is kept and asked.

``Invalid`` wins over ``Missing``, which means that there is no subject and nothing else is wrong.
The schema's own verdict is not taken. It comes from a dump of each part: a key that the schema does
not know is gone from it, and a rig cannot be dumped at all, so that every rig would be invalid.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from pydantic import ValidationError, create_model, model_validator

CORE_FIELDS: Final = (
    "subject",
    "data_description",
    "procedures",
    "session",
    "rig",
    "processing",
    "acquisition",
    "instrument",
    "quality_control",
)

RECORD: Final = "metadata"
"""Where problems of the record as a whole are said."""

PROBLEMS_SHOWN: Final = 50
REASON_LENGTH: Final = 1_000
"""Of one problem; the schema lists every value that it would have taken, and whole inputs."""

Problems = dict[str, list[str]]


class Schema:
    """The models of generation 1, imported in five to ten seconds."""

    def __init__(self) -> None:
        gc.disable()  # the models are so many objects that looking for garbage takes a third of it
        self._models = {field: _model(field) for field in CORE_FIELDS}
        descriptions = import_module("aind_data_schema.core.data_description")
        self._special_descriptions = {
            "input_data_name": descriptions.DerivedDataDescription,
            "analysis_name": descriptions.AnalysisDescription,
        }
        as_it_is: Any = model_validator(mode="after")(lambda self: self)
        self._record = create_model(
            "Record",
            __base__=_model("metadata"),
            __validators__={"validate_metadata": as_it_is},  # instead of its own verdict
        )
        gc.freeze()
        gc.enable()

    def judge(self, name: object, location: object, core: Mapping[str, Any]) -> dict[str, Any]:
        """Status and problems of one asset; a field that is null counts as absent.

        The rules between parts are asked only when every part is fine: one that is left out, or
        half read, would break rules that the asset keeps.
        """
        parts: dict[str, Any] = {}
        problems: Problems = {}
        for field in CORE_FIELDS:
            if core.get(field) is not None:
                parts[field], reasons = self._read(field, core[field])
                problems |= {field: reasons} if reasons else {}
        if not problems:
            record = {"name": name, "location": location, **parts}
            _, reasons = _attempt(lambda: self._record.model_validate(record))
            problems = {RECORD: reasons} if reasons else {}
        if problems:
            return _invalid(problems)
        return {"status": "Valid" if "subject" in parts else "Missing", "problems": {}}

    def _read(self, field: str, content: object) -> tuple[Any, list[str]]:
        if not isinstance(content, dict):
            return None, [f"holds a {type(content).__name__}, not a JSON object"]
        model = self._models[field]
        if field == "data_description":
            # All descriptions are called data_description.json, but the plain one knows no input.
            special = (one for key, one in self._special_descriptions.items() if key in content)
            model = next(special, model)
        return _attempt(lambda: model.model_validate(content))


def answer(schema: Schema, number: int, line: bytes) -> dict[str, Any]:
    """The answer to input line *number*, whatever is in it."""
    try:
        asset = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _invalid({RECORD: [f"input line {number} does not parse as JSON: {error}"]})
    if not isinstance(asset, dict) or not isinstance(asset.get("core"), dict):
        reason = f"input line {number} is not an object with name, location and core"
        return _invalid({RECORD: [reason]})
    return schema.judge(asset.get("name"), asset.get("location"), asset["core"])


def _model(field: str) -> Any:
    class_name = "".join(word.capitalize() for word in field.split("_"))
    return getattr(import_module(f"aind_data_schema.core.{field}"), class_name)


def _attempt(build: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What *build* makes, and why it could not."""
    try:
        return build(), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return None, [
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else one["msg"]
            for one in found
        ]
    except Exception as error:  # noqa: BLE001 - the schema's own rules crash on odd values
        return None, [f"the schema's rules failed on it: {type(error).__name__}: {error}"]


def _invalid(problems: Problems) -> dict[str, Any]:
    shown = {field: [_cut(one) for one in of[:PROBLEMS_SHOWN]] for field, of in problems.items()}
    for field, of in problems.items():
        if len(of) > PROBLEMS_SHOWN:
            shown[field].append(f"and {len(of) - PROBLEMS_SHOWN} more")
    return {"status": "Invalid", "problems": shown}


def _cut(reason: str) -> str:
    return reason if len(reason) <= REASON_LENGTH else reason[:REASON_LENGTH] + "…"


def main() -> None:
    """Answer until the input ends."""
    parser = argparse.ArgumentParser(
        prog="run metadata-status-v1", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
    )  # fmt: skip
    parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()  # the schema logs what it finds as well, whole inputs included
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        # Whatever a library may print is no answer.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        schema = Schema()
        for number, line in enumerate(sys.stdin.buffer, 1):
            answers.write(json.dumps(answer(schema, number, line)).encode() + b"\n")
            answers.flush()


if __name__ == "__main__":
    main()
