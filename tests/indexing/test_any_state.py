"""From any state of a bucket and its records: two runs agree, and nothing that was there is lost."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.clients.docdb_bulk import DocDbBulk
from include.indexing.removal import RemovalLimits
from tests.indexing.lab import Lab, text

FIELDS = ("subject", "data_description", "rig")

VALUES = st.sampled_from([
    {"subject_id": "1"},
    {"data_level": "derived"},
    {"data_level": "raw", "schema_version": "1.0"},
    {},
    [],
    "é東京",
    0,
    False,
    {"nested": {"b": [1.0, 1e20, {"x": None}], "a": ""}},
])

CONTENTS = st.one_of(
    VALUES.map(text),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"null", b"", b'{"cut', b"\xff\xfe", b"\xef\xbb\xbf{}"]),
)


@st.composite
def assets(draw: st.DrawFn) -> dict[str, Any]:
    """What record, root and copies of one asset hold; anything may be missing."""
    files: dict[str, bytes] = {}
    for name in FIELDS:
        if draw(st.booleans()):
            files[f"{name}.json"] = draw(CONTENTS)
        for date in draw(st.lists(st.sampled_from(["20200101", "20240229"]), max_size=2)):
            files[f"original_metadata/{name}.{date}.json"] = draw(CONTENTS)
    if draw(st.booleans()):
        files["data/recording.bin"] = b"\0"
    record = None
    if draw(st.booleans()):
        record = {name: draw(VALUES | st.none()) for name in FIELDS if draw(st.booleans())}
    aggregate = draw(st.sampled_from(["none", "right", "elsewhere", "broken", "list", "no id"]))
    held = {name: draw(VALUES) for name in FIELDS if draw(st.booleans())}
    return {"files": files, "record": record, "aggregate": aggregate, "held": held}


_round = itertools.count()


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(state=st.lists(assets(), min_size=1, max_size=4))
def test_a_second_run_writes_nothing_and_no_byte_is_lost(lab: Lab, state: list[dict[str, Any]]):
    turn = next(_round)
    lab.v1.delete_many({})
    lab.server.empty_bucket(lab.bucket)
    lab.put("always-there", {"data.bin": b"x"})  # a bucket without any folder keeps its records
    lab.journal.clear()
    names = [f"asset-{turn}-{number}" for number in range(len(state))]
    for name, asset in zip(names, state, strict=True):
        place(lab, name, asset)
    before = list(everything(lab))

    first = lab.run(limits=RemovalLimits(10_000, 1.0))
    assert first.failed == {}
    files, records = lab.objects(), lab.records()
    second = lab.run(limits=RemovalLimits(10_000, 1.0))

    assert [line for line in second.lines if line.steps] == []
    assert second.failed == {}
    assert (lab.objects(), lab.records()) == (files, records)
    after = set(everything(lab))
    kept = set(journalled(lab))
    lost = [content for content in before if content not in after | kept]
    assert lost == []
    for name in names:  # data is never touched
        assert ("data/recording.bin" in lab.objects(name)) == (
            f"{name}/data/recording.bin" in files
        )
    for location, record in records.items():
        name = location.rpartition("/")[2]
        held = lab.objects(name)
        assert held["metadata.nd.json"] == text(record)
        for field in FIELDS:
            if record.get(field) is None:
                assert f"{field}.json" not in held
            else:
                assert held[f"{field}.json"] == text(record[field])
                assert any(key.startswith(f"original_metadata/{field}.") for key in held)


def place(lab: Lab, name: str, asset: dict[str, Any]) -> None:
    lab.put(name, asset["files"])
    if asset["record"] is not None:
        lab.record(name, **asset["record"])
    location = {"elsewhere": "s3://other/x"}.get(asset["aggregate"], lab.location(name))
    content: Any = {"_id": f"agg-{name}", "name": name, "location": location, **asset["held"]}
    match asset["aggregate"]:
        case "none":
            return
        case "broken":
            content = b'{"cut'
        case "list":
            content = [content]
        case "no id":
            del content["_id"]
    lab.put(name, {"metadata.nd.json": content})


def journalled(lab: Lab) -> Iterator[bytes]:
    """Every content that the journal keeps."""
    for entry in lab.journal:
        if entry["kind"] == "file":
            yield base64.b64decode(entry["content_base64"])
        else:
            yield from held_by(DocDbBulk(lab.v1).from_json(entry["record"]))


def everything(lab: Lab) -> Iterator[bytes]:
    """Every content that is anywhere: files as they are, and fields of records as text."""
    yield from lab.objects().values()
    for record in lab.records().values():
        yield from held_by(record)


def held_by(record: dict[str, Any]) -> Iterator[bytes]:
    """Contents of the core fields that a record holds."""
    return (text(record[field]) for field in FIELDS if record.get(field) is not None)
