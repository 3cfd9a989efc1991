"""``assetflow presets``: load the seed folder into the parameter store, and see what is there."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.cli.errors_shown import errors_shown
from include.errors import InvalidInput

if TYPE_CHECKING:
    from include.acquisitions.preset_changes import DagParams

app = typer.Typer(
    name="presets",
    help="Default settings of job types, in the parameter store.",
    no_args_is_help=True,
)

SEED_FOLDER = Path(__file__).parents[2] / "presets"

Folder = Annotated[
    Path, typer.Argument(help="Folder in the shape of the store.", show_default="presets")
]
Prefix = Annotated[
    str | None, typer.Option(help="Root of the presets in the store; default: from the settings.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command()
def push(
    folder: Folder = SEED_FOLDER,
    *,
    dry_run: Annotated[bool, typer.Option(help="Only show what would change.")] = False,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Store the presets of a folder that are new or differ; nothing is removed.

    All of them are checked first, and one that cannot be used keeps every other from being stored.
    """
    from include.acquisitions.preset_changes import check_tree, compare_trees
    from include.clients.parameter_store import unstorable

    with errors_shown():
        root = _prefix(prefix)
        wanted = _folder_tree(folder, root)
        problems = check_tree(wanted, root, _dags())
        problems += [found for key, text in wanted.items() for found in unstorable(key, text)]
        if problems:
            raise InvalidInput(problems)
        store = _store()
        changes = compare_trees(wanted, store.read_tree(root))
        if not dry_run:
            for key, text in changes.to_write.items():
                store.write(key, text)
        _show_changes(changes, dry_run=dry_run, as_json=as_json)


@app.command()
def diff(folder: Folder = SEED_FOLDER, *, prefix: Prefix = None, as_json: AsJson = False) -> None:
    """Show how a folder differs from the store; what looks like a secret is hidden on both sides.

    Exit code 1: a preset of the folder is not in the store, or is another there, so that a push would write;
    0: none is. Presets that are only in the store are listed and do not count, since a push leaves them.
    """
    from include.acquisitions.preset_changes import compare_trees, diff_text

    with errors_shown():
        root = _prefix(prefix)
        wanted = _folder_tree(folder, root)
        stored = _store().read_tree(root)
        changes = compare_trees(wanted, stored)
        diffs = {
            key: diff_text(key, stored.get(key, ""), text) for key, text in changes.to_write.items()
        }
    if as_json:
        typer.echo(json.dumps({"diffs": diffs, "only_in_store": changes.only_in_store}, indent=2))
    else:
        for text in diffs.values():
            typer.echo(text)
        for key in changes.only_in_store:
            typer.echo(f"only in the store: {key}")
    if diffs:
        raise typer.Exit(1)


@app.command("list")
def list_presets(*, prefix: Prefix = None, as_json: AsJson = False) -> None:
    """List the job types, with how many presets each has."""
    from include.acquisitions.presets import LAYOUT, PresetKey

    with errors_shown():
        root = _prefix(prefix)
        keys = (PresetKey.parse(key, root) for key in _store().read_tree(f"{root}/{LAYOUT}"))
        counts = Counter(key.job_type for key in keys if key)
    if as_json:
        typer.echo(json.dumps(dict(sorted(counts.items())), indent=2))
        return
    rows = [[job_type, str(count)] for job_type, count in sorted(counts.items())]
    _show_table("Job type", "Presets", rows=rows)


@app.command()
def show(
    job_type: Annotated[str, typer.Argument(help="Such as `ecephys`.")],
    *,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Show the presets that a job type uses, those of `default` among them."""
    from include.acquisitions.presets import load_job_type
    from include.acquisitions.secret_settings import hide_secrets

    with errors_shown():
        presets = load_job_type(_store(), _prefix(prefix), job_type)
    effective = {**presets.fallback, **presets.own}
    shown: dict[str, Any] = {
        preset.key: hide_secrets(preset.task.given)
        for _, preset in sorted(effective.items(), key=lambda entry: str(entry[0]))
    }
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    for key, settings in shown.items():
        typer.secho(key, bold=True)
        typer.echo(json.dumps(settings, indent=2))
    for warning in presets.warnings:
        typer.secho(warning, fg="yellow", err=True)


def _dags() -> dict[str, DagParams]:
    """What the presets of the other DAGs may hold."""
    from include.acquisitions.preset_changes import DagParams
    from include.catalog import request as ingest
    from include.indexing import request as index

    any_bucket = "any-bucket"
    return {
        index.DAG_ID: DagParams(
            index.FIELDS, lambda params: index.read_request(params, usual_buckets=[any_bucket])
        ),
        ingest.DAG_ID: DagParams(
            ingest.FIELDS, lambda params: ingest.read_request(params, usual_bucket=any_bucket)
        ),
    }


def _prefix(given: str | None) -> str:
    from include.settings import settings

    return (given or settings().preset_prefix).rstrip("/")


def _store() -> Any:
    from include.clients.parameter_store import ParameterStore, connect
    from include.settings import settings

    connection = settings().parameter_store_connection
    return ParameterStore(connect(connection.get_secret_value() if connection else None))


def _folder_tree(folder: Path, prefix: str) -> dict[str, str]:
    from include.clients.parameter_store import FolderPresets

    return FolderPresets(folder, prefix).read_tree(prefix)


def _show_changes(changes: Any, *, dry_run: bool, as_json: bool) -> None:
    kinds = {
        "created": list(changes.created),
        "updated": list(changes.updated),
        "unchanged": list(changes.unchanged),
        "only in store": list(changes.only_in_store),
    }
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, **kinds}, indent=2))
        return
    _show_table(
        "Preset",
        "Would be" if dry_run else "",
        rows=[[key, kind] for kind in kinds for key in kinds[kind]],
    )
    typer.echo(", ".join(f"{len(keys)} {kind}" for kind, keys in kinds.items()))


def _show_table(*headings: str, rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings)
    for row in sorted(rows):
        table.add_row(*row)
    Console(soft_wrap=True).print(table)
