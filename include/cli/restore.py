"""``assetflow restore RUN``: put back what an index run removed."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from include.clients.runs_bucket import RunsBucket
    from include.indexing.restore import RestoredEntry


def restore(
    run: Annotated[
        str, typer.Argument(help="Run id as Airflow shows it, or the run's key in the runs bucket.")
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would happen.")
    ] = False,
    replaced: Annotated[
        bool, typer.Option("--replaced", help="Also files that the run overwrote.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Put back the records and files that a run of index_buckets removed.

    Nothing is overwritten: a record comes back unless its location or id has one by now, a file unless there
    is one. With --replaced also files that the run overwrote, each only over what the run wrote. Of what a
    cleared run removed twice, the newest state comes back. Safe to repeat. Takes Airflow's connections
    assetflow_s3 and assetflow_docdb, as the tasks do.

    Exit code 0: all that was asked is back, or was; 1: something is not, or a journal cannot be read.
    """
    from include.assets.core_files import Generation
    from include.cli.airflow_logs import logs_to_stderr
    from include.cli.errors_shown import errors_shown
    from include.cli.needed_connections import require_connections
    from include.hooks.docdb import DocDbHook, docdb_hook
    from include.hooks.s3 import AssetStoreHook
    from include.indexing.request import DAG_ID
    from include.indexing.restore import Restored, restore_journals
    from include.settings import settings

    output = sys.stdout  # before all that is logged, and all other output, goes to standard error
    results: list[RestoredEntry] = []
    with errors_shown(), logs_to_stderr():
        require_connections(AssetStoreHook.default_conn_name, DocDbHook.default_conn_name)
        store = AssetStoreHook()
        runs_bucket = store.runs_bucket(settings().runs_bucket)
        journals = f"runs/{DAG_ID}/{find_run(runs_bucket, run)}/journal/"
        for one in restore_journals(
            list(runs_bucket.list_keys(journals)),
            runs_bucket.read,
            store.client,
            {each: docdb_hook(each).bulk for each in Generation},
            replaced=replaced,
            dry_run=dry_run,
        ):
            results.append(one)
            if not as_json:
                reason = f": {one.reason}" if one.reason else ""
                typer.echo(f"{one.outcome}: {one.kind} {one.item}{reason}", file=output)
    show_counts(results, dry_run=dry_run, as_json=as_json)
    if any(one.outcome in {Restored.DIFFERS, Restored.FAILED} for one in results):
        raise typer.Exit(1)


def find_run(runs_bucket: RunsBucket, run: str) -> str:
    """Key of the run with this id, or of this key.

    Raises:
        InvalidInput: no run has left a journal under it.
    """
    from include.assets.run_key import run_digits
    from include.errors import InvalidInput, Problem
    from include.indexing.request import DAG_ID

    keys = runs_bucket.list_folders(f"runs/{DAG_ID}/")
    found = [key for key in keys if key == run or key.endswith(f"_{run_digits(run)}")]
    if not found:
        fix = "look into the runs bucket" if keys else "no run of index_buckets has left anything"
        reason = f"no run of {DAG_ID} has this id or key; {fix}"
        raise InvalidInput([Problem(run, "", reason)])
    return found[-1]


def show_counts(results: list[RestoredEntry], *, dry_run: bool, as_json: bool) -> None:
    """How many ended how; as JSON, all of it."""
    counts = Counter(str(one.outcome) for one in results)
    if as_json:
        entries = [one.model_dump(mode="json") for one in results]
        typer.echo(json.dumps({"dry_run": dry_run, "counts": counts, "entries": entries}, indent=2))
        return
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    typer.echo(f"{'Would be: ' if dry_run else ''}{told or 'the run removed nothing'}")
