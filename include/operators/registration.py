"""The asset in Code Ocean and its record in DocDB."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from include.hooks.code_ocean import CodeOceanHook
from include.hooks.docdb import docdb_hook
from include.operators.base import AcquisitionOperator, read_plan, recall, store
from include.operators.waiting import wait_here
from include.settings import settings
from include.triggers.code_ocean import DataAssetTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.acquisitions.plan import RunPlan, TaskPlan

REGISTER_TASK_ID = "register_data_asset_to_codeocean"

DATA_ASSET_POLL_INTERVAL_S = 15.0

DATA_ASSET_TIME_LIMIT_S = 6 * 3600.0
"""An external asset is a reference and usually ready within a minute; a draft of hours stays one."""


class RegisterDataAssetToCodeoceanOperator(AcquisitionOperator):
    """
    Make the uploaded asset a data asset of Code Ocean; its files stay in the bucket.

    A live asset of the same bucket and prefix is used instead of making a second one, whether an
    earlier try or somebody else made it.

    :returns: ``asset_id`` and whether it ``is_new``.
    """

    needs_claim: ClassVar[bool] = True

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.registration import check_ready, data_asset_params, find_or_create

        code_ocean = CodeOceanHook().client
        planned = data_asset_params(
            plan,
            is_public=plan.bucket == settings().open_bucket,
            custom_metadata_keys=code_ocean.custom_metadata_keys(),
            data_description_tags=self.data_description_tags(plan),
        )
        found = find_or_create(planned.params, code_ocean, known_id=recall(context, "asset_id"))
        store(context, "asset_id", found.asset_id)
        if not found.is_ready and not wait_here(
            lambda: check_ready(code_ocean.data_asset(found.asset_id))
        ):
            self.log.info("Data asset %s is still a draft; waiting for it", found.asset_id)
            self.defer(
                trigger=DataAssetTrigger(
                    found.asset_id,
                    DATA_ASSET_POLL_INTERVAL_S,
                    give_up_at=time.time() + DATA_ASSET_TIME_LIMIT_S,
                ),
                method_name="finish_registration",
                kwargs={"is_new": found.is_new},
            )
        return self.finish_registration(
            context, {"external_id": found.asset_id}, is_new=found.is_new
        )

    def data_description_tags(self, plan: RunPlan) -> list[str]:
        """``tags`` of the uploaded ``data_description.json``; none when the asset has no such file."""
        from include.errors import NotFound

        try:
            description = self.asset_store.client.read_json(
                plan.bucket, f"{plan.location.key_prefix}data_description.json"
            )
        except NotFound:
            return []
        tags = description.get("tags") if isinstance(description, dict) else None
        return [str(tag) for tag in tags] if isinstance(tags, list) else []

    def finish_registration(
        self, context: Context, event: dict[str, Any], *, is_new: bool
    ) -> dict[str, Any]:
        """Share the asset and verify that it shows our bucket and prefix."""
        from include.acquisitions.registration import Registration, finish

        plan = read_plan(context)
        registration = Registration(event["external_id"], is_ready=False, is_new=is_new)
        finish(registration, plan.location, CodeOceanHook().client)
        return {"asset_id": registration.asset_id, "is_new": is_new}


class UpdateDocdbRecordOperator(AcquisitionOperator):
    """
    Let the record of the asset hold its metadata and its Code Ocean id, and read it back.

    ``job_settings.overwrite_record`` takes the asset's metadata over what the record says; what is
    replaced goes to the journal in the runs bucket first.

    :returns: what was done with which record.
    """

    needs_claim: ClassVar[bool] = True

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.registration import update_record
        from include.acquisitions.task_settings import DocDbRecordSettings
        from include.assets.core_files import Generation, generation_of_record

        chosen = DocDbRecordSettings.parse(task.job_settings)
        registration = context["ti"].xcom_pull(task_ids=REGISTER_TASK_ID) or {}
        aggregate = self.asset_store.client.read_json(
            plan.bucket, f"{plan.location.key_prefix}metadata.nd.json"
        )
        generation = generation_of_record(aggregate) or Generation.V1
        update = update_record(
            plan.location,
            plan.asset_name,
            aggregate,
            registration.get("asset_id"),
            docdb_hook(generation).client,
            generation=generation,
            now=datetime.now(UTC),
            journal=self.journal(plan) if chosen.overwrite_record else None,
        )
        return {
            "record_id": update.record_id,
            "action": update.action.value,
            "filled": list(update.filled),
            "replaced": list(update.replaced),
            "kept": list(update.kept),
        }

    def journal(self, plan: RunPlan) -> Any:
        """Keeps the values that a record is about to lose."""
        from include.clients.runs_bucket import journal_key

        def keep(record_id: str, old_values: Any) -> None:
            text = json.dumps(dict(old_values), default=str, sort_keys=True)
            # Named after what it keeps: a second try that finds other values overwrites no journal.
            digest = hashlib.sha256(text.encode()).hexdigest()[:10]
            key = journal_key(plan.dag_id, plan.run_key, f"record-{record_id}-{digest}")
            self.runs_bucket.put_once(key, json.loads(text))

        return keep
