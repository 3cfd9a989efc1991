"""``assetflow records``: the collections of DocDB."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(help="Records in DocDB.", no_args_is_help=True)


@app.callback()
def records() -> None:
    """Records in DocDB."""


@app.command()
def ensure_indexes(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002  typer reads it as a flag
) -> None:
    """Let DocDB refuse a second record of one location, in the collections of both schema generations.

    Takes Airflow's connection assetflow_docdb, as the tasks do, from AIRFLOW_CONN_ASSETFLOW_DOCDB. Safe to
    run again.
    """
    from include.cli.needed_connections import require_connections
    from include.hooks.docdb import DocDbHook
    from include.settings import settings

    require_connections(DocDbHook.default_conn_name)
    deployment = settings()
    collections = (deployment.docdb_collection_v1, deployment.docdb_collection_v2)
    done = []
    for name in dict.fromkeys(collections):
        DocDbHook(deployment.docdb_database, name).client.ensure_indexes()
        done.append(f"{deployment.docdb_database}.{name}")
        if not as_json:
            typer.echo(f"{done[-1]}: one record per location")
    if as_json:
        typer.echo(json.dumps({"unique_on_location": done}, indent=2))
