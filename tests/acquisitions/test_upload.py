"""An upload sends what is missing, proves all of it, and never deletes."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from include.acquisitions.upload import ROUNDS, ObjectWriter, Upload, UploadReceipt
from include.acquisitions.upload_progress import Progress
from include.acquisitions.upload_receipt import RECEIPT_NAME
from include.assets.location import AssetLocation
from include.clients.s3 import S3Client
from include.errors import (
    AccessDenied,
    AssetflowError,
    InvalidInput,
    NotFound,
    ServiceUnavailable,
    SourceChanged,
    VerificationFailed,
)
from tests.acquisitions.unprivileged import open_folder, unprivileged
from tests.s3_clients import object_writer, s3_client
from tests.s3_fault_proxy import Fault, FaultProxy

MIB = 2**20
PART_BYTES = 5 * MIB


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "asset"
    (folder / "ecephys" / "deep").mkdir(parents=True)
    (folder / "subject.json").write_text("{}")
    (folder / "ecephys" / "a.bin").write_bytes(b"12345")
    (folder / "ecephys" / "deep" / "empty").write_bytes(b"")
    return folder


@dataclass
class Place:
    """A folder, where it goes, and what carries it."""

    folder: Path
    location: AssetLocation
    s3: S3Client
    writer: Any
    proxy: FaultProxy
    roots: tuple[Path, ...] = ()

    def upload(self, *, dry_run: bool = False, **options: Any) -> UploadReceipt:
        return Upload(
            self.folder,
            self.location,
            store=self.s3,
            writer=options.pop("writer", self.writer),
            allowed_roots=self.roots,
            sleep=lambda _: None,
            **options,
        ).run(dry_run=dry_run)

    def names(self) -> list[str]:
        prefix = self.location.key_prefix
        found = self.s3.iterate_objects(self.location.bucket, prefix)
        return [one.key.removeprefix(prefix) for one in found]

    def contents(self) -> dict[str, bytes]:
        prefix = self.location.key_prefix
        return {
            name: self.s3.read(self.location.bucket, f"{prefix}{name}") for name in self.names()
        }

    def receipt(self) -> list[dict[str, Any]]:
        packed = self.s3.read(self.location.bucket, f"{self.location.key_prefix}{RECEIPT_NAME}")
        return [json.loads(line) for line in gzip.decompress(packed).splitlines()]

    def writes(self) -> int:
        return sum(self.proxy.count(method) for method in ("PUT", "POST", "DELETE"))


@pytest.fixture
def place(s3_server: Any, bucket: str, folder: Path) -> Iterator[Place]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield Place(
            folder,
            AssetLocation(bucket, "ecephys_1_2026-01-01_00-00-00"),
            s3_client(s3_server, proxy.endpoint_url),
            object_writer(s3_server, bucket, proxy.endpoint_url, part_size_bytes=PART_BYTES),
            proxy,
        )


def test_every_file_arrives_and_the_receipt_comes_last(place: Place) -> None:
    receipt = place.upload()
    contents = place.contents()
    receipt_name, others = RECEIPT_NAME, {k: v for k, v in contents.items() if k != RECEIPT_NAME}
    assert others == {"subject.json": b"{}", "ecephys/a.bin": b"12345", "ecephys/deep/empty": b""}
    assert (receipt.files, receipt.size_bytes, receipt.put, receipt.unchanged) == (3, 7, 3, 0)
    assert receipt.receipt_key == f"{place.location.key_prefix}{receipt_name}"
    total, *lines = place.receipt()
    assert total == {"location": str(place.location), "files": 3, "size_bytes": 7}
    assert [line["path"] for line in lines] == sorted(others)
    puts = [target for method, target in place.proxy.requests if method == "PUT"]
    assert receipt_name in puts[-1]


def test_an_unchanged_asset_costs_two_listings_and_no_write(place: Place) -> None:
    place.upload()
    place.proxy.clear()
    receipt = place.upload()
    assert (receipt.put, receipt.unchanged) == (0, 3)
    assert place.writes() == 0
    assert place.proxy.count("HEAD") == 0
    assert place.proxy.count("GET") == 3  # two listings, one look for unfinished uploads


def test_only_what_changed_is_sent_again(place: Place) -> None:
    place.upload()
    (place.folder / "ecephys" / "a.bin").write_bytes(b"54321")
    (place.folder / "new").write_bytes(b"new")
    place.proxy.clear()
    receipt = place.upload()
    assert (receipt.put, receipt.unchanged, place.proxy.count("PUT")) == (2, 2, 3)
    assert place.contents()["ecephys/a.bin"] == b"54321"


class ActsBeforeSending:
    """A store that lets something happen between the look at the folder and the sending."""

    def __init__(self, s3: S3Client, act: Callable[[], None]) -> None:
        self._s3 = s3
        self._act = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def abort_uploads(self, bucket: str, prefix: str) -> int:
        self._act()
        return self._s3.abort_uploads(bucket, prefix)


@pytest.mark.parametrize("size_bytes", [6, PART_BYTES + 1], ids=["in one", "in parts"])
def test_a_link_that_is_turned_outside_after_the_look_sends_nothing(
    place: Place, tmp_path: Path, size_bytes: int
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * size_bytes)
    link = place.folder / "notes"
    link.symlink_to(place.folder / "subject.json")

    def turn() -> None:
        link.unlink()
        link.symlink_to(secret)

    turned = replace(place, s3=ActsBeforeSending(place.s3, turn))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"notes: leads to .*secret, outside of") as caught:
        turned.upload()
    assert [problem.item for problem in caught.value.problems] == [str(link)]
    assert "notes" not in place.names()


def test_objects_that_the_folder_does_not_have_stay(place: Place) -> None:
    place.s3.put_bytes(place.location.bucket, f"{place.location.key_prefix}older", b"stays")
    place.s3.put_bytes(place.location.bucket, f"{place.location.name}-extra/x", b"not ours")
    assert place.upload().extra_objects == 1
    assert place.contents()["older"] == b"stays"


def test_a_dry_run_writes_nothing_and_tells_what_it_would(place: Place) -> None:
    receipt = place.upload(dry_run=True)
    assert (receipt.dry_run, receipt.put, receipt.put_bytes) == (True, 3, 7)
    assert place.writes() == 0
    assert place.contents() == {}


NAMES = [
    "a b",
    'it\'s "so"',
    "Übung ü 日本",
    "100% %20",
    "a+b&c=d",
    ".hidden",
    "..odd",
    "a*b?[c]{d}#~|^`<>",
    " lead and trail ",
]


def test_hard_names_arrive_and_stay_unchanged(place: Place) -> None:
    for name in NAMES:
        (place.folder / name).mkdir()
        (place.folder / name / name).write_bytes(name.encode())
    assert place.upload().put == 3 + len(NAMES)
    contents = place.contents()
    assert all(contents[f"{name}/{name}"] == name.encode() for name in NAMES)
    assert place.upload().put == 0


def test_a_large_file_goes_in_parts_and_is_compared_by_its_checksum(place: Place) -> None:
    (place.folder / "large.bin").write_bytes(random.Random(1).randbytes(40 * MIB))
    place.upload()
    assert place.proxy.count("PUT", "partNumber") == 8
    place.proxy.clear()
    assert place.upload().put == 0
    assert (place.writes(), place.proxy.count("HEAD")) == (0, 2)  # to plan, and to verify
    with (place.folder / "large.bin").open("r+b") as file:
        file.write(b"other")
    assert place.upload().put == 1


def test_links_are_followed_as_far_as_they_may_lead(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "probe").mkdir(parents=True)
    (source / "probe" / "x").write_bytes(b"x")
    (place.folder / "fib").symlink_to(source)
    (place.folder / "inner").symlink_to(place.folder / "ecephys" / "a.bin")
    with pytest.raises(InvalidInput, match="outside of"):
        place.upload()
    assert place.writes() == 0
    replace(place, roots=(tmp_path,)).upload()
    assert place.contents()["fib/probe/x"] == b"x"
    assert place.contents()["inner"] == b"12345"


def test_empty_folders_are_counted(place: Place) -> None:
    (place.folder / "nothing" / "in" / "here").mkdir(parents=True)
    assert place.upload().empty_folders == 1


def test_an_empty_asset_is_refused(place: Place, tmp_path: Path) -> None:
    (tmp_path / "none" / "deep").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="no files"):
        replace(place, folder=tmp_path / "none").upload()


def test_the_name_of_the_receipt_is_taken(place: Place) -> None:
    (place.folder / RECEIPT_NAME).parent.mkdir()
    (place.folder / RECEIPT_NAME).write_text("")
    with pytest.raises(InvalidInput, match="receipt"):
        place.upload()


def test_the_plan_of_the_run_may_lie_beside_the_receipt(place: Place) -> None:
    (place.folder / ".assetflow").mkdir()
    (place.folder / ".assetflow" / "plan.json").write_text("{}")
    place.upload()
    assert place.contents()[".assetflow/plan.json"] == b"{}"


def test_new_files_cost_one_put_each_and_few_listings(place: Place) -> None:
    for number in range(1200):
        (place.folder / f"{number:04}").write_bytes(b"%d" % number)
    place.upload()
    assert place.proxy.count("PUT") == 1203 + 1  # the files and the receipt
    assert place.proxy.count("GET") == 1 + 1 + 2  # before, unfinished uploads, two pages after
    assert place.proxy.count("HEAD") == place.proxy.count("POST") == 0


@dataclass
class Meddling:
    """A writer that lets something happen to a file when it is sent."""

    writer: ObjectWriter
    key_part: str
    meddle: Callable[[int], None]
    times: int = 0

    @property
    def part_size_bytes(self) -> int:
        return self.writer.part_size_bytes

    def put_bytes(self, key: str, content: bytes) -> str:
        etag = self.writer.put_bytes(key, content)
        if self.key_part in key:
            self.times += 1
            self.meddle(self.times)
        return etag

    def put_chunks(self, key: str, chunks: Iterable[bytes], size_bytes: int) -> str:
        def passed() -> Iterator[bytes]:
            for chunk in chunks:
                yield chunk
                if self.key_part in key:
                    self.times += 1
                    self.meddle(self.times)

        return self.writer.put_chunks(key, passed(), size_bytes)


def test_a_file_that_changes_after_it_was_sent_is_sent_again(place: Place) -> None:
    path = place.folder / "ecephys" / "a.bin"

    def meddle(times: int) -> None:
        if times == 1:
            path.write_bytes(b"changed")

    place.upload(writer=Meddling(place.writer, "a.bin", meddle))
    assert place.contents()["ecephys/a.bin"] == b"changed"
    [line] = [line for line in place.receipt()[1:] if line["path"] == "ecephys/a.bin"]
    assert line["size_bytes"] == 7


def test_a_file_that_appears_meanwhile_is_sent_too(place: Place) -> None:
    writer = Meddling(place.writer, "a.bin", lambda _: (place.folder / "late").touch())
    assert place.upload(writer=writer).files == 4
    assert "late" in place.contents()


def test_a_file_that_keeps_changing_is_named_after_a_few_rounds(place: Place) -> None:
    path = place.folder / "ecephys" / "a.bin"

    def meddle(times: int) -> None:
        path.write_bytes(b"x" * times * 10)

    writer = Meddling(place.writer, "a.bin", meddle)
    with pytest.raises(SourceChanged, match=r"a\.bin"):
        place.upload(writer=writer)
    assert writer.times == ROUNDS
    assert RECEIPT_NAME not in place.contents()


def test_a_large_file_that_changes_while_it_is_sent_is_never_an_object(place: Place) -> None:
    path = place.folder / "large.bin"
    path.write_bytes(b"x" * 12 * MIB)

    def meddle(times: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(SourceChanged, match=r"large\.bin"):
        place.upload(writer=Meddling(place.writer, "large.bin", meddle))
    assert "large.bin" not in place.contents()


def test_a_file_that_goes_after_it_was_sent_is_named(place: Place) -> None:
    path = place.folder / "ecephys" / "a.bin"
    with pytest.raises(SourceChanged, match=r"a\.bin was uploaded and is gone"):
        place.upload(writer=Meddling(place.writer, "a.bin", lambda _: path.unlink()))


def test_an_unreadable_file_is_named_and_the_others_arrive(place: Place) -> None:
    with open_folder() as folder:
        for name in ("a", "closed", "z"):
            (folder / name).write_text(name)
        (folder / "closed").chmod(0)
        with unprivileged(), pytest.raises(InvalidInput, match=r"closed: cannot be read") as caught:
            replace(place, folder=folder).upload()
    assert len(caught.value.problems) == 1
    assert place.contents() == {"a": b"a", "z": b"z"}


@pytest.mark.parametrize("fault", [Fault(status=503, code="SlowDown"), Fault(drop=True)])
def test_a_short_outage_is_waited_out(place: Place, fault: Fault) -> None:
    place.proxy.add(replace(fault, method="PUT", contains="a.bin", times=2))
    assert place.upload().files == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=403, code="AccessDenied"), AccessDenied),
        (Fault(status=404, code="NoSuchBucket"), NotFound),
        (Fault(status=503, code="SlowDown"), ServiceUnavailable),
        (Fault(status=500), ServiceUnavailable),
    ],
)
def test_a_store_that_refuses_is_not_asked_for_every_file(
    place: Place, fault: Fault, error: type[AssetflowError]
) -> None:
    for number in range(300):
        (place.folder / str(number)).touch()
    place.proxy.add(replace(fault, method="PUT"))
    with pytest.raises(error, match="were not uploaded"):
        place.upload()
    assert place.proxy.count("PUT") < 150


def test_one_bad_file_is_named_and_the_others_arrive(place: Place) -> None:
    place.proxy.add(Fault(method="PUT", contains="a.bin", status=500))
    with pytest.raises(ServiceUnavailable, match=r"1 files .*\n.*ecephys/a\.bin"):
        place.upload()
    assert sorted(place.contents()) == ["ecephys/deep/empty", "subject.json"]
    place.proxy.clear()
    assert place.upload().put == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="GET", contains="list-type", status=403, code="AccessDenied"),
        Fault(method="GET", contains="list-type", status=503, code="SlowDown"),
        Fault(method="GET", contains="list-type", status=200, body=b""),
    ],
)
def test_nothing_is_sent_while_the_listing_is_unsure(place: Place, fault: Fault) -> None:
    place.proxy.add(fault)
    with pytest.raises(AssetflowError):
        place.upload()
    assert place.writes() == 0


@dataclass
class Lossy:
    """A writer that tells of success and writes something else, or nothing."""

    writer: ObjectWriter
    content: bytes | None

    @property
    def part_size_bytes(self) -> int:
        return self.writer.part_size_bytes

    def put_bytes(self, key: str, content: bytes) -> str:
        if "a.bin" not in key:
            return self.writer.put_bytes(key, content)
        return self.writer.put_bytes(key, self.content) if self.content is not None else "etag"

    def put_chunks(self, key: str, chunks: Iterable[bytes], size_bytes: int) -> str:
        return self.writer.put_chunks(key, chunks, size_bytes)


@pytest.mark.parametrize("content", [None, b"1234", b"1234x"])
def test_what_s3_does_not_hold_is_found_by_the_verification(
    place: Place, content: bytes | None
) -> None:
    with pytest.raises(VerificationFailed, match=r"1 files differ:\n  - ecephys/a\.bin"):
        place.upload(writer=Lossy(place.writer, content))
    assert RECEIPT_NAME not in place.contents()


def test_unfinished_parts_of_an_earlier_try_are_thrown_away(place: Place, s3_server: Any) -> None:
    raw = s3_server.client()
    key = f"{place.location.key_prefix}large.bin"
    raw.create_multipart_upload(Bucket=place.location.bucket, Key=key)
    assert place.upload().aborted_uploads == 1
    assert "Uploads" not in raw.list_multipart_uploads(Bucket=place.location.bucket)


def test_progress_ends_with_everything(place: Place) -> None:
    (place.folder / "large.bin").write_bytes(b"x" * 12 * MIB)
    told: list[Progress] = []
    place.upload(on_progress=told.append, progress_interval_s=0)
    assert told[-1].files == told[-1].files_total or told[-1].size_bytes == told[-1].bytes_total
    assert [one.size_bytes for one in told] == sorted(one.size_bytes for one in told)


KILLED = """
import sys
from pathlib import Path
from types import SimpleNamespace
from include.acquisitions.upload import Upload
from include.assets.location import AssetLocation
from tests.s3_clients import object_writer, s3_client
url, access, secret, region, bucket, name, folder = sys.argv[1:]
server = SimpleNamespace(endpoint_url=url, access_key=access, secret_key=secret, region=region)
print("go", flush=True)
Upload(
    Path(folder), AssetLocation(bucket, name), store=s3_client(server),
    writer=object_writer(server, bucket, part_size_bytes=5 * 2**20), allowed_roots=(),
).run()
"""


def test_a_killed_upload_goes_on_where_it_was(place: Place, s3_server: Any) -> None:
    for number in range(800):
        (place.folder / f"{number:04}").write_bytes(b"%d" % number * 100)
    command = [
        sys.executable,
        "-c",
        KILLED,
        place.proxy.endpoint_url,
        s3_server.access_key,
        s3_server.secret_key,
        s3_server.region,
        place.location.bucket,
        place.location.name,
        str(place.folder),
    ]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": "."}) as uploader:
        deadline_s = time.monotonic() + 60
        while place.proxy.count("PUT") < 300 and time.monotonic() < deadline_s:
            time.sleep(0.005)
        uploader.send_signal(signal.SIGKILL)
    sent_before = len(place.names())
    assert 0 < sent_before < 803
    place.proxy.clear()
    receipt = place.upload()
    assert receipt.unchanged >= sent_before - 1
    assert place.proxy.count("PUT") == receipt.put + 1
    assert len(place.names()) == 804


def test_ten_thousand_small_files(place: Place, s3_server: Any) -> None:
    direct = replace(
        place,
        s3=s3_client(s3_server),
        writer=object_writer(s3_server, place.location.bucket),
    )
    for number in range(10_000):
        if number % 100 == 0:
            (place.folder / f"{number // 100:03}").mkdir()
        (place.folder / f"{number // 100:03}" / f"{number}").write_bytes(b"%d" % number)
    assert direct.upload().put == 10_003
    assert direct.upload().put == 0
    assert len(direct.receipt()) == 10_004
