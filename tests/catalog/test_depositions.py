"""Depositions that documents name: each is read once, made when it can be, and its fault is one of the item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from include.errors import (
    AccessDenied,
    AssetflowError,
    BucketNotFound,
    DatabaseRefused,
    ServiceUnavailable,
)
from tests.catalog.lab import BUCKET, Lab
from tests.catalog.test_collisions import content_of
from tests.catalog.test_import import ANNOTATION, COUNTS, TOMOGRAM, edit

NEW = 302
KEY = f"depositions_metadata/{NEW}/deposition_metadata.json"
OF_DATASET = "depositions_metadata/300/deposition_metadata.json"


def name_a_new_one(lab: Lab, **changed: Any) -> None:
    """Let an annotation and a tomogram name a deposition without a row."""
    lab.objects.put(KEY, content_of(lab, OF_DATASET, **{"deposition_identifier": NEW, **changed}))
    for key in (ANNOTATION, TOMOGRAM):
        edit(lab, key, lambda content: content.update(deposition_id=NEW))


def test_a_deposition_that_is_named_is_made_and_read_once(lab: Lab):
    lab.run()
    name_a_new_one(lab)
    lab.objects.requests.clear()
    assert lab.run().problems == ()
    assert lab.rows("deposition", "id") == [300, 301, NEW]
    assert lab.objects.requests.count(KEY) == 1
    assert lab.objects.requests.count(f"list {KEY}") == 1


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda lab: lab.objects.put(KEY, b'{"a": 1'), KEY),
        (
            lambda lab: edit(lab, KEY, lambda content: content.pop("deposition_title") and None),
            f"{KEY}: deposition_title: is missing",
        ),
        (
            lambda lab: edit(lab, KEY, lambda content: content.update(deposition_identifier=303)),
            "deposition_identifier: expected 302, as its folder is called, found 303",
        ),
        (lambda lab: lab.objects.pop(KEY) and None, "there is no deposition 302"),
        (lambda lab: lab.objects.faults.update({KEY: AccessDenied("403")}), "AccessDenied: 403"),
        (
            lambda lab: lab.objects.faults.update({f"list {KEY}": AccessDenied("403")}),
            "AccessDenied: 403",
        ),
        (
            lambda lab: lab.objects.faults.update({KEY: ServiceUnavailable("503")}),
            "ServiceUnavailable: 503",
        ),
    ],
    ids=[
        "cut short",
        "without a title",
        "of another number",
        "not there",
        "403",
        "list 403",
        "503",
    ],
)
def test_one_that_cannot_be_made_is_the_fault_of_what_names_it_and_all_else_is_imported(
    lab: Lab, spoil: Callable[[Lab], Any], told: str
):
    lab.run()
    name_a_new_one(lab)
    edit(lab, "30001/RUN4/run_metadata.json", lambda content: content.update(run_name="RENAMED"))
    spoil(lab)
    report = lab.run()
    for key in (ANNOTATION, TOMOGRAM):
        assert any(f"{key}: deposition_id: " in one and told in one for one in report.problems)
    assert lab.rows("deposition", "id") == [300, 301]
    assert "RENAMED" in lab.rows("run", "name")
    assert lab.counts() == COUNTS
    assert report.may_pass == ("503" in told)
    assert lab.objects.requests.count(KEY) <= 1


def test_the_datasets_own_that_cannot_be_read_leaves_the_dataset_as_it_is(lab: Lab):
    lab.objects.faults[OF_DATASET] = AccessDenied("403")
    report = lab.run()
    assert "AccessDenied: 403" in report.problems[0]
    assert lab.counts() == {}


def test_a_bucket_that_is_not_there_is_no_deposition_that_is_not_there(lab: Lab):
    lab.objects.faults[f"list {OF_DATASET}"] = BucketNotFound(BUCKET)
    with pytest.raises(BucketNotFound):
        lab.run()


@pytest.mark.parametrize("error", [AccessDenied("403"), ServiceUnavailable("503")])
def test_one_that_was_asked_for_and_cannot_be_read_is_told_and_the_other_is_imported(
    lab: Lab, error: AssetflowError
):
    lab.objects.faults[OF_DATASET] = error
    report = lab.importer().import_depositions([300, 301, 999])
    assert lab.rows("deposition", "id") == [301]
    assert [one.partition(": ")[0] for one in report.problems] == [
        f"s3://{BUCKET}/{OF_DATASET}",
        f"s3://{BUCKET}/depositions_metadata/999/deposition_metadata.json",
    ]
    assert report.may_pass == isinstance(error, ServiceUnavailable)


def test_one_that_was_asked_for_must_say_its_own_number(lab: Lab):
    edit(lab, OF_DATASET, lambda content: content.update(deposition_identifier=301))
    report = lab.importer().import_depositions([300])
    assert "expected 300" in report.problems[0]
    assert lab.rows("deposition", "id") == []


def test_what_was_wrong_before_the_database_refused_is_told_with_it(lab: Lab):
    lab.run()
    edit(lab, TOMOGRAM, lambda content: content.update(processing="polished"))
    edit(lab, ANNOTATION, lambda content: content.update(object_count=3))
    lab.execute("ALTER TABLE annotation ADD CONSTRAINT few CHECK (object_count <> 3)")
    with pytest.raises(DatabaseRefused) as caught:
        lab.run()
    assert any(f"{TOMOGRAM}: processing: " in note for note in caught.value.__notes__)
