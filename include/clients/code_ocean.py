"""Code Ocean: data assets and computations, through the vendor's SDK.

API: https://docs.codeocean.com/user-guide/code-ocean-api. What the SDK (0.17) leaves to us:

* It sets no time-out, so a hung server would hang the worker.
* It retries nothing. Questions are asked again after 429, 5xx and broken connections. Creating an
  asset and starting a computation have no idempotency key: after a 502 or a time-out nobody knows
  whether they took effect, so they are repeated only when the server certainly did nothing (429, 503,
  no connection). Look (:meth:`CodeOceanClient.find_external_assets`, ``find_computations``,
  ``find_result_assets``) before creating.
* An answer without a required key is a ``KeyError``, an unknown state a ``ValueError``.
* Its search iterator goes round for ever when a page promises more and names no next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import requests
import stamina
from codeocean.client import CodeOcean
from codeocean.models.components import EveryoneRole, Permissions, SortOrder
from codeocean.models.computation import Computation, RunParams
from codeocean.models.data_asset import (
    DataAsset,
    DataAssetParams,
    DataAssetSearchOrigin,
    DataAssetSearchParams,
    DataAssetSearchResults,
    DataAssetSortBy,
    DataAssetState,
    DataAssetType,
)
from codeocean.models.folder import FolderItem

from include.clients.code_ocean_calls import Calls, KeptAliveAdapter, LimitedAdapter, download
from include.errors import MalformedAnswer, NotFound

PAGE_SIZE = 1000
"""Most assets a search gives at once."""


ENDED_STATES = frozenset({"completed", "failed"})
"""States of a computation that will not change any more."""


class CodeOceanClient:
    """Use one Code Ocean deployment as the owner of one access token.

    Every method raises, naming what it was about:

    * :class:`AccessDenied` for 401 and 403, :class:`NotFound` for 404;
    * :class:`ServiceUnavailable` for 423, 429, 5xx, broken connections and time-outs;
    * :class:`MalformedAnswer` for an answer that cannot be read;
    * :class:`InvalidInput` for 400 and 422, :class:`PermanentError` for anything else.

    Args:
        domain: address of the deployment, such as ``https://codeocean.example.org``.
        token: access token.
        timeout_s: longest time without a byte from the server, seconds.
        retries: how often, and with which waits, a call is repeated that may be.
    """

    def __init__(
        self,
        domain: str,
        token: str,
        *,
        timeout_s: float = 60.0,
        retries: stamina.RetryingCaller | None = None,
    ) -> None:
        domain = domain.rstrip("/")
        self._api = CodeOcean(domain, token)
        self._api.session.mount(domain, KeptAliveAdapter(timeout_s))
        # Result files come from a store that refuses requests which bring a sign-in of their own.
        self._files = requests.Session()
        for scheme in ("http://", "https://"):
            self._files.mount(scheme, LimitedAdapter(timeout_s))
        self._calls = Calls(
            retries
            or stamina.RetryingCaller(
                attempts=5, timeout=None, wait_initial=0.5, wait_max=20, wait_jitter=0.5
            )
        )

    # Data assets

    def find_external_assets(self, bucket: str, prefix: str) -> list[DataAsset]:
        """Live assets whose files are exactly this folder of a bucket, oldest first.

        Drafts are included, failed and archived ones are not. Only assets named like the last part
        of *prefix*, as this project names them, are looked at: that makes one request of what would
        be one for every thousand assets.

        Args:
            bucket: bucket name.
            prefix: folder; slashes around it do not matter.
        """
        folder = prefix.strip("/")
        found = self.iterate_data_assets(
            query=_named(folder.rpartition("/")[2]),
            origin=DataAssetSearchOrigin.External,
            archived=False,
        )
        return [
            asset
            for asset in found
            if asset.state != DataAssetState.Failed
            and asset.source_bucket is not None
            and asset.source_bucket.bucket == bucket
            and (asset.source_bucket.prefix or "").strip("/") == folder
        ]

    def find_result_assets(
        self, computation_id: str, name: str | None = None, *, created_after: int | None = None
    ) -> list[DataAsset]:
        """Live assets made from a computation's results, oldest first; failed ones are left out.

        Args:
            computation_id: the computation.
            name: name of the asset, when it is known; narrows the search to one request.
            created_after: when the computation was created, epoch seconds; the search ends there.
                Without *name* and this, every result asset of the deployment is looked at.
        """
        found = self.iterate_data_assets(
            query=_named(name) if name is not None else None,
            type_=DataAssetType.Result,
            archived=False,
            newest_first=True,
        )
        made = []
        for asset in found:
            if created_after is not None and asset.created < created_after:
                break
            if (
                asset.state != DataAssetState.Failed
                and asset.provenance is not None
                and asset.provenance.computation == computation_id
                and name in {None, asset.name}
            ):
                made.append(asset)
        return made[::-1]

    def iterate_data_assets(
        self,
        *,
        query: str | None = None,
        origin: DataAssetSearchOrigin | None = None,
        type_: DataAssetType | None = None,
        archived: bool | None = None,
        newest_first: bool = False,
    ) -> Iterator[DataAsset]:
        """Every asset found, once each, by the moment it was created; a request per thousand.

        Args:
            query: search expression, such as ``name:"…"``.
            origin: whether the files are in a bucket of the lab or inside Code Ocean.
            type_: dataset, result, combined or model.
            archived: only archived, only live, or both for None.
            newest_first: whether to begin with the youngest.
        """
        seen: set[str] = set()
        tokens: set[str] = set()
        token: str | None = None
        while True:
            page = self._search(
                DataAssetSearchParams(
                    query=query,
                    next_token=token,
                    limit=PAGE_SIZE,
                    sort_field=DataAssetSortBy.Created,
                    sort_order=SortOrder.Descending if newest_first else SortOrder.Ascending,
                    type=type_,
                    origin=origin,
                    archived=archived,
                )
            )
            for asset in page.results:
                # The live search gives an asset twice now and then.
                if asset.id not in seen:
                    seen.add(asset.id)
                    yield asset
            if not page.has_more:
                return
            token = page.next_token
            if not token or token in tokens:
                raise MalformedAnswer("search of data assets: more is promised, but no next page")
            tokens.add(token)

    def _search(self, params: DataAssetSearchParams) -> DataAssetSearchResults:
        return self._calls.ask(
            "search of data assets", lambda: self._api.data_assets.search_data_assets(params)
        )

    def data_asset(self, id_: str) -> DataAsset:
        """One asset as it is now."""
        return self._calls.ask(
            f"data asset {id_}", lambda: self._api.data_assets.get_data_asset(id_)
        )

    def create_data_asset(self, params: DataAssetParams) -> DataAsset:
        """Make an asset; it comes back as a draft. Look for it first."""
        return self._calls.create(
            f"data asset {params.name}", lambda: self._api.data_assets.create_data_asset(params)
        )

    def set_permissions(self, id_: str, permissions: Permissions) -> None:
        """Say who may see and change an asset."""
        self._calls.ask(
            f"permissions of data asset {id_}",
            lambda: self._api.data_assets.update_permissions(id_, permissions),
        )

    def share_with_everyone(self, id_: str, role: str = "viewer") -> None:
        """Let everyone on the deployment see an asset.

        Args:
            id_: the asset.
            role: ``viewer``, ``discoverable`` or ``none``.
        """
        self.set_permissions(id_, Permissions(everyone=EveryoneRole(role)))

    # Computations

    def run(self, run_params: RunParams) -> Computation:
        """Start a capsule or pipeline. Look for its computation first."""
        target = run_params.pipeline_id or run_params.capsule_id
        return self._calls.create(
            f"computation of {target}", lambda: self._api.computations.run_capsule(run_params)
        )

    def computation(self, id_: str) -> Computation:
        """One computation as it is now."""
        return self._calls.ask(
            f"computation {id_}", lambda: self._api.computations.get_computation(id_)
        )

    def find_computations(
        self, capsule_or_pipeline_id: str, *, created_after: float
    ) -> list[Computation]:
        """Computations of a capsule or pipeline, oldest first.

        Args:
            capsule_or_pipeline_id: either; asked for as both.
            created_after: epoch seconds; older computations are left out.

        Raises:
            NotFound: neither a capsule nor a pipeline.
        """
        id_ = capsule_or_pipeline_id
        found: dict[str, Computation] = {}
        missing: list[NotFound] = []
        for kind in ("capsules", "pipelines"):
            try:
                listed = self._calls.ask(
                    f"computations of {kind}/{id_}", partial(self._computations_of, kind, id_)
                )
            except NotFound as error:
                missing.append(error)
            else:
                found |= {computation.id: computation for computation in listed}
        if len(missing) == 2:
            raise missing[-1]
        recent = [known for known in found.values() if known.created >= created_after]
        return sorted(recent, key=lambda known: (known.created, known.id))

    def _computations_of(self, kind: str, id_: str) -> list[Computation]:
        # Not through the SDK, which takes any JSON object for a list without computations.
        listed = self._api.session.get(f"{kind}/{id_}/computations").json()
        if not isinstance(listed, list):
            raise TypeError(f"expected a list, got {type(listed).__name__}")
        return [
            Computation.from_dict(computation)  # type: ignore[attr-defined]  # by a decorator
            for computation in listed
        ]

    def stop_computation(self, id_: str) -> bool:
        """Stop a computation, which Code Ocean does by deleting it.

        One that has ended is left alone: deleting it would take its results with it.

        Returns:
            Whether it was stopped; False when it had ended or was gone.
        """
        try:
            if self.computation(id_).state in ENDED_STATES:
                return False
            self._calls.ask(
                f"computation {id_}", lambda: self._api.computations.delete_computation(id_)
            )
        except NotFound:
            return False
        return True

    def list_results(self, computation_id: str, path: str = "") -> list[FolderItem]:
        """Files and folders directly under *path* of a computation's results."""
        folder = self._calls.ask(
            f"results of computation {computation_id}",
            lambda: self._api.computations.list_computation_results(computation_id, path),
        )
        items: list[FolderItem] = folder.items
        return items

    def read_result_file(self, computation_id: str, path: str) -> bytes:
        """Content of one result file; meant for small ones, such as ``data_description.json``.

        Args:
            computation_id: the computation.
            path: path of the file in its results.
        """

        item = f"result {path} of computation {computation_id}"

        urls = self._calls.ask(
            item, lambda: self._api.computations.get_result_file_urls(computation_id, path)
        )
        return self._calls.ask(item, lambda: download(self._files, urls.download_url, item))

    # The deployment

    def custom_metadata_keys(self) -> set[str]:
        """Names of the custom metadata an asset may carry here."""
        schema = self._calls.ask(
            "custom metadata", lambda: self._api.custom_metadata.get_custom_metadata()
        )
        return {field.name for field in schema.fields or []}


def _named(name: str) -> str:
    """A query for assets of this name; the quotes keep it one phrase."""
    return f'name:"{name.replace(chr(34), " ")}"'
