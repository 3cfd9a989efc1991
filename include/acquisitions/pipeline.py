"""The named tasks of ``transform_and_upload_v2``, in order, and what they were called in other years.

Requests and presets may use every name of every era; :func:`canonical_task_name` turns it into today's.
Unknown names are harmless: they are kept and do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from include.assets.modality import nearest_spelling

TASKS: tuple[str, ...] = (
    "send_job_start_email",
    "check_s3_folder_exists",
    "check_source_folders_exist",
    "create_staging_folder",
    "gather_preliminary_metadata",
    "copy_derivatives_folder",
    "modality_transformation_settings",
    "compress_data",
    "gather_final_metadata",
    "check_metadata_files",
    "upload_data_to_s3",
    "register_data_asset_to_codeocean",
    "update_docdb_record",
    "codeocean_pipeline_settings",
    "run_codeocean_pipeline",
    "remove_staging_folder",
    "remove_source_folders",
    "send_job_end_email",
)

TRANSFORMATION = "modality_transformation_settings"
CODE_OCEAN_PIPELINES = "codeocean_pipeline_settings"
REMOVE_SOURCES = "remove_source_folders"

MODALITY_TASKS = frozenset({TRANSFORMATION, CODE_OCEAN_PIPELINES})
"""Their value in a request is one Task per modality abbreviation."""

MAPPED_TASKS: Mapping[str, str] = MappingProxyType({
    "compress_data": TRANSFORMATION,
    "run_codeocean_pipeline": CODE_OCEAN_PIPELINES,
})
"""Task with one instance per modality → the modality task it takes its settings from."""

SKIPPED_UNLESS_ASKED = frozenset({REMOVE_SOURCES})
"""Run only when a request or a preset says ``skip_task: false`` in so many words."""

FORMER_NAMES: Mapping[str, str] = MappingProxyType({
    "check_s3_folder_exist": "check_s3_folder_exists",
    "create_folder": "create_staging_folder",
    "make_modality_list": TRANSFORMATION,
    "compress_data/submit_job": "compress_data",
    "compress_data/monitor_job": "compress_data",
    "compress_data/monitor_compress_data": "compress_data",
    "send_codeocean_request": "register_data_asset_to_codeocean",
    "upload_metadata_nd_to_s3": "register_data_asset_to_codeocean",
    "register_data_asset": "register_data_asset_to_codeocean",
    "get_codeocean_asset_id": "update_docdb_record",
    "expand_pipelines": CODE_OCEAN_PIPELINES,
    "remove_folder": "remove_staging_folder",
})
"""Name of another era → today's."""

RETIRED: Mapping[str, str] = MappingProxyType({
    # Not a former name of check_s3_folder_exists: scripts that skip the second look still want the first.
    "final_check_s3_folder_exist": "the second look before the upload is part of upload_data_to_s3",
})
"""Task that no longer is → why nothing is missing."""


def canonical_task_name(name: str) -> str:
    """Today's name of a task; a name that no era knew is returned as it is.

    Within a task group Airflow writes a dot where the documents write a slash; both are read.
    """
    return FORMER_NAMES.get(name.replace(".", "/"), name)


def task_name_warning(name: str) -> str | None:
    """What to tell whoever used *name*; None when it is one of :data:`TASKS`."""
    if name in TASKS:
        return None
    if name in RETIRED:
        return f"tasks.{name} has no effect: {RETIRED[name]}"
    today = canonical_task_name(name)
    if today != name:
        return f"tasks.{name} is called {today} today, and was read as such"
    meant = nearest_spelling(name, TASKS)
    hint = f"; was {meant} meant?" if meant else ""
    return f"tasks.{name} is not a task of this pipeline and has no effect{hint}"
