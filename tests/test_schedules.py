"""A schedule that a deployment chooses is one that Airflow takes, or is refused by name."""

from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import CronTriggerTimetable
from airflow.timetables.trigger import CronTriggerTimetable as OfScheduler

from include.errors import InvalidInput
from include.schedules import schedule_of
from include.settings import settings

NAME = "ASSETFLOW_INGEST_SCHEDULE"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("0 2 * * *", "0 2 * * *"),
        (" */15 0-6 * * 1-5 ", "*/15 0-6 * * 1-5"),
        ("@daily", "0 0 * * *"),
    ],
)
def test_a_cron_text_is_a_schedule_that_airflow_takes(text: str, expression: str):
    found = schedule_of(NAME, text)
    assert isinstance(found, CronTriggerTimetable)
    assert found.expression == expression
    assert not found.run_immediately
    OfScheduler(found.expression, timezone="UTC").validate()


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text_is_no_schedule(text: str):
    assert schedule_of(NAME, text) is None


@pytest.mark.parametrize("text", ["nightly", "61 * * * *", "0 2 * *", "0 0 2 * * *", "@sometimes"])
def test_another_text_is_refused_with_the_name_of_its_setting(text: str):
    with pytest.raises(InvalidInput, match=f"{NAME}: '{text}' is no cron".replace("*", r"\*")):
        schedule_of(NAME, text)


@pytest.mark.parametrize(
    ("dag_id", "variable", "usual"),
    [
        ("index_buckets", "ASSETFLOW_INDEX_SCHEDULE", "0 * * * *"),
        ("ingest_postgres", "ASSETFLOW_INGEST_SCHEDULE", None),
    ],
)
@pytest.mark.parametrize("text", [None, "", "0 2 * * *", "nightly"])
def test_a_dag_has_the_schedule_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, dag_id: str, variable: str, usual: str | None, text: str | None
):
    if text is None:
        monkeypatch.delenv(variable, raising=False)
    else:
        monkeypatch.setenv(variable, text)
    settings.cache_clear()
    try:
        found = DagBag(f"dags/{dag_id}.py")
    finally:
        settings.cache_clear()
    if text == "nightly":
        (error,) = found.import_errors.values()
        assert f"{variable}: 'nightly' is no cron expression" in error
        return
    assert found.import_errors == {}
    timetable = found.dags[dag_id].timetable
    assert getattr(timetable, "expression", None) == (usual if text is None else text or None)
