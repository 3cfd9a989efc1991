"""Make tasks quick: import once what all of them use, and see at once that one has ended.

Airflow reads this file at the start of each of its processes. Tasks are forks of the two processes named
below and inherit what these have imported; a task that begins with boto3, pymongo and the operators in
place takes a seventh of the processor time. The other processes need none of it.

Only imports and clients without connections: nothing here may start a thread, open a connection or a
runtime of its own, because none of these survive a fork. An edit of a module below reaches the tasks when
the scheduler is started again.
"""

from __future__ import annotations

import sys
from typing import Any

PROCESSES_WITH_TASKS = ("scheduler", "celery")

LIBRARIES = (
    # What Airflow itself imports no sooner than in a task.
    "airflow.dag_processing.bundles.local",
    "airflow.providers.standard.operators.empty",
    "airflow.sdk.bases.sensor",
    "airflow.sdk.definitions.retry_policy",
    "airflow.sdk.execution_time.cache",
    "jinja2.debug",
    "jinja2.ext",
    # What the operators use.
    "_strptime",
    "aind_data_schema.core.metadata",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.amazon.aws.hooks.ssm",
    "airflow.providers.mongo.hooks.mongo",
    "airflow.providers.smtp.hooks.smtp",
    "awscrt.checksums",
    "codeocean",
    "httpx",
    "obstore.auth.boto3",
    "obstore.store",
    "pymongo",
    # Our own beside the packages below.
    "include.defaults",
    "include.transformations.environments",
)

PACKAGES = (
    "assets", "acquisitions", "indexing", "clients", "hooks", "operators", "triggers", "notifiers",
)  # fmt: skip
"""Folders of `include` whose every module is imported."""

AWS_SERVICES = ("s3", "ssm")
"""Whose descriptions botocore reads."""

EXIT_WAIT_S = 0.02


def preload() -> None:
    """Import the libraries and this project's own code; make botocore read its service descriptions."""
    import importlib
    import pkgutil

    import boto3

    import include

    for library in LIBRARIES:
        importlib.import_module(library)
    for package in PACKAGES:
        folders = [f"{path}/{package}" for path in include.__path__]
        for module in pkgutil.walk_packages(folders, prefix=f"include.{package}."):
            importlib.import_module(module.name)

    from include.hooks.aws import client_of

    session = boto3.Session("-", "-", region_name="us-west-2")
    for service in AWS_SERVICES:
        client_of(session, service)


def see_exits_at_once(supervisor: Any) -> bool:
    """Let the supervisor of a task look for its exit every 20 ms once the task has closed its pipes.

    Without this it may sleep for ``[workers] min_heartbeat_interval`` before it looks: the slot stays taken,
    and a task that failed or was skipped counts as running, for up to a second.

    Args:
        supervisor: Airflow's module of that name.

    Returns:
        False, and nothing done, where the supervisor is not built as this expects.
    """
    import inspect
    from functools import wraps

    watched: Any = getattr(supervisor, "WatchedSubprocess", None)
    look = getattr(watched, "_service_subprocess", None)
    fields = {field.name for field in getattr(watched, "__attrs_attrs__", ())}
    if look is None or "_open_sockets" not in fields:
        return False
    if "max_wait_time" not in inspect.signature(look).parameters:
        return False

    @wraps(look)
    def look_soon(self: Any, max_wait_time: float, *arguments: Any, **options: Any) -> Any:
        if not self._open_sockets:
            max_wait_time = min(max_wait_time, EXIT_WAIT_S)
        return look(self, max_wait_time, *arguments, **options)

    watched._service_subprocess = look_soon  # there is no setting for it
    return True


if sys.argv[1:2] and sys.argv[1] in PROCESSES_WITH_TASKS:
    preload()

    from airflow.sdk.execution_time import supervisor

    see_exits_at_once(supervisor)
