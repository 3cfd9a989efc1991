"""``assetflow local``: the embedded servers and Airflow on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from include.local.airflow import Airflow
    from include.local.stack import LocalStack, ProcessStatus

app = typer.Typer(
    help="Embedded S3, DocDB, PostgreSQL, parameter store, mail, stand-ins, and Airflow.",
    no_args_is_help=True,
)

Root = Annotated[
    Path | None,
    typer.Option(
        "--root", help="Folder of the stack: data, logs, ports, passwords. [default: .local]"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.command()
def up(
    root: Root = None,
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once all is ready; stop with `down`.")
    ] = False,
    airflow: Annotated[bool, typer.Option(help="Run Airflow too.")] = True,
    dags_folder: Annotated[
        Path | None, typer.Option(help="DAG files. [default: the project's dags/]")
    ] = None,
    source_root: Annotated[
        list[Path] | None,
        typer.Option(help="Where acquisitions may lie; may be repeated. [default: <root>/lab]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start everything and keep it running until Ctrl-C.

    Starting what runs already changes nothing. Exit code 1: a part did not start, or ended too often; the
    end of its log is shown. Exit code 130: interrupted before all was ready. What this command started is
    stopped again in each case.
    """
    import signal
    import threading
    from functools import partial

    from include.local.stack import DEFAULT_ROOT, LocalStack
    from include.local.supervision import supervise

    # Asked to end while it starts: stop what was started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = LocalStack(
        root or DEFAULT_ROOT,
        airflow=airflow,
        dags_folder=dags_folder.resolve() if dags_folder else None,
        source_roots=[folder.resolve() for folder in source_root] if source_root else None,
    )
    is_ready = False
    try:
        stack.up()
        is_ready = True
        show(stack.status(), as_json=as_json)
        if stack.airflow and not as_json:
            show_way_in(stack, stack.airflow)
        if detach:
            return
        # Standard output is for what was asked: with --json, one document.
        tell = partial(typer.echo, err=True)
        supervise(stack.parts, threading.Event(), stack.restart, tell)
    except KeyboardInterrupt as interrupt:
        typer.echo("stopping", err=True)
        if not is_ready:
            raise typer.Exit(130) from interrupt
    finally:
        if is_ready and not detach:
            stack.down()


@app.command()
def down(root: Root = None) -> None:
    """Stop everything that runs under the root; what was stored stays."""
    from include.local.stack import DEFAULT_ROOT, LocalStack

    LocalStack(root or DEFAULT_ROOT).down()


@app.command()
def status(root: Root = None, *, as_json: AsJson = False) -> None:
    """Show every process: state, pid, ports, memory. Exit code 3: not all of them are ready."""
    from include.local.stack import DEFAULT_ROOT, LocalStack

    found = LocalStack(root or DEFAULT_ROOT).status()
    show(found, as_json=as_json)
    if any(process.state != "ready" for process in found):
        raise typer.Exit(3)


@app.command()
def environment(root: Root = None) -> None:
    """Print shell lines that point the other commands at this stack; they hold its passwords.

    Use: eval "$(assetflow local environment)"
    """
    import shlex

    from include.local.stack import DEFAULT_ROOT, LocalStack

    for name, value in LocalStack(root or DEFAULT_ROOT).environment().items():
        if name != "PYTHONPATH":
            typer.echo(f"export {name}={shlex.quote(value)}")


def show(processes: list[ProcessStatus], *, as_json: bool) -> None:
    """Print the processes as a table or as JSON."""
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(process) for process in processes], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("process", "state", "pid", "port", box=None)
    table.add_column("memory, MiB", justify="right")
    for process in processes:
        table.add_row(
            process.name,
            process.state,
            str(process.pid or ""),
            str(process.ports[0]) if process.ports else "",
            f"{process.pss_mib:.0f}" if process.pid else "",
        )
    table.add_row("", "", "", "", f"{sum(process.pss_mib for process in processes):.0f}")
    Console().print(table)


def show_way_in(stack: LocalStack, airflow: Airflow) -> None:
    """Print where the UI is and where its passwords are."""
    typer.echo(f"\nAirflow      {airflow.url}")
    typer.echo(f"users        admin, submitter, reader; passwords in {airflow.passwords_file}")
    typer.echo(f"logs         {stack.root / 'logs'}")
