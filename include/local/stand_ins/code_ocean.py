"""A stand-in for Code Ocean: ``python -m include.local.stand_ins.code_ocean --port 8081 --state FILE``.

Answers the requests this project makes of the API of version 4.8 (``docs.codeocean.com``), for the
``codeocean`` SDK to talk to. New assets are ``draft`` and computations ``initializing`` until they
have been looked at a few times; see :class:`CodeOceanSettings` for how many, and for how to make them
fail. With ``--s3-endpoint`` it looks into the buckets: an asset of an empty folder fails, and results
with a target are written there.

Beside the control routes of :mod:`include.local.stand_ins.faults` there is
``PUT /_control/data_assets``, which takes a list of ready-made assets.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from include.local.stand_ins import code_ocean_results as results
from include.local.stand_ins.code_ocean_access import (
    UrlSigner,
    http_error,
    refused,
    sign_in,
    unreadable,
)
from include.local.stand_ins.code_ocean_assets import Assets
from include.local.stand_ins.code_ocean_bodies import (
    AssetChanges,
    FolderPath,
    NewAsset,
    Permissions,
    Run,
    Search,
)
from include.local.stand_ins.code_ocean_computations import Computations
from include.local.stand_ins.code_ocean_deployment import OWNER, Deployment, Refused
from include.local.stand_ins.code_ocean_storage import Storage, StorageRefused
from include.local.stand_ins.faults import Switchboard
from include.local.stand_ins.serving import arguments, serve
from include.local.stand_ins.state_file import StateFile

SEARCH_LIMIT = 100
"""Assets on one page of a search that does not say."""


def create_app(
    state_file: Path | None = None, *, token: str | None = None, storage: Storage | None = None
) -> ASGIApp:
    """The stand-in as an ASGI app.

    Args:
        state_file: keeps the state over a restart; None keeps it in memory.
        token: the one access token that is let in; None lets in any.
        storage: the buckets to look into; None believes every request.
    """
    deployment = Deployment(StateFile(state_file))
    assets, computations = Assets(deployment), Computations(deployment)
    signer = UrlSigner()
    switchboard = Switchboard(deployment)

    app = FastAPI(title="Code Ocean stand-in", openapi_url=None)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(RequestValidationError, unreadable)
    app.add_exception_handler(HTTPException, http_error)
    app.include_router(_open_routes(assets, computations, signer))
    app.include_router(switchboard.routes())
    signed_in = APIRouter(prefix="/api/v1", dependencies=[Depends(sign_in(token))])
    _add_asset_routes(signed_in, deployment, assets, signer, storage)
    _add_computation_routes(signed_in, computations, signer)
    _add_capsule_routes(signed_in, deployment, computations)
    app.include_router(signed_in)
    return switchboard.around(app)


def _open_routes(assets: Assets, computations: Computations, signer: UrlSigner) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/_files/{kind}/{id_}/{path:path}", name="serve_file")
    async def serve_file(
        kind: str,
        id_: str,
        path: str,
        signature: str = "",
        authorization: Annotated[str | None, Header()] = None,
    ) -> PlainTextResponse:
        if authorization is not None:
            raise Refused(400, "only one way of signing in is allowed: the address is signed")
        if not hmac.compare_digest(signature, signer.signature(kind, id_, path)):
            raise Refused(403, "the signature does not match")
        files = assets.files(id_) if kind == "data_assets" else computations.result_files(id_)
        return PlainTextResponse(_file(files, path), media_type="application/octet-stream")

    @router.put("/_control/data_assets", status_code=204, tags=["control"])
    async def add_ready_assets(ready: list[dict[str, Any]]) -> None:
        assets.add_ready(ready)

    return router


def _add_asset_routes(
    router: APIRouter,
    deployment: Deployment,
    assets: Assets,
    signer: UrlSigner,
    storage: Storage | None,
) -> None:
    @router.post("/data_assets")
    async def create(body: NewAsset) -> dict[str, Any]:
        measured = await _look_into_bucket(body, assets, storage) if storage else None
        return assets.add(body, measured=measured)

    @router.post("/data_assets/search")
    async def search(body: Search) -> dict[str, Any]:
        found = assets.search(body)
        start = _offset(body.next_token) if body.next_token else body.offset or 0
        end = start + (body.limit or SEARCH_LIMIT)
        page: dict[str, Any] = {"has_more": end < len(found), "results": found[start:end]}
        if page["has_more"]:
            page["next_token"] = base64.urlsafe_b64encode(str(end).encode()).decode()
        if deployment.settings.repeat_found:
            page["results"] += page["results"]
        return page

    @router.get("/data_assets/{id_}")
    async def get(id_: str) -> dict[str, Any]:
        return assets.look_at(id_)

    @router.put("/data_assets/{id_}")
    async def change(id_: str, body: AssetChanges) -> dict[str, Any]:
        return assets.change(id_, body)

    @router.delete("/data_assets/{id_}", status_code=204)
    async def delete(id_: str) -> None:
        assets.delete(id_)

    @router.get("/data_assets/{id_}/permissions")
    async def permissions(id_: str) -> dict[str, Any]:
        return assets.permissions(id_)

    @router.post("/data_assets/{id_}/permissions", status_code=204)
    async def set_permissions(id_: str, body: Permissions) -> None:
        assets.set_permissions(id_, body)

    @router.patch("/data_assets/{id_}/archive", status_code=204)
    async def archive(id_: str, archive: bool) -> None:  # noqa: FBT001
        assets.archive(id_, archive=archive)

    @router.post("/data_assets/{id_}/files")
    async def list_files(id_: str, body: FolderPath) -> dict[str, Any]:
        return _folder(assets.files(id_), body.path)

    @router.get("/data_assets/{id_}/files/urls")
    async def file_urls(id_: str, path: str, request: Request) -> dict[str, str]:
        _file(assets.files(id_), path)
        url = signer.url(request, "data_assets", id_, path)
        return {"download_url": url, "view_url": url}

    @router.get("/data_assets/{id_}/files/download_url")
    async def file_url(id_: str, path: str, request: Request) -> dict[str, str]:
        _file(assets.files(id_), path)
        return {"url": signer.url(request, "data_assets", id_, path)}


def _add_computation_routes(
    router: APIRouter, computations: Computations, signer: UrlSigner
) -> None:
    @router.post("/computations")
    async def run(body: Run) -> dict[str, Any]:
        return computations.add(body)

    @router.get("/computations/{id_}")
    async def get(id_: str) -> dict[str, Any]:
        return computations.look_at(id_)

    @router.patch("/computations/{id_}", status_code=204)
    async def rename(id_: str, name: str) -> None:
        computations.rename(id_, name)

    @router.delete("/computations/{id_}", status_code=204)
    async def delete(id_: str) -> None:
        computations.delete(id_)

    @router.post("/computations/{id_}/results")
    async def list_results(id_: str, body: FolderPath) -> dict[str, Any]:
        return _folder(computations.result_files(id_), body.path)

    @router.get("/computations/{id_}/results/urls")
    async def result_urls(id_: str, path: str, request: Request) -> dict[str, str]:
        _file(computations.result_files(id_), path)
        url = signer.url(request, "computations", id_, path)
        return {"download_url": url, "view_url": url}

    @router.get("/computations/{id_}/results/download_url")
    async def result_url(id_: str, path: str, request: Request) -> dict[str, str]:
        _file(computations.result_files(id_), path)
        return {"url": signer.url(request, "computations", id_, path)}


def _add_capsule_routes(
    router: APIRouter, deployment: Deployment, computations: Computations
) -> None:
    def capsule(id_: str) -> dict[str, Any]:
        computations.check_capsule(id_)
        return {
            "id": id_,
            "created": 1_700_000_000,
            "name": f"Capsule {id_}",
            "status": "release",
            "owner": OWNER,
            "slug": id_,
        }

    router.get("/capsules/{id_}")(capsule)
    router.get("/pipelines/{id_}")(capsule)

    @router.get("/capsules/{id_}/computations")
    async def of_capsule(id_: str) -> list[dict[str, Any]]:
        return computations.of_capsule(id_, "capsule_id")

    @router.get("/pipelines/{id_}/computations")
    async def of_pipeline(id_: str) -> list[dict[str, Any]]:
        return computations.of_capsule(id_, "pipeline_id")

    @router.get("/custom_metadata")
    async def custom_metadata() -> dict[str, Any]:
        return {"fields": deployment.settings.custom_metadata_fields, "categories": []}


async def _look_into_bucket(
    body: NewAsset, assets: Assets, storage: Storage
) -> tuple[int, int] | str | None:
    """Measure the folder of a new asset, or write its results; a text says why that failed."""
    try:
        if body.source and body.source.aws:
            source = body.source.aws
            return await asyncio.to_thread(storage.measure, source.bucket, source.prefix or "")
        if body.source and body.source.computation and body.target and body.target.aws:
            files = assets.result_files_of(body.source.computation)
            target = body.target.aws
            await asyncio.to_thread(storage.write, target.bucket, target.prefix or body.name, files)
    except StorageRefused as error:
        return str(error)
    return None


def _file(files: results.Files, path: str) -> str:
    if path not in files:
        raise Refused(404, f"no file {path}")
    return files[path]


def _folder(files: results.Files, path: str) -> dict[str, Any]:
    items = results.list_folder(files, path)
    if items is None:
        raise Refused(404, f"no folder {path}")
    return {"items": items}


def _offset(next_token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(next_token.encode()).decode())
    except (ValueError, binascii.Error) as error:
        raise Refused(400, "unknown next_token") from error


def _s3_storage(endpoint: str, access_key: str | None, secret_key: str | None) -> Storage:
    import boto3
    from botocore.config import Config

    # Without keys boto3 finds its own; a store on this machine needs no more than path-style names.
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3}),
    )
    return Storage(client)


def main() -> None:
    """Serve until asked to stop."""
    parser = arguments("A stand-in for Code Ocean.")
    parser.add_argument("--token", help="the one access token that is let in; any without this")
    parser.add_argument("--s3-endpoint", help="address of the S3 store to look into")
    parser.add_argument("--s3-access-key", help="access key of that store")
    parser.add_argument("--s3-secret-key", help="secret key of that store")
    given = parser.parse_args()
    storage = None
    if given.s3_endpoint:
        storage = _s3_storage(given.s3_endpoint, given.s3_access_key, given.s3_secret_key)
    serve(create_app(given.state, token=given.token, storage=storage), given.host, given.port)


if __name__ == "__main__":
    main()
