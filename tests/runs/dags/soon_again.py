"""The project's own DAGs, as Airflow reads them, except that a failed try is repeated after two seconds."""

from __future__ import annotations

import importlib.util
from datetime import timedelta
from pathlib import Path

from include.defaults import DEFAULT_ARGS

RETRY_DELAY = timedelta(seconds=2)

DEFAULT_ARGS.update(retry_delay=RETRY_DELAY, retry_exponential_backoff=False)

for path in sorted((Path(__file__).parents[3] / "dags").glob("*.py")):
    spec = importlib.util.spec_from_file_location(f"project_dags_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
