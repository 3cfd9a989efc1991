"""What differs between deployments, read once from the environment (``ASSETFLOW_…``).

The only reader of the environment. Secrets and addresses with credentials are Airflow connections,
never settings. Only the edges (operators, hooks, portal, command line) call :func:`settings`;
inner code receives values.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

VERSION = "0.1.0"
"""Version of the project, as in pyproject.toml."""


class Settings(BaseSettings):
    """Values that differ between deployments."""

    model_config = SettingsConfigDict(env_prefix="ASSETFLOW_", frozen=True)

    # Buckets
    open_bucket: str = Field("assetflow-open-data", description="Bucket behind `s3_bucket: open`.")
    private_bucket: str = Field(
        "assetflow-private-data", description="Bucket behind `s3_bucket: private`."
    )
    default_bucket: Literal["open", "private"] = Field(
        "private", description="Which of the two buckets `s3_bucket: default` means."
    )
    runs_bucket: str = Field(
        "assetflow-runs", description="Bucket for plans, reports, receipts, journals and claims."
    )

    # Folders
    source_roots: list[Path] = Field(
        [Path("/allen/aind/scratch"), Path("/allen/aind/stage")],
        description="Source and metadata folders must lie under one of these, links resolved.",
    )
    staging_root: Path = Field(
        Path("/allen/aind/stage/assetflow"), description="Where each run prepares its asset."
    )
    environments_root: Path = Field(
        Path(".local/environments"), description="Where the job environments are built."
    )

    # Presets
    preset_prefix: str = Field(
        "/assetflow/job_types", description="Root of the presets in the parameter store."
    )

    parameter_store_connection: SecretStr | None = Field(
        None,
        validation_alias="AIRFLOW_CONN_ASSETFLOW_PARAMETER_STORE",
        description="Airflow's connection to the parameter store, for the command line; without it, "
        "the ordinary AWS configuration is used.",
    )

    # Records
    docdb_database: str = Field("metadata_index", description="DocDB database of the records.")
    docdb_collection_v1: str = Field("data_assets", description="Collection of schema-v1 records.")
    docdb_collection_v2: str = Field(
        "data_assets_v2", description="Collection of schema-v2 records."
    )

    # People
    airflow_url: str = Field(
        "http://localhost:8080", description="Address of the Airflow UI, for links in mails."
    )
    mail_from: str = Field("assetflow@localhost", description="Sender of the mails.")
    support_contact: str = Field("", description="Whom a mail about a failure points to.")

    # Commands
    command_env_file: str | None = Field(
        None, description="File behind `%ENV_FILE`: environment for commands that reach AWS."
    )

    # Uploads
    upload_workers: int = Field(16, ge=1, description="Files of one asset uploaded at a time.")
    upload_part_mib: int = Field(16, ge=5, description="Size of one part of a large file, MiB.")

    # Index runs
    index_workers: int = Field(
        16, ge=1, description="Assets that one index task looks at at a time."
    )
    index_schedule: str = Field(
        "0 * * * *",
        description="When `index_buckets` runs by itself: a cron expression in UTC; empty means never.",
    )

    # Imports into the catalog
    catalog_https_prefix: str = Field(
        "",
        description="What https addresses of files in the catalog begin with; empty means the portal's "
        "public file server.",
    )
    ingest_schedule: str = Field(
        "",
        description="When `ingest_postgres` runs by itself: a cron expression in UTC; empty means never.",
    )


@cache
def settings() -> Settings:
    """Read the environment once, on first use."""
    return Settings()
