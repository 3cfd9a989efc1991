"""Airflow's four processes on one machine: scheduler, DAG processor, API server, triggerer.

The settings are those that make a chain of small tasks quick: PostgreSQL, a scheduler that looks ten times
a second, task slots that are given back within a second.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from include.errors import CommandFailed
from include.local.files import write_atomically
from include.local.ports import LOOPBACK, hostname
from include.local.postgres import Postgres
from include.local.process import ManagedProcess
from include.local.service import PROJECT, Service, answers_http, inherited_environment

DATABASE = "airflow"

READY_TIME_LIMIT_S = 180
"""A slow machine that starts without bytecode takes two minutes."""

MIGRATION_TIME_LIMIT_S = 300

ROLES = {"admin": "admin", "submitter": "user", "reader": "viewer"}
"""User → what Airflow lets them do; a viewer may not start runs."""


@dataclass(frozen=True, slots=True)
class AirflowAccount:
    """Where Airflow's API is, and who asks."""

    url: str
    user: str
    password: str

    def token(self) -> str:
        """A token for ``Authorization: Bearer``, good for a day."""
        import httpx

        body = {"username": self.user, "password": self.password}
        answer = httpx.post(f"{self.url}/auth/token", json=body, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["access_token"])


class Component(Service):
    """One of Airflow's processes."""

    folder_name: ClassVar[str] = "airflow"
    # The scheduler gives running tasks this long to end.
    grace_s = 15

    def __init__(
        self,
        root: Path,
        *arguments: str,
        environment: Callable[[], Mapping[str, str]],
        is_healthy: Callable[[str], bool],
        has_port: bool,
    ) -> None:
        self.name = f"airflow-{arguments[0]}"
        self.port_names = ("",) if has_port else ()
        super().__init__(root)
        self.folder = root / self.folder_name
        self._arguments = arguments
        self._environment = environment
        self._is_healthy = is_healthy

    def environment(self) -> Mapping[str, str]:
        return self._environment()

    def command(self) -> list[str]:
        return [sys.executable, "-m", "airflow", *self._arguments]

    def is_ready(self) -> bool:
        return self._is_healthy(self._arguments[0])


class Airflow:
    """Airflow under a root folder, on a PostgreSQL server that runs there.

    Args:
        root: folder of the stack.
        postgres: holds Airflow's own database.
        environment: everything the processes find in their environment, :meth:`settings` included.
        dags_folder: where the DAG files are.
    """

    def __init__(
        self,
        root: Path,
        postgres: Postgres,
        environment: Callable[[], Mapping[str, str]],
        dags_folder: Path,
    ) -> None:
        self._home = root / Component.folder_name
        self._postgres = postgres
        self._credentials = postgres.credentials
        self._dags_folder = dags_folder
        self._environment = environment
        self._migration = ManagedProcess("airflow-migration", root)

        def component(*arguments: str, has_port: bool = True) -> Component:
            return Component(
                root,
                *arguments,
                environment=environment,
                is_healthy=self._is_healthy,
                has_port=has_port,
            )

        self.api_server = component("api-server")
        self.scheduler = component("scheduler")  # its port serves the logs of running tasks
        self.triggerer = component("triggerer")  # the same, for triggers
        self.dag_processor = component("dag-processor", has_port=False)
        self.components = (
            self.api_server, self.scheduler, self.triggerer, self.dag_processor,
        )  # fmt: skip

    @property
    def url(self) -> str:
        """Address of the UI and the API."""
        return f"http://{LOOPBACK}:{self.api_server.port}"

    @property
    def passwords_file(self) -> Path:
        """JSON, user → password; Airflow reads it too."""
        return self._home / "passwords.json"

    def account(self, user: str = "admin") -> AirflowAccount:
        """Log-in of ``admin``, ``submitter`` or ``reader``."""
        return AirflowAccount(self.url, user, self._passwords()[user])

    def settings(self) -> dict[str, str]:
        """Airflow's configuration, as environment variables."""
        sections: dict[str, dict[str, object]] = {
            "core": {
                "executor": "LocalExecutor",
                "parallelism": 16,
                "dags_folder": self._dags_folder,
                "plugins_folder": PROJECT / "plugins",
                "load_examples": False,
                "hostname_callable": f"{hostname.__module__}.{hostname.__name__}",
                "dags_are_paused_at_creation": False,
                "fernet_key": self._credentials.fernet_key,
                "execution_api_server_url": f"{self.url}/execution/",
                "simple_auth_manager_users": ",".join(
                    f"{user}:{role}" for user, role in ROLES.items()
                ),
                "simple_auth_manager_passwords_file": self.passwords_file,
            },
            "database": {"sql_alchemy_conn": self._postgres.uri_of(DATABASE, driver="psycopg2")},
            "api": {
                "host": LOOPBACK,
                "port": self.api_server.port,
                "base_url": self.url,
                "workers": 1,
                "secret_key": self._credentials.api_secret_key,
            },
            "api_auth": {"jwt_secret": self._credentials.jwt_secret},
            "scheduler": {
                "scheduler_idle_sleep_time": 0.1,
                # A task whose process died with its supervisor is tried again after a minute.
                "task_instance_heartbeat_timeout": 60,
            },
            # How soon a slot is free again, a failure is seen and a kill arrives.
            "workers": {"min_heartbeat_interval": 1},
            # New files are seen within 10 s; changed ones too, whatever the interval says.
            "dag_processor": {"refresh_interval": 10, "min_file_process_interval": 30},
            "logging": {
                "worker_log_server_port": self.scheduler.port,
                "trigger_log_server_port": self.triggerer.port,
            },
        }
        variables = {
            f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
            for section, options in sections.items()
            for option, value in options.items()
        }
        return variables | {
            "AIRFLOW_HOME": str(self._home),
            "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "config")]),
        }

    def start(self) -> None:
        """Bring the database to this version and start what does not run; returns before it is ready."""
        self._home.mkdir(parents=True, exist_ok=True)
        write_atomically(self.passwords_file, json.dumps(self._passwords()), mode=0o600)
        self._postgres.make_database(DATABASE)
        # It takes the longest to start and reads no table before the first request.
        self.api_server.launch()
        self._migrate()
        for component in self.components:
            component.launch()

    def wait_until_ready(self) -> None:
        """Return once every process is healthy and the DAG processor has read every file.

        Raises:
            CommandFailed: a process ended, a DAG file cannot be imported, or the time is over.
        """
        # The first question to this address takes seconds, during which the server answers nothing else:
        # asked here, no run has to wait for it.
        self.api_server.process.wait_until(
            lambda: answers_http(self.api_server.port, "/execution/health", timeout_s=60),
            READY_TIME_LIMIT_S,
        )
        for component in self.components:
            component.process.wait_until(self._all_run_and(component.is_ready), READY_TIME_LIMIT_S)
        token = self.account().token()
        self.dag_processor.process.wait_until(
            self._all_run_and(lambda: not self._unread_dag_files(token)),
            READY_TIME_LIMIT_S,
        )

    def _all_run_and(self, is_ready: Callable[[], bool]) -> Callable[[], bool]:
        def check() -> bool:
            for component in self.components:
                component.process.check_running()
            return is_ready()

        return check

    def _migrate(self) -> None:
        """Make or upgrade the tables, unless this version of Airflow has done so before."""
        done = self._home / "migrated.json"
        current = {"airflow": version("apache-airflow"), "revision": self._revision()}
        if done.exists() and json.loads(done.read_text()) == current:
            return
        environment = {**inherited_environment(), **self._environment()}
        self._migration.run(
            [sys.executable, "-m", "airflow", "db", "migrate"], environment, MIGRATION_TIME_LIMIT_S
        )
        write_atomically(done, json.dumps({**current, "revision": self._revision()}))

    def _revision(self) -> str | None:
        """The revision of the database's tables; None when there are none."""
        import psycopg

        with psycopg.connect(self._postgres.uri_of(DATABASE)) as connection:
            found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
            if found is None or found[0] is None:
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return None if row is None else str(row[0])

    def _passwords(self) -> dict[str, str]:
        return {user: getattr(self._credentials, f"{user}_password") for user in ROLES}

    def _is_healthy(self, component: str) -> bool:
        """Whether Airflow counts the process as alive, by a heartbeat of this process."""
        health = _get_json(f"{self.url}/api/v2/monitor/health")
        if component == "api-server" or not health:
            return bool(health)
        key = component.replace("-", "_")
        part = health.get(key) or {}
        heartbeat = part.get(f"latest_{key}_heartbeat")
        record = getattr(self, key).process.record
        if part.get("status") != "healthy" or heartbeat is None or record is None:
            return False
        # The heartbeat of a process that was stopped a moment ago counts as healthy for half a minute.
        return bool(datetime.fromisoformat(heartbeat).timestamp() >= record.started_at)

    def _unread_dag_files(self, token: str) -> set[str]:
        """DAG files that the DAG processor has not read since it was started.

        Raises:
            CommandFailed: one of them cannot be imported.
        """
        record = self.dag_processor.process.record
        if record is None:
            raise CommandFailed("the DAG processor was stopped by another command")
        started_at = datetime.fromtimestamp(record.started_at, UTC)
        headers = {"Authorization": f"Bearer {token}"}
        failures = _get_json(f"{self.url}/api/v2/importErrors?limit=100", headers)
        if failed := {
            failure["filename"]: failure["stack_trace"]
            for failure in failures.get("import_errors", [])
            if _moment(failure["timestamp"]) >= started_at
        }:
            traces = "\n".join(f"{name}:\n{trace}" for name, trace in sorted(failed.items()))
            raise CommandFailed(f"{len(failed)} DAG files cannot be imported:\n{traces}")
        dags = _get_json(f"{self.url}/api/v2/dags?limit=100", headers).get("dags", [])
        read = {
            dag["relative_fileloc"]
            for dag in dags
            if dag["last_parsed_time"] and _moment(dag["last_parsed_time"]) >= started_at
        }
        return dag_files(self._dags_folder) - read


def dag_files(folder: Path) -> set[str]:
    """The files that Airflow reads for DAGs, relative to the folder.

    Airflow passes over files that do not hold both words; so do we.
    """
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*.py")
        if all(word in file.read_bytes().lower() for word in (b"dag", b"airflow"))
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _get_json(url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What is answered; empty while the server cannot."""
    import httpx

    try:
        answer = httpx.get(url, headers=headers, timeout=10, trust_env=False)
    except httpx.TransportError:
        return {}
    return dict(answer.json()) if answer.status_code == httpx.codes.OK else {}
