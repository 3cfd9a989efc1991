"""How a run ended: every item asked for is done, unchanged, failed or skipped."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from include.errors import RunIncomplete


class Report(BaseModel):
    """Counts and failures of one run, per item; small enough for a log and an XCom."""

    model_config = ConfigDict(frozen=True)

    subject: str
    """What the run was about: a location, a bucket, a dataset."""

    done: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: dict[str, str] = Field(default_factory=dict)
    """Item → reason and what to do."""

    @property
    def asked(self) -> int:
        """How many items the run was asked for."""
        return len(self.done) + len(self.unchanged) + len(self.skipped) + len(self.failed)

    def raise_if_incomplete(self) -> None:
        """Turn the run red when anything failed.

        Raises:
            RunIncomplete: names the count and every failed item.
        """
        if self.failed:
            reasons = "\n".join(f"  - {item}: {reason}" for item, reason in self.failed.items())
            raise RunIncomplete(
                f"{len(self.failed)} of {self.asked} failed for {self.subject}:\n{reasons}"
            )
