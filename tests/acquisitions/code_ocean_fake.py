"""Code Ocean in memory: what it was asked for, and answers that get lost when told to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from codeocean.models.components import Permissions
from codeocean.models.computation import (
    Computation,
    ComputationState,
    InputDataAsset,
    Param,
    PipelineProcess,
    RunParams,
)
from codeocean.models.data_asset import (
    DataAsset,
    DataAssetOrigin,
    DataAssetParams,
    DataAssetState,
    DataAssetType,
    Provenance,
    SourceBucket,
)
from codeocean.models.folder import FolderItem

from include.errors import NotFound, ServiceUnavailable

T = TypeVar("T")

STARTED_S = 1_709_648_530
"""The fake's clock starts here and goes on by a second with everything it makes."""


class FakeCodeOcean:
    def __init__(self) -> None:
        self.assets: dict[str, DataAsset] = {}
        self.permissions: dict[str, Permissions] = {}
        self.computations: dict[str, Computation] = {}
        self.runs: dict[str, RunParams] = {}
        self.results: dict[str, bytes] = {}
        self.created: list[DataAssetParams] = []
        self.stopped: list[str] = []
        self.loses_answers = 0
        self.lists_new_things = True

    def clock_s(self) -> int:
        return STARTED_S + len(self.assets) + len(self.computations)

    def answer(self, thing: T) -> T:
        """The answer to a call that has had its effect; sometimes it gets lost."""
        if self.loses_answers:
            self.loses_answers -= 1
            raise ServiceUnavailable("504 Gateway Time-out")
        return thing

    def add_asset(self, asset_id: str, **fields: Any) -> DataAsset:
        asset = DataAsset(**{
            "id": asset_id,
            "created": self.clock_s(),
            "name": asset_id,
            "mount": asset_id,
            "last_used": 0,
            "owner": "us",
            "state": DataAssetState.Ready,
            "type": DataAssetType.Dataset,
            **fields,
        })
        self.assets[asset_id] = asset
        return asset

    def change(self, thing_id: str, **fields: Any) -> None:
        if thing_id in self.assets:
            self.assets[thing_id] = replace(self.assets[thing_id], **fields)
        else:
            self.computations[thing_id] = replace(self.computations[thing_id], **fields)

    def find_external_assets(self, bucket: str, prefix: str) -> list[DataAsset]:
        return self._listed(
            lambda asset: (
                asset.source_bucket is not None
                and (asset.source_bucket.bucket, asset.source_bucket.prefix) == (bucket, prefix)
            )
        )

    def find_result_assets(self, computation_id: str, name: str | None = None) -> list[DataAsset]:
        # As the real search: by words of the name, so others come along.
        return self._listed(
            lambda asset: (
                asset.type == DataAssetType.Result and (name is None or name in asset.name)
            )
        )

    def _listed(self, wanted: Callable[[DataAsset], bool]) -> list[DataAsset]:
        return [asset for asset in self.assets.values() if self.lists_new_things and wanted(asset)]

    def create_data_asset(self, params: DataAssetParams) -> DataAsset:
        self.created.append(params)
        assert params.source is not None
        computation, aws = params.source.computation, params.source.aws
        place = params.target.aws if params.target else aws
        return self.answer(
            self.add_asset(
                f"asset-{len(self.created)}",
                name=params.name,
                mount=params.mount,
                tags=params.tags,
                state=DataAssetState.Draft,
                type=DataAssetType.Result if computation else DataAssetType.Dataset,
                provenance=Provenance(computation=computation.id) if computation else None,
                source_bucket=SourceBucket(DataAssetOrigin.AWS, place.bucket, place.prefix, True)
                if place
                else None,
            )
        )

    def data_asset(self, asset_id: str) -> DataAsset:
        if asset_id not in self.assets:
            raise NotFound(asset_id)
        return self.assets[asset_id]

    def set_permissions(self, asset_id: str, permissions: Permissions) -> None:
        self.permissions[asset_id] = permissions

    def run(self, params: RunParams) -> Computation:
        computation = Computation(
            id=f"computation-{len(self.computations) + 1}",
            created=self.clock_s(),
            name="Run",
            owner="us",
            run_time=7,
            state=ComputationState.Initializing,
            data_assets=[InputDataAsset(one.id, one.mount) for one in params.data_assets or []],
            parameters=_reported(params),
            processes=[
                PipelineProcess(one.name, "capsule", parameters=_reported(one))
                for one in params.processes or []
            ],
            nextflow_profile=params.nextflow_profile,
        )
        self.computations[computation.id] = computation
        self.runs[computation.id] = params
        return self.answer(computation)

    def computation(self, computation_id: str) -> Computation:
        if computation_id not in self.computations:
            raise NotFound(computation_id)
        return self.computations[computation_id]

    def find_computations(
        self, capsule_or_pipeline_id: str, *, created_after: float
    ) -> list[Computation]:
        return [
            computation
            for key, computation in self.computations.items()
            if capsule_or_pipeline_id in {self.runs[key].capsule_id, self.runs[key].pipeline_id}
            and computation.created >= created_after
        ]

    def stop_computation(self, computation_id: str) -> bool:
        self.stopped.append(computation_id)
        return True

    def list_results(self, computation_id: str) -> list[FolderItem]:
        items = [FolderItem(path, path, "file") for path in self.results]
        return [*items, FolderItem("ecephys", "ecephys", "folder")]

    def read_result_file(self, computation_id: str, path: str) -> bytes:
        return self.results[path]


def _reported(wanted: Any) -> list[Param]:
    in_order = [Param(name=f"label {value}", value=value) for value in wanted.parameters or []]
    named = [
        Param(param_name=one.param_name, value=one.value) for one in wanted.named_parameters or []
    ]
    return [*in_order, *named]
