"""Errors of ours as a person at a terminal wants them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from include.errors import AssetflowError


@contextmanager
def errors_shown() -> Iterator[None]:
    """Our errors as text and exit code 1; anything else is a defect and keeps its traceback."""
    try:
        yield
    except AssetflowError as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from error
