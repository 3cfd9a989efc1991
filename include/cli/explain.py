"""``assetflow explain s3://bucket/asset``: what an index run would do about one asset, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from include.indexing.request import IndexRequest


def explain(
    location: Annotated[str, typer.Argument(help="Where the asset is: s3://bucket/name.")],
    *,
    preset: Annotated[
        str, typer.Option(help="Preset of index_buckets whose settings count.")
    ] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say what a run of index_buckets would do about one asset, and why; nothing is written.

    Looks into S3 and into the collections of both schema generations, whatever a preset says about them.
    Takes Airflow's connections assetflow_s3 and assetflow_docdb, as the tasks do, and for the preset
    assetflow_parameter_store: where that cannot be read, the defaults count, and a line says so.

    Exit code 0: in step, or an asset that gets no record; 1: something is to be done, or went wrong.
    """
    from include.assets.core_files import Generation
    from include.assets.location import AssetLocation
    from include.cli.airflow_logs import logs_to_stderr
    from include.cli.errors_shown import errors_shown
    from include.cli.needed_connections import require_connections
    from include.hooks.docdb import DocDbHook, docdb_hook
    from include.hooks.s3 import AssetStoreHook
    from include.indexing.prefixes import PrefixSync
    from include.indexing.records import RecordSync
    from include.indexing.report import Half, Line, Outcome, Slice
    from include.indexing.workplace import Workplace

    with errors_shown(), logs_to_stderr():
        place = AssetLocation.parse(location)
        require_connections(AssetStoreHook.default_conn_name, DocDbHook.default_conn_name)
        request = read_preset(preset, place.bucket)
        hook = AssetStoreHook()
        at = Workplace(
            bucket=place.bucket,
            store=hook.client,
            lister=hook.folders(place.bucket),
            journal=lambda _: None,
            copy_folder=request.copy_original_md_subdir,
            dry_run=True,
        )
        collections = {one: docdb_hook(one).bulk for one in Generation}
        one = Slice(bucket=place.bucket, half=Half.RECORDS, number=0, size=1)
        lines: list[Line] = []
        held = [found for found in collections if collections[found].known_locations([place])]
        for generation in held:
            elder = collections[Generation.V1] if generation is Generation.V2 else None
            sync = RecordSync(at, generation, collections[generation], elder=elder)
            lines += sync.run(one, [str(place)]).lines
        if not held:
            sync_new = PrefixSync(
                at,
                collections,
                generations=list(Generation),
                insert_built=request.insert_built_records,
            )
            lines += sync_new.run(one, [place.name]).lines
    if as_json:
        found = [line.model_dump(mode="json") for line in lines]
        typer.echo(json.dumps({"records": held, "lines": found}, indent=2))
    else:
        of = " and ".join(f"generation {generation}" for generation in held)
        typer.echo(f"{place}: " + (f"has a record of {of}" if held else "has no record"))
        for line in lines:
            for step in line.steps:
                typer.echo(f"  would {step}")
            if line.reason:
                typer.echo(f"  {line.reason}")
        if held and not lines:
            typer.echo("  in step: every file says what the record says")
    if any(line.steps or line.outcome is Outcome.FAILED for line in lines):
        raise typer.Exit(1)


def read_preset(name: str, bucket: str) -> IndexRequest:
    """The settings that a scheduled run with this preset would have.

    Raises:
        InvalidInput: there is no such preset, or it cannot be used.
    """
    from include.acquisitions.presets import load_dag_preset, merge_params
    from include.clients.parameter_store import ParameterStore, connect
    from include.errors import AssetflowError, InvalidInput
    from include.indexing.request import DAG_ID, FIELDS, NULLABLE, defaults, read_request
    from include.settings import settings

    given: dict[str, object] = {}
    connection = settings().parameter_store_connection
    why = "" if connection else "there is no AIRFLOW_CONN_ASSETFLOW_PARAMETER_STORE"
    if connection:
        prefix = settings().preset_prefix.rstrip("/")
        try:
            store = ParameterStore(connect(connection.get_secret_value()))
            given = load_dag_preset(store, prefix, DAG_ID, name, known_params=list(FIELDS))
        except InvalidInput:
            raise
        except AssetflowError as error:
            why = f"{type(error).__name__}: {error}"
    if why:
        told = f"preset {name} was not read, so the defaults count: {why}"
        typer.secho(told, fg="yellow", err=True)
    merged = merge_params(given, {}, defaults(), nullable=NULLABLE)
    return read_request(merged, usual_buckets=[bucket])
