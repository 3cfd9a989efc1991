"""The servers that stand behind Airflow's connections on one machine, each a process of its own.

=================  =============================================  ==========================
class              program                                        keeps over a restart
=================  =============================================  ==========================
S3                 SeaweedFS (``weed server``)                    buckets and objects
DocDb              SecantusDB, a MongoDB-wire server              databases
Postgres           PostgreSQL (:mod:`include.local.postgres`)     databases
ParameterStore     moto: Parameter Store and Secrets Manager      nothing: fill it at each start
Mail               :mod:`include.local.mail_catcher`              the mails
CodeOcean          our stand-in                                   assets and computations
MetadataService    our stand-in                                   what it was told
=================  =============================================  ==========================
"""

from __future__ import annotations

import json
import signal
import smtplib
import sys
from collections.abc import Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern_policy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote
from urllib.request import Request, urlopen

from include.local.files import write_atomically
from include.local.ports import LOOPBACK
from include.local.service import PROJECT, SCRIPTS, Service, answers_http

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3(Service):
    """Objects in buckets; checks signatures and checksums as AWS does."""

    name = "s3"
    port_names = (
        "", "grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc",
    )  # fmt: skip
    # Asked to end, the server waits 15 s for streams that it holds itself. Ended at once it loses nothing:
    # every write has reached the system before it is acknowledged, and its logs are replayed at the start.
    stop_signal = signal.SIGKILL
    region: ClassVar[str] = "us-west-2"

    @property
    def endpoint_url(self) -> str:
        """Address of the S3 API."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def access_key(self) -> str:
        """Key id of the one identity, which may do everything."""
        return self.credentials.s3_access_key

    @property
    def secret_key(self) -> str:
        """Its secret."""
        return self.credentials.s3_secret_key

    def client(self, **config: Any) -> S3Client:
        """A boto3 client; *config* goes to botocore's ``Config``."""
        import boto3
        from botocore.config import Config

        return boto3.Session(self.access_key, self.secret_key, region_name=self.region).client(
            "s3", endpoint_url=self.endpoint_url, config=Config(**config)
        )

    def make_bucket(self, name: str) -> None:
        """Create the bucket unless it is there."""
        client = self.client()
        if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(
                Bucket=name,
                CreateBucketConfiguration={"LocationConstraint": "us-west-2"},
            )

    def empty_bucket(self, name: str) -> None:
        """Delete everything in the bucket, unfinished uploads too, and the folders that it keeps as such.

        Through the S3 API the folders would stay, and an empty one is listed as a common prefix.
        """
        entries = [""]
        while entries:
            listing = json.loads(self._ask_filer("GET", f"{name}/?limit=1000"))
            entries = [
                one["FullPath"].removeprefix("/buckets/") for one in listing["Entries"] or []
            ]
            for entry in entries:
                self._ask_filer("DELETE", f"{quote(entry)}?recursive=true")

    def remove_bucket(self, name: str) -> None:
        """Delete the bucket with everything in it, in one request."""
        self._ask_filer("DELETE", f"{quote(name)}?recursive=true")

    def _ask_filer(self, method: str, target: str) -> bytes:
        """The server has all buckets as folders, too, and that side needs no signature."""
        request = Request(
            f"http://{LOOPBACK}:{self.port_of('filer')}/buckets/{target}",
            method=method,
            headers={"Accept": "application/json"},
        )
        with urlopen(request, timeout=60) as answer:  # noqa: S310  loopback
            content: bytes = answer.read()
        return content

    def stop(self) -> None:
        super().stop()
        for port in map(self.port_of, self.port_names):
            for left_behind in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  # its choice
                left_behind.unlink(missing_ok=True)

    def prepare(self) -> None:
        (self.folder / "objects").mkdir(exist_ok=True)
        key = {"accessKey": self.access_key, "secretKey": self.secret_key}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "assetflow", "credentials": [key], "actions": actions}
        write_atomically(
            self.folder / "identities.json", json.dumps({"identities": [identity]}), mode=0o600
        )

    def environment(self) -> Mapping[str, str]:
        return {
            # A new bucket makes this many volumes at once; 7 without it.
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "2",
            # Collect garbage sooner beyond this, for a small machine.
            "GOMEMLIMIT": "384MiB",
        }

    def command(self) -> list[str]:
        objects = self.folder / "objects"
        return [
            str(SCRIPTS / "weed"), "-logtostderr", "server", f"-dir={objects}",
            f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}",
            f"-master.port={self.port_of('master')}", f"-master.port.grpc={self.port_of('master_grpc')}",
            "-master.peers=none",  # alone: no election to wait for
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            f"-volume.port={self.port_of('volume')}", f"-volume.port.grpc={self.port_of('volume_grpc')}",
            "-volume.max=2000",  # two per bucket at least, and tests make many buckets
            "-filer", f"-filer.port={self.port_of('filer')}",
            f"-filer.port.grpc={self.port_of('filer_grpc')}",
            "-s3", f"-s3.port={self.port}", f"-s3.port.grpc={self.port_of('grpc')}",
            f"-s3.config={self.folder / 'identities.json'}",
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
            # As AWS: a write to a bucket that is not there is an error.
            "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        once = {"retries": {"total_max_attempts": 1}, "connect_timeout": 1, "read_timeout": 5}
        try:
            self.client(**once).list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True


class DocDb(Service):
    """A MongoDB-wire server.

    Args:
        root: folder of the stack.
        in_memory: keep nothing over a restart.
    """

    name = "docdb"

    def __init__(self, root: Path, *, in_memory: bool = False) -> None:
        super().__init__(root)
        self._storage = ":memory:" if in_memory else str(self.folder / "databases")

    @property
    def uri(self) -> str:
        """Address for ``pymongo.MongoClient``."""
        return f"mongodb://{LOOPBACK}:{self.port}/?directConnection=true"

    def prepare(self) -> None:
        # Named on the command line, so that a configuration of the user or the machine is not read.
        write_atomically(self.folder / "secantusd.toml", "")

    def command(self) -> list[str]:
        return [
            str(SCRIPTS / "secantusd-py"), "--config", str(self.folder / "secantusd.toml"),
            "--host", LOOPBACK, "--port", str(self.port), "--storage-path", self._storage,
            "--cache-size", "256M", "--log-level", "WARNING",
        ]  # fmt: skip

    def is_ready(self) -> bool:
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError

        client: MongoClient[dict[str, Any]] = MongoClient(self.uri, serverSelectionTimeoutMS=500)
        try:
            client.admin.command("ping")
        except PyMongoError:
            return False
        finally:
            client.close()
        return True


class ParameterStore(Service):
    """Parameter Store and Secrets Manager; holds everything in memory."""

    name = "parameter_store"
    region: ClassVar[str] = "us-west-2"

    @property
    def endpoint_url(self) -> str:
        """Address of both APIs; any key is accepted."""
        return f"http://{LOOPBACK}:{self.port}"

    def client(self, service: str = "ssm") -> Any:
        """A boto3 client of ``ssm`` or ``secretsmanager``."""
        import boto3

        session = boto3.Session("any", "any", region_name=self.region)
        return session.client(service, endpoint_url=self.endpoint_url)  # type: ignore[call-overload]

    def command(self) -> list[str]:
        return [str(SCRIPTS / "moto_server"), "-H", LOOPBACK, "-p", str(self.port)]

    def is_ready(self) -> bool:
        return answers_http(self.port, "/moto-api/")


class Mail(Service):
    """Takes every mail and delivers none."""

    name = "mail"

    host: ClassVar[str] = LOOPBACK

    @property
    def inbox(self) -> Path:
        """One ``.eml`` file per mail, named in the order of arrival."""
        return self.folder / "inbox"

    def messages(self) -> list[EmailMessage]:
        """Every mail caught so far, oldest first; ``X-RcptTo`` holds whom it was really sent to."""
        return [
            message_from_bytes(file.read_bytes(), policy=modern_policy)
            for file in sorted(self.inbox.glob("*.eml"))
        ]

    def clear(self) -> None:
        """Forget the mails caught so far."""
        for file in self.inbox.glob("*.eml"):
            file.unlink()

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(PROJECT)}

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "include.local.mail_catcher",
            "--host", LOOPBACK, "--port", str(self.port), "--folder", str(self.inbox),
        ]  # fmt: skip

    def is_ready(self) -> bool:
        try:
            with smtplib.SMTP(LOOPBACK, self.port, local_hostname="localhost", timeout=2):
                return True
        except (OSError, smtplib.SMTPException):
            return False


class _StandIn(Service):
    """A server of our own that answers as an outside service does."""

    @property
    def url(self) -> str:
        """Address of the service."""
        return f"http://{LOOPBACK}:{self.port}"

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(PROJECT)}

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", f"include.local.stand_ins.{self.name}",
            "--host", LOOPBACK, "--port", str(self.port),
            "--state", str(self.folder / "state.json"),
        ]  # fmt: skip

    def is_ready(self) -> bool:
        return answers_http(self.port, "/health")


class CodeOcean(_StandIn):
    """Data assets and computations."""

    name = "code_ocean"

    @property
    def token(self) -> str:
        """The access token that is let in."""
        return self.credentials.code_ocean_token

    def command(self) -> list[str]:
        # It looks into the S3 of the same root, which need not run yet.
        return [
            *super().command(), "--token", self.token,
            "--s3-endpoint", f"http://{LOOPBACK}:{self.ports.of(S3.name)}",
            "--s3-access-key", self.credentials.s3_access_key,
            "--s3-secret-key", self.credentials.s3_secret_key,
        ]  # fmt: skip


class MetadataService(_StandIn):
    """Subjects, procedures and what else the lab's metadata service knows."""

    name = "metadata_service"
