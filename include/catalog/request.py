"""What a person or a schedule asks of an import: the trigger form, and its fields as one value.

The names are those of the original's command line and batch tool. :data:`FIELDS` are keyword arguments of
Airflow's ``Param`` by name, and the only place that has the defaults.

Airflow imports this module whenever it parses the DAG.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from include.assets.run_settings import by_todays_names, is_filled_in, read_settings
from include.catalog.parts import ALWAYS, PARTS, with_needed

DAG_ID = "ingest_postgres"

PART_FIELDS: Mapping[str, str] = MappingProxyType({f"import_{part}": part for part in PARTS})
"""Field of the form → part of an import."""

_PARTS = "Parts"
_LIMITS = "Limits"
_RARELY_NEEDED = "Rarely needed"

_NAMES = {"default": None, "type": ["array", "null"], "items": {"type": "string"}}
_SWITCH = {"default": False, "type": ["boolean", "null"]}


def _part_field(part: str) -> dict[str, Any]:
    """A part's switch, with what it brings along."""
    needed = with_needed([part]) - ALWAYS - {part}
    brought = ", ".join(PARTS[one] for one in PARTS if one in needed)
    description = f"Also imports what they stand on: {brought}." if brought else ""
    title = PARTS[part].capitalize()
    return {**_SWITCH, "title": title, "description": description, "section": _PARTS}


FIELDS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "s3_bucket": {
        "default": None,
        "type": ["string", "null"],
        "title": "Bucket",
        "description": "Its name, without s3://. Empty: that of the preset, else the open bucket of this "
        "deployment.",
    },
    "preset": {
        "default": "default",
        "type": "string",
        "title": "Preset",
        "description": "Its settings count wherever this form is left as it is.",
    },
    "filter_datasets": {
        **_NAMES,
        "title": "Only these datasets",
        "description": "One name per line, such as 10002. Empty: all.",
    },
    "s3_prefix": {
        "default": "",
        "type": ["string", "null"],
        "title": "Datasets beginning with",
        "description": "What names of datasets start with. With a slash at its end (30001/) it is the whole "
        "name.",
    },
    "match_datasets": {
        **_NAMES,
        "title": "Datasets that match",
        "description": "Regular expressions, one per line, that match at the start of a name. Empty: all.",
    },
    "exclude_datasets": {
        **_NAMES,
        "title": "Datasets left out",
        "description": "Regular expressions, one per line, that match at the start of a name.",
    },
    "deposition_ids": {
        "default": None,
        "type": ["array", "null"],
        "items": {"type": "integer"},
        "title": "Depositions",
        "description": "Numbers of depositions that are imported, before the datasets. Depositions without a "
        "row that a dataset names are imported in any case.",
    },
    "dry_run": {
        **_SWITCH,
        "title": "Dry run",
        "description": "Only count what would be created, updated and deleted: nothing is written to the "
        "database.",
    },
    "import_everything": {
        "default": None,
        "type": ["boolean", "null"],
        "title": "Everything",
        "description": "All parts. Left as it is, the preset decides, unless parts are chosen below: then "
        "only those are imported. Off, without parts: rows of datasets only.",
        "section": _PARTS,
    },
    **{field: _part_field(part) for field, part in PART_FIELDS.items()},
    "import_depositions": {
        **_SWITCH,
        "title": "Depositions named above",
        "description": "They are imported with or without it; without any it does nothing.",
        "section": _PARTS,
    },
    "max_deleted_rows": {
        "default": 20_000,
        "type": "integer",
        "minimum": 0,
        "title": "Rows deleted at most",
        "description": "Of one dataset. When more would go none do, and the dataset is red.",
        "section": _LIMITS,
    },
    "max_deleted_share": {
        "default": 0.3,
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "title": "Share deleted at most",
        "description": "The same, as a share of the rows that the dataset has. A thousand are allowed by it "
        "in any case; all runs of a dataset only with 1.",
        "section": _LIMITS,
    },
    "https_prefix": {
        "default": None,
        "type": ["string", "null"],
        "title": "Address of the files",
        "description": "What the https addresses in the rows begin with. Empty: the setting "
        "ASSETFLOW_CATALOG_HTTPS_PREFIX, else the portal's public file server.",
        "section": _RARELY_NEEDED,
    },
    "anonymous": {
        **_SWITCH,
        "title": "Anonymous",
        "description": "Read the bucket without credentials, as anybody can read a public one.",
        "section": _RARELY_NEEDED,
    },
})
"""Name → keyword arguments of its Param."""

ALIASES: Mapping[str, str] = MappingProxyType({
    "filter_dataset": "filter_datasets",
    "include_dataset": "filter_datasets",
    "include_datasets": "filter_datasets",
    "exclude_dataset": "exclude_datasets",
    "deposition_id": "deposition_ids",
})
"""What the original's two tools call a list, or one entry of it."""

_CONNECTION = "the database is Airflow's connection assetflow_postgres"

ELSEWHERE: Mapping[str, str] = MappingProxyType({
    "postgres_url": _CONNECTION,
    **{
        f"PLATFORMICS_DATABASE_{part}": _CONNECTION
        for part in ("USER", "PASSWORD", "HOST", "PORT", "NAME")
    },
    "endpoint_url": "the address of S3 is in the extra of Airflow's connection assetflow_s3",
    "debug": "the level of the logs is Airflow's option AIRFLOW__LOGGING__LOGGING_LEVEL",
    "environment": "which bucket it is says s3_bucket, which database the connection assetflow_postgres",
    "ecr_repo": "the code is that of this deployment",
    "ecr_tag": "the code is that of this deployment",
    "memory": "a task has what its worker has",
    "parallelism": "how many datasets are imported at once is said in dags/ingest_postgres.py",
})
"""Settings of the original that are said in other places here."""


class IngestRequest(BaseModel):
    """An import, as it was asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    s3_bucket: str
    preset: str = "default"
    https_prefix: str = ""
    s3_prefix: str = ""
    filter_datasets: list[str] = []
    match_datasets: list[str] = []
    exclude_datasets: list[str] = []
    deposition_ids: list[Annotated[int, Field(ge=1, lt=2**31)]] = []
    import_everything: bool
    import_dataset_authors: bool
    import_dataset_funding: bool
    import_runs: bool
    import_frame_acquisition_files: bool
    import_frames: bool
    import_gains: bool
    import_tiltseries: bool
    import_alignments: bool
    import_identified_objects: bool
    import_tomogram_voxel_spacing: bool
    import_tomograms: bool
    import_tomogram_authors: bool
    import_annotations: bool
    import_annotation_authors: bool
    import_annotation_method_links: bool
    import_depositions: bool
    anonymous: bool
    max_deleted_rows: int = Field(ge=0)
    max_deleted_share: float = Field(ge=0, le=1)
    dry_run: bool

    @field_validator("s3_bucket")
    @classmethod
    def _read_bucket(cls, value: str) -> str:
        name = value.strip()
        if not name or "/" in name:
            raise ValueError(f"{value!r} is no name: give it without s3:// and slashes")
        return name

    @field_validator("https_prefix")
    @classmethod
    def _read_address(cls, value: str) -> str:
        address = value.strip().rstrip("/")
        if address and not re.match("https?://[^/]", address):
            raise ValueError(f"{value!r} is no address: it begins with https://")
        return address

    @field_validator("s3_prefix")
    @classmethod
    def _read_prefix(cls, value: str) -> str:
        if value == "/" or "/" in value.removesuffix("/"):
            raise ValueError(f"{value!r} is not the beginning of a name at the top of the bucket")
        return value

    @field_validator("filter_datasets")
    @classmethod
    def _read_names(cls, value: list[str]) -> list[str]:
        names = [name.strip().removesuffix("/") for name in value]
        for given, name in zip(value, names, strict=True):
            if not name or "/" in name:
                raise ValueError(f"{given!r} is not the name of one dataset, such as 10002")
        return list(dict.fromkeys(names))

    @field_validator("match_datasets", "exclude_datasets")
    @classmethod
    def _read_expressions(cls, value: list[str]) -> list[str]:
        for one in value:
            try:
                re.compile(f"(?:{one})")
            except re.error as error:
                raise ValueError(f"{one!r} is no regular expression: {error}") from error
        return value

    @field_validator("deposition_ids")
    @classmethod
    def _read_ids(cls, value: list[int]) -> list[int]:
        return list(dict.fromkeys(value))

    @property
    def excluded(self) -> list[str]:
        """Expressions of all names to leave out: also of those that match nothing asked for."""
        if not self.match_datasets:
            return self.exclude_datasets
        wanted = "|".join(f"(?:{one})" for one in self.match_datasets)
        return [*self.exclude_datasets, f"(?!{wanted})"]

    @property
    def parts(self) -> frozenset[str]:
        """What is imported: parts asked for, what they need, and what every import has."""
        if self.import_everything:
            return with_needed(PARTS)
        return with_needed(part for field, part in PART_FIELDS.items() if getattr(self, field))


def defaults() -> dict[str, Any]:
    """Field → default."""
    return {name: field["default"] for name, field in FIELDS.items()}


def preset_that_counts(preset: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The preset below these settings: whoever chooses parts does not get everything for it."""
    chooses = any(params.get(field) for field in PART_FIELDS)
    left_out = {"import_everything"} if chooses else set()
    return {name: value for name, value in preset.items() if name not in left_out}


def read_request(
    params: Mapping[str, Any], *, usual_bucket: str, usual_https_prefix: str = ""
) -> IngestRequest:
    """The request that a run's settings make, whoever gave them.

    Args:
        params: settings by name; what is left out or null has its default.
        usual_bucket: meant when none is named.
        usual_https_prefix: meant when no address is named.

    Raises:
        InvalidInput: all that is wrong.
    """
    given = by_todays_names(params, ALIASES)
    usual = {
        "s3_bucket": usual_bucket,
        "https_prefix": usual_https_prefix,
        "import_everything": False,
        **{name: [] for name, field in FIELDS.items() if "items" in field},
    }
    filled_in = {
        name: value
        for name, value in given.items()
        if name in FIELDS and is_filled_in(value, FIELDS[name]["default"])
    }
    chosen = {**defaults(), **usual, **filled_in}
    return read_settings(
        IngestRequest, chosen, dag_id=DAG_ID, given=given, known=FIELDS, elsewhere=ELSEWHERE
    )
