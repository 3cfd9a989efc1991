"""What all embedded servers have in common: ports, a process, and a question that proves them ready."""

from __future__ import annotations

import http.client
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from include.local.credentials import Credentials
from include.local.ports import LOOPBACK, Ports
from include.local.process import ManagedProcess

PROJECT = Path(__file__).parents[2]
"""Where `include`, `dags`, `plugins` and `config` are."""

SCRIPTS = Path(sys.executable).parent
"""Where the commands of this Python environment are."""

FOREIGN = ("AIRFLOW", "ASSETFLOW_", "AWS_", "PYTHON")
"""Settings of the caller's shell that must not reach the embedded stack: a profile of a real AWS
account, another Airflow, another set of modules."""


def inherited_environment() -> dict[str, str]:
    """The caller's environment without what would point the stack elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    # A proxy of the machine does not know our loopback.
    direct = dict.fromkeys(("NO_PROXY", "no_proxy"), f"{LOOPBACK},localhost")
    # AWS libraries ask the machine they run on for credentials, and wait for it, unless told not to.
    # setproctitle would write over the environment by which we find our processes.
    ours = {"AWS_EC2_METADATA_DISABLED": "true", "SPT_NOENV": "1", "PYTHONUNBUFFERED": "1"}
    return kept | direct | ours


class Service(ABC):
    """One embedded server under a root folder.

    Its files are in ``<root>/<name>/``, its log in ``<root>/logs/<name>.log``. Starting a server that
    runs, or stopping one that does not, changes nothing.
    """

    name: str
    port_names: tuple[str, ...] = ("",)
    """One entry per port; the main one is ``""``."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    grace_s: ClassVar[float] = 10
    start_time_limit_s: ClassVar[float] = 60

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / self.name
        self.ports = Ports(root / "ports.json")
        self.credentials = Credentials.of(root)
        self.process = ManagedProcess(
            self.name, root, stop_signal=self.stop_signal, grace_s=self.grace_s
        )

    @abstractmethod
    def command(self) -> list[str]:
        """Program and arguments, once the ports are claimed."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server does its work, asked the way a client asks."""

    def prepare(self) -> None:  # noqa: B027  # most servers read nothing
        """Put what the server reads at its start into its folder."""

    def environment(self) -> Mapping[str, str]:
        """What the process needs in its environment, beyond the caller's own."""
        return {}

    def user(self) -> str | None:
        """System user to run as; None for the caller's own."""
        return None

    @property
    def port(self) -> int:
        """The main port, stable while the server runs."""
        return self.port_of("")

    def port_of(self, name: str) -> int:
        """The port of this name, stable while the server runs."""
        return self.ports.of(self._port_key(name))

    def claim_ports(self) -> None:
        """Make sure that the ports are ours to take, before anybody is told of them."""
        if not self.process.is_running:
            for name in self.port_names:
                self.ports.claim(self._port_key(name))

    def launch(self) -> None:
        """Start the server unless it runs; return before it is ready."""
        if self.process.is_running:
            return
        self.claim_ports()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        environment = {**inherited_environment(), **self.environment()}
        self.process.start(self.command(), environment, folder=self.folder, user=self.user())

    def start(self) -> None:
        """Start the server and return once it is ready.

        Raises:
            CommandFailed: it ended or is not ready in time; with the end of its log.
        """
        self.launch()
        self.process.wait_until(self.is_ready, self.start_time_limit_s)

    def stop(self) -> None:
        """End the server; what it stored stays."""
        self.process.stop()

    def _port_key(self, name: str) -> str:
        return f"{self.name}.{name}" if name else self.name


def answers_http(port: int, path: str, *, timeout_s: float = 2) -> bool:
    """Whether a GET on loopback is answered with 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
