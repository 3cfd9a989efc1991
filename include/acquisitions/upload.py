"""Bring S3 to hold every file of an asset folder, and prove that it does.

Look once at the folder and once at the prefix; send what differs; look at both again and compare
every file by path, size and digest. Objects that the folder does not have stay. A run that was
killed, or has nothing to do, repeats nothing: the digests say what S3 holds already.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from include.acquisitions.file_digest import DigestingReader, FileDigest, digest_file, stamp_of
from include.acquisitions.file_tree import FileTree, FoundFile, raise_problems, scan
from include.acquisitions.stored_content import StoredContent, is_held
from include.acquisitions.upload_progress import Meter, Progress, for_each
from include.acquisitions.upload_receipt import RECEIPT_NAME, HeldFile, receipt_content
from include.assets.location import AssetLocation
from include.assets.stored_object import StoredObject
from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    NotFound,
    Problem,
    ServiceUnavailable,
    SourceChanged,
    TransientError,
    VerificationFailed,
)

logger = logging.getLogger(__name__)

LARGE_FILES_AT_ONCE = 2
"""Each is sent in several parts at a time already; more would only take memory."""

ROUNDS = 3
"""Looks at the folder after sending; files that changed again after the last one are an error."""

FAILURES_SHOWN = 50


class ObjectStore(StoredContent, Protocol):
    """What an upload needs of S3 besides writing."""

    def abort_uploads(self, bucket: str, prefix: str) -> int:
        """Throw away the parts of unfinished uploads."""


class ObjectWriter(Protocol):
    """Sends objects into the bucket of the asset; used by many threads."""

    @property
    def part_size_bytes(self) -> int:
        """Files of this size and above are sent in parts."""

    def put_bytes(self, key: str, content: bytes) -> str:
        """Write one object in one request; its ETag."""

    def put_chunks(self, key: str, chunks: Iterable[bytes], size_bytes: int) -> str:
        """Write one object in parts; its ETag."""


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """What is to be sent, and what S3 holds already."""

    to_put: tuple[FoundFile, ...]
    """Largest first."""

    unchanged: tuple[HeldFile, ...]
    extra_objects: int
    """Objects under the prefix that the folder does not have; they stay."""

    empty_folders: int
    """Folders that S3 has no place for."""


class UploadReceipt(BaseModel):
    """How an upload went, in numbers; the list of files lies in S3 beside them."""

    model_config = ConfigDict(frozen=True)

    location: str
    files: int
    size_bytes: int
    put: int
    put_bytes: int
    unchanged: int
    extra_objects: int
    empty_folders: int
    aborted_uploads: int = 0
    """Uploads of an earlier try that were thrown away half-sent."""

    receipt_key: str | None = None
    """Where the list of files is; None after a dry run."""

    duration_s: float
    dry_run: bool = False


class Upload:
    """One upload of one asset folder, run once.

    Args:
        folder: mirrors what will be under *location*.
        allowed_roots: links in the folder may lead below these (and within the folder).
        workers: files sent at a time.
        on_progress: called every *progress_interval_s* seconds while files are sent.
        sleep: how to wait before a file is tried again.
    """

    def __init__(
        self,
        folder: Path,
        location: AssetLocation,
        *,
        store: ObjectStore,
        writer: ObjectWriter,
        allowed_roots: Iterable[Path],
        workers: int = 16,
        on_progress: Callable[[Progress], None] | None = None,
        progress_interval_s: float = 5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._location = location
        self._store = store
        self._writer = writer
        self._roots = tuple(root.resolve() for root in (*allowed_roots, folder))
        self._workers = workers
        self._on_progress = on_progress
        self._progress_interval_s = progress_interval_s
        self._stop = threading.Event()
        self._failures: dict[str, Exception] = {}
        self._outages = 0
        self._lock = threading.Lock()
        self._retrying = Retrying(
            stop=stop_after_attempt(3),
            wait=wait_random_exponential(multiplier=0.5, max=10),
            retry=retry_if_exception(self._may_pass),
            sleep=sleep,
            reraise=True,
        )

    def run(self, *, dry_run: bool = False) -> UploadReceipt:
        """Plan, send, verify, and leave the list of files as the last object.

        Raises:
            InvalidInput: links that lead out or nowhere, unreadable files, unusable names.
            SourceChanged: files kept changing.
            AccessDenied, NotFound, ServiceUnavailable: S3 refused, or some files failed; the
                others were sent.
            VerificationFailed: S3 does not hold what was sent.
        """
        started_s = time.monotonic()
        plan = self.plan()
        held = {file.relative: file for file in plan.unchanged}
        aborted, receipt_key = 0, None
        if not dry_run:
            aborted = self._store.abort_uploads(self._location.bucket, self._location.key_prefix)
            sent = self._send_until_still(plan, held)
            stored = self._list()
            proven = self._verify(held, stored)
            receipt_key = self._write_receipt(proven, stored.get(RECEIPT_NAME))
        else:
            sent = {file.relative: file.size_bytes for file in plan.to_put}
        sizes = {name: file.digest.size_bytes for name, file in held.items()} | sent
        receipt = UploadReceipt(
            location=str(self._location),
            files=len(sizes),
            size_bytes=sum(sizes.values()),
            put=len(sent),
            put_bytes=sum(sent.values()),
            unchanged=len(sizes) - len(sent),
            extra_objects=plan.extra_objects,
            empty_folders=plan.empty_folders,
            aborted_uploads=aborted,
            receipt_key=receipt_key,
            duration_s=round(time.monotonic() - started_s, 3),
            dry_run=dry_run,
        )
        logger.info(
            "%s %s: %d files, %d to send, %d unchanged",
            "Planned" if dry_run else "Uploaded",
            self._location,
            receipt.files,
            receipt.put,
            receipt.unchanged,
        )
        return receipt

    def plan(self) -> UploadPlan:
        """Compare the folder with S3 as both are now; writes nothing.

        Raises:
            InvalidInput, SourceChanged, AccessDenied, NotFound, ServiceUnavailable: as :meth:`run`.
        """
        tree = self._scan()
        stored = self._list()
        unchanged: list[HeldFile] = []
        same_size = [
            file
            for file in tree.files
            if file.relative in stored and stored[file.relative].size_bytes == file.size_bytes
        ]

        def compare(file: FoundFile) -> None:
            found = stored[file.relative]
            try:
                digest = self._retrying(self._digest, file)
                if is_held(self._store, self._location.bucket, found, digest):
                    unchanged.append(HeldFile(file.relative, digest, found.etag))
            except (OSError, SourceChanged) as error:
                # It counts as not held; sending it will tell whether it is a failure.
                logger.warning("%s%s: %s", self._location.key_prefix, file.relative, error)
            except AssetflowError as error:
                self._fail(file, error)

        for_each(same_size, compare, threads=self._workers, stop=self._stop)
        self._raise_failures()
        done = {file.relative for file in unchanged}
        to_put = [file for file in tree.files if file.relative not in done]
        names = {file.relative for file in tree.files} | {RECEIPT_NAME}
        return UploadPlan(
            to_put=tuple(sorted(to_put, key=lambda file: -file.size_bytes)),
            unchanged=tuple(unchanged),
            extra_objects=sum(name not in names for name in stored),
            empty_folders=tree.empty_folders,
        )

    def _scan(self) -> FileTree:
        tree = scan(self._folder, self._roots, key_prefix=self._location.key_prefix)
        problems = list(tree.problems)
        if not tree.files and not problems:
            problems.append(Problem(str(self._folder), "", "holds no files to upload"))
        if any(file.relative == RECEIPT_NAME for file in tree.files):
            reason = "has the name of the upload's own receipt"
            problems.append(Problem(RECEIPT_NAME, "", reason, "remove it"))
        raise_problems(problems)
        return tree

    def _list(self) -> dict[str, StoredObject]:
        """Objects by their key without the asset's prefix."""
        prefix = self._location.key_prefix
        return {
            found.key.removeprefix(prefix): found
            for found in self._store.iterate_objects(self._location.bucket, prefix)
        }

    def _digest(self, file: FoundFile) -> FileDigest:
        path = self._folder / file.relative
        return digest_file(
            path, md5_below_bytes=self._writer.part_size_bytes, allowed_roots=self._roots
        )

    def _send_until_still(self, plan: UploadPlan, held: dict[str, HeldFile]) -> dict[str, int]:
        """Send, look again, send what changed; relative path → bytes of what was sent."""
        to_put: tuple[FoundFile, ...] = plan.to_put
        sent: dict[str, int] = {}
        for _ in range(ROUNDS):
            self._send_all(to_put, held)
            sent |= {file.relative: held[file.relative].digest.size_bytes for file in to_put}
            now = {file.relative: file for file in self._scan().files}
            if gone := sorted(held.keys() - now.keys()):
                raise SourceChanged(f"{self._folder / gone[0]} was uploaded and is gone")
            to_put = tuple(
                file
                for name, file in now.items()
                if name not in held or held[name].digest.stamp != file.stamp
            )
            if not to_put:
                return sent
            logger.warning("%s: %d files changed during the upload", self._location, len(to_put))
        names = ", ".join(file.relative for file in to_put[:FAILURES_SHOWN])
        raise SourceChanged(f"{self._folder}: {len(to_put)} files keep changing: {names}")

    def _send_all(self, files: Iterable[FoundFile], held: dict[str, HeldFile]) -> None:
        part_size_bytes = self._writer.part_size_bytes
        large = [file for file in files if file.size_bytes >= part_size_bytes]
        small = [file for file in files if file.size_bytes < part_size_bytes]
        meter = Meter(
            files_total=len(large) + len(small),
            bytes_total=sum(file.size_bytes for file in (*large, *small)),
            on_progress=self._on_progress,
            interval_s=self._progress_interval_s,
        )

        def send(file: FoundFile) -> None:
            try:
                held[file.relative] = self._retrying(self._send, file, meter)
            except (OSError, AssetflowError) as error:
                self._fail(file, error)

        for batch, threads in ((large, LARGE_FILES_AT_ONCE), (small, self._workers)):
            for_each(batch, send, threads=threads, stop=self._stop)
        self._raise_failures()

    def _send(self, file: FoundFile, meter: Meter) -> HeldFile:
        path = self._folder / file.relative
        key = f"{self._location.key_prefix}{file.relative}"
        stamp = stamp_of(path)
        is_small = stamp.size_bytes < self._writer.part_size_bytes
        reader = DigestingReader(path, stamp, with_md5=is_small, allowed_roots=self._roots)
        with meter.measure(reader, self._stop) as chunks:
            if is_small:
                etag = self._writer.put_bytes(key, b"".join(chunks))
            else:
                etag = self._writer.put_chunks(key, chunks, stamp.size_bytes)
        return HeldFile(file.relative, reader.digest, etag)

    def _fail(self, file: FoundFile, error: Exception) -> None:
        """Note the failure of one file; stop when the others cannot fare better."""
        logger.warning("%s%s: %s", self._location.key_prefix, file.relative, error)
        self._failures[file.relative] = error
        with self._lock:
            self._outages += isinstance(error, ServiceUnavailable)
            if isinstance(error, (AccessDenied, NotFound)) or self._outages >= self._workers:
                self._stop.set()

    def _may_pass(self, error: BaseException) -> bool:
        return isinstance(error, TransientError) and not self._stop.is_set()

    def _raise_failures(self) -> None:
        if self._failures:
            raise _summary(self._folder, self._failures)

    def _verify(
        self, held: Mapping[str, HeldFile], stored: Mapping[str, StoredObject]
    ) -> list[HeldFile]:
        """Compare every file with what S3 holds now.

        Returns:
            The files with the ETags of now, by relative path.
        """
        wrong: list[str] = []
        proven: list[HeldFile] = []

        def compare(file: HeldFile) -> None:
            found = stored.get(file.relative)
            if found is None:
                wrong.append(f"{file.relative}: not there")
            elif is_held(self._store, self._location.bucket, found, file.digest):
                proven.append(HeldFile(file.relative, file.digest, found.etag))
            else:
                wrong.append(
                    f"{file.relative}: sent {file.digest.size_bytes} bytes with CRC64NVME "
                    f"{file.digest.crc64nvme}, S3 holds {found.size_bytes} bytes of other content"
                )

        for_each(held.values(), compare, threads=self._workers, stop=self._stop)
        if wrong:
            shown = "\n".join(f"  - {line}" for line in sorted(wrong)[:FAILURES_SHOWN])
            raise VerificationFailed(f"{self._location}: {len(wrong)} files differ:\n{shown}")
        return sorted(proven, key=lambda file: file.relative)

    def _write_receipt(self, proven: list[HeldFile], found: StoredObject | None) -> str:
        key = f"{self._location.key_prefix}{RECEIPT_NAME}"
        content, digest = receipt_content(str(self._location), proven)
        if found is None or not is_held(self._store, self._location.bucket, found, digest):
            self._retrying(self._writer.put_bytes, key, content)
        return key


def _summary(folder: Path, failures: dict[str, Exception]) -> AssetflowError:
    """One error for many: bad files first, then what is lasting, then what may pass."""
    by_name = sorted(failures.items())
    unusable: list[Problem] = []
    others: list[tuple[str, AssetflowError]] = []
    for name, error in by_name:
        if isinstance(error, InvalidInput):
            unusable += error.problems
        elif isinstance(error, AssetflowError):
            others.append((name, error))
        elif isinstance(error, OSError):
            reason = f"cannot be read: {error.strerror}"
            unusable.append(Problem(str(folder / name), "", reason, "check its rights"))
    if unusable:
        shown = [*unusable, *(Problem(name, "", str(error)) for name, error in others)]
        return InvalidInput(shown[:FAILURES_SHOWN])
    lasting = [error for _, error in others if not isinstance(error, TransientError)]
    kind = type(lasting[0] if lasting else others[0][1])
    lines = "\n".join(f"  - {name}: {error}" for name, error in others[:FAILURES_SHOWN])
    return kind(f"{len(others)} files of {folder} were not uploaded:\n{lines}")
