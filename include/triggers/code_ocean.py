"""Wait for Code Ocean without holding a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from include.errors import PermanentError, TransientError
from include.hooks.code_ocean import CodeOceanHook

if TYPE_CHECKING:
    from include.clients.code_ocean import CodeOceanClient


class CodeOceanTrigger(BaseTrigger):
    """
    Look at one thing in Code Ocean until it has ended, however it ended.

    The event carries nothing but the id: the task that waited reads the state itself, so that what it
    decides on is what Code Ocean holds then. A look that fails for now is tried again at the next one.

    :param external_id: Code Ocean's id of the data asset or computation.
    :param poll_interval_s: seconds between two looks.
    :param give_up_at: moment (seconds since the epoch) after which the task is told that it has not
        ended; None to wait for ever.
    :param code_ocean_conn_id: Airflow connection of the deployment.
    """

    def __init__(
        self,
        external_id: str,
        poll_interval_s: float,
        give_up_at: float | None = None,
        code_ocean_conn_id: str = CodeOceanHook.default_conn_name,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.external_id = external_id
        self.poll_interval_s = poll_interval_s
        self.give_up_at = give_up_at
        self.code_ocean_conn_id = code_ocean_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "external_id": self.external_id,
                "poll_interval_s": self.poll_interval_s,
                "give_up_at": self.give_up_at,
                "code_ocean_conn_id": self.code_ocean_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        client = await self.client()
        while True:
            try:
                is_over = await asyncio.to_thread(self.has_ended, client)
            except TransientError as error:
                self.log.warning("%s could not be looked at: %s", self.external_id, error)
                is_over = False
            except PermanentError as error:
                # The task looks once more, meets the same error and fails with its reason; an error
                # raised here would reach it as "trigger failure".
                self.log.warning("%s cannot be looked at: %s", self.external_id, error)
                is_over = True
            if is_over or self.is_overdue():
                yield TriggerEvent({"external_id": self.external_id})  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(self.poll_interval_s)

    async def client(self) -> CodeOceanClient:
        """The deployment; the look-up of the connection blocks, so it is done in a thread."""
        return await asyncio.to_thread(lambda: CodeOceanHook(self.code_ocean_conn_id).client)

    def is_overdue(self) -> bool:
        """Whether it has been waited for long enough."""
        return self.give_up_at is not None and time.time() > self.give_up_at

    def has_ended(self, client: CodeOceanClient) -> bool:
        """Look once."""
        raise TypeError(f"{type(self).__name__} does not say what it looks at")


class DataAssetTrigger(CodeOceanTrigger):
    """Wait until a data asset is ready or has failed."""

    def has_ended(self, client: CodeOceanClient) -> bool:
        return client.data_asset(self.external_id).state != "draft"


class ComputationTrigger(CodeOceanTrigger):
    """Wait until a computation has ended; when a person stops the task, stop the computation."""

    def has_ended(self, client: CodeOceanClient) -> bool:
        return client.computation(self.external_id).state in {"completed", "failed"}

    async def on_kill(self) -> None:
        client = await self.client()
        await asyncio.to_thread(client.stop_computation, self.external_id)
        self.log.info("Stopped computation %s", self.external_id)
