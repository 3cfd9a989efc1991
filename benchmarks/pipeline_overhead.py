"""What the pipeline adds to Airflow: ``transform_and_upload_v2`` beside the same DAG with empty tasks.

::

    python -m benchmarks.pipeline_overhead [--runs 7] [--at-once 20] [--details]

Both DAGs are in one embedded stack and run in turns. The empty one is the real DAG file with its operators
replaced: task ids, mapping over the modalities, trigger rules, teardown, default arguments and params cannot
drift apart. A run of the real one carries a tiny acquisition (three modalities of a few kB, taken over
verbatim) from its source to S3, Code Ocean and DocDB, with mails, waiting for the services included.

Seconds are from the request to the run's end as a client sees it. CPU seconds are those of all processes of
the stack: Airflow's, and the embedded servers', which in production are elsewhere. Memory is PSS, pages that
processes share counted once.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

DAG_ID = "transform_and_upload_v2"
EMPTY_DAG_ID = f"{DAG_ID}_empty"
MODALITIES = ("ecephys", "behavior-videos", "behavior")
SUBJECT_ID = "712345"
POLL_INTERVAL_S = 0.05

EMPTY_OPERATOR = f"""
from airflow.sdk import BaseOperator

RETURNS = {{
    "modality_transformation_settings": [{{"modality": name}} for name in {MODALITIES!r}],
    "codeocean_pipeline_settings": [],
}}


class Empty(BaseOperator):
    def __init__(self, *, modality=None, run=None, **kwargs):
        super().__init__(**kwargs)
        self.modality = modality

    def execute(self, context):
        if self.modality:
            context["modality"] = self.modality
        return RETURNS.get(self.task_id)
"""


class WithEmptyOperators(ast.NodeTransformer):
    """The DAG file under another DAG id, its operators doing nothing."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:  # named by ast
        """In place of an import of operators, empty ones of the same names."""
        if not (node.module or "").startswith("include.operators."):
            return node
        lines = "\n".join(f"{alias.asname or alias.name} = Empty" for alias in node.names)
        return ast.parse(lines).body

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        """The DAG's function, whose name is the DAG id."""
        if node.name == DAG_ID:
            node.name = EMPTY_DAG_ID
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        """The call of that function."""
        if node.id == DAG_ID:
            node.id = EMPTY_DAG_ID
        return node


def empty_dag_file(source: str) -> str:
    """Text of the DAG file with empty operators."""
    tree = WithEmptyOperators().visit(ast.parse(source))
    after_docstring_and_future = next(
        number
        for number, node in enumerate(tree.body)
        if not (isinstance(node, ast.Expr) or getattr(node, "module", "") == "__future__")
    )
    tree.body[after_docstring_and_future:after_docstring_and_future] = ast.parse(
        EMPTY_OPERATOR
    ).body
    return ast.unparse(ast.fix_missing_locations(tree))


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run, or a batch of them, took."""

    wall_s: float
    parts_cpu_s: dict[str, float]
    """Process of the stack → CPU seconds, its children's included."""

    @property
    def cpu_s(self) -> float:
        """Of the whole stack."""
        return sum(self.parts_cpu_s.values())


class Bench:
    """Run the two DAGs in one stack."""

    def __init__(self, stack: Any, api: Any) -> None:
        self._stack = stack
        self._api = api
        self._numbers = count()
        # No two runs are of one asset, also not over two benches in one folder.
        self._first_start = datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(time.time()))

    def confs(self, amount: int) -> list[dict[str, Any]]:
        """That many jobs, each with its own acquisition on disk."""
        return [self._conf() for _ in range(amount)]

    def run(self, dag_id: str, confs: Sequence[dict[str, Any]]) -> tuple[Cost, list[str]]:
        """Start them all at once and wait for the last; also the ids of the runs."""
        before_s, started = self._parts_cpu_s(), time.perf_counter()
        run_ids = [self._api.start_run(dag_id, conf) for conf in confs]
        for run_id in run_ids:
            while (state := self._api.run_state(dag_id, run_id)) not in {"success", "failed"}:
                time.sleep(POLL_INTERVAL_S)
            if state != "success":
                raise SystemExit(f"run {run_id} of {dag_id} failed; see {self._stack.root}")
        wall_s = time.perf_counter() - started
        used_s = {name: after - before_s[name] for name, after in self._parts_cpu_s().items()}
        return Cost(wall_s, used_s), run_ids

    def task_seconds(self, dag_id: str, run_ids: Sequence[str]) -> dict[str, float]:
        """Median seconds between start and end of each task, the first to start first."""
        seconds: dict[str, list[float]] = defaultdict(list)
        for run_id in run_ids:
            states = [one for one in self._api.task_states(dag_id, run_id) if one.started_at]
            for one in sorted(states, key=lambda one: one.started_at):
                seconds[one.task_id].append((one.ended_at - one.started_at).total_seconds())
        return {task_id: statistics.median(each) for task_id, each in seconds.items()}

    def memory_mib(self) -> float:
        """PSS of the whole stack."""
        return float(sum(process.pss_mib for process in self._stack.status()))

    def _parts_cpu_s(self) -> dict[str, float]:
        """Of the processes that live, and of the ended ones that their parents have waited for."""
        return {
            part.name: sum(
                times.user + times.system + times.children_user + times.children_system
                for times in (process.cpu_times() for process in part.process.record.members())
            )
            for part in self._stack.parts
        }

    def _conf(self) -> dict[str, Any]:
        from include.local.sample_metadata import write_sample_metadata

        number = next(self._numbers)
        started_at = self._first_start + timedelta(seconds=number)
        folder = self._stack.source_roots[0] / f"tiny_{started_at:%Y%m%d%H%M%S}"
        for modality in MODALITIES:
            (folder / modality).mkdir(parents=True)
            (folder / modality / "values.bin").write_bytes(os.urandom(3000))
        write_sample_metadata(folder / "metadata", SUBJECT_ID, started_at, MODALITIES)
        return {
            "job_type": "default",
            "project_name": "Ephys Platform",
            "subject_id": SUBJECT_ID,
            "acq_datetime": f"{started_at:%Y-%m-%dT%H:%M:%S}",
            "modalities": [{"abbreviation": modality} for modality in MODALITIES],
            "user_email": "scientist@example.org",
            "email_notification_types": ["all"],
            "tasks": {
                "gather_preliminary_metadata": {
                    "job_settings": {"metadata_dir": str(folder / "metadata")}
                },
                "modality_transformation_settings": {
                    modality: {"job_settings": {"input_source": str(folder / modality)}}
                    for modality in MODALITIES
                },
            },
        }


@contextmanager
def bench() -> Iterator[Bench]:
    """A stack of its own with the two DAGs."""
    from include.clients.airflow_api import AirflowApi
    from include.local.stack import LocalStack

    root = Path(tempfile.mkdtemp(prefix="assetflow-bench-"))
    root.chmod(0o755)  # PostgreSQL runs as another user when root runs this
    dags = root / "dags"
    dags.mkdir()
    source = (ROOT / "dags" / f"{DAG_ID}.py").read_text(encoding="utf-8")
    (dags / f"{DAG_ID}.py").write_text(source, encoding="utf-8")
    (dags / f"{EMPTY_DAG_ID}.py").write_text(empty_dag_file(source), encoding="utf-8")
    stack = LocalStack(root, dags_folder=dags)
    try:
        stack.up()
        if stack.airflow is None:
            raise TypeError("the stack has no Airflow")
        account = stack.airflow.account()
        yield Bench(stack, AirflowApi.sign_in(account.url, account.user, account.password))
    finally:
        stack.down()
        shutil.rmtree(root)


def show(title: str, real: Sequence[Cost], empty: Sequence[Cost], *, parts: bool) -> None:
    """Medians of both, and their ratio; with *parts* also where the CPU seconds went."""
    print(f"{title:<24}{'real':>8}{'empty':>8}{'ratio':>8}")
    for name, label in (("wall_s", "seconds"), ("cpu_s", "CPU seconds")):
        ours, none = (
            statistics.median(getattr(cost, name) for cost in costs) for costs in (real, empty)
        )
        print(f"  {label:<22}{ours:>8.2f}{none:>8.2f}{ours / none:>8.2f}", flush=True)
    for part in real[0].parts_cpu_s if parts else ():
        ours, none = (
            statistics.median(cost.parts_cpu_s[part] for cost in costs) for costs in (real, empty)
        )
        print(f"    {part:<20}{ours:>8.2f}{none:>8.2f}", flush=True)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="of each DAG, one at a time, in turns")
    parser.add_argument("--at-once", type=int, default=20, help="runs started together")
    parser.add_argument(
        "--details", action="store_true", help="also seconds per task, CPU seconds per process"
    )
    given = parser.parse_args()
    with bench() as both:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first run")
        idle_mib = both.memory_mib()
        for dag_id in (DAG_ID, EMPTY_DAG_ID):  # the first run of all warms every worker
            both.run(dag_id, both.confs(2))
        costs: dict[str, list[Cost]] = {DAG_ID: [], EMPTY_DAG_ID: []}
        run_ids: dict[str, list[str]] = {DAG_ID: [], EMPTY_DAG_ID: []}
        for _ in range(given.runs):
            for dag_id in costs:
                cost, ids = both.run(dag_id, both.confs(1))
                costs[dag_id].append(cost)
                run_ids[dag_id] += ids
        show(
            f"1 run, median of {given.runs}",
            costs[DAG_ID],
            costs[EMPTY_DAG_ID],
            parts=given.details,
        )
        if given.details:
            empty_s = both.task_seconds(EMPTY_DAG_ID, run_ids[EMPTY_DAG_ID])
            for task_id, seconds in both.task_seconds(DAG_ID, run_ids[DAG_ID]).items():
                print(f"    {task_id:<36}{seconds:>6.2f}{empty_s.get(task_id, 0):>8.2f}")
        together = {dag_id: [both.run(dag_id, both.confs(given.at_once))[0]] for dag_id in costs}
        show(
            f"{given.at_once} runs at once",
            together[DAG_ID],
            together[EMPTY_DAG_ID],
            parts=given.details,
        )
        print(f"memory of the stack: {idle_mib:.0f} MiB at first, {both.memory_mib():.0f} MiB now")
        print(f"load {os.getloadavg()[0]:.1f} after the last run")


if __name__ == "__main__":
    main()
