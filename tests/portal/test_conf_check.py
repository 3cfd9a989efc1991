"""What is known of a run before it is made."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from include.acquisitions.plan import Deployment
from include.acquisitions.trigger_form import FIELDS
from include.errors import AccessDenied, InvalidInput, MalformedAnswer, ServiceUnavailable
from include.portal.conf_check import (
    PAUSE_S,
    IndexBucketsCheck,
    IngestPostgresCheck,
    TransformAndUploadCheck,
)
from tests.acquisitions.jobs import job_conf

DEPLOYMENT = Deployment(
    {"default": "bucket", "open": "o", "private": "p"}, Path("/staging"), "/presets"
)
STORED = {
    "/presets/v2/ecephys/tasks/remove_source_folders": '{"skip_task": true}',
    "/presets/index_buckets/weekly": '{"lookback_days": null}',
    "/presets/index_buckets/broken": '{"lookback_days": 0, "n_partition": 3}',
    "/presets/ingest_postgres/default": '{"import_everything": true}',
    "/presets/ingest_postgres/broken": '{"max_deleted_share": 2}',
}


class Presets:
    """A parameter store in memory; *error* is raised instead of answers."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[str] = []

    def read_tree(self, path: str) -> dict[str, str]:
        self.asked.append(path)
        if self.error:
            raise self.error
        return {name: text for name, text in STORED.items() if name.startswith(f"{path}/")}


def make_check(presets: Presets, **options: Any) -> TransformAndUploadCheck:
    return TransformAndUploadCheck(lambda: presets, DEPLOYMENT, **options)


def problems_of(conf: dict[str, Any], presets: Presets | None = None) -> dict[str, str]:
    """Field → item and reason of every problem."""
    with pytest.raises(InvalidInput) as error:
        make_check(presets or Presets())(conf)
    return {problem.field: f"{problem.item}: {problem.reason}" for problem in error.value.problems}


def test_a_conf_that_can_be_planned_passes_with_two_questions_to_the_store():
    presets = Presets()
    make_check(presets)(job_conf())
    assert sorted(presets.asked) == ["/presets/v2/default", "/presets/v2/ecephys"]


def test_everything_wrong_with_the_conf_comes_at_once_in_the_order_of_the_form():
    conf = job_conf(
        job_type="ecephyz",
        acq_datetime="yesterday",
        dry_run="no",
        input_sources=["nonsense"],
        subject_id="a/b",
        api_token="hunter2",
    )
    found = problems_of(conf)
    assert list(found) == [
        "job_type",
        "subject_id",
        "acq_datetime",
        "input_sources",
        "dry_run",
        "api_token",
    ]
    assert found["job_type"] == "Job type: there is no job type 'ecephyz'"
    assert found["acq_datetime"].startswith("Acquired at: ")


def test_a_modality_without_a_folder_is_told_by_the_name_of_the_field_that_takes_it():
    where = "tasks.modality_transformation_settings.ecephys.job_settings.input_source"
    assert problems_of(job_conf(tasks={}))[where] == "Source folders: is not set"


def test_settings_that_a_task_could_not_read_are_found():
    wrong = {"gather_preliminary_metadata": {"job_settings": {"metadata_dir": 3}}}
    tasks = {**job_conf()["tasks"], **wrong}
    assert any("metadata_dir" in field for field in problems_of(job_conf(tasks=tasks)))


@pytest.mark.parametrize(
    ("conf", "field"),
    [
        ({"password": "hunter2"}, "password"),
        (
            {"tasks": {"x": {"job_settings": {"api_key": "hunter2"}}}},
            "tasks.x.job_settings.api_key",
        ),
        ({"list": ["DB_PASSWORD=hunter2"]}, "list[0]"),
        ({"url": "https://me:hunter2@example.org"}, "url"),
    ],
)
def test_a_secret_is_refused_before_airflow_stores_it_and_never_repeated(conf, field):
    with pytest.raises(InvalidInput) as error:
        make_check(Presets())(job_conf(**conf))
    assert field in [problem.field for problem in error.value.problems]
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("a\0b", "extra"),
        ("\ud800", "extra"),
        (float("nan"), "extra"),
        ([1, float("inf")], "extra[1]"),
        ({"inner": {"\0": 1}}, "extra.inner.\0"),
    ],
)
def test_what_the_database_of_airflow_cannot_hold_is_a_problem(value, field):
    assert list(problems_of(job_conf(extra=value))) == [field]


@pytest.mark.parametrize(
    "error",
    [AccessDenied("403"), ServiceUnavailable("503"), MalformedAnswer("?"), RuntimeError("a bug")],
)
def test_a_store_that_cannot_be_read_never_stops_a_run(error, caplog):
    caplog.set_level(logging.WARNING)
    make_check(Presets(error))(job_conf())
    assert "No conf is checked against the presets" in caplog.text


def test_a_store_that_cannot_be_read_hides_no_problem_of_the_conf():
    found = problems_of(job_conf(subject_id="a/b"), Presets(ServiceUnavailable("503")))
    assert list(found) == ["subject_id"]


def test_after_a_failure_the_store_is_left_alone_for_a_minute_and_then_opened_anew():
    now = [0.0]
    opened: list[Presets] = []

    def open_presets() -> Presets:
        opened.append(Presets(ServiceUnavailable("503") if not opened else None))
        return opened[-1]

    check = TransformAndUploadCheck(open_presets, DEPLOYMENT, clock=lambda: now[0])
    check(job_conf())
    now[0] = PAUSE_S - 1
    check(job_conf(job_type="ecephyz"))
    assert len(opened) == 1
    now[0] = PAUSE_S
    with pytest.raises(InvalidInput, match="no job type"):
        check(job_conf(job_type="ecephyz"))
    check(job_conf())
    assert len(opened) == 2


def test_the_store_is_not_asked_about_a_job_type_that_is_no_text():
    presets = Presets()
    problems_of(job_conf(job_type=3), presets)
    problems_of({}, presets)
    assert presets.asked == []


def test_every_title_of_the_form_is_one_of_its_kind():
    titles = [field["title"] for field in FIELDS.values()]
    assert len(titles) == len(set(titles))


# index_buckets -------------------------------------------------------------------------------------


def index_problems(conf: dict[str, Any], presets: Presets | None = None) -> str:
    with pytest.raises(InvalidInput) as error:
        IndexBucketsCheck(lambda: presets or Presets(), "/presets/")(conf)
    return str(error.value)


@pytest.mark.parametrize(
    "conf", [{}, {"preset": "weekly"}, {"s3_buckets": ["one"], "dry_run": True}]
)
def test_an_index_run_that_can_be_planned_passes_with_one_question(conf: dict[str, Any]):
    presets = Presets()
    IndexBucketsCheck(lambda: presets, "/presets")(conf)
    assert presets.asked == ["/presets/index_buckets"]


def test_everything_wrong_with_an_index_run_comes_at_once():
    told = index_problems({"lookback_days": 0, "n_partition": 3, "s3_buckets": "one"})
    assert told.startswith("3 problems")
    assert "did you mean n_partitions?" in told


def test_a_preset_of_an_index_run_is_looked_at_too():
    assert "did you mean n_partitions?" in index_problems({"preset": "broken"})
    assert "known are broken, weekly" in index_problems({"preset": "weakly"})


def test_an_index_run_starts_when_the_presets_cannot_be_read():
    presets = Presets(ServiceUnavailable("down"))
    IndexBucketsCheck(lambda: presets, "/presets")({})
    assert "did you mean" in index_problems({"n_partition": 3}, presets)


def test_half_a_surrogate_pair_in_an_index_run_is_refused():
    assert "cannot be stored" in index_problems({"assets": ["\ud800"]})


def ingest_problems(conf: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as error:
        IngestPostgresCheck(Presets, "/presets")(conf)
    return str(error.value)


@pytest.mark.parametrize("conf", [{}, {"import_gains": True}, {"deposition_id": 300}])
def test_an_import_that_can_be_planned_passes_with_one_question(conf: dict[str, Any]):
    presets = Presets()
    IngestPostgresCheck(lambda: presets, "/presets/")(conf)
    assert presets.asked == ["/presets/ingest_postgres"]


def test_everything_wrong_with_an_import_comes_at_once_and_no_secret_is_repeated():
    told = ingest_problems({"import_tomogrms": True, "s3_prefix": "a/b", "postgres_url": "hunter2"})
    assert told.startswith("3 problems")
    assert "did you mean import_tomograms?" in told
    assert "hunter2" not in told


def test_a_preset_of_an_import_is_looked_at_too():
    assert "less than or equal to 1" in ingest_problems({"preset": "broken"})
    assert "known are broken, default" in ingest_problems({"preset": "brokn"})
