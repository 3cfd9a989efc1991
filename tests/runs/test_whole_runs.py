"""What a run leaves in every store; and that running it again changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from include.acquisitions.pipeline import TASKS
from tests.runs.acquisition import Acquisition
from tests.runs.lab import DAG_ID, Lab, Run

ODD_NAMES = {
    "trials.csv": "trial,start_s\n1,4.2\n",
    "a name with spaces/and 'quotes' \"both\".txt": "odd",
    "Mäuse – 鼠 %41+&?#.txt": "unicode",
    "empty.bin": "",
}


@dataclass
class FirstRuns:
    """Three different runs, side by side."""

    plain: Run
    plain_acquisition: Acquisition
    ecephys: Run
    dry: Run
    dry_traces_before: tuple[dict[str, int], dict[str, int]]


@pytest.fixture(scope="module")
def first(lab: Lab, ecephys_environment: None) -> FirstRuns:
    plain = lab.acquisition(ODD_NAMES)
    derivatives = plain.folder / "derivatives"
    derivatives.mkdir()
    (derivatives / "sorting.csv").write_text("unit\n1\n")
    ecephys = lab.acquisition().record_ephys()
    dry = lab.acquisition({"trials.csv": "1\n"})
    copy = {"copy_derivatives_folder": {"job_settings": {"input_source": str(derivatives)}}}
    before = (lab.objects(""), lab.objects("", lab.runs_bucket))
    runs = FirstRuns(
        plain=lab.submit(plain.conf(copy)),
        plain_acquisition=plain,
        ecephys=lab.submit(ecephys.conf(job_type="ecephys")),
        dry=lab.submit(dry.conf(dry_run=True)),
        dry_traces_before=before,
    )
    for run in (runs.plain, runs.ecephys, runs.dry):
        run.succeeds()
    return runs


def test_every_source_file_is_in_s3_under_its_own_name(first: FirstRuns):
    objects = first.plain.objects()
    for name, content in ODD_NAMES.items():
        assert objects[f"behavior/{name}"] == len(content.encode())
        assert first.plain.read(f"behavior/{name}") == content.encode()
    assert first.plain.read("derivatives/sorting.csv") == b"unit\n1\n"


def test_the_asset_carries_its_metadata_and_its_provenance(first: FirstRuns):
    core = {"subject", "procedures", "data_description", "instrument", "acquisition"}
    expected = {f"{name}.json" for name in core} | {"metadata.nd.json"}
    assert expected <= first.plain.objects().keys()
    plan = first.plain.read_json(".assetflow/plan.json")
    assert plan == first.plain.kept_plan()
    assert plan["run_key"] == first.plain.run_key


def test_the_receipt_names_every_file_that_s3_holds(first: FirstRuns):
    receipt_name = first.plain.xcom("upload_data_to_s3")["receipt_key"].partition("/")[2]
    sizes = {path: entry["size_bytes"] for path, entry in first.plain.receipt().items()}
    assert sizes == {k: v for k, v in first.plain.objects().items() if k != receipt_name}


def test_a_recording_is_compressed_and_its_processing_described(first: FirstRuns):
    objects = first.ecephys.objects()
    assert any(name.startswith("ecephys/") and ".zarr/" in name for name in objects)
    samples = 2 * 30_000 * 4 * 2
    assert sum(size for name, size in objects.items() if name.endswith(".dat")) < samples
    processing = first.ecephys.read_json("processing.json")
    assert "ecephys" in str(processing["data_processes"])


@pytest.mark.parametrize("which", ["plain", "ecephys"])
def test_code_ocean_and_docdb_know_the_asset_once(first: FirstRuns, which: str):
    run: Run = getattr(first, which)
    (asset,) = run.data_assets()
    (record,) = run.records()
    assert asset.state == "ready"
    assert record["location"] == f"s3://{run.lab.bucket}/{run.asset_name}"
    assert asset.id in str(
        record["other_identifiers" if "other_identifiers" in record else "external_links"]
    )


@pytest.mark.parametrize("which", ["plain", "ecephys"])
def test_the_report_counts_every_task_as_done_or_skipped(first: FirstRuns, which: str):
    run: Run = getattr(first, which)
    report = run.report()
    assert report is not None
    assert report["failed"] == {}
    named = {*report["done"], *report["unchanged"], *report["skipped"]}
    assert {name.removesuffix("_0") for name in named} == {"plan_run", *TASKS}
    assert {"remove_source_folders", "run_codeocean_pipeline"} <= set(report["skipped"])


@pytest.mark.parametrize("which", ["plain", "ecephys"])
def test_nothing_of_the_run_stays_behind(first: FirstRuns, which: str):
    run: Run = getattr(first, which)
    assert not run.staging.exists()
    assert run.claims() == {}
    assert run.unfinished_uploads() == []


@pytest.mark.parametrize("which", ["plain", "ecephys"])
def test_the_owner_is_told_of_begin_and_end(first: FirstRuns, which: str):
    run: Run = getattr(first, which)
    assert run.mail_words() == ["started", "finished"]
    owner = f"owner-{run.asset_name.partition('_')[0]}@example.org"
    assert {mail["X-RcptTo"] for mail in run.mails()} == {owner}
    assert run.lab.api.page_url(DAG_ID, run.run_id) in run.mail_text("finished")


def test_the_sources_stay_unless_asked_for(first: FirstRuns):
    for name, content in ODD_NAMES.items():
        assert (first.plain_acquisition.source() / name).read_bytes() == content.encode()


def test_a_dry_run_shows_its_plan_and_writes_nothing(first: FirstRuns):
    dry = first.dry
    assert dry.states()["upload_data_to_s3"] == "skipped"
    assert dry.states()["check_source_folders_exist"] == "success"
    assert dry.xcom("plan_run")["asset_name"] == dry.asset_name
    assert dry.objects() == {}
    assert dry.traces() == {}
    assert dry.claims() == {}
    assert dry.mails() == []
    assert dry.records() == []
    assert not dry.staging.exists()


@pytest.fixture(scope="module")
def again(first: FirstRuns, lab: Lab) -> Run:
    """The same acquisition once more, into the asset that is there; one file of it has changed."""
    acquisition = first.plain_acquisition
    acquisition.write({"trials.csv": "trial,start_s\n1,9.9\n"})
    copy = {
        "copy_derivatives_folder": {
            "job_settings": {"input_source": str(acquisition.folder / "derivatives")}
        }
    }
    return lab.submit(acquisition.conf(copy, force_cloud_sync=True)).succeeds()


def test_a_second_run_sends_what_differs_and_its_provenance(first: FirstRuns, again: Run):
    receipt = again.xcom("upload_data_to_s3")
    sent = receipt["put"]
    assert receipt["unchanged"] == receipt["files"] - sent
    # The changed file, and what says when and by what the asset was made.
    changed = {"behavior/trials.csv", "metadata.nd.json", "processing.json"}
    assert 1 <= sent <= len(changed)
    assert again.read("behavior/trials.csv").endswith(b"9.9\n")
    assert again.read_json(".assetflow/plan.json")["run_key"] == again.run_key


def test_a_second_run_makes_no_second_record_or_data_asset(first: FirstRuns, again: Run):
    assert again.xcom("register_data_asset_to_codeocean")["is_new"] is False
    assert again.xcom("update_docdb_record")["action"] == "nothing"
    assert len(again.data_assets()) == 1
    assert len(again.records()) == 1


def test_tasks_cleared_after_the_run_find_their_work_done(first: FirstRuns, lab: Lab):
    run = first.ecephys
    before = (run.objects(), run.data_assets()[0].id, run.records())
    run.clear("register_data_asset_to_codeocean", "update_docdb_record", "send_job_end_email")
    run.wait_for("send_job_end_email", "success")
    run.succeeds()
    assert run.tasks()["update_docdb_record"].try_number == 2
    assert (run.objects(), run.data_assets()[0].id, run.records()) == before
    assert run.mail_words() == ["started", "finished"]


def test_a_second_run_without_force_is_refused_and_keeps_the_asset(first: FirstRuns, lab: Lab):
    acquisition = first.plain_acquisition
    before = lab.objects(f"{acquisition.asset_name}/")
    run = lab.submit(acquisition.conf()).fails()
    assert "already exists" in run.failures()["check_s3_folder_exists"]
    assert "force_cloud_sync" in run.failures()["check_s3_folder_exists"]
    assert run.tasks()["check_s3_folder_exists"].try_number == 1
    assert lab.objects(f"{acquisition.asset_name}/") == before
