"""Sources go only when asked for, and only after every byte was matched with what S3 holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.runs.acquisition import Acquisition
from tests.runs.eventually import eventually
from tests.runs.lab import DAG_ID, Lab, Run

REMOVE = {
    "remove_source_folders": {"skip_task": False, "job_settings": {"dry_run": False}},
}


@dataclass
class Runs:
    """Each with the acquisition it carried."""

    linked: tuple[Run, Acquisition]
    compressed: tuple[Run, Acquisition]
    spoilt: tuple[Run, Acquisition]
    spoilt_compressed: tuple[Run, Acquisition]


@pytest.fixture(scope="module")
def runs(lab: Lab, ecephys_environment: None) -> Runs:
    lab.reset()
    lab.code_ocean_control.set(draft_polls=1_000_000)  # holds every run between upload and removal

    def start(acquisition: Acquisition, **changes: Any) -> tuple[Run, Acquisition]:
        return lab.submit(acquisition.conf(REMOVE, **changes)), acquisition

    files = {"trials.csv": "1,2,3\n", "licks.csv": "4\n"}
    started = Runs(
        linked=start(lab.acquisition(files)),
        compressed=start(lab.acquisition().record_ephys(), job_type="ecephys"),
        spoilt=start(lab.acquisition(files)),
        spoilt_compressed=start(lab.acquisition().record_ephys(), job_type="ecephys"),
    )
    everyone = (started.linked, started.compressed, started.spoilt, started.spoilt_compressed)
    for run, _ in everyone:
        eventually(run.data_assets, f"the registration of {run.asset_name}")
    flip_a_byte(lab, started.spoilt[0], "behavior/trials.csv")
    flip_a_byte(lab, started.spoilt_compressed[0], biggest(started.spoilt_compressed[0]))
    lab.code_ocean_control.set(draft_polls=0)
    for run, _ in everyone:
        run.wait()
    lab.reset()
    return started


def biggest(run: Run) -> str:
    objects = {name: size for name, size in run.objects().items() if name.startswith("ecephys/")}
    return max(objects, key=lambda name: objects[name])


def flip_a_byte(lab: Lab, run: Run, name: str) -> None:
    content = bytearray(run.read(name))
    content[0] ^= 1
    lab.s3.put_object(Bucket=lab.bucket, Key=f"{run.asset_name}/{name}", Body=bytes(content))


@pytest.mark.parametrize("which", ["linked", "compressed"])
def test_sources_go_when_everything_matches(runs: Runs, which: str):
    run, acquisition = getattr(runs, which)
    run.succeeds()
    assert run.states()["remove_source_folders"] == "success"
    files = [path for path in acquisition.folder.rglob("*") if path.is_file()]
    assert files == []


@pytest.mark.parametrize("which", ["linked", "compressed"])
def test_a_journal_accounts_for_what_went(runs: Runs, which: str):
    run, _ = getattr(runs, which)
    (journal,) = [name for name in run.traces() if name.startswith("journal/")]
    text = run.lab.read(f"runs/{DAG_ID}/{run.run_key}/{journal}", run.lab.runs_bucket).decode()
    assert ("trials.csv" if which == "linked" else "continuous.dat") in text


@pytest.mark.parametrize("which", ["spoilt", "spoilt_compressed"])
def test_one_byte_that_differs_keeps_everything_and_is_red(runs: Runs, which: str):
    run, acquisition = getattr(runs, which)
    run.fails()
    assert run.states()["remove_source_folders"] == "failed"
    assert "stay" in run.failures()["remove_source_folders"]
    sources = {path.name for path in acquisition.folder.rglob("*") if path.is_file()}
    expected = {"trials.csv", "licks.csv"} if which == "spoilt" else {"continuous.dat"}
    assert expected | {"acquisition.json"} <= sources
    assert "stay" in run.mail_text("failed")
