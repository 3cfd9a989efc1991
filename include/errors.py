"""Everything that goes wrong here, and whether trying again could help.

* AssetflowError
    - TransientError            the same call may succeed later: retry
        . ServiceUnavailable    429, 5xx, refused connection, time-out, half an answer
        . SourceChanged         a source file changed while it was read
        . CommandInterrupted    a command says that the same command may succeed later
        . RecordChanged         somebody else changed a record between plan and act
    - PermanentError            a person has to change something: fail at once
        . InvalidInput          a request, preset, file or setting; carries every problem found
        . AccessDenied          401 or 403: never taken for an absence
        . NotFound              a definite "not there"
            : BucketNotFound    not the object but the whole bucket
        . MalformedAnswer       a service answered something that cannot be read
        . RecordRefused         DocDB will not store or find a record as asked
        . DuplicateRecords      DocDB holds several records of one asset
        . DatabaseRefused       PostgreSQL refused a statement
        . PreconditionFailed    an object is not in the state that the write asked for
        . AssetExists           the target is not empty
        . AssetBusy             another run works on the same asset
        . StagingMissing        the staging folder of this run is gone
        . CommandFailed         a command ended with an error, a signal or its time limit
        . ComputationFailed     Code Ocean ended a computation or data asset as failed
        . VerificationFailed    what a store holds is not what was sent
        . RunIncomplete         the run's report has failures
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one item, and how to mend it."""

    item: str
    """What it is about: a job, a preset key, a file, an asset location."""

    field: str
    """Dotted path of the field or key, or ``""`` when the item as a whole is meant."""

    reason: str
    """What was found and what was expected."""

    fix: str = ""
    """What to do about it, or ``""`` when the reason says it."""

    def __str__(self) -> str:
        where = f"{self.item}: {self.field}" if self.field else self.item
        return f"{where}: {self.reason}" + (f" ({self.fix})" if self.fix else "")


class AssetflowError(Exception):
    """The root of every error raised by this project."""


class TransientError(AssetflowError):
    """The same call may succeed later."""


class ServiceUnavailable(TransientError):
    """A service did not answer, or answered that it cannot answer now."""


class SourceChanged(TransientError):
    """A source file changed while it was read."""


class CommandInterrupted(TransientError):
    """A command ended with the exit code that says that it may succeed later."""


class RecordChanged(TransientError):
    """Somebody else changed a record between plan and act."""


class PermanentError(AssetflowError):
    """Trying again cannot help; a person has to change something."""


class InvalidInput(PermanentError):
    """What a person gave cannot be used; all problems at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("InvalidInput needs at least one problem")
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{count}:\n" + "\n".join(f"  - {problem}" for problem in self.problems))

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[Sequence[Problem]]]:
        return (type(self), (self.problems,))


class AccessDenied(PermanentError):
    """A service refused: says nothing about whether the thing exists."""


class NotFound(PermanentError):
    """A service said definitely that the thing is not there."""


class BucketNotFound(NotFound):
    """S3 said definitely that there is no such bucket."""


class MalformedAnswer(PermanentError):
    """A service answered something that cannot be read."""


class RecordRefused(PermanentError):
    """DocDB will not store or find a record as asked."""


class DuplicateRecords(PermanentError):
    """DocDB holds several records of one asset."""


class DatabaseRefused(PermanentError):
    """PostgreSQL refused a statement; the transaction was rolled back."""


class PreconditionFailed(PermanentError):
    """A conditional write found the object in another state; nothing was written."""


class AssetExists(PermanentError):
    """The target of an upload is not empty."""


class AssetBusy(PermanentError):
    """Another run works on the same asset."""


class StagingMissing(PermanentError):
    """The staging folder of this run is gone."""


class CommandFailed(PermanentError):
    """A command ended with an error, a signal or its time limit."""


class ComputationFailed(PermanentError):
    """Code Ocean ended a computation, or the making of a data asset, as failed."""


class VerificationFailed(PermanentError):
    """What a store holds is not what was sent."""


class RunIncomplete(PermanentError):
    """Some of what a run was asked for was not done."""
