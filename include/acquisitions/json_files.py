"""The ``*.json`` of a folder; only a folder that is not there has none without being listed."""

from __future__ import annotations

from pathlib import Path

from include.errors import InvalidInput, Problem, TransientError


def json_files(folder: Path) -> list[Path]:
    """Every ``*.json`` directly in *folder*, by name; empty when there is no such folder.

    Raises:
        InvalidInput: it is no folder, or may not be listed.
        TransientError: the file system could not answer.
    """
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except (NotADirectoryError, PermissionError) as error:
        reason = f"cannot be listed: {error.strerror}"
        fix = "give a folder that this service may read"
        raise InvalidInput([Problem(str(folder), "", reason, fix)]) from error
    except OSError as error:
        raise TransientError(f"{folder} could not be listed: {error}") from error
    return [path for path in paths if path.name.endswith(".json")]
