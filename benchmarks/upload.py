"""Upload of many small files and of one large file: ours beside boto3, in one run.

::

    python benchmarks/upload.py [--small 5000] [--large-mib 512] [--rounds 3]

Ours plans, sends, verifies every file against S3 and writes a receipt; boto3 calls ``upload_file``
in 16 threads and verifies nothing. Both talk to an embedded SeaweedFS on this machine, each round
in a process and a bucket of its own, in turns. Requests are counted in a pass of their own with
fewer files, through a counting proxy that would slow the timed ones down.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SMALL_BYTES = 20 * 2**10
MIB = 2**20


def upload_ours(server: Any, bucket: str, folder: Path) -> None:
    """Plan, send, verify, receipt."""
    from include.acquisitions.upload import Upload
    from include.assets.location import AssetLocation
    from tests.s3_clients import object_writer, s3_client

    Upload(
        folder,
        AssetLocation(bucket, "asset"),
        store=s3_client(server),
        writer=object_writer(server, bucket),
        allowed_roots=(),
    ).run()


def upload_boto3(server: Any, bucket: str, folder: Path) -> None:
    """``upload_file`` in threads."""
    from botocore.config import Config

    from tests.s3_clients import boto_session

    client = boto_session(server).client(
        "s3", endpoint_url=server.endpoint_url, config=Config(max_pool_connections=32)
    )
    paths = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(16) as pool:
        for sent in [
            pool.submit(client.upload_file, str(path), bucket, f"asset/{path.relative_to(folder)}")
            for path in paths
        ]:
            sent.result()


WAYS = {"ours": upload_ours, "boto3": upload_boto3}


def measure(way: str, server: Any, bucket: str, folder: Path) -> dict[str, float]:
    """One upload in a fresh process: wall and processor seconds, peak memory."""
    arguments = json.dumps({**vars(server), "bucket": bucket, "folder": str(folder), "way": way})
    answer = subprocess.run(
        [sys.executable, __file__, "--one", arguments], check=True, stdout=subprocess.PIPE
    )
    measured: dict[str, float] = json.loads(answer.stdout)
    return measured


def run_one(arguments: dict[str, str]) -> None:
    """The fresh process: everything including imports counts."""
    way, bucket, folder = arguments.pop("way"), arguments.pop("bucket"), arguments.pop("folder")
    started_s = time.perf_counter()
    WAYS[way](SimpleNamespace(**arguments), bucket, Path(folder))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps({
            "wall_s": time.perf_counter() - started_s,
            "cpu_s": used.ru_utime + used.ru_stime,
            "peak_mib": used.ru_maxrss / 1024,
        })
    )


@contextmanager
def server_in(folder: Path) -> Iterator[tuple[Any, Any]]:
    """The embedded server, and what a client must know of it."""
    from include.local.services import S3

    service = S3(folder)
    service.start()
    names = ("endpoint_url", "access_key", "secret_key", "region")
    try:
        yield service, SimpleNamespace(**{name: getattr(service, name) for name in names})
    finally:
        service.stop()


def count_requests(service: Any, server: Any, folder: Path) -> dict[str, int]:
    """Requests per way for *folder*."""
    from tests.s3_fault_proxy import FaultProxy

    counted = {}
    for way in WAYS:
        service.make_bucket(f"count-{way}")
        with FaultProxy(server.endpoint_url) as proxy:
            proxied = SimpleNamespace(**{**vars(server), "endpoint_url": proxy.endpoint_url})
            measure(way, proxied, f"count-{way}", folder)
            counted[way] = proxy.count()
        service.remove_bucket(f"count-{way}")
    return counted


def make_files(folder: Path, count: int, size_bytes: int) -> Path:
    """*count* files of random bytes, a hundred to a folder."""
    for number in range(count):
        path = folder / f"{number // 100:04}" / f"{number:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, size_bytes, MIB):
                file.write(os.urandom(min(MIB, size_bytes - start)))
    return folder


def compare(service: Any, server: Any, title: str, folder: Path, rounds: int) -> None:
    """Both ways in turns; medians."""
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            bucket = f"{way}-{number}"
            service.make_bucket(bucket)
            measured[way].append(measure(way, server, bucket, folder))
            service.remove_bucket(bucket)
    median = {
        way: {name: statistics.median(one[name] for one in ones) for name in ones[0]}
        for way, ones in measured.items()
    }
    print(f"\n{title}\n{'':8}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}")
    for way, one in median.items():
        print(f"{way:8}{one['wall_s']:9.2f}{one['cpu_s']:9.2f}{one['peak_mib']:10.0f}")
    ratio = {name: median["boto3"][name] / median["ours"][name] for name in median["ours"]}
    print(f"boto3 / ours: wall {ratio['wall_s']:.2f}, CPU {ratio['cpu_s']:.2f}")


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", type=int, default=5000, help="files of 20 KiB")
    parser.add_argument("--large-mib", type=int, default=512, help="size of the large file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(json.loads(options.one))
        return
    memory = Path("/dev/shm")
    room = memory if memory.is_dir() and shutil.disk_usage(memory).free > 6 * 2**30 else None
    with tempfile.TemporaryDirectory(dir=room) as name, server_in(Path(name)) as (service, server):
        few = make_files(Path(name) / "few", 200, SMALL_BYTES)
        for way, count in count_requests(service, server, few).items():
            print(f"{way}: {count} requests for 200 small files")
        small = make_files(Path(name) / "small", options.small, SMALL_BYTES)
        title = f"{options.small} files of 20 KiB"
        compare(service, server, title, small, options.rounds)
        large = make_files(Path(name) / "large", 1, options.large_mib * MIB)
        compare(service, server, f"one file of {options.large_mib} MiB", large, options.rounds)


if __name__ == "__main__":
    main()
