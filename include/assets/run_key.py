"""The name of everything that a run about many assets leaves in the runs bucket."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime


def run_key_of(run_id: str, run_after: datetime) -> str:
    """``{moment}_{10 hex digits of the run}``: sorts as the runs do, whoever started them."""
    return f"{run_after.astimezone(UTC):%Y%m%dT%H%M%SZ}_{run_digits(run_id)}"


def run_digits(run_id: str) -> str:
    """What the key of a run ends with."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:10]
