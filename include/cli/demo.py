"""``assetflow demo``: one acquisition through the whole pipeline, on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from include.local.stack import LocalStack


def demo(
    root: Annotated[
        Path | None,
        typer.Option("--root", help="Folder of the stack: data, logs, ports. [default: .local]"),
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what landed as JSON; the progress goes to stderr.")
    ] = False,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--stop",
            help="Keep serving until Ctrl-C, or stop at the end. [default: keep on a terminal]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send a sample acquisition to S3, Code Ocean and DocDB, and show what landed.

    Starts the embedded services and Airflow, submits the sample through Airflow's REST API, follows the
    run, and checks every store at the end. Exit code 0: all is there and right; 1: it is not, or a part
    did not start; 130: interrupted before the end. A stack that ran before goes on running.
    """
    import signal

    from rich.console import Console

    from include.local.stack import DEFAULT_ROOT, LocalStack

    # Asked to end: stop what was started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=as_json)
    stack = LocalStack(root or DEFAULT_ROOT)
    ran_before = all(part.process.is_running for part in stack.parts)
    is_shown = False
    try:
        is_right = show_run(stack, console, as_json=as_json)
        is_shown = True
        if console.is_terminal if keep is None else keep:
            serve(stack, console, ran_before=ran_before)
    except KeyboardInterrupt as interrupt:
        console.print("stopping")
        if not is_shown:
            raise typer.Exit(130) from interrupt
    finally:
        if not ran_before:
            stack.down()
    if not is_right:
        raise typer.Exit(1)


def show_run(stack: LocalStack, console: Console, *, as_json: bool) -> bool:
    """Run the demo and print what landed; whether all is right."""
    from include.clients.airflow_api import AirflowApi
    from include.local import demo as the_demo
    from include.local.demo_summary import show, show_verdict
    from include.local.stack import DEFAULT_ROOT

    if stack.airflow is None:
        raise TypeError("the demo needs Airflow")
    sample = the_demo.prepare(stack, DEFAULT_ROOT / "environments", console)
    account = stack.airflow.account()
    api = AirflowApi.sign_in(account.url, account.user, account.password)
    summary = the_demo.run(stack, sample, api, console)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        show(console, summary)
    show_verdict(console, summary["faults"])
    console.print(
        f"\nRun      {summary['run']['page']}  ({summary['run']['seconds']} s)\n"
        f"Airflow  {account.url}\n"
        f"User     {account.user}; passwords in {stack.airflow.passwords_file}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    return not summary["faults"]


def serve(stack: LocalStack, console: Console, *, ran_before: bool) -> None:
    """Keep the stack running until Ctrl-C; one that ran before needs nobody for that."""
    import threading

    from include.local.supervision import supervise

    if ran_before:
        return
    console.print("\nServing until Ctrl-C.")
    supervise(stack.parts, threading.Event(), stack.restart, console.print)
