"""boto3 clients from an Airflow connection, made quickly.

``AwsBaseHook.get_conn()`` costs a task more than all else that Airflow does for it: it walks the call stack
to name the operator in the user agent, and every session reads botocore's description of the service anew.
Here the connection, its credentials, region and settings still come from the provider's hook; the user agent
is botocore's own, and the descriptions are read once per process, or once for all tasks in the process that
they are forks of.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import boto3
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
    from botocore.loaders import Loader


def make_client(hook: AwsGenericHook[Any], service: str) -> Any:
    """A client of *service*, such as ``s3``, for the connection of the hook."""
    return client_of(
        hook.get_session(),
        service,
        endpoint_url=hook.conn_config.get_service_endpoint_url(service),
        config=hook.config,
        verify=hook.verify,
    )


def client_of(session: boto3.Session, service: str, **options: Any) -> Any:
    """What ``session.client`` makes, from descriptions that all sessions share."""
    # As the provider itself does, for its asynchronous sessions only.
    session._session.register_component("data_loader", _descriptions())
    return session.client(service, **options)  # type: ignore[call-overload]


@cache
def _descriptions() -> Loader:
    import botocore.session

    loader: Loader = botocore.session.get_session().get_component("data_loader")
    return loader
