"""Requests and jobs: what is accepted, how it is written down, and what is said about the rest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from include.acquisitions.job import (
    FORMER_KEYS,
    SubmitJobRequest,
    Task,
    UploadJob,
    job_from_conf,
    request_from_json,
)
from include.acquisitions.pipeline import MODALITY_TASKS, TASKS
from include.assets.modality import MODALITIES
from include.errors import InvalidInput
from tests.acquisitions.jobs import NAME, SOURCE, job_conf, make_job, request_body

STEP = "modality_transformation_settings"


def reasons(error: pytest.ExceptionInfo[InvalidInput]) -> dict[str, str]:
    return {problem.field: problem.reason for problem in error.value.problems}


# The normalised form --------------------------------------------------------------------------------


def test_the_normalised_form_is_that_of_the_v2_service():
    job = make_job(
        platform={"name": "Electrophysiology platform"},
        email_notification_types=["retry", "begin", "fail"],
        tasks={STEP: {"ecephys": {"job_settings": {"a": None}, "image": None}}, "x": {}},
        s3_prefix="ignored",
    )
    assert list(job.normalised().items()) == [
        ("job_type", "ecephys"),
        ("user_email", "someone@example.com"),
        ("email_notification_types", ["begin", "fail", "retry"]),
        ("s3_bucket", "default"),
        ("project_name", "Learning"),
        ("platform", {"name": "Electrophysiology platform", "abbreviation": "ecephys"}),
        ("modalities", [{"name": "Extracellular electrophysiology", "abbreviation": "ecephys"}]),
        ("subject_id", "712345"),
        ("acq_datetime", "2024-05-27T16:07:59"),
        ("tasks", {STEP: {"ecephys": {"skip_task": False, "job_settings": {"a": None}}}, "x": {}}),
        ("s3_prefix", f"ecephys_{NAME}"),
    ]


def test_the_normalised_request_hands_mail_down_and_keeps_its_own():
    own = job_conf(subject_id="1", user_email="own@example.com", email_notification_types=[])
    body = request_body(own, job_conf(user_email=None), user_email="all@example.com")
    request = request_from_json(body)
    written = request.normalised()
    assert list(written) == ["dag_id", "user_email", "email_notification_types", "upload_jobs"]
    assert [job["user_email"] for job in written["upload_jobs"]] == [
        "own@example.com",
        "all@example.com",
    ]
    assert [job["email_notification_types"] for job in written["upload_jobs"]] == [[], ["fail"]]
    assert request_from_json(written).normalised() == written


texts = st.text(max_size=5)
json_objects = st.dictionaries(
    texts, st.none() | st.booleans() | texts | st.lists(texts), max_size=3
)
tasks = st.fixed_dictionaries(
    {},
    optional={
        "skip_task": st.booleans(),
        "image": st.none() | texts,
        "job_settings": st.none() | json_objects,
        "image_resources": st.none() | json_objects,
    },
)
named_tasks = st.dictionaries(st.sampled_from(sorted(MODALITIES)), tasks, max_size=3)
all_tasks = st.dictionaries(st.sampled_from(sorted({*TASKS} - MODALITY_TASKS)), tasks, max_size=3)


@given(all_tasks, st.dictionaries(st.sampled_from(sorted(MODALITY_TASKS)), named_tasks))
def test_reading_the_normalised_form_gives_a_job_that_means_the_same(one, named):
    job = make_job(tasks={**one, **named})
    written = json.loads(json.dumps(job.normalised()))
    again = job_from_conf(written)
    assert again.normalised() == written
    assert again.warnings == ()
    for task_id, value in job.tasks.items():
        other = again.tasks[task_id]
        if isinstance(value, Task):
            if not value.is_empty:  # an empty Task and an empty object say the same: nothing
                assert other.skip_task == value.skip_task
        else:
            assert {name: task.is_empty for name, task in value.items()} == {
                name: task.is_empty for name, task in other.items()
            }


# Names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_text", "digits"),
    [
        ("2024-05-27T16:07:59", "2024-05-27_16-07-59"),
        ("2024-05-27 16:07:59", "2024-05-27_16-07-59"),
        ("2024-05-27T16:07:59Z", "2024-05-27_16-07-59"),
        ("2024-05-27T16:07:59-07:00", "2024-05-27_16-07-59"),
        ("2024-05-27T16:07:59.987654", "2024-05-27_16-07-59"),
        ("2024-05-27T16:07", "2024-05-27_16-07-00"),
        ("2024-05-27", "2024-05-27_00-00-00"),
    ],
)
def test_the_name_has_the_wall_clock_digits(given_text, digits):
    assert make_job(acq_datetime=given_text).s3_prefix == f"712345_{digits}"


@pytest.mark.parametrize(
    "bad",
    [
        1716826079,
        1716826079.5,
        "1716826079",
        "20240527",
        True,
        None,
        "",
        "tomorrow",
        "5/27/2024 4:07:59 PM",
        "2024-05-27_16-07-59",
        "2024-02-30T00:00:00",
        ["2024-05-27"],
    ],
)
def test_what_is_no_date_and_time_is_one_clear_problem(bad):
    with pytest.raises(InvalidInput) as error:
        make_job(acq_datetime=bad)
    assert list(reasons(error)) == ["acq_datetime"]


@pytest.mark.parametrize(
    "bad",
    ["", "  ", "..", "../7", "a/b", ".hidden", "-rf", "a\nb", "a\x7fb", "a\u202eb", 712345, None],
)
def test_a_subject_id_that_is_no_safe_part_of_a_name_is_refused(bad):
    with pytest.raises(InvalidInput) as error:
        make_job(subject_id=bad)
    assert list(reasons(error)) == ["subject_id"]


@pytest.mark.parametrize("good", ["mouse 7", "a_b", "é", "a.b", "M'7"])
def test_unusual_but_safe_subject_ids_stay_accepted(good):
    assert make_job(subject_id=good).s3_prefix == f"{good}_2024-05-27_16-07-59"


# Tasks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "read"),
    [
        pytest.param({"ecephys": {}}, {"ecephys": Task()}, id="leave the preset as it is"),
        pytest.param({"ecephys": {"unknown": 1}}, {"ecephys": Task()}, id="unknown key within"),
        pytest.param({}, {}, id="no modality"),
        pytest.param({"skip_task": "yes"}, Task(skip_task=True), id="the whole step is skipped"),
        pytest.param(
            {"ecephys": {}, "behavior": {"skip_task": 1}},
            {"ecephys": Task(), "behavior": Task(skip_task=True)},
            id="one of two skipped",
        ),
    ],
)
def test_a_modality_task_is_read_by_its_keys(value, read):
    assert make_job(tasks={STEP: value}).tasks[STEP] == read


MUST_BE_NAMED = f"{STEP} must be a dictionary of modality abbreviations to Task objects."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"skip_task": False}, MUST_BE_NAMED),
        ({"job_settings": {}}, MUST_BE_NAMED),
        ({"unknown": 1}, MUST_BE_NAMED),
        (
            {"Ecephys": {"skip_task": True}},
            f'Key Ecephys in tasks["{STEP}"] is not a valid modality abbreviation.',
        ),
    ],
)
def test_a_wrong_modality_task_gets_the_known_message_at_the_known_place(value, message):
    with pytest.raises(ValidationError) as error:
        SubmitJobRequest.model_validate(request_body(job_conf(tasks={STEP: value})))
    (entry,) = error.value.errors()
    assert entry["loc"] == ("upload_jobs", 0, "tasks")
    assert (entry["type"], entry["msg"]) == ("value_error", f"Value error, {message}")


@pytest.mark.parametrize(
    ("task_id", "value"),
    [
        (STEP, {"skip_task": True, "ecephys": {}}),
        (STEP, {"skip_task": False, "ecephis": {"image": "x"}}),
        ("compress_data", {"image": "x", "ecephys": {"skip_task": True}}),
    ],
)
def test_a_task_mixed_with_named_tasks_is_refused_instead_of_losing_one(task_id, value):
    with pytest.raises(InvalidInput, match="mixes Task fields"):
        make_job(tasks={task_id: value})


@pytest.mark.parametrize("value", [None, [], "skip", 3])
def test_a_value_that_is_no_object_is_refused(value):
    with pytest.raises(InvalidInput) as error:
        make_job(tasks={"upload_data_to_s3": value})
    assert list(reasons(error)) == ["tasks.upload_data_to_s3"]


@pytest.mark.parametrize(
    "bad", [{"skip_task": None}, {"skip_task": 2}, {"image": 3}, {"job_settings": "x"}]
)
def test_a_wrong_field_of_a_task_is_named_with_its_path(bad):
    with pytest.raises(InvalidInput) as error:
        make_job(tasks={"compress_data": bad})
    assert list(reasons(error)) == [f"tasks.compress_data.{next(iter(bad))}"]


@pytest.mark.parametrize("field", ["job_settings", "image_resources"])
@pytest.mark.parametrize("value", [{"a": object()}, {"a": float("nan")}])
def test_settings_that_json_cannot_carry_are_refused(field, value):
    with pytest.raises(ValidationError, match=f"{field} must be json serializable!"):
        Task(**{field: value})


def test_names_of_other_eras_are_read_as_todays():
    job = make_job(
        tasks={
            "make_modality_list": {"slap": SOURCE},
            "compress_data/submit_job": {"image": "x"},
            "compress_data/monitor_job": {"image_version": "1"},
        },
    )
    assert set(job.tasks) == {STEP, "compress_data"}
    assert set(job.tasks[STEP]) == {"slap2"}
    assert job.tasks["compress_data"].given == {"image": "x", "image_version": "1"}
    assert len(job.warnings) == 4


@pytest.mark.parametrize(
    "tasks",
    [
        {"create_folder": {"skip_task": True}, "create_staging_folder": {"skip_task": False}},
        {STEP: {"slap": {"image": "a"}, "slap2": {"image": "b"}}},
    ],
)
def test_two_spellings_that_disagree_are_refused(tasks):
    with pytest.raises(InvalidInput) as error:
        make_job(tasks=tasks)
    assert list(reasons(error)) == ["tasks"]


@pytest.mark.parametrize("settings", [{"job_settings": {"dry_run": False}}, Task(image="x")])
def test_settings_alone_do_not_start_the_removal_of_sources(settings):
    job = make_job(tasks={"remove_source_folders": settings})
    assert job.tasks["remove_source_folders"].skip_task
    assert any("skip_task: false" in warning for warning in job.warnings)
    assert make_job(tasks=job.normalised()["tasks"]).tasks["remove_source_folders"].skip_task


def test_removal_of_sources_starts_when_told_so():
    job = make_job(tasks={"remove_source_folders": {"skip_task": False}})
    assert not job.tasks["remove_source_folders"].skip_task


# Warnings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"foo": 1}, "foo is not a field"),
        *(({key: "x"}, instead) for key, instead in FORMER_KEYS.items()),
        ({"s3_prefix": "other"}, "s3_prefix 'other'"),
        ({"acq_datetime": "2024-05-27"}, "no time of day"),
        ({"modalities": [{"abbreviation": "ophys"}]}, "ophys is called pophys"),
        ({"tasks": {"nothing": {}}}, "tasks.nothing is not a task"),
        ({"tasks": {"compress_data": {"retry_count": 2}}}, "tasks.compress_data.retry_count"),
        ({"tasks": {"compress_data": {"a": {"b": 1}}}}, "tasks.compress_data.a has no effect"),
        ({"tasks": {STEP: {"ecephys": {"b": 1}}}}, f"tasks.{STEP}.ecephys.b"),
    ],
)
def test_what_was_probably_not_meant_is_accepted_with_a_warning(changes, said):
    job = make_job(**changes)
    assert any(said in warning for warning in job.warnings), job.warnings
    request = request_from_json(request_body(job_conf(**changes)))
    assert any(text.startswith("upload_jobs[0]: ") and said in text for text in request.warnings)


def test_an_ordinary_job_has_no_warnings():
    assert make_job(s3_prefix=NAME).warnings == ()


# Parts ----------------------------------------------------------------------------------------------


def test_modalities_may_be_instances_of_the_schema_library():
    from aind_data_schema_models.modalities import Modality

    assert make_job(modalities=[Modality.ECEPHYS]) == make_job()


@pytest.mark.parametrize(
    "bad",
    [
        "ecephys",
        {"name": "Behavior"},
        {"abbreviation": "Ecephys"},
        {"abbreviation": "ecephys", "name": "Behavior"},
        {"abbreviation": "{x}"},
        None,
    ],
)
def test_a_modality_is_an_object_selected_by_its_exact_abbreviation(bad):
    with pytest.raises(InvalidInput) as error:
        make_job(modalities=[{"abbreviation": "EM"}, bad])
    assert list(reasons(error)) == ["modalities.1"]


@pytest.mark.parametrize(
    "bad",
    [
        {"abbreviation": "ecephys"},
        {"name": "Electrophysiology"},
        {"name": "MRI platform", "abbreviation": "ISI"},
        "ecephys",
    ],
)
def test_a_platform_is_an_object_selected_by_its_name(bad):
    with pytest.raises(InvalidInput) as error:
        make_job(platform=bad)
    assert list(reasons(error)) == ["platform"]


@pytest.mark.parametrize("bad", [None, "OPEN", "scratch", "aind-open-data"])
def test_a_bucket_is_one_of_three_words(bad):
    with pytest.raises(InvalidInput) as error:
        make_job(s3_bucket=bad)
    assert reasons(error) == {"s3_bucket": "Input should be 'private', 'open' or 'default'"}


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [(" a@example.com ", "a@example.com"), ("Ann <a@example.com>", "a@example.com")],
)
def test_an_address_is_kept_without_its_trimmings(given_text, kept):
    assert make_job(user_email=given_text).user_email == kept


@pytest.mark.parametrize("bad", ["a@localhost", "a@b", "a", ""])
def test_what_is_no_address_is_refused(bad):
    with pytest.raises(InvalidInput) as error:
        make_job(user_email=bad)
    assert reasons(error)["user_email"].startswith("value is not a valid email address: ")


def test_all_problems_of_a_job_come_at_once():
    conf = job_conf(subject_id="a/b", s3_bucket="x", modalities=[], job_type="a", project_name="b")
    with pytest.raises(InvalidInput) as error:
        job_from_conf(conf, job_types=["default"], project_names=["P"])
    assert reasons(error) == {
        "job_type": "a must be one of ['default']",
        "s3_bucket": "Input should be 'private', 'open' or 'default'",
        "project_name": "b must be one of ['P']",
        "modalities": "List should have at least 1 item after validation, not 0",
        "subject_id": "'a/b' has '/' in it",
    }


@pytest.mark.parametrize("body", [{}, [], None, "x", {"tasks": None}])
def test_a_conf_of_the_wrong_shape_is_bad_input(body):
    with pytest.raises(InvalidInput):
        job_from_conf(body)


# Requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0, "List should have at least 1 item after validation, not 0"),
        (51, "List should have at most 50 items after validation, not 51"),
    ],
)
def test_a_request_has_one_to_fifty_jobs(count, message):
    body = {"upload_jobs": [job_conf(subject_id=str(number)) for number in range(count)]}
    with pytest.raises(InvalidInput) as error:
        request_from_json(body)
    assert reasons(error) == {"upload_jobs": message}


def test_every_job_without_an_address_is_named():
    jobs = [job_conf(subject_id=subject, user_email=None) for subject in ("1", "2")]
    with pytest.raises(InvalidInput) as error:
        request_from_json(request_body(*jobs))
    text = reasons(error)[""]
    assert "No user_email set for job 1_2024" in text
    assert "No user_email set for job 2_2024" in text


def known_message(body: dict, **context: object) -> str:
    with pytest.raises(ValidationError) as error:
        SubmitJobRequest.model_validate(body, context=context)
    (entry,) = error.value.errors()
    assert (entry["loc"], entry["type"]) == ((), "value_error")
    return entry["msg"]


def test_the_known_messages_about_a_whole_request_are_kept():
    missing = f"Value error, No user_email set for job {NAME}. Either set user_email in the job "
    assert known_message(request_body(job_conf(user_email=None))).startswith(missing)
    twice = request_body(job_conf(), job_conf())
    assert known_message(twice) == f"Value error, Duplicate jobs found for {NAME}"
    running = make_job().normalised()
    assert (
        known_message(request_body(), current_jobs=[running])
        == f"Value error, Job is already running/queued for {NAME}"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"user_email": "other@example.com"},
        {"email_notification_types": ["end", "begin"]},
        {"acq_datetime": "2024-05-27T16:07:59Z"},
        {"modalities": [{"abbreviation": "ecephys"}] * 2},
        {"some_new_key": 1},
    ],
    ids=str,
)
def test_the_same_upload_asked_for_in_another_way_is_a_duplicate(change):
    with pytest.raises(InvalidInput, match="Duplicate jobs found"):
        request_from_json(request_body(job_conf(), job_conf(**change)))


@pytest.mark.parametrize(
    "change",
    [
        {"s3_bucket": "open"},
        {"job_type": "default"},
        {"tasks": {}},
        {"acq_datetime": "2024-05-27T16:08:00"},
        {"modalities": [{"abbreviation": "behavior"}]},
    ],
    ids=str,
)
def test_other_work_for_the_same_asset_is_no_duplicate(change):
    request = request_from_json(request_body(job_conf(), job_conf(**change)))
    assert len(request.upload_jobs) == 2


@pytest.mark.parametrize("as_request", [False, True])
def test_who_submitted_the_running_duplicate_is_said(as_request):
    running = make_job(user_email="ann@example.com").normalised()
    current = [
        {"upload_jobs": [running]} if as_request else {**running, "extra": True},
        {"s3_prefix": "unreadable"},
        {"no": "prefix"},
    ]
    with pytest.raises(InvalidInput) as error:
        request_from_json(request_body(), current_jobs=current)
    assert error.value.problems[0].fix == f"{NAME} was submitted by ann@example.com"


@pytest.mark.parametrize(
    "changes",
    [{"dag_id": "other"}, {"email_notification_types": None}, {"email_notification_types": "fail"}],
)
def test_a_request_is_as_strict_as_it_was(changes):
    with pytest.raises(InvalidInput) as error:
        request_from_json(request_body(**changes))
    assert list(reasons(error)) == list(changes)


def test_a_job_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        UploadJob.model_validate(job_conf()).subject_id = "2"
