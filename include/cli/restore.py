"""``assetflow restore RUN``: put back what an index run removed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

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
    is one. With --replaced also files that the run overwrote, each only over what the run wrote. Safe to
    repeat. Takes Airflow's connections assetflow_s3 and assetflow_docdb, as the tasks do.

    Exit code 0: all that was asked is back, or was; 1: something is not.
    """
    from include.assets.core_files import Generation
    from include.cli.airflow_logs import logs_to_stderr
    from include.cli.errors_shown import errors_shown
    from include.hooks.docdb import docdb_hook
    from include.hooks.s3 import AssetStoreHook
    from include.indexing.restore import Restored
    from include.indexing.restore import restore as restore_entries
    from include.settings import settings

    with errors_shown(), logs_to_stderr():
        store = AssetStoreHook()
        runs_bucket = store.runs_bucket(settings().runs_bucket)
        results = restore_entries(
            journalled(runs_bucket, find_run(runs_bucket, run)),
            store.client,
            {one: docdb_hook(one).bulk for one in Generation},
            replaced=replaced,
            dry_run=dry_run,
        )
    show(results, dry_run=dry_run, as_json=as_json)
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


def journalled(runs_bucket: RunsBucket, run_key: str) -> Iterator[dict[str, Any]]:
    """Entries of all journals of a run, one journal in memory at a time."""
    from include.indexing.request import DAG_ID

    for key in runs_bucket.list_keys(f"runs/{DAG_ID}/{run_key}/journal/"):
        yield from runs_bucket.read(key)


def show(results: list[RestoredEntry], *, dry_run: bool, as_json: bool) -> None:
    """One line per record and file, then the counts."""
    counts = Counter(str(one.outcome) for one in results)
    if as_json:
        entries = [one.model_dump(mode="json") for one in results]
        typer.echo(json.dumps({"dry_run": dry_run, "counts": counts, "entries": entries}, indent=2))
        return
    for one in results:
        typer.echo(
            f"{one.outcome}: {one.kind} {one.item}" + (f": {one.reason}" if one.reason else "")
        )
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    typer.echo(f"{'Would be: ' if dry_run else ''}{told or 'the run removed nothing'}")
