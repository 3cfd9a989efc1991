"""Core files that are put together here with the schema's classes."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from include.errors import InvalidInput, Problem

logger = logging.getLogger(__name__)


def calibration_files(
    subject_id: str, calibration_object: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """``subject`` and empty ``procedures`` of an acquisition without an animal.

    Args:
        subject_id: what both files say.
        calibration_object: the schema's ``CalibrationObject``; None means that nothing was there.

    Raises:
        InvalidInput: the calibration object is not one.
    """
    from aind_data_schema.components.subjects import CalibrationObject
    from aind_data_schema.core.procedures import Procedures
    from aind_data_schema.core.subject import Subject
    from pydantic import ValidationError

    described = dict(calibration_object or {"description": "", "empty": True})
    try:
        details = CalibrationObject.model_validate(described)
    except ValidationError as error:
        raise InvalidInput([
            Problem(
                "subject_settings.calibration_object",
                ".".join(map(str, found["loc"])),
                found["msg"],
            )
            for found in error.errors(include_url=False, include_input=False)
        ]) from error
    subject = Subject(subject_id=subject_id, subject_details=details)
    return {
        "subject": json.loads(subject.model_dump_json(by_alias=True)),
        "procedures": json.loads(Procedures(subject_id=subject_id).model_dump_json(by_alias=True)),
    }


def merge_procedures(
    of_user: Mapping[str, Any], of_service: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The user's procedures and the service's together; None when the user's stand alone.

    They stand alone when both tell of the same procedure (the file is then the fuller account) or
    when the two cannot be added (one is invalid, or they are about different subjects).
    """
    from aind_data_schema.core.procedures import Procedures

    try:
        with warnings.catch_warnings(action="ignore"):
            users, services = (
                Procedures.model_validate(deepcopy(dict(one))) for one in (of_user, of_service)
            )
            merged = json.loads((users + services).model_dump_json(by_alias=True))
    except Exception as error:  # noqa: BLE001 - the schema's rules raise whatever they meet
        logger.warning("The user's procedures stand alone; adding the service's failed: %s", error)
        return None
    for part in ("subject_procedures", "specimen_procedures"):
        texts = [json.dumps(one, sort_keys=True) for one in merged[part]]
        if len(set(texts)) < len(texts):
            logger.warning("The user's procedures stand alone; the service repeats some of them")
            return None
    return dict(merged)
