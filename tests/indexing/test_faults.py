"""Whatever goes wrong, wherever: nothing is lost, nothing is removed for an error, the next run finishes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from include.assets.stored_object import Folder
from include.errors import AssetflowError, ServiceUnavailable
from include.indexing.removal import RemovalLimits
from tests.indexing.lab import Lab, Ran
from tests.indexing.test_any_state import everything, journalled
from tests.s3_fault_proxy import Fault, FaultProxy

GENEROUS = RemovalLimits(10_000, 1.0)

STRIDE = 41
"""Each kind of fault meets one request in so many, each from another one on; 7 takes seven minutes."""

ASSETS: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    # name: (fields of its record or None, files); no content is there twice, so that each can be missed
    "changed": ({"subject": {"a": 2}}, {"subject.json": {"a": 1}}),
    "lacking": ({}, {"subject.json": {"a": 11}, "rig.json": b'{"cut'}),
    "emptied": (
        {"subject": None},
        {"subject.json": {"a": 3}, "original_metadata/subject.20200101.json": {"a": 31}},
    ),
    "new": ({"rig": {"b": 1}}, {"data.bin": b"x"}),
    "derived": (
        None,
        {
            "data_description.json": {"data_level": "derived"},
            "metadata.nd.json": b"[",
            "rig.json": b"null",
        },
    ),
    "uploaded": (None, {"metadata.nd.json": {"subject": {"c": 1}}, "subject.json": {"c": 0}}),
    "raw": (None, {"data_description.json": {"data_level": "raw"}}),
    "gone": ({"subject": {"d": 1}}, {}),
}


def scene(lab: Lab) -> list[bytes]:
    """Every kind of asset, each not in step; all contents there are."""
    lab.server.empty_bucket(lab.bucket)
    lab.v1.delete_many({})
    lab.journal.clear()
    for name, (record, files) in ASSETS.items():
        lab.put(name, files)
        if record is not None:
            lab.record(name, **record)
    return list(everything(lab))


def run(lab: Lab) -> Ran:
    return lab.run(limits=GENEROUS, threads=1)


def attempt(lab: Lab) -> None:
    """A run of which anything may fail."""
    with contextlib.suppress(AssetflowError, Killed):
        run(lab)


def assert_nothing_is_lost(lab: Lab, before: list[bytes]) -> None:
    kept = {*everything(lab), *journalled(lab)}
    assert [content for content in before if content not in kept] == []


def assert_the_next_runs_finish(lab: Lab, before: list[bytes]) -> None:
    run(lab)
    done = run(lab)
    assert [line for line in done.lines if line.steps or line.outcome == "failed"] == []
    assert sorted(lab.records()) == [
        lab.location(name) for name in sorted(set(ASSETS) - {"raw", "gone"})
    ]
    assert_nothing_is_lost(lab, before)


# S3 ------------------------------------------------------------------------------------------------

FAULTS = {
    "403": {"status": 403, "code": "AccessDenied"},
    "404 of the key": {"status": 404, "code": "NoSuchKey"},
    "404 of the bucket": {"status": 404, "code": "NoSuchBucket"},
    "429": {"status": 429, "code": "SlowDown"},
    "500": {"status": 500},
    "503": {"status": 503, "code": "SlowDown"},
    "no answer": {"drop": True},
    "answer lost after the act": {"lose_answer": True},
    "half an answer": {"cut_to_bytes": 150},
    "an empty answer": {"status": 200, "body": b""},
    "an error document with 200": {
        "status": 200,
        "body": b"<Error><Code>InternalError</Code></Error>",
    },
    "a page of HTML": {"status": 200, "body": b"<html><body>sign in</body></html>"},
}


@pytest.fixture
def proxied(lab: Lab) -> Iterator[tuple[Lab, FaultProxy]]:
    with FaultProxy(lab.server.endpoint_url) as proxy:
        lab.endpoint_url = proxy.endpoint_url
        yield lab, proxy


@pytest.mark.parametrize(("place", "kind"), enumerate(FAULTS), ids=list(FAULTS))
def test_a_fault_of_s3_at_any_request(proxied: tuple[Lab, FaultProxy], place: int, kind: str):
    lab, proxy = proxied
    scene(lab)
    proxy.clear()
    run(lab)
    requests = len(proxy.requests)
    assert requests > 40
    for skip in range(place * 2 % STRIDE, requests, STRIDE):
        proxy.clear()
        before = scene(lab)
        proxy.add(Fault(skip=skip, times=1, **FAULTS[kind]))
        attempt(lab)
        proxy.clear()
        assert_nothing_is_lost(lab, before)
        assert_the_next_runs_finish(lab, before)


@pytest.mark.parametrize(
    ("method", "asset"),
    [
        ("GET", "changed"),
        ("GET", "gone"),
        ("GET", "uploaded"),
        ("PUT", "changed"),
        ("PUT", "lacking"),
        ("PUT", "uploaded"),
    ],
)
def test_a_request_that_is_not_answered_in_time(
    proxied: tuple[Lab, FaultProxy], method: str, asset: str
):
    """It reaches the server all the same, after its sender has given it up."""
    lab, proxy = proxied
    before = scene(lab)
    go_on = threading.Event()
    held = Fault(method=method, contains=f"{asset}/", times=1, hold_until=go_on)
    proxy.add(held)
    lab.time_limit_s = 0.5
    attempt(lab)
    assert held.times == 0
    lab.time_limit_s = 5
    proxy.clear()
    go_on.set()
    assert_nothing_is_lost(lab, before)
    assert_the_next_runs_finish(lab, before)


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in FAULTS
        if "200" in kind
        or "HTML" in kind
        or "empty" in kind
        or kind in {"403", "503", "no answer", "half an answer"}
    ],
)
def test_an_s3_that_answers_so_of_every_asset_removes_and_writes_nothing(
    proxied: tuple[Lab, FaultProxy], kind: str
):
    lab, proxy = proxied
    scene(lab)
    files, records = lab.objects(), lab.records()
    # The two listings of the bucket itself are right, or nothing would be looked at.
    proxy.add(Fault(skip=2, **FAULTS[kind]))
    attempt(lab)
    assert len(proxy.requests) > 2
    assert (lab.objects(), lab.records()) == (files, records)


@pytest.mark.parametrize("kind", list(FAULTS))
def test_listings_that_lie_about_single_assets_remove_nothing(
    proxied: tuple[Lab, FaultProxy], kind: str
):
    """The bucket's own listing is right; every folder of an asset is answered with the fault."""
    lab, proxy = proxied
    scene(lab)
    records = lab.records()
    proxy.add(Fault(method="GET", contains="changed", **FAULTS[kind]))
    attempt(lab)
    assert lab.location("changed") in lab.records()
    assert lab.records()[lab.location("changed")] == records[lab.location("changed")]


def test_a_bucket_that_does_not_exist_removes_nothing(lab: Lab):
    lab.record("one", location="s3://no-such-bucket/one")
    lab.bucket = "no-such-bucket"
    with pytest.raises(AssetflowError):
        lab.run()
    assert len(lab.records()) == 1


def test_a_bucket_that_was_emptied_by_mistake_keeps_its_records(lab: Lab):
    for number in range(5):
        lab.record(f"asset_{number}")
    ran = lab.run(limits=GENEROUS)
    assert "no folder at all" in ran.removals.refused
    assert len(ran.failed) == len(lab.records()) == 5


# Killed --------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


class Breaking:
    """Passes calls on to several objects and breaks at one of them, counted over all."""

    def __init__(self, at: int, error: Callable[[], BaseException], *, after: bool) -> None:
        self.calls = 0
        self._at = at
        self._error = error
        self._after = after

    def around(self, inner: Any) -> Any:
        breaking = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                found = getattr(inner, name)
                return breaking.breaking(found) if callable(found) else found

        return Wrapped()

    def breaking(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            number = self.calls
            self.calls += 1
            if number == self._at and not self._after:
                raise self._error()
            result = function(*arguments, **options)
            if number == self._at:
                raise self._error()
            return result

        return call


@contextlib.contextmanager
def broken(lab: Lab, what: str, breaking: Breaking) -> Iterator[None]:
    """All stores of the lab (or only DocDB) break as told."""
    plain = lab.wrap_store, lab.wrap_lister, lab.wrap_records
    lab.wrap_records = breaking.around
    if what == "all":
        lab.wrap_store = lab.wrap_lister = breaking.around
    yield
    lab.wrap_store, lab.wrap_lister, lab.wrap_records = plain


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize(
    ("what", "error"),
    [
        pytest.param("all", Killed, id="killed"),
        pytest.param("docdb", lambda: ServiceUnavailable("lost"), id="DocDB does not answer"),
    ],
)
def test_broken_off_at_any_call(
    lab: Lab, what: str, error: Callable[[], BaseException], *, after: bool
):
    scene(lab)
    counting = Breaking(-1, error, after=False)
    with broken(lab, what, counting):
        run(lab)
    assert counting.calls > 8
    for at in range(0 if after else 3, counting.calls, 11 if what == "all" else 3):
        before = scene(lab)
        with broken(lab, what, Breaking(at, error, after=after)):
            attempt(lab)
        assert_nothing_is_lost(lab, before)
        assert_the_next_runs_finish(lab, before)


# Somebody else -------------------------------------------------------------------------------------


def interfering(lab: Lab, method: str, change: Callable[[], object]) -> Any:
    """A store that lets somebody else change something right before the first call of *method*."""

    def around(inner: Any) -> Any:
        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                found = getattr(inner, name)
                if name != method:
                    return found

                def call(*arguments: Any, **options: Any) -> Any:
                    if todo:
                        todo.pop()()
                    return found(*arguments, **options)

                return call

        return Wrapped()

    todo = [change]
    return around


OTHERS = b'{"written by": "somebody else"}'


@pytest.mark.parametrize(
    ("method", "before", "key"),
    [
        pytest.param("put_bytes", {"subject.json": {"a": 1}}, "subject.json", id="root changed"),
        pytest.param("put_bytes", {"data.bin": b"x"}, "subject.json", id="root made"),
        pytest.param("put_bytes", {"data.bin": b"x"}, "metadata.nd.json", id="aggregate made"),
        pytest.param("copy_object", {"subject.json": {"a": 1}}, "subject.json", id="before a copy"),
    ],
)
def test_a_file_that_somebody_changes_between_plan_and_act_is_left_for_the_next_run(
    lab: Lab, method: str, before: dict[str, Any], key: str
):
    lab.record("one", subject={"a": 2})
    lab.put("one", before)
    lab.wrap_store = interfering(lab, method, lambda: lab.put("one", {key: OTHERS}))
    ran = lab.run(halves=["records"])
    line = ran.line("one")
    assert line is not None
    assert (line.outcome, ran.failed) == ("skipped", {})
    assert "changed by somebody else" in line.reason
    assert lab.objects("one")[key] == OTHERS
    lab.wrap_store = lambda store: store
    lab.run(halves=["records"])
    assert lab.run(halves=["records"]).lines == []
    assert OTHERS in {*lab.objects("one").values(), *journalled(lab)}


def test_a_record_that_somebody_changes_between_plan_and_act_is_left_for_the_next_run(lab: Lab):
    lab.record("one")
    lab.put("one", {"subject.json": {"a": 1}})

    def change() -> None:
        lab.v1.update_one({}, {"$set": {"subject": {"by": "somebody"}, "last_modified": "2026"}})

    lab.wrap_records = interfering(lab, "update_records", change)
    ran = lab.run(halves=["records"])
    line = ran.line("one")
    assert line is not None
    assert line.outcome == "skipped"
    assert lab.objects("one") == {"subject.json": b'{"a": 1}'}
    assert lab.records()[lab.location("one")]["subject"] == {"by": "somebody"}


@pytest.mark.parametrize("last_modified", [None, "2020-01-01T00:00:00.000000Z"])
def test_a_field_that_somebody_fills_without_a_new_date_is_not_overwritten(
    lab: Lab, last_modified: str | None
):
    lab.record("one", last_modified=last_modified)
    lab.put("one", {"subject.json": {"a": 1}})
    change = lambda: lab.v1.update_one({}, {"$set": {"subject": {"by": "somebody"}}})  # noqa: E731
    lab.wrap_records = interfering(lab, "update_records", change)
    lab.run(halves=["records"])
    assert lab.records()[lab.location("one")]["subject"] == {"by": "somebody"}


@pytest.mark.parametrize("what", ["the asset", "the record"])
def test_what_comes_back_before_its_removal_stays(lab: Lab, what: str):
    lab.put("other", {"data.bin": b"x"})
    lab.record("one")

    def change() -> None:
        if what == "the asset":
            lab.put("one", {"data.bin": b"x"})
        else:
            lab.v1.update_one({"name": "one"}, {"$set": {"last_modified": "2026"}})

    lab.wrap_store = interfering(lab, "has_objects", change)
    ran = lab.run(halves=["records"], limits=GENEROUS)
    assert ran.removals.removed == {}
    assert len(lab.records()) == 1
    line = ran.line("one")
    assert line is not None
    assert line.outcome == "skipped"


def test_a_root_file_that_is_uploaded_anew_before_its_removal_stays(lab: Lab):
    record, files = ASSETS["emptied"]
    lab.record("one", **(record or {}))
    lab.put("one", files)
    lab.wrap_store = interfering(
        lab, "delete_object", lambda: lab.put("one", {"subject.json": OTHERS})
    )
    ran = lab.run(halves=["records"])
    assert ran.removals.removed == {}
    assert lab.objects("one")["subject.json"] == OTHERS


def test_a_record_that_is_made_meanwhile_wins_over_ours(lab: Lab):
    lab.put("one", {"metadata.nd.json": {"_id": "ours", "location": lab.location("one"), "a": 1}})
    lab.wrap_records = interfering(
        lab,
        "insert_records",
        lambda: lab.record("one", _id="theirs", location=lab.location("one")),
    )
    lab.v1.create_index("location", unique=True)
    ran = lab.run(halves=["prefixes"])
    line = ran.line("one")
    assert line is not None
    assert line.outcome == "skipped"
    assert [record["_id"] for record in lab.records().values()] == ["theirs"]
    lab.run()
    assert lab.run().lines == []


def test_a_record_that_changes_while_its_files_are_looked_at_is_left_for_the_next_run(lab: Lab):
    """Its files would be written with what it said before."""
    lab.record("one", subject={"a": 2})
    lab.put("one", {"data.bin": b"x"})

    def change() -> None:
        lab.v1.update_one({}, {"$set": {"subject": {"by": "somebody"}, "last_modified": "2026"}})

    lab.wrap_lister = interfering(lab, "list_folder", change)
    ran = lab.run(halves=["records"])
    line = ran.line("one")
    assert line is not None
    assert (line.outcome, ran.report.drift) == ("skipped", 1)
    assert ran.report.oldest_left_at is not None
    assert lab.objects("one") == {"data.bin": b"x"}


def test_a_record_that_is_made_while_its_folder_is_looked_at_stays_the_only_one(lab: Lab):
    """With the id that the folder's aggregate has, and no index that would refuse a second."""
    lab.put("one", {"metadata.nd.json": {"_id": "ours", "location": lab.location("one"), "a": 1}})
    lab.wrap_lister = interfering(lab, "list_folder", lambda: lab.record("one", _id="ours"))
    ran = lab.run(halves=["prefixes"])
    line = ran.line("one")
    assert line is not None
    assert line.outcome == "skipped"
    assert lab.v1.count_documents({}) == 1


def test_a_copy_that_half_a_listing_left_out_is_no_reason_to_take_a_value_back(lab: Lab):
    """Somebody has emptied the field: with a copy its root file goes, without one the record takes it over."""
    record, files = ASSETS["emptied"]
    lab.record("one", **(record or {}))
    lab.put("one", files | {"original_metadata/rig.20200101.json": b"{}"})

    def around(inner: Any) -> Any:
        class Cut:
            def list_folder(self, prefix: str) -> Folder:
                found = inner.list_folder(prefix)
                objects = {
                    name: one for name, one in found.objects.items() if "subject.2020" not in name
                }
                return replace(found, objects=objects)

        return Cut()

    lab.wrap_lister = around
    ran = lab.run(halves=["records"])
    line = ran.line("one")
    assert line is not None
    assert (line.outcome, lab.records()[lab.location("one")]["subject"]) == ("skipped", None)


@pytest.mark.parametrize("half", ["records", "prefixes"])
def test_an_error_that_nobody_foresaw_fails_one_asset_and_no_other(lab: Lab, half: str):
    for name in ("bad", "good"):
        lab.put(name, {"metadata.nd.json": {"location": lab.location(name), "a": name}})
        if half == "records":
            lab.record(name)

    def around(inner: Any) -> Any:
        class Failing:
            def list_folder(self, prefix: str) -> Folder:
                if "bad" in prefix:
                    raise ZeroDivisionError("in a library")
                return inner.list_folder(prefix)

        return Failing()

    lab.wrap_lister = around
    ran = lab.run(halves=[half])
    assert list(ran.failed) == [lab.location("bad")]
    assert "ZeroDivisionError: in a library" in ran.failed[lab.location("bad")]
    good = ran.line("good")
    assert good is not None
    assert good.outcome == "done"
