"""Code Ocean pipelines on the new asset, one mapped task each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from include.hooks.code_ocean import CodeOceanHook
from include.hooks.docdb import docdb_hook
from include.operators.base import AcquisitionOperator, label_instance, recall, store
from include.operators.registration import REGISTER_TASK_ID
from include.operators.waiting import wait_here
from include.triggers.code_ocean import ComputationTrigger, DataAssetTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context
    from codeocean.models.computation import Computation

    from include.acquisitions.pipeline_settings import PipelineMonitorSettings
    from include.acquisitions.plan import RunPlan, TaskPlan
    from include.clients.code_ocean import CodeOceanClient

PIPELINE_TASK_ID = "run_codeocean_pipeline"

COMPUTATION_KEY = "computation_id"
"""XCom under which a running task tells ``report_run`` of its computation."""


class CodeoceanPipelineSettingsOperator(AcquisitionOperator):
    """
    Settle which capsules and pipelines run, with the registered asset filled in.

    :returns: one object per run: ``modality`` and ``run``.
    """

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> list[dict[str, Any]]:
        from include.acquisitions.pipeline_settings import plan_pipelines

        registration = context["ti"].xcom_pull(task_ids=REGISTER_TASK_ID) or {}
        planned = plan_pipelines(
            plan.pipelines, asset_id=registration.get("asset_id"), asset_name=plan.asset_name
        )
        for warning in planned.warnings:
            self.log.warning("%s: %s", plan.location, warning)
        return [
            {"modality": modality, "run": run.model_dump(mode="json")}
            for modality, run in planned.runs.items()
        ]


class RunCodeoceanPipelineOperator(AcquisitionOperator):
    """
    Run one capsule or pipeline, wait without holding a worker, capture and record its result.

    The computation's id is stored the moment Code Ocean answers: a task that is run again goes on with
    that computation. When a person stops the task, the computation is stopped too.

    :param modality: abbreviation whose pipeline this is.
    :param run: settings of the run, as ``codeocean_pipeline_settings`` returned them.
    :returns: ids of the computation and of the captured asset.
    """

    needs_claim: ClassVar[bool] = True

    def __init__(self, *, modality: str, run: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.modality = modality
        self.run_settings = run
        self._awaited: tuple[CodeOceanClient, str] | None = None

    def carry_out(self, plan: RunPlan, task: TaskPlan, context: Context) -> dict[str, Any]:
        from include.acquisitions.pipelines import check_computation, input_name, start_computation

        label_instance(context, self.modality)
        run = self._settings
        code_ocean = CodeOceanHook().client
        known_id = recall(context, "computation_id")
        computation = start_computation(
            run.run_params,
            code_ocean,
            started_after=context["dag_run"].run_after,
            known_id=known_id,
        )
        store(context, "computation_id", computation.id)
        context["ti"].xcom_push(key=COMPUTATION_KEY, value=computation.id)
        if computation.id != known_id:
            name = input_name(run.run_params, code_ocean) or plan.asset_name
            self._alert(f"Starting {name}", f"Running {run.run_params.runs}")

        def has_ended() -> bool:
            return check_computation(code_ocean.computation(computation.id))

        self._awaited = (code_ocean, computation.id)
        try:
            has_succeeded = wait_here(has_ended)
        except Exception as error:
            self._alert(f"Error with {plan.asset_name}", str(error))
            raise
        finally:
            self._awaited = None
        if not has_succeeded:
            self._wait_for_computation(computation)
        return self.capture(context, {"external_id": computation.id})

    def on_kill(self) -> None:
        """Stop the computation when the task is stopped while it waits here.

        A computation that has ended is left alone: stopping one deletes it with its results.
        """
        # Nothing may be asked of Airflow here: the signal may have come in the middle of such a question.
        if self._awaited is not None:
            code_ocean, computation_id = self._awaited
            code_ocean.stop_computation(computation_id)
            self.log.info("Stopped computation %s", computation_id)
        super().on_kill()

    def look_again(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """What came of the computation that a trigger waited for."""
        from include.acquisitions.pipelines import check_computation, stop_if_overdue

        code_ocean = CodeOceanHook().client
        computation = code_ocean.computation(event["external_id"])
        try:
            has_succeeded = check_computation(computation)
            if not has_succeeded:
                stop_if_overdue(
                    computation,
                    self._settings.computation_timeout,
                    code_ocean,
                    now=datetime.now(UTC),
                )
        except Exception as error:
            self._alert(f"Error with computation {event['external_id']}", str(error))
            raise
        if not has_succeeded:
            self._wait_for_computation(computation)
        return self.capture(context, event)

    def capture(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Make the result a data asset, if the settings want that."""
        from include.acquisitions.captures import capture_name, capture_result
        from include.acquisitions.pipelines import input_name
        from include.acquisitions.registration import check_ready

        label_instance(context, self.modality)
        computation_id = event["external_id"]
        capture = self._settings.capture_settings
        if capture is None:
            self._alert(f"Finished computation {computation_id}", "")
            return {"computation_id": computation_id, "asset_id": None}
        code_ocean = CodeOceanHook().client
        # A name made from the clock would differ at the next try; the first try's moment is kept.
        captured_at = recall(context, "captured_at") or datetime.now(UTC).isoformat()
        store(context, "captured_at", captured_at)
        name = capture_name(
            capture,
            computation_id,
            code_ocean,
            input_name=input_name(self._settings.run_params, code_ocean),
            at=datetime.fromisoformat(captured_at),
        )
        found = capture_result(
            capture,
            computation_id,
            name,
            code_ocean,
            known_id=recall(context, "captured_asset_id"),
        )
        store(context, "captured_asset_id", found.asset_id)
        if not found.is_ready and not wait_here(
            lambda: check_ready(code_ocean.data_asset(found.asset_id))
        ):
            self.defer(
                trigger=DataAssetTrigger(
                    found.asset_id,
                    self._settings.data_asset_ready_polling_interval,
                    give_up_at=self._give_up_on_asset_at(),
                ),
                method_name="finish_capture",
            )
        return self.finish_capture(context, {"external_id": found.asset_id})

    def finish_capture(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Share the captured asset and let DocDB know it."""
        from include.acquisitions.captures import finish_capture, record_result

        capture = self._settings.capture_settings
        if capture is None:
            raise TypeError("a capture cannot be finished that was not asked for")
        code_ocean = CodeOceanHook().client
        computation_id = recall(context, "computation_id") or ""
        asset = finish_capture(capture, event["external_id"], code_ocean)
        if capture.docdb_settings is not None:
            record_result(
                asset,
                computation_id,
                capture,
                code_ocean,
                docdb_hook(capture.docdb_settings.docdb_version).client,
                now=datetime.now(UTC),
            )
        self._alert(f"Finished {asset.name}", f"Data asset {asset.id}")
        return {"computation_id": computation_id, "asset_id": asset.id}

    def _give_up_on_asset_at(self) -> float | None:
        limit_s = self._settings.data_asset_ready_timeout
        return None if limit_s is None else datetime.now(UTC).timestamp() + limit_s

    @property
    def _settings(self) -> PipelineMonitorSettings:
        from include.acquisitions.pipeline_settings import PipelineMonitorSettings

        return PipelineMonitorSettings.model_validate(self.run_settings)

    def _wait_for_computation(self, computation: Computation) -> None:
        limit_s = self._settings.computation_timeout
        self.log.info("Computation %s goes on; waiting for it", computation.id)
        self.defer(
            trigger=ComputationTrigger(
                computation.id,
                self._settings.computation_polling_interval,
                give_up_at=None if limit_s is None else computation.created + limit_s,
            ),
            method_name="look_again",
        )

    def _alert(self, message: str, extra: str) -> None:
        from include.acquisitions.pipelines import send_alert
        from include.clients.webhook import post_alert

        send_alert(self._settings.alert_url, message, extra, post_alert)
