"""Sources go only after S3 was shown to hold all of them, now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from include.acquisitions.file_digest import digest_file
from include.acquisitions.source_matching import Content, LosslessProof
from include.acquisitions.source_removal import RemovalRequest, RemovalResult, remove_sources
from include.assets.location import AssetLocation
from include.clients.runs_bucket import RunsBucket
from include.clients.s3 import S3Client
from include.errors import AccessDenied, AssetflowError, InvalidInput, VerificationFailed
from tests.s3_clients import s3_client
from tests.s3_fault_proxy import Fault, FaultProxy

JOURNAL = "runs/dag/run/journal/source_removal.json"


def content_of(path: Path) -> Content:
    return Content.of(digest_file(path, md5_below_bytes=0))


@dataclass
class Lab:
    """A source folder with a session, and the asset made of it."""

    root: Path
    location: AssetLocation
    s3: S3Client
    proxied_s3: S3Client
    journals: RunsBucket
    proxy: FaultProxy
    proofs: dict[str, LosslessProof] = field(default_factory=dict)

    @property
    def session(self) -> Path:
        return self.root / "session"

    def put(self, name: str, content: bytes) -> None:
        self.s3.put_bytes(self.location.bucket, f"{self.location.key_prefix}{name}", content)

    def remove(self, *, dry_run: bool = False, **request: Any) -> RemovalResult:
        folders: dict[str, Any] = {
            "modality_sources": {
                "ecephys": self.session / "ecephys",
                "behavior": self.session / "behavior",
            },
            "metadata_dir": self.session,
        }
        return remove_sources(
            RemovalRequest(**(folders | request), dry_run=dry_run),
            self.location,
            store=self.proxied_s3,
            journals=self.journals,
            journal_key=JOURNAL,
            allowed_roots=[self.root],
            proofs=self.proofs,
        )

    def files(self) -> set[str]:
        return {
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }


ALL = {
    "session/ecephys/a.bin",
    "session/ecephys/deep/b ü.bin",
    "session/behavior/c.csv",
    "session/subject.json",
}


@pytest.fixture
def lab(s3_server: Any, bucket: str, tmp_path: Path) -> Iterator[Lab]:
    root = tmp_path / "stage"
    for name in ALL:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    with FaultProxy(s3_server.endpoint_url) as proxy:
        lab = Lab(
            root,
            AssetLocation(bucket, "ecephys_1_2026-01-01_00-00-00"),
            s3_client(s3_server),
            s3_client(s3_server, proxy.endpoint_url),
            RunsBucket(s3_client(s3_server), bucket),
            proxy,
        )
        for name in ALL:
            lab.put(name.removeprefix("session/"), name.encode())
        yield lab


def test_nothing_goes_unless_it_is_asked_for(lab: Lab) -> None:
    assert RemovalRequest().dry_run
    result = lab.remove(dry_run=True)
    assert (result.files, result.dry_run) == (4, True)
    assert lab.files() == ALL
    assert lab.journals.find(JOURNAL) is None


def test_what_s3_holds_goes_with_its_folders(lab: Lab) -> None:
    (lab.session / "ecephys" / "empty").mkdir()
    result = lab.remove()
    assert result.files == 4
    assert not lab.session.exists()
    assert lab.root.exists()
    journal = lab.journals.read(JOURNAL)
    assert journal["finished"]
    assert {f"{label}/{name}" for label, name, *_ in journal["files"]} == {
        "ecephys/a.bin",
        "ecephys/deep/b ü.bin",
        "behavior/c.csv",
        "metadata_dir/subject.json",
    }


def other_content(lab: Lab) -> None:
    lab.put("ecephys/a.bin", b"x" * len("session/ecephys/a.bin"))


def other_size(lab: Lab) -> None:
    lab.put("ecephys/a.bin", b"")


def object_gone(lab: Lab) -> None:
    lab.s3.delete_object(lab.location.bucket, f"{lab.location.key_prefix}ecephys/a.bin")


def source_grew(lab: Lab) -> None:
    with (lab.session / "ecephys" / "a.bin").open("ab") as file:
        file.write(b"more")


def new_source(lab: Lab) -> None:
    (lab.session / "ecephys" / "a.bin.new").touch()


def broken_link(lab: Lab) -> None:
    (lab.session / "ecephys" / "a.bin.link").symlink_to("nowhere")


@pytest.mark.parametrize(
    "harm", [other_content, other_size, object_gone, source_grew, new_source, broken_link]
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_one_mismatch_keeps_everything(
    lab: Lab, harm: Callable[[Lab], None], dry_run: bool
) -> None:
    harm(lab)
    before = lab.files()
    with pytest.raises(VerificationFailed, match=r"a\.bin"):
        lab.remove(dry_run=dry_run)
    assert lab.files() == before
    assert lab.journals.find(JOURNAL) is None


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="GET", status=403, code="AccessDenied"),
        Fault(method="GET", status=503, code="SlowDown"),
        Fault(method="GET", status=200, body=b""),
        Fault(method="GET", cut_to_bytes=400),
        Fault(method="GET", drop=True),
    ],
)
def test_nothing_goes_while_s3_does_not_tell(lab: Lab, fault: Fault) -> None:
    lab.proxy.add(fault)
    with pytest.raises(AssetflowError):
        lab.remove()
    assert lab.files() == ALL


def test_nothing_goes_before_the_journal_is_written(lab: Lab, s3_server: Any) -> None:
    lab.proxy.add(Fault(method="PUT", status=403, code="AccessDenied"))
    lab.journals = RunsBucket(lab.proxied_s3, lab.location.bucket)
    with pytest.raises(AccessDenied):
        lab.remove()
    assert lab.files() == ALL


def test_metadata_that_s3_does_not_hold_as_it_is_stays(lab: Lab) -> None:
    lab.put("subject.json", b'{"better": true}')
    (lab.session / "notes.txt").touch()
    result = lab.remove()
    assert lab.files() == {"session/subject.json", "session/notes.txt"}
    assert any("subject.json" in line for line in result.kept)


def test_a_filter_leaves_the_rest_and_all_metadata(lab: Lab) -> None:
    (lab.session / "derivatives").mkdir()
    (lab.session / "derivatives" / "d").write_bytes(b"d")
    lab.put("derivatives/d", b"d")
    lab.remove(
        modalities_to_delete=["behavior", "derivatives"],
        derivatives_dir=lab.session / "derivatives",
    )
    assert lab.files() == ALL - {"session/behavior/c.csv"}


def test_a_filter_for_what_the_job_does_not_have_is_refused(lab: Lab) -> None:
    with pytest.raises(InvalidInput, match="modalities_to_delete"):
        lab.remove(modalities_to_delete=["fib"])
    assert lab.files() == ALL


@pytest.mark.parametrize("folder", ["/etc", "{root}", "{root}/link", "{root}/../stage/session"])
def test_nothing_outside_of_the_allowed_roots_goes(lab: Lab, folder: str) -> None:
    (lab.root / "link").symlink_to("/etc")
    with pytest.raises(InvalidInput):
        lab.remove(modality_sources={"ecephys": folder.format(root=lab.root)})
    assert lab.files() >= ALL


def test_links_go_and_their_targets_stay(lab: Lab) -> None:
    store = lab.root / "store"
    store.mkdir()
    (store / "x").write_bytes(b"x")
    (lab.session / "ecephys" / "folder-link").symlink_to(store)
    (lab.session / "ecephys" / "file-link").symlink_to(store / "x")
    (lab.session / "ecephys" / "inner-link").symlink_to("a.bin")
    lab.put("ecephys/folder-link/x", b"x")
    lab.put("ecephys/file-link", b"x")
    lab.put("ecephys/inner-link", b"session/ecephys/a.bin")
    lab.remove()
    assert lab.files() == {"store/x"}


def proof_for(lab: Lab, outputs: dict[str, bytes]) -> LosslessProof:
    scratch = lab.root.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    proven = {}
    for name, content in outputs.items():
        (scratch / name).write_bytes(content)
        proven[name] = content_of(scratch / name)
    folder = lab.session / "ecephys"
    return LosslessProof(
        sources={
            str(path.relative_to(folder)): content_of(path)
            for path in folder.rglob("*")
            if path.is_file()
        },
        outputs=proven,
    )


@pytest.fixture
def compressed(lab: Lab) -> Lab:
    for name in ("a.bin", "deep/b ü.bin"):
        key = f"{lab.location.key_prefix}ecephys/{name}"
        lab.s3.delete_object(lab.location.bucket, key)
    lab.put("ecephys/zarr", b"compressed")
    return lab


def test_a_transformed_modality_goes_by_its_lossless_proof(compressed: Lab) -> None:
    compressed.proofs["ecephys"] = proof_for(compressed, {"zarr": b"compressed"})
    assert compressed.remove().files == 4
    assert compressed.files() == set()


def test_a_transformed_modality_without_proof_keeps_everything(compressed: Lab) -> None:
    with pytest.raises(VerificationFailed, match="proved to be lossless"):
        compressed.remove()
    assert compressed.files() == ALL


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda lab: source_grew(lab), "not about this file"),
        (lambda lab: new_source(lab), "not about this file"),
        (lambda lab: lab.put("ecephys/zarr", b"COMPRESSED"), "as the transformation proved it"),
        (
            lambda lab: lab.s3.delete_object(
                lab.location.bucket, f"{lab.location.key_prefix}ecephys/zarr"
            ),
            "as the transformation proved it",
        ),
        (
            lambda lab: lab.proofs.update(ecephys=proof_for(lab, {})),
            "names no outputs",
        ),
    ],
)
def test_a_proof_about_something_else_keeps_everything(
    compressed: Lab, harm: Callable[[Lab], None], said: str
) -> None:
    compressed.proofs["ecephys"] = proof_for(compressed, {"zarr": b"compressed"})
    harm(compressed)
    before = compressed.files()
    with pytest.raises(VerificationFailed, match=said):
        compressed.remove()
    assert compressed.files() == before


@dataclass
class StopsAfterJournal:
    """Journals that are written, after which something happens."""

    journals: RunsBucket
    then: Callable[[], None]

    def find(self, key: str) -> Any | None:
        return self.journals.find(key)

    def write(self, key: str, content: Any) -> str:
        etag = self.journals.write(key, content)
        if not content["finished"]:
            self.then()
        return etag


class Killed(BaseException):
    """As if the process ended here."""


def killed_after_journal(lab: Lab) -> None:
    def end() -> None:
        raise Killed

    lab.journals = StopsAfterJournal(lab.journals, end)  # type: ignore[assignment]
    with pytest.raises(Killed):
        lab.remove()
    lab.journals = lab.journals.journals  # type: ignore[attr-defined]


def test_what_appears_or_changes_at_the_last_moment_stays_with_its_folder(lab: Lab) -> None:
    def meddle() -> None:
        (lab.session / "ecephys" / "deep" / "late").touch()
        (lab.session / "behavior" / "c.csv").write_text("changed")

    lab.journals = StopsAfterJournal(lab.journals, meddle)  # type: ignore[assignment]
    result = lab.remove()
    assert lab.files() == {"session/ecephys/deep/late", "session/behavior/c.csv"}
    assert any("changed" in line for line in result.kept)


def test_a_removal_that_was_killed_goes_on_by_its_journal(lab: Lab) -> None:
    killed_after_journal(lab)
    (lab.session / "behavior" / "c.csv").unlink()
    (lab.session / "behavior").rmdir()
    (lab.session / "ecephys" / "appeared").touch()
    lab.put("ecephys/appeared", b"")
    result = lab.remove()
    assert lab.files() == {"session/ecephys/appeared"}
    assert any("appeared" in line for line in result.kept)


def test_going_on_matches_with_s3_again(lab: Lab) -> None:
    killed_after_journal(lab)
    object_gone(lab)
    with pytest.raises(VerificationFailed):
        lab.remove()
    assert lab.files() == ALL


def test_a_finished_removal_is_never_repeated(lab: Lab) -> None:
    first = lab.remove()
    (lab.session / "ecephys").mkdir(parents=True)
    (lab.session / "ecephys" / "a.bin").write_bytes(b"session/ecephys/a.bin")
    assert lab.remove() == first
    assert lab.files() == {"session/ecephys/a.bin"}


def test_a_missing_source_without_journal_is_a_problem(lab: Lab) -> None:
    with pytest.raises(VerificationFailed, match="cannot be listed"):
        lab.remove(modality_sources={"ecephys": lab.root / "none"})
    assert lab.files() == ALL


KILLED = """
import sys
from pathlib import Path
from types import SimpleNamespace
from include.acquisitions.source_removal import RemovalRequest, remove_sources
from include.assets.location import AssetLocation
from include.clients.runs_bucket import RunsBucket
from tests.s3_clients import s3_client
url, access, secret, region, bucket, name, root, journal = sys.argv[1:]
s3 = s3_client(
    SimpleNamespace(endpoint_url=url, access_key=access, secret_key=secret, region=region)
)
remove_sources(
    RemovalRequest(modality_sources={"many": f"{root}/many"}, dry_run=False),
    AssetLocation(bucket, name), store=s3, journals=RunsBucket(s3, bucket), journal_key=journal,
    allowed_roots=[Path(root)], proofs={},
)
"""


def test_a_process_killed_half_way_through_is_finished_by_the_next(
    lab: Lab, s3_server: Any
) -> None:
    many = lab.root / "many"
    many.mkdir()
    for number in range(400):
        (many / str(number)).write_bytes(b"%d" % number)
        lab.put(f"many/{number}", b"%d" % number)
    command = [
        sys.executable,
        "-c",
        KILLED,
        s3_server.endpoint_url,
        s3_server.access_key,
        s3_server.secret_key,
        s3_server.region,
        lab.location.bucket,
        lab.location.name,
        str(lab.root),
        JOURNAL,
    ]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": "."}) as remover:
        deadline_s = time.monotonic() + 60
        # On a busy machine the whole folder may be gone between two looks: then it was killed at the end.
        while len(list(many.glob("*"))) == 400 and time.monotonic() < deadline_s:
            time.sleep(0.001)
        remover.send_signal(signal.SIGKILL)
    lab.remove(modality_sources={"many": many}, metadata_dir=None)
    assert not many.exists()
    assert len(lab.journals.read(JOURNAL)["files"]) == 400
