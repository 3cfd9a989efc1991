"""The ``assetflow`` command: one sub-command per thing that a person does.

Each sub-command is a Typer app in a module of its own beside this one. The modules import what they need
inside their functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys

import typer

from include.cli.catalog import app as catalog
from include.cli.demo import demo
from include.cli.environments import app as environments
from include.cli.explain import explain
from include.cli.local import app as local
from include.cli.presets import app as presets
from include.cli.records import app as records
from include.cli.restore import restore
from include.errors import AssetflowError

commands = typer.Typer(
    name="assetflow",
    help="Carry acquisitions from lab storage to the cloud.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

# One line per sub-command.
commands.add_typer(presets, name="presets")
commands.add_typer(records, name="records")
commands.add_typer(environments, name="environments")
commands.add_typer(local, name="local")
commands.add_typer(catalog, name="catalog")
commands.command()(explain)
commands.command()(restore)
commands.command()(demo)


def app() -> None:
    """Run the command line; an error of this project ends it with its message alone and exit code 1."""
    try:
        commands(prog_name="assetflow")
    except AssetflowError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
