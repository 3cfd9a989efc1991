"""What the first task of a run would find wrong with its conf, found before there is a run."""

from __future__ import annotations

import logging
import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from include.acquisitions.pipeline import TRANSFORMATION
from include.acquisitions.plan import Deployment, resolve_plan
from include.acquisitions.plan_checks import check_plan
from include.acquisitions.presets import (
    PresetStore,
    load_dag_preset,
    load_job_type,
    merge_params,
)
from include.acquisitions.secret_settings import find_secrets
from include.acquisitions.trigger_form import FIELDS, job_from_params
from include.assets.run_settings import by_todays_names
from include.catalog import request as ingest
from include.errors import InvalidInput, Problem
from include.indexing import request as index

if TYPE_CHECKING:
    from include.acquisitions.job import UploadJob

logger = logging.getLogger(__name__)

DAG_ID = "transform_and_upload_v2"

PAUSE_S = 60.0
"""After a look-up that failed, none is tried for so long: no caller waits for a store that is down."""

SOME_BUCKET = "the deployment's own"
"""Stands for the usual buckets, which are not looked at here."""

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_SOURCE_FOLDER = re.compile(rf"tasks\.{TRANSFORMATION}\.[^.]+\.job_settings\.input_source")

CONNECT_TIME_LIMIT_S = 1
READ_TIME_LIMIT_S = 2


class TransformAndUploadCheck:
    """The check of a conf of ``transform_and_upload_v2``.

    The presets are asked for what only they know: whether there is such a job type, and what it and
    the job amount to together. When they cannot be read, the run starts; its first task asks again.

    Args:
        open_presets: connects to the presets.
        deployment: where runs will run.
        clock: seconds, of any beginning.
    """

    def __init__(
        self,
        open_presets: Callable[[], PresetStore],
        deployment: Deployment,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._presets = PresetLookup(open_presets, clock)
        self._deployment = deployment

    def __call__(self, conf: Mapping[str, Any]) -> None:
        """Do nothing for a conf that can be planned.

        Raises:
            InvalidInput: every problem of the conf; when it has none, every problem of the plan.
        """
        problems = [*_unstorable(conf), *_secrets(conf)]
        job = None
        try:
            job, _ = job_from_params(conf)
        except InvalidInput as error:
            problems += error.problems
        try:
            if job and not problems:
                self._presets.ask(lambda presets: self._plan(job, presets))
            elif isinstance(job_type := conf.get("job_type"), str) and job_type:
                prefix = self._deployment.preset_prefix
                self._presets.ask(lambda presets: load_job_type(presets, prefix, job_type))
        except InvalidInput as error:
            problems += error.problems
        if problems:
            raise InvalidInput(sorted(map(_with_title, problems), key=_place_in_form))

    def _plan(self, job: UploadJob, presets: PresetStore) -> None:
        plan = resolve_plan(
            job, presets=presets, deployment=self._deployment, dag_id=DAG_ID, run_id="not yet"
        )
        check_plan(plan)


class DagConfCheck(ABC):
    """The check of a conf together with the preset that it names, for DAGs whose presets are params.

    Args:
        open_presets: connects to the presets.
        preset_prefix: root of the presets in the store.
        clock: seconds, of any beginning.
    """

    dag_id: str
    fields: Mapping[str, Mapping[str, Any]]
    """The trigger form."""

    aliases: Mapping[str, str]
    """Other name of a field → its name."""

    nullable: Collection[str] = ()
    """Fields for which null says something."""

    def __init__(
        self,
        open_presets: Callable[[], PresetStore],
        preset_prefix: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._presets = PresetLookup(open_presets, clock)
        self._prefix = preset_prefix.rstrip("/")

    def __call__(self, conf: Mapping[str, Any]) -> None:
        """Do nothing for a conf that can be used.

        Raises:
            InvalidInput: every problem of the conf; when it has none, those of the preset under it.
        """
        if problems := list(_unstorable(conf)):
            raise InvalidInput(problems)
        self.read(conf)
        self._presets.ask(lambda presets: self._merge(conf, presets))

    @abstractmethod
    def read(self, params: Mapping[str, Any]) -> object:
        """What these settings ask for.

        Raises:
            InvalidInput: all that is wrong with them.
        """

    def preset_below(self, preset: dict[str, Any], conf: Mapping[str, Any]) -> dict[str, Any]:
        """The part of the preset that counts under this conf."""
        return preset

    def _merge(self, conf: Mapping[str, Any], presets: PresetStore) -> None:
        conf = by_todays_names(conf, self.aliases)
        name = str(conf.get("preset") or "default")
        preset = load_dag_preset(
            presets, self._prefix, self.dag_id, name, known_params=list(self.fields)
        )
        defaults = {name: field["default"] for name, field in self.fields.items()}
        below = self.preset_below(preset, conf)
        self.read(merge_params(below, conf, defaults, nullable=self.nullable))


class IndexBucketsCheck(DagConfCheck):
    """The check of a conf of ``index_buckets``."""

    dag_id = index.DAG_ID
    fields = index.FIELDS
    aliases = index.ALIASES
    nullable = index.NULLABLE

    def read(self, params: Mapping[str, Any]) -> object:
        return index.read_request(params, usual_buckets=[SOME_BUCKET])


class IngestPostgresCheck(DagConfCheck):
    """The check of a conf of ``ingest_postgres``."""

    dag_id = ingest.DAG_ID
    fields = ingest.FIELDS
    aliases = ingest.ALIASES

    def read(self, params: Mapping[str, Any]) -> object:
        return ingest.read_request(params, usual_bucket=SOME_BUCKET)

    def preset_below(self, preset: dict[str, Any], conf: Mapping[str, Any]) -> dict[str, Any]:
        return ingest.preset_that_counts(preset, conf)


class PresetLookup:
    """Asks the presets, and stops asking for a while when they cannot be read.

    No run is refused for that: its first task asks again, and may wait.
    """

    def __init__(self, open_presets: Callable[[], PresetStore], clock: Callable[[], float]) -> None:
        self._open_presets = open_presets
        self._clock = clock
        self._presets: PresetStore | None = None
        self._silent_until = clock()

    def ask(self, question: Callable[[PresetStore], object]) -> None:
        """Put the question, unless they could not be read a moment ago.

        Raises:
            InvalidInput: what the answer says is wrong.
        """
        if self._clock() < self._silent_until:
            return
        try:
            self._presets = self._presets or self._open_presets()
            question(self._presets)
        except InvalidInput:
            raise
        except Exception:  # whatever it is: the first task of the run meets it again, and may wait
            self._presets = None
            self._silent_until = self._clock() + PAUSE_S
            logger.exception("No conf is checked against the presets for %.0f s", PAUSE_S)


def open_parameter_store() -> PresetStore:
    """The parameter store of this deployment, with time limits that a person can wait for."""
    from airflow.providers.amazon.aws.hooks.ssm import SsmHook
    from botocore.config import Config

    from include.clients.parameter_store import ParameterStore
    from include.hooks.parameter_store import ParameterStoreHook

    config = Config(
        connect_timeout=CONNECT_TIME_LIMIT_S,
        read_timeout=READ_TIME_LIMIT_S,
        retries={"total_max_attempts": 1},
    )
    hook = SsmHook(aws_conn_id=ParameterStoreHook.default_conn_name, config=config)
    return ParameterStore(hook.get_conn())


def _unstorable(value: object, path: str = "") -> Iterator[Problem]:
    """What JSON can say and Airflow's database cannot: it would answer with an error of its own."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _unstorable(key, f"{path}.{key}".lstrip("."))
            yield from _unstorable(entry, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _unstorable(entry, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem("job", path, f"{value} is no number in JSON", "give null, or text")
    elif isinstance(value, str) and _NO_TEXT.search(value):
        yield Problem("job", path, "has a character that cannot be stored: NUL or half of a pair")


def _secrets(conf: Mapping[str, Any]) -> Iterator[Problem]:
    """Airflow stores and shows a conf as it is, so what looks like a secret must not get that far."""
    for path in find_secrets(conf):
        yield Problem(
            "job",
            path,
            "looks like a secret, and the conf of a run is stored and shown",
            "keep it in an Airflow connection, or in the file that %ENV_FILE stands for",
        )


def _with_title(problem: Problem) -> Problem:
    """Named as the form names the field, beside the name that programs use."""
    name = _form_field(problem)
    return replace(problem, item=FIELDS[name]["title"]) if name else problem


def _place_in_form(problem: Problem) -> int:
    titles = [field["title"] for field in FIELDS.values()]
    return titles.index(problem.item) if problem.item in titles else len(titles)


def _form_field(problem: Problem) -> str | None:
    """The field of the form that a problem is about."""
    if _SOURCE_FOLDER.fullmatch(problem.field):
        return "input_sources"
    name = re.split(r"[.\[]", problem.field, maxsplit=1)[0]
    return name if problem.item == "job" and name in FIELDS else None
