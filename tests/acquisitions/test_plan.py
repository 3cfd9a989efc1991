"""The run plan: every setting of a run, settled once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from include.acquisitions.job import Task
from include.acquisitions.pipeline import TASKS
from include.acquisitions.plan import Deployment, RunPlan, make_run_key, resolve_plan
from include.clients.parameter_store import FolderPresets
from include.errors import InvalidInput, ServiceUnavailable
from tests.acquisitions.jobs import NAME, SOURCE, make_job

P = "/assetflow/job_types"
STEP = "modality_transformation_settings"
PIPELINES = "codeocean_pipeline_settings"
DEPLOYMENT = Deployment(
    buckets={"open": "open-b", "private": "private-b", "default": "private-b"},
    staging_root=Path("/staging"),
    preset_prefix=P,
)
RUN_ID = "manual__2025-11-08T18:20:55.367146+00:00"


class Stored:
    def __init__(self, tree: Mapping[str, object]) -> None:
        self.tree = {f"{P}/v2/{key}": json.dumps(value) for key, value in tree.items()}

    def read_tree(self, path: str) -> dict[str, str]:
        return {key: text for key, text in self.tree.items() if key.startswith(f"{path}/")}


def plan(job_changes: Mapping[str, object] | None = None, **presets: object) -> RunPlan:
    """A plan; *presets* are those of job type ``ecephys``, with ``__`` for the slash."""
    tree = {f"ecephys/tasks/{key.replace('__', '/')}": value for key, value in presets.items()}
    return resolve_plan(
        make_job(**(job_changes or {})),
        presets=Stored({"ecephys/tasks/x": {}, **tree}),
        deployment=DEPLOYMENT,
        dag_id="transform_and_upload_v2",
        run_id=RUN_ID,
    )


def tasks(**named: object) -> dict[str, object]:
    return {"tasks": {STEP: {"ecephys": SOURCE}, **named}}


def test_a_plan_survives_its_way_through_json():
    made = plan(tasks(foo={}, compress_data={"image": "i"}))
    assert RunPlan.model_validate_json(made.model_dump_json()) == made
    assert RunPlan.model_validate(json.loads(json.dumps(made.model_dump(mode="json")))) == made


def test_names_and_folders_follow_from_asset_and_run():
    made = plan({"s3_bucket": "open"})
    digest = hashlib.sha256(RUN_ID.encode()).hexdigest()[:10]
    assert made.run_key == f"{NAME}_{digest}"
    assert str(made.location) == f"s3://open-b/{NAME}"
    assert made.staging_folder == Path(f"/staging/{NAME}_{digest}")
    assert made.bucket == "open-b"


def test_the_run_key_is_the_one_cluster_jobs_are_known_by():
    key = make_run_key("ecephys_123456_2020-10-10_10-10-10", RUN_ID)
    assert key == "ecephys_123456_2020-10-10_10-10-10_1f5442f4dc"


@pytest.mark.parametrize("subject", ["mouse 7", "é'7", "_7", "猫"])
def test_the_run_key_has_plain_letters_only(subject):
    key = make_run_key(f"{subject}_2020-10-10_10-10-10", "r")
    assert key.isascii()
    assert key[0].isalnum()
    assert not set(key) - set("abcdefghijklmnopqrstuvwxyz0123456789_-.")


def test_every_named_task_is_planned_and_nothing_else():
    made = plan(tasks(unknown={"image": "x"}))
    assert tuple(made.tasks) == TASKS
    assert any("tasks.unknown" in warning for warning in made.warnings)
    assert [name for name, task in made.tasks.items() if task.skip] == ["remove_source_folders"]


def test_the_request_wins_over_the_preset_key_by_key():
    made = plan(
        tasks(gather_preliminary_metadata={"job_settings": {"a": {"y": 3}}, "image": None}),
        gather_preliminary_metadata={"image": "i", "job_settings": {"a": {"x": 1, "y": 2}}},
    )
    task = made.tasks["gather_preliminary_metadata"]
    assert task.image == "i"
    assert task.job_settings == {"a": {"x": 1, "y": 3}}
    assert task.preset == f"{P}/v2/ecephys/tasks/gather_preliminary_metadata"


# Skipping -------------------------------------------------------------------------------------------

SKIPPED = {"skip_task": True, "job_settings": {"n": 1}}


@pytest.mark.parametrize(
    ("preset", "asked", "skipped", "warned"),
    [
        (SKIPPED, None, True, False),
        (SKIPPED, {}, True, False),
        (SKIPPED, {"image": None}, True, False),
        (SKIPPED, {"skip_task": False}, False, False),
        pytest.param(SKIPPED, {"job_settings": {"m": 1}}, False, True, id="settings wake it"),
        ({"image": "i"}, {"skip_task": True}, True, False),
        (None, {"skip_task": True}, True, False),
        (None, None, False, False),
    ],
)
def test_when_a_task_is_skipped(preset, asked, skipped, warned):
    changes = tasks() if asked is None else tasks(check_s3_folder_exists=asked)
    made = plan(changes, **({"check_s3_folder_exists": preset} if preset else {}))
    assert made.tasks["check_s3_folder_exists"].skip is skipped
    assert any("skipped by its preset" in warning for warning in made.warnings) is warned


@pytest.mark.parametrize(
    ("preset", "asked", "skipped"),
    [
        (None, None, True),
        ({"job_settings": {"n": 1}}, None, True),
        ({"skip_task": False}, None, False),
        (None, {"job_settings": {"n": 1}}, True),
        ({"skip_task": False}, {"job_settings": {"n": 1}}, True),
        (None, {"skip_task": False}, False),
        ({"skip_task": True}, {"skip_task": False}, False),
    ],
)
def test_sources_are_removed_only_when_told_in_so_many_words(preset, asked, skipped):
    changes = tasks() if asked is None else tasks(remove_source_folders=asked)
    made = plan(changes, **({"remove_source_folders": preset} if preset else {}))
    assert made.tasks["remove_source_folders"].skip is skipped


def test_a_skipped_step_skips_all_its_modalities():
    made = plan({"tasks": {STEP: {"skip_task": True}}})
    assert made.tasks[STEP].skip
    assert made.modalities["ecephys"].skip


def test_modalities_come_in_the_jobs_order_and_extra_ones_are_warned_about():
    made = plan({
        "modalities": [{"abbreviation": short} for short in ("fib", "ecephys", "fib")],
        "tasks": {STEP: {"behavior": SOURCE, "ecephys": SOURCE, "fib": {"skip_task": True}}},
    })
    assert list(made.modalities) == ["fib", "ecephys", "behavior"]
    assert [task.skip for task in made.modalities.values()] == [True, False, False]
    assert any("behavior is used, though" in warning for warning in made.warnings)


def test_pipelines_are_those_somebody_set_up():
    capsule = {"pipeline_monitor_settings": {"run_params": {"capsule_id": "c"}}}
    made = plan(
        {"modalities": [{"abbreviation": short} for short in ("ecephys", "fib", "EM")]}
        | tasks(**{
            STEP: dict.fromkeys(("ecephys", "fib", "EM"), SOURCE),
            PIPELINES: {"fib": {"job_settings": capsule}},
        }),
        **{f"{PIPELINES}__ecephys": {"job_settings": capsule}},
    )
    assert list(made.pipelines) == ["ecephys", "fib"]


def test_a_step_that_its_preset_skips_runs_for_the_modality_that_is_set_up():
    capsule = {"job_settings": {"a": 1}}
    made = plan(
        tasks(**{PIPELINES: {"fib": capsule}}),
        **{PIPELINES: {"skip_task": True}, f"{PIPELINES}__ecephys": capsule},
    )
    assert not made.tasks[PIPELINES].skip
    assert {name: task.skip for name, task in made.pipelines.items()} == {
        "ecephys": True,
        "fib": False,
    }


# Problems -------------------------------------------------------------------------------------------


def test_an_unknown_job_type_is_told_the_known_ones():
    with pytest.raises(InvalidInput, match="did you mean ecephys"):
        plan({"job_type": "Ecephys"})


def test_a_store_that_cannot_be_read_stops_the_plan():
    class Down:
        def read_tree(self, path: str) -> dict[str, str]:
            raise ServiceUnavailable(path)

    with pytest.raises(ServiceUnavailable):
        resolve_plan(make_job(), presets=Down(), deployment=DEPLOYMENT, dag_id="d", run_id="r")


def test_everything_that_cannot_run_is_said_at_once_and_no_secret_is_repeated():
    script = {
        "command_script": "x %IMAGE_VERSION\ny '%ENV_FILE",
        "job_settings": {"token": "hunter2"},
    }
    with pytest.raises(InvalidInput) as error:
        plan(
            {"modalities": [{"abbreviation": short} for short in ("ecephys", "fib", "EM")]}
            | tasks(upload_data_to_s3={"image_resources": {"environment": ["A_TOKEN=hunter2"]}}),
            **{
                f"{STEP}__ecephys": script,
                f"{STEP}__fib": {"job_settings": {"input_source": "%INPUT_SOURCE"}},
            },
        )
    assert [problem.field for problem in error.value.problems] == [
        "image_resources.environment[0]",
        "job_settings.token",
        f"tasks.{STEP}.ecephys.command_script.line 1",
        f"tasks.{STEP}.ecephys.command_script.line 2",
        f"tasks.{STEP}.fib.job_settings.input_source",
        f"tasks.{STEP}.EM.job_settings.input_source",
    ]
    assert "hunter2" not in str(error.value)


def test_a_skipped_modality_needs_no_source():
    made = plan({"tasks": {STEP: {"ecephys": {"skip_task": True}}}})
    assert made.modalities["ecephys"].skip


@pytest.mark.parametrize("job_type", ["default", "ecephys", "behavior", "custom"])
def test_the_seeds_make_a_plan_of_an_ordinary_job(job_type):
    folder = Path(__file__).parents[2] / "presets"
    source = {"job_settings": {"input_source": "/data/it's here"}}
    job = make_job(
        job_type=job_type,
        modalities=[{"abbreviation": "ecephys"}, {"abbreviation": "behavior-videos"}],
        tasks={STEP: {"ecephys": source, "behavior-videos": source}},
    )
    made = resolve_plan(
        job, presets=FolderPresets(folder, P), deployment=DEPLOYMENT, dag_id="d", run_id="r"
    )
    has_command = {name for name, task in made.modalities.items() if task.command_script}
    expected = {"ecephys": {"ecephys", "behavior-videos"}, "behavior": {"behavior-videos"}}
    assert has_command == expected.get(job_type, set())
    assert made.tasks["remove_source_folders"].skip
    assert made.warnings == ()


def test_python_callers_may_give_tasks_as_objects():
    job = make_job(tasks={STEP: {"ecephys": Task(job_settings={"input_source": "/a"})}})
    made = resolve_plan(
        job, presets=Stored({"ecephys/tasks/x": {}}), deployment=DEPLOYMENT, dag_id="d", run_id="r"
    )
    assert made.modalities["ecephys"].job_settings == {"input_source": "/a"}


def pipeline(url: str) -> dict[str, object]:
    monitor = {"run_params": {"capsule_id": "c"}, "alert_url": url}
    return {"ecephys": {"job_settings": {"pipeline_monitor_settings": monitor, "x": None}}}


@pytest.mark.parametrize("is_public", [True, False])
def test_a_plan_is_shown_without_what_only_the_run_may_know(is_public: bool) -> None:
    made = plan(tasks(**{PIPELINES: pipeline("https://host/hook?sig=abc")}))
    shown = made.shown(is_public=is_public)
    assert "https://host/hook" not in json.dumps(shown)
    assert ("someone@example.com" in json.dumps(shown)) is not is_public
    assert shown["tasks"]["send_job_start_email"] == {"skip": False, "job_settings": {}}
    # What the tasks get is whole.
    assert "https://host/hook?sig=abc" in json.dumps(made.model_dump(mode="json"))


def test_a_shown_plan_is_a_plan_and_keeps_what_a_command_was_given() -> None:
    made = plan(tasks(**{PIPELINES: pipeline("***")}))
    assert RunPlan.model_validate(made.shown(is_public=False)) == made
    assert made.shown(is_public=True)["pipelines"]["ecephys"]["job_settings"]["x"] is None


def test_settings_of_a_task_that_no_era_knew_are_not_shown_with_their_secrets() -> None:
    made = plan(tasks(foo={"job_settings": {"password": "hunter2"}}))
    assert "hunter2" not in json.dumps(made.shown(is_public=False))


def test_a_secret_in_a_script_is_refused_and_not_repeated() -> None:
    script = "set -e\nexport AWS_SECRET_ACCESS_KEY=abc123\nrun"
    with pytest.raises(InvalidInput, match="command_script line 2: looks like a secret") as refusal:
        plan(**{f"{STEP}__ecephys": {"command_script": script}})
    assert "abc123" not in str(refusal.value)
