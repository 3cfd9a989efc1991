"""Start Code Ocean capsules and pipelines on the new asset, and look how they do.

Starting looks for what an earlier try left before it acts, because Code Ocean has no idempotency
key. Waiting is the caller's: each look at a computation is one call. What becomes of the result is
in :mod:`include.acquisitions.captures`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from include.acquisitions.pipeline_settings import ProcessParameters, RunSettings
from include.errors import AssetflowError, ComputationFailed, NotFound

if TYPE_CHECKING:
    from codeocean.models.computation import Computation, Param, RunParams
    from codeocean.models.data_asset import DataAsset

logger = logging.getLogger(__name__)

_CLOCK_SKEW = timedelta(minutes=2)
"""How far Code Ocean's clock, which stamps computations in whole seconds, may be behind ours."""


class ComputationService(Protocol):
    """What running a computation needs of Code Ocean."""

    def data_asset(self, asset_id: str, /) -> DataAsset: ...
    def run(self, params: RunParams, /) -> Computation: ...
    def computation(self, computation_id: str, /) -> Computation: ...
    def find_computations(
        self, capsule_or_pipeline_id: str, /, *, created_after: float
    ) -> Sequence[Computation]: ...
    def stop_computation(self, computation_id: str, /) -> bool: ...


def input_name(run: RunSettings, code_ocean: ComputationService) -> str | None:
    """Name of the first asset the run is given; None when it is given none."""
    return code_ocean.data_asset(run.data_assets[0].id).name if run.data_assets else None


def start_computation(
    run: RunSettings,
    code_ocean: ComputationService,
    *,
    started_after: datetime,
    known_id: str | None = None,
) -> Computation:
    """The computation of *run*: the one an earlier try started, else a new one.

    A computation that failed or was stopped is not taken up: whoever asks again wants another.

    Args:
        run: what to run, on which assets, with which parameters.
        code_ocean: the service.
        started_after: when this task first could have started one (aware); the same for every
            try of the task.
        known_id: id stored by an earlier try.
    """
    known = _known_computation(known_id, code_ocean)
    if known is not None:
        return known
    since_s = (started_after - _CLOCK_SKEW).timestamp()
    candidates = [
        one
        for one in code_ocean.find_computations(run.runs, created_after=since_s)
        if is_same_run(run, one) and not has_failed(one)
    ]
    if candidates:
        oldest = min(candidates, key=lambda one: (one.created, one.id))
        logger.info("Computation %s of %s was started earlier", oldest.id, run.runs)
        return oldest
    computation = code_ocean.run(run.as_params())
    logger.info("Started computation %s of %s", computation.id, run.runs)
    return computation


def _known_computation(known_id: str | None, code_ocean: ComputationService) -> Computation | None:
    if known_id is None:
        return None
    try:
        computation = code_ocean.computation(known_id)
    except NotFound:  # deleted when somebody stopped the task
        return None
    return None if has_failed(computation) else computation


def is_same_run(run: RunSettings, computation: Computation) -> bool:
    """Whether *computation* was given the same assets and the same parameters as *run* gives."""
    wanted = {asset.id: asset.mount for asset in run.data_assets or []}
    given = {asset.id: asset.mount for asset in computation.data_assets or []}
    # Code Ocean may leave out a mount that is the asset's own.
    same_mounts = all(
        None in {mount, given[asset]} or mount == given[asset]
        for asset, mount in wanted.items()
        if asset in given
    )
    processes = {one.name: one.parameters for one in computation.processes or []}
    return (
        wanted.keys() == given.keys()
        and same_mounts
        and (run.nextflow_profile or None) == (computation.nextflow_profile or None)
        and _are_same_parameters(run, computation.parameters)
        and all(
            one.name in processes and _are_same_parameters(one, processes[one.name])
            for one in run.processes or []
        )
    )


def _are_same_parameters(
    wanted: RunSettings | ProcessParameters, reported: Sequence[Param] | None
) -> bool:
    named = {one.param_name: one.value for one in wanted.named_parameters or []}
    by_name = {one.param_name: one.value for one in reported or [] if one.param_name in named}
    in_order = [one.value for one in reported or [] if one.param_name not in named]
    return by_name == named and in_order == (wanted.parameters or [])


def failure_of(computation: Computation) -> str | None:
    """How *computation* failed, or None while it runs and when it succeeded."""
    if computation.state == "failed":
        return "ended in state failed"
    if computation.state != "completed":
        return None
    if computation.end_status in {"failed", "stopped"}:
        return f"ended as {computation.end_status}"
    if computation.exit_code not in {None, 0}:
        return f"ended with exit code {computation.exit_code}"
    return None


def has_failed(computation: Computation) -> bool:
    """Whether *computation* ended without success."""
    return failure_of(computation) is not None


def check_computation(computation: Computation) -> bool:
    """True when the computation has succeeded, False while it runs.

    Raises:
        ComputationFailed: it failed, was stopped, or ended with an exit code.
    """
    failure = failure_of(computation)
    if failure is not None:
        raise ComputationFailed(
            f"computation {computation.id} ({computation.name}) {failure} after "
            f"{computation.run_time} s; its log is in Code Ocean"
        )
    return bool(computation.state == "completed")


def stop_if_overdue(
    computation: Computation,
    time_limit_s: float | None,
    code_ocean: ComputationService,
    *,
    now: datetime,
) -> None:
    """Stop a running computation that has been there for longer than its time limit.

    Raises:
        ComputationFailed: it was overdue, and is stopped.
    """
    age_s = now.timestamp() - computation.created
    has_ended = computation.state in {"completed", "failed"}
    if time_limit_s is None or age_s <= time_limit_s or has_ended:
        return
    code_ocean.stop_computation(computation.id)
    raise ComputationFailed(
        f"computation {computation.id} ({computation.name}) was stopped after {age_s:.0f} s; "
        f"its time limit is {time_limit_s:.0f} s"
    )


def describe_run(run: RunSettings) -> str:
    """What runs, for an alert: ``pipeline 1a2b, version 3``."""
    kind = "pipeline" if run.pipeline_id else "capsule"
    return f"{kind} {run.runs}" + (f", version {run.version}" if run.version is not None else "")


def alert_body(message: str, extra: str = "") -> dict[str, Any]:
    """A Teams message with one Adaptive Card: *message* in bold, *extra* below."""
    blocks: list[dict[str, Any]] = [
        {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "text": message}
    ]
    if extra:
        blocks.append({"type": "TextBlock", "text": extra})
    card = {"type": "AdaptiveCard", "version": "1.0", "body": blocks}
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


class AlertPoster(Protocol):
    """Posts one message to a webhook."""

    def __call__(self, url: str, body: Mapping[str, Any]) -> None: ...


def send_alert(url: str | None, message: str, extra: str, post_alert: AlertPoster) -> bool:
    """Tell the team; True when the message was taken. A lost alert never fails a run."""
    if not url:
        return False
    try:
        post_alert(url, alert_body(message, extra))
    except AssetflowError as error:
        # The webhook's address is a secret: whoever has it can post.
        logger.warning("Alert %r was not delivered: %s", message, type(error).__name__)
        return False
    return True
