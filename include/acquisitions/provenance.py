"""The plan of the run that made an asset, kept with the asset; and whose upload a target holds.

``.assetflow/plan.json`` is the first object of an upload: whatever is under the location without it,
or with another run's plan, was not uploaded by this run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol

from include.acquisitions.plan import RunPlan
from include.assets.location import AssetLocation
from include.assets.stored_object import StoredObject
from include.errors import AssetExists, NotFound

PLAN_NAME = ".assetflow/plan.json"
"""Key of the plan below the asset's prefix."""


class TargetStore(Protocol):
    """What looking at the target of an upload needs of S3."""

    def iterate_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]: ...
    def read_json(self, bucket: str, key: str) -> Any: ...


class TargetState(StrEnum):
    """What is under the location before an upload."""

    EMPTY = "empty"
    OWN_UPLOAD = "this run's own earlier upload"


def check_target(store: TargetStore, location: AssetLocation, run_key: str) -> TargetState:
    """What lies under *location*; this run's own upload of an earlier try is no obstacle.

    Nor is a plan by itself: that run failed before its first file.

    Raises:
        AssetExists: something else is there.
    """
    found = islice(store.iterate_objects(location.bucket, location.key_prefix), 2)
    if {stored.key for stored in found} <= {f"{location.key_prefix}{PLAN_NAME}"}:
        return TargetState.EMPTY
    if uploaded_by(store, location) == run_key:
        return TargetState.OWN_UPLOAD
    raise AssetExists(
        f"{location} already exists; to upload what differs into it, set "
        "tasks.check_s3_folder_exists.skip_task (force_cloud_sync in the form)"
    )


def uploaded_by(store: TargetStore, location: AssetLocation) -> str | None:
    """Key of the run whose plan lies with the asset; None when no plan does."""
    try:
        plan = store.read_json(location.bucket, f"{location.key_prefix}{PLAN_NAME}")
    except NotFound:
        return None
    return str(plan["run_key"]) if isinstance(plan, dict) and "run_key" in plan else None


def plan_text(plan: RunPlan, *, is_public: bool = True) -> bytes:
    """The plan as it is kept; the same plan gives the same bytes.

    Args:
        plan: the run.
        is_public: whether anybody may read the asset; then it does not say whom the mails go to.
            The careful answer unless told otherwise.
    """
    return json.dumps(plan.shown(is_public=is_public), indent=3, sort_keys=True).encode()
