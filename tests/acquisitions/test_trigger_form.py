"""The trigger form: what a person fills in becomes the job a program would have sent."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Any

import pytest
from airflow.sdk import Param
from hypothesis import given
from hypothesis import strategies as st

from include.acquisitions.job import FORMER_KEYS, Notification, job_from_conf
from include.acquisitions.trigger_form import (
    FIELDS,
    FORMER_NAMES,
    ONLY_IN_THE_FORM,
    job_from_params,
)
from include.errors import InvalidInput
from tests.acquisitions.jobs import job_conf

STEP = "modality_transformation_settings"
FILLED = {
    "job_type": "ecephys",
    "project_name": "Learning",
    "subject_id": "712345",
    "acq_datetime": "2024-05-27T16:07:59",
    "modalities": ["ecephys"],
}


def form(**filled: Any) -> dict[str, Any]:
    """What Airflow's form sends: every field, defaults too."""
    defaults = {name: field["default"] for name, field in FIELDS.items() if "default" in field}
    return {**defaults, **FILLED, **filled}


def fields_of(error: pytest.ExceptionInfo[InvalidInput]) -> list[str]:
    return [problem.field for problem in error.value.problems]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_a_param_that_airflow_accepts_and_a_person_understands(name):
    keywords = dict(FIELDS[name])
    assert keywords["title"]
    assert keywords["description"].endswith(".")
    assert "`" not in keywords["description"]
    param = Param(**keywords)
    if "default" in keywords:
        param.resolve()
    else:
        assert name in FILLED


@pytest.mark.parametrize("params", [form(), form(input_sources=["ecephys=/a"]), job_conf()])
def test_what_the_form_and_programs_send_passes_the_schemas(params):
    for name, value in params.items():
        Param(**FIELDS[name]).resolve(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("modalities", "ecephys"),
        ("subject_id", 7),
        ("s3_bucket", "x"),
        ("tasks", []),
        ("dry_run", "no"),
    ],
)
def test_a_wrong_type_is_refused_by_the_schema(name, value):
    with pytest.raises(Exception, match=r"Invalid input|Failed validating"):
        Param(**FIELDS[name]).resolve(value)


def test_only_whole_fields_show_as_a_text_box_or_list_never_as_bare_json():
    # Several types without examples make Airflow's form fall back to a JSON editor.
    for name, field in FIELDS.items():
        types = field["type"] if isinstance(field["type"], list) else [field["type"]]
        plain = [kind for kind in types if kind != "null"]
        assert len(plain) == 1 or "examples" in field, name
    assert [name for name in FIELDS if FIELDS[name]["type"] == ["object", "null"]] == ["tasks"]


def test_every_occasion_of_a_mail_can_be_chosen():
    assert FIELDS["email_notification_types"]["examples"] == list(Notification)


def test_the_fields_can_be_read_without_loading_the_models():
    # Airflow does so at every parse of the DAG file.
    code = "import sys, include.acquisitions.trigger_form; print('pydantic' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


def test_a_v2_conf_is_read_as_it_is():
    conf = job_conf(s3_prefix="712345_2024-05-27_16-07-59")
    assert job_from_params(conf) == (job_from_conf(conf), False)
    job, _ = job_from_params(job_from_conf(conf).normalised())
    assert job == job_from_conf(conf)
    assert job.warnings == ()


def test_the_form_says_what_the_columns_of_a_spreadsheet_say():
    job, dry_run = job_from_params(
        form(
            modalities=["ecephys", "behavior-videos"],
            input_sources=["ecephys = /data/a=b", "", "behavior-videos=/data/v"],
            metadata_dir="/meta",
            derivatives_dir="/derived",
            force_cloud_sync=True,
            platform="ecephys",
            email_notification_types=["all"],
            user_email="",
            dry_run=True,
        )
    )
    assert dry_run
    assert job.s3_prefix == "ecephys_712345_2024-05-27_16-07-59"
    assert job.user_email is None
    assert job.normalised()["tasks"] == {
        "gather_preliminary_metadata": {
            "skip_task": False,
            "job_settings": {"metadata_dir": "/meta"},
        },
        "copy_derivatives_folder": {
            "skip_task": False,
            "job_settings": {"input_source": "/derived"},
        },
        "check_s3_folder_exists": {"skip_task": True},
        STEP: {
            "ecephys": {"skip_task": False, "job_settings": {"input_source": "/data/a=b"}},
            "behavior-videos": {"skip_task": False, "job_settings": {"input_source": "/data/v"}},
        },
    }
    assert job.warnings == ()


def test_fields_of_the_form_join_what_tasks_say():
    job, _ = job_from_params(
        form(
            input_sources="ecephys=/data\n",
            tasks={STEP: {"ecephys": {"job_settings": {"level": 2}}}},
        )
    )
    assert job.tasks[STEP]["ecephys"].job_settings == {"level": 2, "input_source": "/data"}


def test_saying_the_same_twice_is_no_conflict():
    tasks = {"gather_preliminary_metadata": {"job_settings": {"metadata_dir": "/m"}}}
    job, _ = job_from_params(form(metadata_dir="/m", tasks=tasks))
    assert job.normalised()["tasks"]["gather_preliminary_metadata"]["job_settings"] == {
        "metadata_dir": "/m"
    }


@pytest.mark.parametrize(
    ("field", "value", "tasks"),
    [
        (
            "metadata_dir",
            "/m",
            {"gather_preliminary_metadata": {"job_settings": {"metadata_dir": "/x"}}},
        ),
        (
            "derivatives_dir",
            "/d",
            {"copy_derivatives_folder": {"job_settings": {"input_source": "/x"}}},
        ),
        ("force_cloud_sync", True, {"check_s3_folder_exists": {"skip_task": False}}),
        (
            "input_sources",
            ["ecephys=/a"],
            {STEP: {"ecephys": {"job_settings": {"input_source": "/b"}}}},
        ),
    ],
)
def test_a_field_that_contradicts_tasks_is_a_problem(field, value, tasks):
    with pytest.raises(InvalidInput, match="says something else") as error:
        job_from_params(form(**{field: value, "tasks": tasks}))
    assert fields_of(error) == [field]


def test_a_field_and_a_former_name_of_its_task_meet_as_well():
    with pytest.raises(InvalidInput, match="disagree"):
        job_from_params(
            form(force_cloud_sync=True, tasks={"check_s3_folder_exist": {"skip_task": False}})
        )


@pytest.mark.parametrize(
    "line", ["/data", "ecephys", "ecephys=", "Ecephys=/data", "fib=/data", "=/data"]
)
def test_a_source_line_that_cannot_be_read_is_a_problem(line):
    with pytest.raises(InvalidInput) as error:
        job_from_params(form(input_sources=[line]))
    assert fields_of(error) == ["input_sources"]


def test_all_problems_of_the_form_and_of_the_job_come_at_once():
    with pytest.raises(InvalidInput) as error:
        job_from_params(
            form(
                input_sources=["x", "ecephys=/a", "ecephys=/b"],
                platform="Ecephys",
                dry_run="no",
                acq_datetime="yesterday",
                s3_bucket="scratch",
            )
        )
    assert fields_of(error) == [
        "dry_run",
        "platform",
        "input_sources",
        "input_sources",
        "s3_bucket",
        "acq_datetime",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_sources", 3),
        ("input_sources", [3]),
        ("input_sources", {"ecephys": "/a"}),
        ("metadata_dir", 3),
        ("metadata_dir", ["/a"]),
        ("derivatives_dir", True),
        ("force_cloud_sync", "yes"),
        ("dry_run", "no"),
        ("dry_run", 1),
    ],
)
def test_a_field_of_another_type_is_a_problem_and_never_guessed_at(field, value):
    with pytest.raises(InvalidInput, match="should be") as error:
        job_from_params(form(**{field: value}))
    assert fields_of(error) == [field]


def test_blanks_around_a_folder_do_not_matter():
    job, _ = job_from_params(form(metadata_dir="  /meta \n", derivatives_dir="  "))
    assert job.normalised()["tasks"] == {
        "gather_preliminary_metadata": {
            "skip_task": False,
            "job_settings": {"metadata_dir": "/meta"},
        }
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(changes=st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON, max_size=4))
def test_whatever_is_sent_gives_a_job_or_its_problems(changes):
    # The conf of a request is read before Airflow has looked at its types.
    with contextlib.suppress(InvalidInput):
        job, dry_run = job_from_params(form(**changes))
        assert job.s3_prefix
        assert dry_run is bool(changes.get("dry_run"))


@pytest.mark.parametrize("bad", [["Ecephys"], [], [3], "ecephys"])
def test_modalities_are_checked_by_the_model(bad):
    with pytest.raises(InvalidInput) as error:
        job_from_params(form(modalities=bad))
    assert all(field.startswith("modalities") for field in fields_of(error))


def test_a_missing_field_is_named():
    with pytest.raises(InvalidInput) as error:
        job_from_params({})
    assert fields_of(error) == [
        "job_type",
        "project_name",
        "modalities",
        "subject_id",
        "acq_datetime",
    ]


def test_known_names_are_checked_when_given():
    with pytest.raises(InvalidInput) as error:
        job_from_params(form(), job_types=["default"], project_names=["Other"])
    assert fields_of(error) == ["job_type", "project_name"]


def test_what_only_the_form_has_never_reaches_the_job():
    assert set(ONLY_IN_THE_FORM) <= set(FIELDS)
    job, _ = job_from_params(form())
    assert not set(ONLY_IN_THE_FORM) & set(job.normalised())


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("dryrun", True, "dry_run"),
        ("dry-run", True, "dry_run"),
        ("DryRun", True, "dry_run"),
        ("force_cloud", True, "force_cloud_sync"),
        ("input_source", ["ecephys=/a"], "input_sources"),
        ("emails_notification_type", ["all"], "email_notification_types"),
        ("task", {}, "tasks"),
    ],
)
@pytest.mark.parametrize("given", [form(), FILLED], ids=["by the form", "by a program"])
def test_a_field_that_is_nearly_right_is_refused_before_anything_is_uploaded(
    given, key, value, meant
):
    with pytest.raises(InvalidInput) as error:
        job_from_params({**given, key: value})
    assert fields_of(error) == [key]
    assert f"did you mean {meant}?" in str(error.value)


@pytest.mark.parametrize(
    "key", sorted({*FORMER_KEYS, *FORMER_NAMES, "processor_full_name", "log_level"} - {*FIELDS})
)
def test_what_clients_of_other_years_send_is_accepted(key):
    job, _ = job_from_params({**FILLED, key: "x"})
    assert any(warning.startswith(f"{key} is not a field") for warning in job.warnings)


def test_a_key_beside_the_field_that_it_resembles_is_accepted():
    job, dry_run = job_from_params({
        **FILLED,
        "acq_date": "2024-05-27",
        "dryrun": 1,
        "dry_run": True,
    })
    assert dry_run
    assert len(job.warnings) == 2
