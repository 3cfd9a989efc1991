"""Who is let in, what an error looks like, and addresses of files that are good without signing in."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from include.local.stand_ins.code_ocean_deployment import Refused


class UrlSigner:
    """Addresses of files that need no sign-in, as a store signs them; good until a restart."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes()

    def signature(self, kind: str, id_: str, path: str) -> str:
        """What proves that the address was given out."""
        return hmac.digest(self._key, f"{kind}/{id_}/{path}".encode(), "sha256").hex()

    def url(self, request: Request, kind: str, id_: str, path: str) -> str:
        """Address of one file."""
        url = request.url_for("serve_file", kind=kind, id_=id_, path=path)
        return str(url.include_query_params(signature=self.signature(kind, id_, path)))


def sign_in(token: str | None) -> Callable[..., Awaitable[None]]:
    """A dependency that lets in requests whose user is the token, without a password."""

    async def check(authorization: Annotated[str, Header()] = "") -> None:
        scheme, _, encoded = authorization.partition(" ")
        try:
            user, _, _ = base64.b64decode(encoded).decode().partition(":")
        except (ValueError, binascii.Error):
            user = ""
        if scheme.lower() != "basic" or not user or (token is not None and user != token):
            raise Refused(401, "an access token is needed")

    return check


async def refused(_: Request, error: Exception) -> JSONResponse:
    """Answer a refusal."""
    status, message = (
        (error.status, error.message) if isinstance(error, Refused) else (500, str(error))
    )
    return JSONResponse({"message": message}, status_code=status)


async def http_error(_: Request, error: Exception) -> JSONResponse:
    """Answer an unknown path or method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"message": str(error)}, status_code=status)


async def unreadable(_: Request, error: Exception) -> JSONResponse:
    """Answer a body or parameter of the wrong shape."""
    problems: Iterable[Any] = error.errors() if isinstance(error, RequestValidationError) else []
    message = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in jsonable_encoder(problems, custom_encoder={ValueError: str})
    )
    return JSONResponse({"message": message}, status_code=400)
