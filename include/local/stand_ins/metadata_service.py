"""A stand-in for the metadata service: ``python -m include.local.stand_ins.metadata_service --port 8082``.

Answers the routes of version 2 (``/api/v2/…``, the bare record) and of version 1 (the record in an
envelope ``{"message", "data"}``) that this project asks. Whether a record is valid, and so its status,
is found by the schema's own classes. Records are of schema v2 in both versions; rigs apart.

Beside the control routes of :mod:`include.local.stand_ins.faults`:

===============================================  ===============================================
``PUT /_control/answers/{kind}/{key}``           answer this JSON from now on
``DELETE /_control/answers/{kind}/{key}``        there is none: 404 from now on
``POST /_control/answers/{kind}/{key}/invalid``  take a required field away: invalid, still data
===============================================  ===============================================

Kinds: subject, procedures, funding, investigators, instrument, rig.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, FastAPI, HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from include.local.stand_ins import metadata_records as records
from include.local.stand_ins.faults import StandInSettings, Switchboard
from include.local.stand_ins.serving import arguments, serve
from include.local.stand_ins.state_file import StateFile

VERSION = "2.0.0"

ERROR_HEADER = "X-Error-Message"
ERROR_HEADER_LIMIT_BYTES = 3800
"""Longest list of errors in the header; a sentence stands in for a longer one."""

NOT_VALIDATED = "Models have not been validated."

ANSWERS = "answers"

Kind = Literal["subject", "procedures", "funding", "investigators", "instrument", "rig"]


class MetadataServiceSettings(StandInSettings):
    """Settings of ``PATCH /_control/settings``."""

    procedures_incomplete: bool = False
    """Whether a back-end of the procedures is down: version 1 answers 207 with what it has."""


class KnownRecords:
    """The built-in records, under what a test put, took away or spoilt."""

    def __init__(self, file: StateFile) -> None:
        self.settings = MetadataServiceSettings()
        self._file = file

    def forget(self) -> None:
        """Back to the built-in records."""
        self._file.clear()

    def find(self, kind: Kind, key: str) -> records.Content | None:
        """What there is, or None."""
        kept = self._file.get(ANSWERS, f"{kind}/{key}")
        return kept["content"] if kept else records.find(kind, key)

    def put(self, kind: Kind, key: str, content: records.Content | None) -> None:
        """Answer *content* from now on; None says that there is none."""
        self._file.put(ANSWERS, f"{kind}/{key}", {"kind": kind, "key": key, "content": content})

    def keys_of(self, kind: Kind) -> list[str]:
        """Ids or names with a record of this kind."""
        keys = set(records.keys_of(kind))
        keys |= {kept["key"] for kept in self._file.all(ANSWERS) if kept["kind"] == kind}
        return sorted(key for key in keys if self.find(kind, key) is not None)

    def has_sub_projects(self, project: str) -> bool:
        """Whether the name stands for several projects and is not one itself."""
        names = self.keys_of("funding")
        return project not in names and any(name.startswith(f"{project} - ") for name in names)


def create_app(state_file: Path | None = None) -> ASGIApp:
    """The stand-in as an ASGI app.

    Args:
        state_file: keeps what a test changed over a restart; None keeps it in memory.
    """
    records.build()
    known = KnownRecords(StateFile(state_file))
    switchboard = Switchboard(known)
    app = FastAPI(title="Metadata service stand-in", openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    app.include_router(switchboard.routes())
    app.include_router(_control_routes(known))
    app.include_router(_v2_routes(known))
    app.include_router(_v1_routes(known))
    return switchboard.around(app)


def _control_routes(known: KnownRecords) -> APIRouter:
    router = APIRouter(prefix="/_control/answers/{kind}/{key}", tags=["control"])

    @router.put("", status_code=204)
    async def put(kind: Kind, key: str, content: Annotated[Any, Body()]) -> None:
        known.put(kind, key, content)

    @router.delete("", status_code=204)
    async def remove(kind: Kind, key: str) -> None:
        known.put(kind, key, None)

    @router.post("/invalid", status_code=204)
    async def invalidate(kind: Kind, key: str) -> None:
        content = known.find(kind, key)
        if content is None or kind not in records.TAKEN_AWAY:
            raise HTTPException(404, f"no {kind} {key} to spoil")
        known.put(kind, key, records.without_a_required_field(kind, content))

    return router


def _v2_routes(known: KnownRecords) -> APIRouter:
    router = APIRouter(prefix="/api/v2")

    def checked(kind: Kind, key: str) -> JSONResponse:
        content = known.find(kind, key)
        if content is None:
            # Not the "Not Found" of an unknown path: this one says that there is no such record.
            raise HTTPException(404, "Not found")
        errors = records.validation_errors(kind, content)
        if not errors:
            return JSONResponse(content)
        said = json.dumps(errors)
        if len(said) > ERROR_HEADER_LIMIT_BYTES:
            said = "The model has too many validation errors to list them here."
        return JSONResponse(content, status_code=400, headers={ERROR_HEADER: said})

    @router.get("/healthcheck")
    async def healthcheck() -> dict[str, str]:
        return {"status": "OK", "service_version": VERSION}

    @router.get("/subject/{subject_id}")
    async def subject(subject_id: str) -> JSONResponse:
        _only_digits(subject_id)
        return checked("subject", subject_id)

    @router.get("/procedures/{subject_id}")
    async def procedures(subject_id: str) -> JSONResponse:
        _only_digits(subject_id)
        return checked("procedures", subject_id)

    @router.get("/instrument/{instrument_id}")
    async def instrument(instrument_id: str, *, partial_match: bool = False) -> JSONResponse:
        found: list[Any] = []
        for key in known.keys_of("instrument"):
            if instrument_id == key or (partial_match and instrument_id in key):
                found += known.find("instrument", key) or []
        if not found:
            raise HTTPException(404, "Not found")
        return JSONResponse(found, status_code=400, headers={ERROR_HEADER: NOT_VALIDATED})

    @router.get("/funding/{project_name}")
    async def funding(project_name: str) -> JSONResponse:
        _not_divided(known, project_name)
        return checked("funding", project_name)

    @router.get("/investigators/{project_name}")
    async def investigators(project_name: str) -> JSONResponse:
        _not_divided(known, project_name)
        return checked("investigators", project_name)

    @router.get("/project_names")
    async def project_names() -> list[str]:
        return known.keys_of("funding")

    return router


def _v1_routes(known: KnownRecords) -> APIRouter:
    router = APIRouter()

    def checked(kind: Kind, key: str) -> JSONResponse:
        content = known.find(kind, key)
        if content is None:
            return _envelope(404, "No Data Found.")
        errors = records.validation_errors(kind, content)
        if errors:
            return _envelope(406, f"Validation Errors: {json.dumps(errors)}", _single(content))
        return _envelope(200, "Valid Model.", _single(content))

    def unchecked(kind: Kind, key: str) -> JSONResponse:
        content = known.find(kind, key)
        if content is None:
            return _envelope(404, "No Data Found.")
        return _envelope(422, f"Valid Request Format. {NOT_VALIDATED}", _single(content))

    @router.get("/subject/{subject_id}")
    async def subject(subject_id: str) -> JSONResponse:
        return checked("subject", subject_id)

    @router.get("/procedures/{subject_id}")
    async def procedures(subject_id: str) -> JSONResponse:
        content = known.find("procedures", subject_id)
        if content is not None and known.settings.procedures_incomplete:
            said = "There was an error retrieving records from one or more of the databases."
            return _envelope(207, said, content)
        return checked("procedures", subject_id)

    @router.get("/instrument/{instrument_id}")
    async def instrument(instrument_id: str) -> JSONResponse:
        return unchecked("instrument", instrument_id)

    @router.get("/rig/{rig_id}")
    async def rig(rig_id: str) -> JSONResponse:
        return unchecked("rig", rig_id)

    @router.get("/funding/{project_name}")
    async def funding(project_name: str) -> JSONResponse:
        content = known.find("funding", project_name)
        if content is not None and len(content) > 1:
            return _envelope(300, "Multiple Items Found.", content)
        return checked("funding", project_name)

    @router.get("/project_names")
    async def project_names() -> JSONResponse:
        return _envelope(200, "Success", known.keys_of("funding"))

    return router


def _envelope(status: int, message: str, content: records.Content = None) -> JSONResponse:
    return JSONResponse({"message": message, "data": content}, status_code=status)


def _single(content: records.Content) -> records.Content:
    """One record comes without its list."""
    return content[0] if isinstance(content, list) and len(content) == 1 else content


def _only_digits(subject_id: str) -> None:
    if not records.is_subject_id(subject_id):
        raise HTTPException(406, f"{subject_id} is not a valid subject id: only digits are.")


def _not_divided(known: KnownRecords, project: str) -> None:
    if known.has_sub_projects(project):
        raise HTTPException(
            406, f"Project '{project}' has subprojects; ask for '{project} - <subproject>'."
        )


def main() -> None:
    """Serve until asked to stop."""
    given = arguments("A stand-in for the metadata service.").parse_args()
    serve(create_app(given.state), given.host, given.port)


if __name__ == "__main__":
    main()
