"""What Code Ocean is asked: the JSON bodies of its requests. A null field is an absent field."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

NonEmpty = Annotated[str, Field(min_length=1)]


class AwsSource(BaseModel):
    """A folder of a bucket."""

    bucket: NonEmpty
    endpoint_name: str | None = None
    prefix: str | None = None
    keep_on_external_storage: bool | None = None
    public: bool | None = None
    use_input_bucket: bool | None = None


class ComputationSource(BaseModel):
    """Results of a computation."""

    id: NonEmpty
    path: str | None = None


class Source(BaseModel):
    """Where the files of a new asset come from."""

    aws: AwsSource | None = None
    computation: ComputationSource | None = None

    @model_validator(mode="after")
    def exactly_one(self) -> Self:
        """A source is a bucket or a computation."""
        if (self.aws is None) == (self.computation is None):
            raise ValueError("exactly one of aws and computation is needed here")
        return self


class AwsTarget(BaseModel):
    """Where the files of a result asset go."""

    bucket: NonEmpty
    endpoint_name: str | None = None
    prefix: str | None = None


class Target(BaseModel):
    """Where the files of a result asset go, by kind of store."""

    aws: AwsTarget | None = None


class NewAsset(BaseModel):
    """Body of ``POST data_assets``."""

    name: NonEmpty
    tags: list[str]
    mount: NonEmpty
    description: str | None = None
    source: Source | None = None
    target: Target | None = None
    custom_metadata: dict[str, Any] | None = None
    data_asset_ids: list[str] | None = None
    results_info: dict[str, Any] | None = None

    @model_validator(mode="after")
    def one_origin(self) -> Self:
        """An asset is made from a source or combined from other assets."""
        if (self.source is None) == (not self.data_asset_ids):
            raise ValueError("exactly one of source and data_asset_ids is needed")
        return self


class AssetChanges(BaseModel):
    """Body of ``PUT data_assets/{id}``."""

    name: NonEmpty | None = None
    description: str | None = None
    tags: list[str] | None = None
    mount: NonEmpty | None = None
    custom_metadata: dict[str, Any] | None = None


class UserPermission(BaseModel):
    """What one person may do."""

    email: NonEmpty
    role: Literal["owner", "editor", "viewer"]


class GroupPermission(BaseModel):
    """What one group may do."""

    group: NonEmpty
    role: Literal["owner", "editor", "viewer", "discoverable"]


class Permissions(BaseModel):
    """Body of ``POST data_assets/{id}/permissions``."""

    users: list[UserPermission] | None = None
    groups: list[GroupPermission] | None = None
    everyone: Literal["viewer", "discoverable", "none"] | None = None
    share_assets: bool | None = None


class FilterRange(BaseModel):
    """Bounds of a number, both included."""

    min: float
    max: float


class Filter(BaseModel):
    """A condition on one field or one key of the custom metadata."""

    key: NonEmpty
    value: str | float | None = None
    values: list[str | float] | None = None
    range: FilterRange | None = None
    exclude: bool | None = None


class Search(BaseModel):
    """Body of ``POST data_assets/search``."""

    query: str | None = None
    next_token: str | None = None
    offset: int | None = Field(None, ge=0)
    limit: int | None = Field(None, ge=1, le=1000)
    sort_field: Literal["created", "type", "name", "size"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    type: Literal["dataset", "result", "combined", "model"] | None = None
    ownership: Literal["private", "shared", "created"] | None = None
    origin: Literal["internal", "external"] | None = None
    favorite: bool | None = None
    archived: bool | None = None
    filters: list[Filter] | None = None

    @model_validator(mode="after")
    def both_or_neither(self) -> Self:
        """A sorted search names field and order."""
        if (self.sort_field is None) != (self.sort_order is None):
            raise ValueError("sort_field and sort_order go together")
        return self


class FolderPath(BaseModel):
    """Body of the requests that list files."""

    path: str = ""


class RunInput(BaseModel):
    """A data asset a computation reads."""

    id: NonEmpty
    mount: str | None = None


class NamedParameter(BaseModel):
    """A parameter by name; values are always text."""

    param_name: NonEmpty
    value: str


class ProcessParameters(BaseModel):
    """Parameters of one capsule of a pipeline."""

    name: NonEmpty
    parameters: list[str] | None = None
    named_parameters: list[NamedParameter] | None = None


class Run(BaseModel):
    """Body of ``POST computations``."""

    capsule_id: NonEmpty | None = None
    pipeline_id: NonEmpty | None = None
    version: int | None = None
    resume_run_id: str | None = None
    nextflow_profile: str | None = None
    data_assets: list[RunInput] | None = None
    parameters: list[str] | None = None
    named_parameters: list[NamedParameter] | None = None
    processes: list[ProcessParameters] | None = None

    @model_validator(mode="after")
    def exactly_one(self) -> Self:
        """A computation runs a capsule or a pipeline."""
        if (self.capsule_id is None) == (self.pipeline_id is None):
            raise ValueError("exactly one of capsule_id and pipeline_id is needed")
        return self
