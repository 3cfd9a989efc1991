"""Removals: limits first, everything written down, and the way back."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from include.assets.core_files import Generation
from include.errors import ServiceUnavailable
from include.indexing.removal import FEW, RemovalLimits
from include.indexing.report import Removal
from include.indexing.restore import Restored, restore_journals
from tests.indexing.lab import Lab
from tests.s3_clients import s3_client


def proposals(records: int = 0, files: int = 0) -> list[Removal]:
    kinds = itertools.chain(["record"] * records, ["file"] * files)
    return [
        Removal(kind=kind, asset="s3://b/a", reason="gone", generation=Generation.V1)
        for kind in kinds
    ]


@pytest.mark.parametrize(
    ("removals", "examined", "limits", "is_refused"),
    [
        pytest.param(proposals(FEW), 10, (200, 0.05), False, id="a few are no sign of a fault"),
        pytest.param(proposals(FEW + 1), 100, (200, 0.05), True, id="more than the share"),
        pytest.param(proposals(50), 1000, (200, 0.05), False, id="just the share"),
        pytest.param(proposals(51), 1000, (200, 0.05), True, id="one above the share"),
        pytest.param(proposals(200), 100_000, (200, 0.05), False, id="just the count"),
        pytest.param(proposals(201), 100_000, (200, 0.05), True, id="one above the count"),
        pytest.param(proposals(30, 30), 1000, (50, 0.05), False, id="kinds count apart"),
        pytest.param(proposals(0, 51), 1000, (200, 0.05), True, id="files count as well"),
        pytest.param(proposals(1), 1000, (0, 1.0), True, id="none at all"),
        pytest.param(proposals(90), 90, (200, 1.0), False, id="lifted for one run"),
        pytest.param([], 0, (0, 0.0), False, id="nothing to remove"),
    ],
)
def test_the_limits(
    removals: list[Removal], examined: int, limits: tuple[int, float], *, is_refused: bool
):
    of = {"record": examined, "file": examined}
    refusal = RemovalLimits(*limits).refusal(removals, examined=of, bucket_is_empty=False)
    assert bool(refusal) is is_refused
    if is_refused:
        assert "max_removals" in refusal


@pytest.mark.parametrize("records", [1, 5, 1000])
def test_an_empty_bucket_keeps_all_its_records_whatever_the_limits(records: int):
    limits = RemovalLimits(10_000, 1.0)
    assert limits.refusal(proposals(records), examined={"record": records}, bucket_is_empty=True)
    assert not limits.refusal([], examined={}, bucket_is_empty=True)


def test_folders_that_are_only_looked_up_allow_no_more_removals(lab: Lab):
    """Of eleven records that changed all are gone: thousands of quiet folders say nothing about that."""
    gone(lab, FEW + 1)
    for number in range(400):
        lab.record(f"quiet-{number}", last_modified="2020")
    lab.put("", {f"quiet-{number}/data.bin": b"x" for number in range(400)})
    ran = lab.run(since=datetime(2025, 1, 1, tzinfo=UTC))
    assert ran.removals.refused
    assert (len(ran.failed), ran.report.folders_known) == (FEW + 1, 400)


def gone(lab: Lab, count: int) -> None:
    lab.put("still-there", {"data.bin": b"x"})
    for number in range(count):
        lab.record(f"gone-{number}", subject={"number": number}, last_modified="2026")


def test_too_many_removals_remove_nothing_and_every_one_is_told(lab: Lab):
    gone(lab, FEW + 1)
    ran = lab.run()
    assert len(lab.records()) == FEW + 1
    assert lab.journal == []
    assert len(ran.failed) == FEW + 1
    assert all("max_removal_share" in reason for reason in ran.failed.values())


def test_a_dry_run_tells_what_the_limits_would_say(lab: Lab):
    gone(lab, FEW + 1)
    assert lab.run(dry_run=True).removals.refused
    lab.v1.delete_one({"name": "gone-0"})
    ran = lab.run(dry_run=True)
    assert (ran.removals.refused, ran.removals.removed, ran.failed) == ("", {}, {})
    assert len(lab.records()) == FEW


def test_a_neighbour_whose_name_begins_the_same_is_no_proof_that_an_asset_is_there(lab: Lab):
    lab.record("asset_1")
    lab.put("asset_10", {"data.bin": b"x"})
    assert lab.run().removals.removed == {"records_removed": 1}


def test_nothing_is_removed_that_could_not_be_written_down(lab: Lab):
    gone(lab, 2)

    class NoJournal(list[Any]):
        def extend(self, entries: Any) -> None:
            raise ServiceUnavailable("the runs bucket does not answer")

    lab.journal = NoJournal()
    with pytest.raises(ServiceUnavailable):
        lab.run()
    assert len(lab.records()) == 2


def test_what_was_removed_comes_back_and_a_second_time_nothing_happens(lab: Lab):
    gone(lab, 3)
    lab.record("other", rig=None)
    lab.put("other", {"rig.json": b"not json", "subject.json": {"a": 1}})
    before = lab.records()
    lab.run(halves=["records"])
    assert lab.location("gone-1") not in lab.records()
    assert "rig.json" not in lab.objects("other")

    outcomes = back(lab)
    removed = [*(lab.location(f"gone-{number}") for number in range(3))]
    assert {outcomes[item] for item in (*removed, f"s3://{lab.bucket}/other/rig.json")} == {
        Restored.RESTORED
    }
    for number in range(3):
        location = lab.location(f"gone-{number}")
        assert lab.records()[location] == before[location]
    assert lab.objects("other")["rig.json"] == b"not json"
    assert Restored.RESTORED not in back(lab).values()


def back(lab: Lab, **how: bool) -> dict[str, Restored]:
    store = s3_client(lab.server)
    collections = {one: lab.collection(one) for one in Generation}
    found = restore_journals(["journal"], lambda _: lab.journal, store, collections, **how)
    return {one.item: one.outcome for one in found}


def test_restoring_overwrites_nothing(lab: Lab):
    gone(lab, 2)
    lab.record("other", rig=None)
    lab.put("other", {"rig.json": b"not json"})
    lab.run(halves=["records"])
    lab.put("other", {"rig.json": b"of somebody else"})
    lab.record("gone-0", _id="another", made="meanwhile")
    outcomes = back(lab)
    assert outcomes[f"s3://{lab.bucket}/other/rig.json"] == Restored.DIFFERS
    assert outcomes[lab.location("gone-0")] == Restored.DIFFERS
    assert outcomes[lab.location("gone-1")] == Restored.RESTORED
    assert lab.objects("other")["rig.json"] == b"of somebody else"
    assert lab.records()[lab.location("gone-0")]["_id"] == "another"


def test_an_overwritten_file_comes_back_only_when_asked_for(lab: Lab):
    lab.record("one", subject={"a": 2})
    old = {"subject.json": {"a": 1}, "original_metadata/subject.20200101.json": {"a": 0}}
    lab.put("one", old)
    lab.run(halves=["records"])
    written = lab.objects("one")["subject.json"]
    key = f"s3://{lab.bucket}/one/subject.json"
    assert back(lab)[key] == Restored.LEFT
    assert back(lab, replaced=True, dry_run=True)[key] == Restored.RESTORED
    assert lab.objects("one")["subject.json"] == written
    assert back(lab, replaced=True)[key] == Restored.RESTORED
    assert lab.objects("one")["subject.json"] == b'{"a": 1}'
    assert back(lab, replaced=True)[key] == Restored.THERE
    lab.put("one", {"subject.json": b"newer"})
    assert back(lab, replaced=True)[key] == Restored.DIFFERS


def test_one_entry_that_cannot_be_restored_does_not_hide_the_others(lab: Lab):
    gone(lab, 2)
    lab.run(halves=["records"])
    broken = {
        **lab.journal[0],
        "record": {"_id": "x", "location": "s3://b/a", "a": {"$numberLong": "1"}},
    }
    broken["record"]["huge"] = {"$binary": {"base64": "A" * (24 * 2**20), "subType": "00"}}
    lab.journal.insert(0, broken)
    outcomes = back(lab)
    assert outcomes[lab.location("gone-1")] == Restored.RESTORED
