"""What a person or a schedule asks of an index run: the trigger form, and its fields as one value.

The names are those of the settings of the original job where it had them. :data:`FIELDS` are keyword
arguments of Airflow's ``Param`` by name, and the only place that has the defaults.

Airflow imports this module whenever it parses the DAG.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from include.assets.core_files import Generation
from include.assets.run_settings import by_todays_names, is_filled_in, read_settings

DAG_ID = "index_buckets"

_LIMITS = "Limits"
_RARELY_NEEDED = "Rarely needed"

FIELDS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "s3_buckets": {
        "default": None,
        "type": ["array", "null"],
        "items": {"type": "string"},
        "title": "Buckets",
        "description": "One name per line. Empty: those of the preset, else the open and the private "
        "bucket of this deployment.",
    },
    "preset": {
        "default": "default",
        "type": "string",
        "title": "Preset",
        "description": "Its settings count wherever this form is left as it is.",
    },
    "lookback_days": {
        "default": 14,
        "type": ["integer", "null"],
        "minimum": 1,
        "title": "Look back",
        "description": "Days. Only records changed since then are compared with S3. Empty: all records. "
        "New folders in S3 are always looked for.",
    },
    "assets": {
        "default": None,
        "type": ["array", "null"],
        "items": {"type": "string"},
        "title": "Only these assets",
        "description": "One name per line, such as ecephys_712345_2026-11-18_09-30-00. Empty: all. With "
        "Dry run, this tells why an asset is or is not indexed.",
    },
    "dry_run": {
        "default": False,
        "type": ["boolean", "null"],
        "title": "Dry run",
        "description": "Only make the plan and show it: nothing is written to the buckets or to DocDB.",
    },
    "run_docdb_sync": {
        "default": True,
        "type": ["boolean", "null"],
        "title": "DocDB to S3",
        "description": "Write what changed in records to the files of their assets.",
    },
    "run_s3_sync": {
        "default": True,
        "type": ["boolean", "null"],
        "title": "S3 to DocDB",
        "description": "Make the records that folders lack.",
    },
    "max_removals": {
        "default": 200,
        "type": "integer",
        "minimum": 0,
        "title": "Removals at most",
        "description": "Records, and files, that one run may remove from one bucket. With more than that "
        "nothing is removed and the run is red.",
        "section": _LIMITS,
    },
    "max_removal_share": {
        "default": 0.05,
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "title": "Share removed at most",
        "description": "The same, as a share of the assets that were compared; folders that have a "
        "record, and are only looked up, do not count. Ten are always allowed.",
        "section": _LIMITS,
    },
    "schema_generations": {
        "default": ["v1"],
        "type": "array",
        "items": {"type": "string", "enum": [*Generation]},
        "examples": [*Generation],
        "values_display": {
            "v1": "v1: nine core files, collection data_assets",
            "v2": "v2: eight core files, collection data_assets_v2",
        },
        "title": "Schema generations",
        "description": "Each has a collection of its own. Assets with a record of another generation are "
        "left alone.",
        "section": _RARELY_NEEDED,
    },
    "full_pass_days": {
        "default": 7,
        "type": ["integer", "null"],
        "minimum": 1,
        "title": "Full pass every",
        "description": "Days. A scheduled run looks at all records when the last run that did so is longer "
        "ago. Empty: never.",
        "section": _RARELY_NEEDED,
    },
    "n_partitions": {
        "default": 20,
        "type": "integer",
        "minimum": 1,
        "maximum": 200,
        "title": "Shares",
        "description": "Tasks that the records of a generation, and the folders, of a bucket are shared out "
        "to. None gets fewer than 500 records or 1,000 folders, or more than 10,000; above 200,000 there "
        "are more tasks.",
        "section": _RARELY_NEEDED,
    },
    "copy_original_md_subdir": {
        "default": "original_metadata",
        "type": "string",
        "title": "Copy folder",
        "description": "Folder of an asset in which the dated copies are.",
        "section": _RARELY_NEEDED,
    },
    "insert_built_records": {
        "default": True,
        "type": ["boolean", "null"],
        "title": "Insert built records",
        "description": "Put the record of a new derived asset into DocDB at once; else only its "
        "metadata.nd.json is written.",
        "section": _RARELY_NEEDED,
    },
})
"""Name → keyword arguments of its Param."""

ALIASES: Mapping[str, str] = MappingProxyType({"s3_bucket": "s3_buckets"})
"""What the original's job for one bucket calls it."""

NULLABLE = frozenset({"lookback_days", "full_pass_days"})
"""Where null means something: no limit."""

ELSEWHERE = MappingProxyType({
    "doc_db_host": "the address is Airflow's connection assetflow_docdb",
    "doc_db_db_name": "the database is the setting ASSETFLOW_DOCDB_DATABASE",
    "doc_db_collection_name": "the collections are ASSETFLOW_DOCDB_COLLECTION_V1 and …_V2",
    "metadata_nd_overwrite": "metadata.nd.json always follows the record",
})
"""Settings of the original job that are said in other places here."""


class IndexRequest(BaseModel):
    """An index run, as it was asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    s3_buckets: list[str] = Field(min_length=1)
    preset: str = "default"
    lookback_days: int | None = Field(ge=1)
    assets: list[str] = []
    dry_run: bool
    run_docdb_sync: bool
    run_s3_sync: bool
    max_removals: int = Field(ge=0)
    max_removal_share: float = Field(ge=0, le=1)
    schema_generations: list[Generation] = Field(min_length=1)
    full_pass_days: int | None = Field(ge=1)
    n_partitions: int = Field(ge=1, le=200)
    copy_original_md_subdir: str
    insert_built_records: bool

    @field_validator("schema_generations", mode="before")
    @classmethod
    def _read_generations(cls, value: Any) -> Any:
        known = [*Generation]
        if not isinstance(value, list):
            return value
        if wrong := [one for one in value if one not in known]:
            raise ValueError(f"no such generation: {wrong[0]!r}; there are {', '.join(known)}")
        return [Generation(one) for one in dict.fromkeys(value)]

    @field_validator("copy_original_md_subdir")
    @classmethod
    def _read_folder(cls, value: str) -> str:
        folder = value.strip("/")
        if not folder or {"", ".", ".."} & set(folder.split("/")):
            raise ValueError("must be the name of a folder, such as original_metadata")
        return folder

    @field_validator("s3_buckets", "assets")
    @classmethod
    def _read_names(cls, value: list[str]) -> list[str]:
        for name in value:
            if not name.strip() or "/" in name:
                raise ValueError(f"{name!r} is no name: give it without s3:// and slashes")
        return list(dict.fromkeys(name.strip() for name in value))

    @model_validator(mode="after")
    def _check_switches(self) -> IndexRequest:
        if not self.run_docdb_sync and not self.run_s3_sync:
            raise ValueError("run_docdb_sync and run_s3_sync are both off: nothing is left to do")
        return self


def defaults() -> dict[str, Any]:
    """Field → default."""
    return {name: field["default"] for name, field in FIELDS.items()}


def read_request(params: Mapping[str, Any], *, usual_buckets: Iterable[str]) -> IndexRequest:
    """The request that a run's settings make, whoever gave them.

    Args:
        params: settings by name; what is left out or null has its default.
        usual_buckets: meant when none are named.

    Raises:
        InvalidInput: all that is wrong.
    """
    given = by_todays_names(params, ALIASES)
    chosen = defaults()
    for name, value in given.items():
        if name in FIELDS and (name in NULLABLE or is_filled_in(value, chosen[name])):
            chosen[name] = value
    chosen["s3_buckets"] = chosen["s3_buckets"] or list(usual_buckets)
    chosen["assets"] = chosen["assets"] or []
    return read_settings(
        IndexRequest, chosen, dag_id=DAG_ID, given=given, known=FIELDS, elsewhere=ELSEWHERE
    )
