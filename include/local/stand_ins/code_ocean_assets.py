"""The data assets of the Code Ocean stand-in, and how looking at one moves it on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from include.local.stand_ins import code_ocean_results as results
from include.local.stand_ins.code_ocean_bodies import (
    AssetChanges,
    AwsSource,
    ComputationSource,
    NewAsset,
    Permissions,
    Run,
    Search,
)
from include.local.stand_ins.code_ocean_deployment import (
    ASSETS,
    COMPUTATIONS,
    OWNER,
    OWNER_EMAIL,
    Deployment,
    Refused,
    without_nulls,
)
from include.local.stand_ins.code_ocean_search import Asset, finds, in_order, is_external
from include.local.stand_ins.state_file import Document


class Assets:
    """Data assets of one deployment.

    Each is kept as ``{"asset", "polls", "archived", "permissions", "files", "failure_reason"}``;
    ``asset`` is what the API answers.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def add(self, body: NewAsset, *, measured: tuple[int, int] | str | None = None) -> Asset:
        """Make a data asset, in state draft.

        Args:
            body: the request.
            measured: files and bytes in its bucket folder, why the folder cannot be used, or None
                when nobody looked.

        Raises:
            Refused: 400 when something it names does not exist or does not fit.
        """
        self._check_custom_metadata(body.custom_metadata)
        origin, files = self._origin(body)
        asset = without_nulls(self._draft(body) | origin)
        if isinstance(measured, tuple):
            asset["files"], asset["size"] = measured
        document: Document = {
            "asset": asset,
            "polls": 0,
            "archived": False,
            "permissions": {},
            "files": files,
            "failure_reason": measured if isinstance(measured, str) else self._told_failure(),
        }
        self._deployment.file.put(ASSETS, asset["id"], document)
        return asset

    def _draft(self, body: NewAsset) -> Asset:
        return {
            "id": str(uuid.uuid4()),
            "created": self._deployment.now(),
            "name": body.name,
            "mount": body.mount,
            "last_used": 0,
            "owner": OWNER,
            "owner_email": OWNER_EMAIL,
            "state": "draft",
            "tags": body.tags,
            "description": body.description,
            "custom_metadata": body.custom_metadata,
        }

    def _told_failure(self) -> str | None:
        """The reason a test gave for the next asset to fail, which is spent with it."""
        settings = self._deployment.settings
        self._deployment.settings = settings.model_copy(update={"fail_next_asset": None})
        return settings.fail_next_asset

    def _origin(self, body: NewAsset) -> tuple[Asset, dict[str, str]]:
        """What the asset is made from, as fields of it, and the files Code Ocean keeps itself."""
        if body.source is None:
            return self._combined(body.data_asset_ids or []), {}
        if body.source.aws is not None:
            return self._from_bucket(body.source.aws), {}
        if body.source.computation is None:
            raise Refused(400, "a source is needed")
        files = self.result_files_of(body.source.computation)
        asset = self._from_computation(body.source.computation, files)
        if body.target and body.target.aws:
            # Without a target the files stay in Code Ocean's bucket and there is no source_bucket.
            asset["source_bucket"] = {
                "origin": "aws",
                "bucket": body.target.aws.bucket,
                "prefix": body.target.aws.prefix or body.name,
                "external": True,
            }
        return asset, files

    def _from_bucket(self, source: AwsSource) -> Asset:
        external = bool(source.keep_on_external_storage)
        place = {"bucket": source.bucket, "prefix": source.prefix or ""}
        if external and self._deployment.settings.reject_duplicates:
            for kept in self._deployment.file.all(ASSETS):
                taken = kept["asset"].get("source_bucket") or {}
                if not kept["archived"] and place.items() <= taken.items():
                    raise Refused(400, f"{kept['asset']['id']} already is an asset of this folder")
        return {
            "type": "dataset",
            "source_bucket": {"origin": "aws", **place, "external": external},
        }

    def _from_computation(self, source: ComputationSource, files: results.Files) -> Asset:
        run = Run.model_validate(self._deployment.computation(source.id)["run"])
        return {
            "type": "result",
            "files": len(files),
            "size": sum(len(text.encode()) for text in files.values()),
            "provenance": {
                "computation": source.id,
                "capsule": run.capsule_id or run.pipeline_id,
                "data_assets": [given.id for given in run.data_assets or []],
            },
        }

    def _combined(self, ids: Sequence[str]) -> Asset:
        parts = [self._deployment.asset(id_, missing=400)["asset"] for id_ in ids]
        return {
            "type": "combined",
            "contained_data_assets": [
                {"id": part["id"], "mount": part["mount"], "size": part.get("size", 0)}
                for part in parts
            ],
        }

    def look_at(self, id_: str) -> Asset:
        """An asset; looking moves a draft on.

        Raises:
            Refused: 404.
        """
        kept = self._deployment.asset(id_)
        asset = kept["asset"]
        if asset["state"] == "draft":
            kept["polls"] += 1
            if kept["polls"] > self._deployment.settings.draft_polls:
                reason = kept["failure_reason"]
                asset["state"] = "failed" if reason else "ready"
                if reason:
                    asset["failure_reason"] = reason
            self._deployment.file.put(ASSETS, id_, kept)
        return dict(asset)

    def change(self, id_: str, changes: AssetChanges) -> Asset:
        """Change what the request names; null leaves as it was.

        Raises:
            Refused: 404; 400 for an unknown custom metadata key.
        """
        kept = self._deployment.asset(id_)
        self._check_custom_metadata(changes.custom_metadata)
        kept["asset"] |= changes.model_dump(exclude_none=True)
        self._deployment.file.put(ASSETS, id_, kept)
        return dict(kept["asset"])

    def permissions(self, id_: str) -> dict[str, Any]:
        """Who may do what with an asset."""
        return dict(self._deployment.asset(id_)["permissions"])

    def set_permissions(self, id_: str, permissions: Permissions) -> None:
        """Change the parts of the permissions that are named."""
        kept = self._deployment.asset(id_)
        kept["permissions"] |= permissions.model_dump(exclude_none=True)
        self._deployment.file.put(ASSETS, id_, kept)

    def archive(self, id_: str, *, archive: bool) -> None:
        """Archive an asset, or bring it back."""
        kept = self._deployment.asset(id_)
        kept["archived"] = archive
        self._deployment.file.put(ASSETS, id_, kept)

    def delete(self, id_: str) -> None:
        """Forget an asset."""
        self._deployment.asset(id_)
        self._deployment.file.remove(ASSETS, id_)

    def files(self, id_: str) -> results.Files:
        """Path → text of an internal asset's files.

        Raises:
            Refused: 404; 400 for an external asset, whose files Code Ocean does not list.
        """
        kept = self._deployment.asset(id_)
        if is_external(kept["asset"]):
            raise Refused(400, "the files of external data assets cannot be listed")
        files: dict[str, str] = kept["files"]
        return files

    def search(self, search: Search) -> list[Asset]:
        """Every asset found, in order; looking through a search moves nothing on."""
        return in_order(
            search,
            (
                kept["asset"]
                for kept in self._deployment.file.all(ASSETS)
                if finds(search, kept["asset"], archived=kept["archived"])
            ),
        )

    def add_ready(self, assets: Sequence[Asset]) -> None:
        """Take assets as they are, for tests that need many or old ones.

        A key ``archived`` is understood beside those of the API.
        """
        given = {
            "mount": "data",
            "last_used": 0,
            "owner": OWNER,
            "state": "ready",
            "type": "dataset",
            "created": self._deployment.now(),
        }
        documents = []
        for asset in assets:
            kept = {"polls": 0, "permissions": {}, "files": {}, "failure_reason": None}
            known = {key: value for key, value in asset.items() if key != "archived"}
            kept |= {"asset": {**given, **known}, "archived": bool(asset.get("archived"))}
            documents.append((asset["id"], kept))
        self._deployment.file.put_many(ASSETS, documents)

    def result_files_of(self, source: ComputationSource) -> dict[str, str]:
        """The results a new asset is made from.

        Raises:
            Refused: 400 when there is no such computation, or nothing in it.
        """
        kept = self._deployment.file.get(COMPUTATIONS, source.id)
        files = results.under(kept["results"], source.path or "") if kept else {}
        if not files:
            raise Refused(400, f"computation {source.id} has no results to make an asset of")
        return files

    def _check_custom_metadata(self, given: dict[str, Any] | None) -> None:
        known = {field["name"] for field in self._deployment.settings.custom_metadata_fields}
        unknown = sorted((given or {}).keys() - known)
        if unknown:
            raise Refused(400, f"unknown custom metadata: {', '.join(unknown)}")
