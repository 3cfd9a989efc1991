"""Airflow's connections that a command takes: looked for before anything else is done."""

from __future__ import annotations


def require_connections(*names: str) -> None:
    """Make sure that Airflow knows these connections.

    Of an AWS connection that is missing Airflow's provider only warns, and goes on with the shell's own
    credentials: the command would work on another account's buckets.

    Raises:
        InvalidInput: those that it does not know, and the variables to set.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    from include.errors import InvalidInput, Problem

    problems = []
    for name in names:
        try:
            BaseHook.get_connection(name)
        except AirflowNotFoundException:
            fix = f"set AIRFLOW_CONN_{name.upper()}"
            problems.append(Problem(name, "", "there is no such connection", fix))
    if problems:
        raise InvalidInput(problems)
