"""What every task of every DAG starts from: retries, and which errors are worth one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from include.errors import PermanentError

RETRIES = 3
RETRY_DELAY = timedelta(seconds=15)
MAX_RETRY_DELAY = timedelta(minutes=10)

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "assetflow",
    "retries": RETRIES,
    "retry_delay": RETRY_DELAY,
    "retry_exponential_backoff": True,
    "max_retry_delay": MAX_RETRY_DELAY,
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception=PermanentError,
                action=RetryAction.FAIL,
                reason="a person has to change something; trying again cannot help",
            )
        ]
    ),
}
