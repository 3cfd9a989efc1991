"""What tasks of runs have in common that are about many assets: stores, journal, name of what they leave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from include.hooks.s3 import AssetStoreHook
from include.operators.base import STOPPED
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.clients.runs_bucket import RunsBucket


class RunOperator(BaseOperator):
    """One task of a run that keeps its plan, reports and journals in the runs bucket."""

    @cached_property
    def asset_store(self) -> AssetStoreHook:
        """S3."""
        return AssetStoreHook()

    @cached_property
    def runs_bucket(self) -> RunsBucket:
        """Plans, reports, journals and claims."""
        return self.asset_store.runs_bucket(settings().runs_bucket)

    def on_kill(self) -> None:
        """End this process when Airflow asks for it; every request under way ends or is repeated."""
        raise SystemExit(STOPPED)

    def plan_content(self, context: Context) -> str | None:
        """The plan of this run as JSON, or None when it has none."""
        from include.clients.runs_bucket import plan_key

        content = self.runs_bucket.find(plan_key(context["dag_run"].dag_id, run_key(context)))
        return None if content is None else json.dumps(content)

    def journal(self, context: Context, name: str, keys: list[str]) -> Callable[[Any], None]:
        """Keeps entries, each with the moment, in the runs bucket; notes the key of each object in *keys*."""
        from include.assets.record import iso_moment
        from include.clients.runs_bucket import journal_key

        def keep(entries: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
            text = json.dumps(entries, sort_keys=True)
            # Named after what it keeps: a second try that finds other content overwrites no journal.
            digits = hashlib.sha256(text.encode()).hexdigest()[:10]
            dag_run = context["dag_run"]
            key = journal_key(dag_run.dag_id, run_key(context), f"{name}-{digits}")
            moment = {"journalled_at": iso_moment(datetime.now(UTC))}
            is_one = isinstance(entries, Mapping)
            kept = json.loads(text)
            kept = kept | moment if is_one else [one | moment for one in kept]
            self.runs_bucket.write(key, kept)
            keys.append(key)

        return keep


def task_states(context: Context) -> dict[str, str | None]:
    """State of every task instance of the run; mapped ones as ``task_0``."""
    ti = context["ti"]
    states: dict[str, str | None] = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[
        ti.run_id
    ]
    return states


def run_key(context: Context) -> str:
    """Name of everything that this run leaves in the runs bucket."""
    from include.assets.run_key import run_key_of

    dag_run = context["dag_run"]
    return run_key_of(dag_run.run_id, dag_run.run_after)
