"""What the servers are filled with at each start."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from include.errors import CommandFailed
from include.local.service import PROJECT, inherited_environment

if TYPE_CHECKING:
    from include.local.stack import LocalStack

TIME_LIMIT_S = 120


def push_presets(stack: LocalStack) -> None:
    """Load the project's presets into the parameter store, which forgets them when it ends.

    Raises:
        CommandFailed: a preset cannot be stored; with what `assetflow presets push` says about it.
    """
    if stack.parameter_store not in stack.services:
        return
    try:
        subprocess.run(
            [sys.executable, "-m", "include.cli", "presets", "push", "--json"],
            env={
                **inherited_environment(),
                **stack.environment(),
                "PYTHONPATH": str(PROJECT),
            },
            check=True,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
        )
    except subprocess.CalledProcessError as error:
        raise CommandFailed(f"the presets cannot be loaded: {error.stderr.strip()}") from error
