"""Task names of all eras."""

from __future__ import annotations

import pytest

from include.acquisitions.pipeline import (
    FORMER_NAMES,
    MAPPED_TASKS,
    MODALITY_TASKS,
    RETIRED,
    SKIPPED_UNLESS_ASKED,
    TASKS,
    canonical_task_name,
    task_name_warning,
)


def test_there_are_eighteen_tasks_and_every_set_speaks_of_them():
    assert len(set(TASKS)) == len(TASKS) == 18
    named = {*MODALITY_TASKS, *MAPPED_TASKS, *MAPPED_TASKS.values(), *SKIPPED_UNLESS_ASKED}
    assert named <= set(TASKS)
    assert set(FORMER_NAMES.values()) <= set(TASKS)
    assert not (FORMER_NAMES.keys() | RETIRED.keys()) & set(TASKS)


def test_sources_are_removed_last_but_one():
    assert TASKS[-2:] == ("remove_source_folders", "send_job_end_email")


@pytest.mark.parametrize("name", TASKS)
def test_a_name_of_today_is_itself_and_needs_no_warning(name):
    assert canonical_task_name(name) == name
    assert task_name_warning(name) is None


@pytest.mark.parametrize(
    ("former", "today"), [*FORMER_NAMES.items(), ("compress_data.submit_job", "compress_data")]
)
def test_a_name_of_another_era_is_read_with_a_warning(former, today):
    assert canonical_task_name(former) == today
    assert today in task_name_warning(former)


def test_skipping_the_retired_second_look_does_not_skip_the_first():
    name = "final_check_s3_folder_exist"
    assert canonical_task_name(name) == name
    assert "no effect" in task_name_warning(name)


def test_a_misspelt_name_is_kept_and_the_meant_one_is_named():
    assert canonical_task_name("upload_data_to_S3 ") == "upload_data_to_S3 "
    assert "upload_data_to_s3 meant" in task_name_warning("upload_data_to_S3 ")
