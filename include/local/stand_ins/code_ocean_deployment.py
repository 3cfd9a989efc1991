"""One Code Ocean deployment: what it keeps, its clock and settings, and how it refuses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from include.local.stand_ins.code_ocean_settings import CodeOceanSettings
from include.local.stand_ins.state_file import Document, StateFile

ASSETS = "data_assets"
COMPUTATIONS = "computations"

OWNER = "9d0a4a1c-0000-4000-8000-000000000001"
OWNER_EMAIL = "scientist@example.org"


class Refused(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Deployment:
    """What data assets and computations share.

    Args:
        file: keeps the documents.
        clock: seconds since the epoch.
    """

    def __init__(self, file: StateFile, clock: Callable[[], float] = time.time) -> None:
        self.file = file
        self.settings = CodeOceanSettings()
        self._clock = clock

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self._clock())

    def forget(self) -> None:
        """Drop every asset and computation."""
        self.file.clear()

    def asset(self, id_: str, *, missing: int = 404) -> Document:
        """What is kept of an asset.

        Raises:
            Refused: with status *missing* when there is none.
        """
        kept = self.file.get(ASSETS, id_)
        if kept is None:
            raise Refused(missing, f"data asset {id_} not found")
        return kept

    def computation(self, id_: str, *, missing: int = 404) -> Document:
        """What is kept of a computation.

        Raises:
            Refused: with status *missing* when there is none.
        """
        kept = self.file.get(COMPUTATIONS, id_)
        if kept is None:
            raise Refused(missing, f"computation {id_} not found")
        return kept


def without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    """The document as the API answers it: an absent field is left out."""
    return {key: value for key, value in document.items() if value is not None}
