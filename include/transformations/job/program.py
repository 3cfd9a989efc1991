"""The frame of a transformation's program: arguments, settings, errors, process record."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from include.errors import AssetflowError, InvalidInput, TransientError
from include.transformations.job.record import Result, write_record
from include.transformations.job.settings import Settings, read_settings

EXIT_FAILED = 1
EXIT_WRONG_SETTINGS = 2
EXIT_TRY_AGAIN = 75
"""``EX_TEMPFAIL``: the same command may succeed later."""


def run_program(
    name: str,
    kind: type[Settings],
    transform: Callable[[Settings], Result],
) -> int:
    """Run *transform* with the settings on the command line; returns the exit code.

    What can be expected to go wrong is said in plain words on standard error; a traceback means a
    defect.
    """
    arguments = _parse_arguments(name)
    started_at = datetime.now(UTC)
    try:
        if arguments.job_settings_file:
            text = arguments.job_settings_file.read_text(encoding="utf-8")
        else:
            text = arguments.job_settings
        settings = read_settings(kind, text, f"{name} job_settings")
        settings.output_directory.mkdir(parents=True, exist_ok=True)
        result = transform(settings)
        if arguments.process_record:
            write_record(arguments.process_record, name, settings, result, started_at)
    except (AssetflowError, OSError) as error:
        print(f"{name} failed: {_words(error)}", file=sys.stderr)  # noqa: T201
        return _exit_code(error)
    print(_summary(name, result))  # noqa: T201
    return 0


def _parse_arguments(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"run {name}")
    settings = parser.add_mutually_exclusive_group(required=True)
    settings.add_argument("--job-settings", metavar="JSON")
    settings.add_argument("--job-settings-file", metavar="FILE", type=Path)
    parser.add_argument(
        "--process-record", metavar="FILE", type=Path, help="written last, when all went well"
    )
    return parser.parse_args()


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    return str(error)


def _exit_code(error: Exception) -> int:
    if isinstance(error, InvalidInput):
        return EXIT_WRONG_SETTINGS
    return EXIT_TRY_AGAIN if isinstance(error, TransientError) else EXIT_FAILED


def _summary(name: str, result: Result) -> str:
    proven = "proven lossless" if result.is_lossless_proven else "not lossless"
    unchanged = sum(state == "unchanged" for state in result.items.values())
    how = f" with {result.codec}, {proven}" if result.codec else ", nothing compressed"
    return (
        f"{name}: {len(result.items)} items ({unchanged} unchanged), "
        f"{result.input_bytes / 1e6:.1f} MB to {result.output_bytes / 1e6:.1f} MB"
        + (f" (ratio {result.ratio})" if result.codec else "")
        + how
    )
