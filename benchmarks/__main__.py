"""Run the comparisons: ``python -m benchmarks [--quick] [NAME ...]``; all of them without names."""

from __future__ import annotations

import argparse
import subprocess
import sys
from ast import get_docstring, parse
from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = sorted(file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))

QUICK = {
    "compression": "--seconds 5 --channels 64 --repeats 1",
    "index_buckets": "--sizes 300 --original-at 300 --rounds 1 --count 30 --known 300 --latency-ms 0",
    "ingest_postgres": "--runs 2 --original-at 2 --latency-ms 0",
    "pipeline_overhead": "--runs 2 --at-once 5",
    "upload": "--small 500 --large-mib 64 --rounds 1",
}
"""What each comparison takes for a look that costs little; its figures are rough."""


def main() -> int:
    """Each comparison in a process of its own; the number of those that failed."""
    what = "\n".join(f"  {name:<20} {summary(name)}" for name in NAMES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measured comparisons, as tables of ratios.\n\n{what}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all by default")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"no such comparison: {', '.join(sorted(unknown))}")
    failed = 0
    for name in given.names or NAMES:
        print(f"\n== {name}: {summary(name)}\n", flush=True)
        options = QUICK.get(name, "").split() if given.quick else []
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        failed += subprocess.run(command, cwd=FOLDER.parent, check=False).returncode != 0
    return failed


def summary(name: str) -> str:
    """The first line of the comparison's docstring."""
    text = get_docstring(parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
