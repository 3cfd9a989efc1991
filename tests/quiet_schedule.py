"""Keeps the scheduled runs of a test stack away from what the tests work on."""

from __future__ import annotations

import json

from include.indexing.request import DAG_ID
from include.local.seed import push_presets
from include.local.stack import LocalStack

QUIET_BUCKET = "nothing-to-index"


def push_quiet_presets(stack: LocalStack) -> None:
    """The project's presets, but the hourly index run looks at an empty bucket.

    A full hour may strike while a test compares what a run has left in the ordinary buckets.
    """
    push_presets(stack)
    if stack.parameter_store not in stack.services:
        return
    stack.s3.make_bucket(QUIET_BUCKET)
    name = f"{stack.deployment.preset_prefix}/{DAG_ID}/default"
    client = stack.parameter_store.client()
    stored = json.loads(client.get_parameter(Name=name)["Parameter"]["Value"])
    quiet = json.dumps({**stored, "s3_buckets": [QUIET_BUCKET]})
    client.put_parameter(Name=name, Value=quiet, Type="String", Overwrite=True)
