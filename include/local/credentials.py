"""The passwords and keys of one stack: made once, readable by their owner alone."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from include.local.files import locked, write_atomically


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the servers of one stack ask of their clients."""

    s3_access_key: str
    s3_secret_key: str
    postgres_password: str
    code_ocean_token: str

    fernet_key: str
    """Encrypts connections in Airflow's database."""

    jwt_secret: str
    """Signs Airflow's API tokens, those of running tasks included."""

    api_secret_key: str
    """Signs Airflow's requests for the logs of a running task."""

    admin_password: str
    submitter_password: str
    reader_password: str

    @classmethod
    def of(cls, root: Path) -> Self:
        """Read ``secrets.json`` under the root, adding whatever it does not hold yet."""
        file = root / "secrets.json"
        with locked(file.with_suffix(".lock")):
            known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
            names = [field.name for field in fields(cls)]
            complete = {name: known.get(name) or _make(name) for name in names}
            if complete != known:
                write_atomically(file, json.dumps(complete, indent=2), mode=0o600)
        return cls(**complete)


def _make(name: str) -> str:
    if name == "fernet_key":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    if name == "s3_access_key":
        return f"AKIA{secrets.token_hex(8).upper()}"
    return secrets.token_hex(16 if name.endswith("password") else 32)
