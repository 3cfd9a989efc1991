"""``assetflow environments``: what the built-in transformations run in."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from include.settings import settings
from include.transformations.environment_paths import (
    TRANSFORMATIONS,
    environment_folder,
    is_complete,
)
from include.transformations.environments import build_environment, find_environment

app = typer.Typer(help="Environments of the built-in transformations.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

EVERYWHERE = [name for name, found in TRANSFORMATIONS.items() if not found.needs]
"""What can be built on any machine."""


@app.command()
def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(help=f"Which; by default those that need nothing: {', '.join(EVERYWHERE)}."),
    ] = None,
    as_json: Json = False,  # noqa: FBT002  typer reads it as a flag
) -> None:
    """Build environments that are not built yet, and print each one's Python."""
    root = settings().environments_root
    built = {name: str(build_environment(name, root)) for name in names or EVERYWHERE}
    typer.echo(json.dumps(built, indent=2) if as_json else "\n".join(built.values()))


@app.command(name="list")
def list_(as_json: Json = False) -> None:  # noqa: FBT002  as above
    """List the environments, and whether they are built."""
    root = settings().environments_root.absolute()
    rows = [
        {"name": name, "folder": str(folder), "is_built": is_complete(folder), "needs": found.needs}
        for name, found in TRANSFORMATIONS.items()
        for folder in [environment_folder(name, root)]
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        state = "built" if row["is_built"] else "not built"
        needs = f"  (needs {row['needs']})" if row["needs"] else ""
        typer.echo(f"{row['name']:<18}{state:<11}{row['folder']}{needs}")


@app.command()
def path(name: str, as_json: Json = False) -> None:  # noqa: FBT002  as above
    """Print the Python of an environment that is built."""
    python = str(find_environment(name, settings().environments_root))
    typer.echo(json.dumps({"name": name, "python": python}) if as_json else python)
