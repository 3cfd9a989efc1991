"""All embedded servers and Airflow under one folder: `make demo`, `make up`, and the tests of whole runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from include.local import connections as to
from include.local.airflow import Airflow
from include.local.files import locked
from include.local.postgres import Postgres
from include.local.process import stop_all_recorded
from include.local.seed import push_presets
from include.local.service import PROJECT, Service
from include.local.services import S3, CodeOcean, DocDb, Mail, MetadataService, ParameterStore
from include.settings import Settings

SERVICES: dict[str, type[Service]] = {
    service.name: service
    for service in (S3, DocDb, Postgres, ParameterStore, Mail, CodeOcean, MetadataService)
}
"""Every embedded server by its name."""

Result = TypeVar("Result")

DEFAULT_ROOT = PROJECT / ".local"


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """How one process of the stack is."""

    name: str
    state: str
    """``ready``, ``not ready``, ``ended`` (by itself) or ``stopped``."""

    pid: int | None
    ports: tuple[int, ...]
    pss_mib: float
    """Memory of the process and its children in MiB, shared pages shared out among those who use them."""


class LocalStack:
    """Embedded servers, and Airflow in front of them.

    Args:
        root: holds everything: data, logs, ports, passwords.
        services: names out of :data:`SERVICES`; all of them when None.
        airflow: whether Airflow runs too; it brings ``postgres`` with it.
        dags_folder: DAG files; the project's own when None.
        source_roots: where acquisitions may lie; ``<root>/lab`` when None.
        environments_root: job environments; those of the default root are shared when None.
        variables: more for the environment of Airflow's processes, over what is set here.
        after_start: called when the servers are ready, at every start, to fill those that forget
            everything over a restart.
    """

    def __init__(
        self,
        root: Path = DEFAULT_ROOT,
        *,
        services: set[str] | None = None,
        airflow: bool = True,
        dags_folder: Path | None = None,
        source_roots: list[Path] | None = None,
        environments_root: Path | None = None,
        variables: Mapping[str, str] | None = None,
        after_start: Callable[[LocalStack], None] = push_presets,
    ) -> None:
        self.root = root.resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self.source_roots = source_roots or [self.root / "lab"]
        # The defaults and what is given here, whatever the caller's environment says.
        self.deployment = Settings.model_construct().model_copy(
            update={
                name: given
                for name in Settings.model_fields
                if (given := (variables or {}).get(f"ASSETFLOW_{name.upper()}"))
            }
        )
        self._environments_root = environments_root or DEFAULT_ROOT / "environments"
        self._variables = dict(variables or {})
        self._after_start = after_start

        wanted = set(SERVICES) if services is None else set(services)
        if airflow:
            wanted.add(Postgres.name)
        if unknown := wanted - set(SERVICES):
            raise ValueError(f"no such service: {', '.join(sorted(unknown))}")
        self.s3 = S3(self.root)
        self.docdb = DocDb(self.root)
        self.postgres = Postgres(self.root)
        self.parameter_store = ParameterStore(self.root)
        self.mail = Mail(self.root)
        self.code_ocean = CodeOcean(self.root)
        self.metadata_service = MetadataService(self.root)
        every: tuple[Service, ...] = (
            self.s3, self.docdb, self.postgres, self.parameter_store, self.mail, self.code_ocean,
            self.metadata_service,
        )  # fmt: skip
        self.services = tuple(service for service in every if service.name in wanted)
        self.airflow = (
            Airflow(self.root, self.postgres, self.environment, dags_folder or PROJECT / "dags")
            if airflow
            else None
        )

    @property
    def parts(self) -> tuple[Service, ...]:
        """Every process of the stack, those first that others need."""
        return self.services + (self.airflow.components if self.airflow else ())

    def environment(self) -> dict[str, str]:
        """What Airflow's processes, the command line and tests need to use this stack."""
        connections: dict[str, tuple[Service, dict[str, Any]]] = {
            "assetflow_s3": (self.s3, to.s3_connection(self.s3)),
            "assetflow_docdb": (self.docdb, to.docdb_connection(self.docdb)),
            "assetflow_code_ocean": (self.code_ocean, to.code_ocean_connection(self.code_ocean)),
            "assetflow_metadata_service": (
                self.metadata_service,
                to.metadata_service_connection(self.metadata_service),
            ),
            "assetflow_smtp": (self.mail, to.smtp_connection(self.mail)),
            "assetflow_parameter_store": (
                self.parameter_store,
                to.parameter_store_connection(self.parameter_store),
            ),
            "assetflow_postgres": (self.postgres, to.postgres_connection(self.postgres)),
        }
        settings = {
            "ASSETFLOW_SOURCE_ROOTS": json.dumps([str(folder) for folder in self.source_roots]),
            "ASSETFLOW_STAGING_ROOT": str(self.root / "staging"),
            "ASSETFLOW_ENVIRONMENTS_ROOT": str(self._environments_root),
        }
        if self.airflow:
            settings |= {"ASSETFLOW_AIRFLOW_URL": self.airflow.url, **self.airflow.settings()}
        for name, (service, connection) in connections.items():
            if service in self.services:
                variable, value = to.as_variable(name, connection)
                settings[variable] = value
        return settings | self._variables

    def up(self) -> None:
        """Start what does not run yet and return once all of it is ready.

        Raises:
            CommandFailed: a part ended or is not ready in time. What was started here is stopped again.
        """
        with self._alone():
            started_here = [part for part in self.parts if not part.process.is_running]
            try:
                self._start(started_here)
            except BaseException:
                _all_at_once(Service.stop, started_here)
                raise

    def down(self) -> None:
        """End everything that runs under this root, Airflow first; what it stored stays."""
        with self._alone():
            if self.airflow:
                _all_at_once(Service.stop, self.airflow.components)
            _all_at_once(Service.stop, self.services)
            stop_all_recorded(self.root)

    def status(self) -> list[ProcessStatus]:
        """One entry per process, in the order of :attr:`parts`."""
        return _all_at_once(_status, self.parts)

    def restart(self, part: Service) -> bool:
        """Start a part again that ended by itself; False, and nothing done, when somebody stopped it.

        Raises:
            CommandFailed: it ended again or is not ready in time.
        """
        with self._alone():
            if not part.process.is_wanted:
                return False
            part.start()
            if isinstance(part, ParameterStore):
                self._after_start(self)  # it has forgotten everything
            return True

    def _start(self, started_here: Sequence[Service]) -> None:
        # All ports first: some servers are told of the ports of others.
        for part in self.parts:
            part.claim_ports()
        for folder in (*self.source_roots, self.root / "staging"):
            folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(len(self.services) + 1) as pool:
            ready = {
                service: pool.submit(self._start_service, service) for service in self.services
            }
            waited_for: list[Future[None]] = list(ready.values())
            if self.airflow:
                waited_for.append(
                    pool.submit(self._start_airflow, self.airflow, ready[self.postgres])
                )
            try:
                done, _ = wait(waited_for, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                # The others wait for processes: those that end now end the waiting.
                _all_at_once(Service.stop, started_here)
                raise
        self._after_start(self)
        if self.airflow:
            self.airflow.wait_until_ready()

    def _start_service(self, service: Service) -> None:
        service.start()
        if isinstance(service, S3):
            for bucket in ("open_bucket", "private_bucket", "runs_bucket"):
                service.make_bucket(getattr(self.deployment, bucket))
        elif isinstance(service, DocDb):
            self._make_indexes(service)
        elif isinstance(service, Postgres):
            self._make_catalog(service)

    def _make_catalog(self, postgres: Postgres) -> None:
        """The catalog's database, at the schema of this version."""
        from include.catalog.migrate import migrate

        postgres.make_database(to.CATALOG_DATABASE)
        migrate(postgres.uri_of(to.CATALOG_DATABASE))

    def _start_airflow(self, airflow: Airflow, database: Future[None]) -> None:
        database.result()
        airflow.start()

    def _make_indexes(self, docdb: DocDb) -> None:
        """One record per location, in both collections."""
        from pymongo import MongoClient

        from include.clients.docdb import DocDbClient

        with MongoClient[dict[str, Any]](docdb.uri) as client:
            database = client[self.deployment.docdb_database]
            for name in (self.deployment.docdb_collection_v1, self.deployment.docdb_collection_v2):
                DocDbClient(database[name]).ensure_indexes()

    def _alone(self) -> AbstractContextManager[None]:
        """Nobody else starts or stops this stack meanwhile, in this or another process."""
        return locked(self.root / "run" / "lock")


def _status(part: Service) -> ProcessStatus:
    record = part.process.record
    running = part.process.is_running
    if running:
        state = "ready" if part.is_ready() else "not ready"
    else:
        state = "stopped" if record is None else "ended"
    return ProcessStatus(
        name=part.name,
        state=state,
        pid=record.pid if record and running else None,
        ports=tuple(map(part.port_of, part.port_names)) if running else (),
        pss_mib=round(part.process.pss_mib(), 1),
    )


def _all_at_once(act: Callable[[Service], Result], parts: Sequence[Service]) -> list[Result]:
    """Apply to every part at the same time; the first failure is raised when all have ended."""
    if not parts:
        return []
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(act, parts))
