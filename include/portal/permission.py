"""Who may start a run, in the words of Airflow's own API: its functions, called as its route calls them."""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import bearer_scheme, get_user, requires_access_dag
from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request


async def may_start(request: Request, dag_id: str) -> bool:
    """Whether the caller is known and may start runs of this DAG."""
    check_access = requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=dag_id)
    try:
        user = await get_user(request, None, await bearer_scheme(request))
        await run_in_threadpool(check_access, request, user)
    except HTTPException:
        return False
    return True
