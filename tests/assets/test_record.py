"""A record is filled, never emptied; planning twice plans nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.assets.canonical import canonical_text
from include.assets.core_files import Generation
from include.assets.record import (
    CODE_OCEAN,
    LINK_FIELDS,
    RecordAction,
    RecordPlan,
    iso_moment,
    link_ids,
    links_with,
    plan_record_update,
    read_links,
    record_id,
)
from include.errors import InvalidInput

NOW = datetime(2026, 3, 5, 14, 22, 10, tzinfo=UTC)
LOCATION = "s3://open-data/712345_2024-03-05_14-22-10"


def make_record(**fields: Any) -> dict[str, Any]:
    return {
        "_id": "r1",
        "name": "712345_2024-03-05_14-22-10",
        "location": LOCATION,
        "created": "2024-03-06T00:00:00.000000Z",
        "last_modified": "2024-03-06T00:00:00.000000Z",
        "other_identifiers": {CODE_OCEAN: ["co-1"]},
        **fields,
    }


def make_aggregate(**fields: Any) -> dict[str, Any]:
    return {"name": "712345_2024-03-05_14-22-10", "location": LOCATION, **fields}


def plan(
    existing: dict[str, Any] | None,
    aggregate: dict[str, Any],
    code_ocean_id: str | None = "co-1",
    generation: Generation = Generation.V2,
    *,
    overwrite: bool = False,
) -> RecordPlan:
    return plan_record_update(
        existing, aggregate, code_ocean_id, generation, overwrite=overwrite, now=NOW
    )


def applied(
    existing: dict[str, Any] | None, planned: RecordPlan, generation: Generation = Generation.V2
) -> dict[str, Any]:
    """The record as it is once the plan was carried out."""
    if planned.document is not None:
        return planned.document
    assert existing is not None
    if planned.action is RecordAction.NOTHING:
        return existing
    record = {**existing, **planned.fields, "last_modified": planned.last_modified}
    if planned.link is not None:
        field = LINK_FIELDS[generation]
        record[field] = links_with(record, field, CODE_OCEAN, planned.link)
    return record


def test_a_location_has_one_record_id_whoever_asks() -> None:
    assert record_id(LOCATION) == record_id(f"{LOCATION}/")
    assert record_id(LOCATION) != record_id(f"{LOCATION}-extra")
    assert record_id("s3://bucket/name") == "7fb7c652-6e1a-5741-b6bf-3fe7b932310d"


def test_moments_are_utc_with_microseconds_and_z() -> None:
    pacific = timezone(timedelta(hours=-8))
    assert iso_moment(datetime(2026, 1, 1, 16, tzinfo=pacific)) == "2026-01-02T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("record", "ids"),
    [
        pytest.param({}, (), id="no links"),
        pytest.param({"external_links": None}, (), id="null"),
        pytest.param({"external_links": {}}, (), id="empty"),
        pytest.param({"external_links": {CODE_OCEAN: None}}, (), id="null list"),
        pytest.param({"external_links": {CODE_OCEAN: ["a", "b"]}}, ("a", "b"), id="v1"),
        pytest.param({"external_links": {CODE_OCEAN: "a"}}, ("a",), id="v1, bare id"),
        pytest.param(
            {"external_links": [{CODE_OCEAN: "a"}, {"DANDI": "d"}, {CODE_OCEAN: "b"}]},
            ("a", "b"),
            id="v1, the old list",
        ),
        pytest.param({"other_identifiers": {CODE_OCEAN: ["a"], "DANDI": ["d"]}}, ("a",), id="v2"),
        pytest.param(
            {"external_links": {CODE_OCEAN: ["a"]}, "other_identifiers": {CODE_OCEAN: ["a", "b"]}},
            ("a", "b"),
            id="both, each once",
        ),
    ],
)
def test_links_of_both_generations_are_read(record: dict[str, Any], ids: tuple[str, ...]) -> None:
    assert link_ids(record) == ids


@pytest.mark.parametrize(
    "links", ["text", ["text"], 3, {CODE_OCEAN: 3}, {CODE_OCEAN: [3]}, [{CODE_OCEAN: {"a": 1}}]]
)
def test_links_that_cannot_be_read_are_an_error_naming_the_record(links: Any) -> None:
    with pytest.raises(InvalidInput, match=r"record r1 of s3://.*external_links"):
        link_ids(make_record(external_links=links))


def test_adding_a_link_keeps_every_platform_and_converts_the_old_list() -> None:
    record = {"external_links": [{CODE_OCEAN: "a"}, {"DANDI": "d"}]}
    assert links_with(record, "external_links", CODE_OCEAN, "b") == {
        CODE_OCEAN: ["a", "b"],
        "DANDI": ["d"],
    }


SUBJECT = {"subject_id": "712345"}
OTHER = {"subject_id": "999"}


@pytest.mark.parametrize(
    ("held", "given", "overwrite", "fields", "kept", "replaced"),
    [
        pytest.param(None, SUBJECT, False, {"subject": SUBJECT}, (), {}, id="null is filled"),
        pytest.param(..., SUBJECT, False, {"subject": SUBJECT}, (), {}, id="absent is filled"),
        pytest.param(SUBJECT, SUBJECT, False, {}, (), {}, id="equal stays"),
        pytest.param(SUBJECT, None, False, {}, (), {}, id="null never wins"),
        pytest.param(SUBJECT, ..., False, {}, (), {}, id="absent never wins"),
        pytest.param(OTHER, SUBJECT, False, {}, ("subject",), {}, id="a difference is kept"),
        pytest.param(None, None, False, {}, (), {}, id="both null"),
        pytest.param(None, SUBJECT, True, {"subject": SUBJECT}, (), {}, id="overwrite, null"),
        pytest.param(SUBJECT, SUBJECT, True, {}, (), {}, id="overwrite, equal"),
        pytest.param(SUBJECT, None, True, {}, (), {}, id="overwrite, null never wins"),
        pytest.param(
            OTHER, SUBJECT, True, {"subject": SUBJECT}, (), {"subject": OTHER}, id="overwrite"
        ),
    ],
)
def test_every_meeting_of_record_and_aggregate_is_planned(
    held: Any, given: Any, overwrite: bool, fields: Any, kept: Any, replaced: Any
) -> None:
    record = make_record(**({} if held is ... else {"subject": held}))
    aggregate = make_aggregate(**({} if given is ... else {"subject": given}))
    planned = plan(record, aggregate, overwrite=overwrite)
    assert (planned.fields, planned.kept, planned.replaced) == (fields, kept, replaced)
    assert planned.action is (RecordAction.UPDATE if fields else RecordAction.NOTHING)
    assert planned.last_modified == (iso_moment(NOW) if fields else None)
    assert planned.planned_on == record["last_modified"]
    assert planned.filled == tuple(set(fields) - set(replaced))


def test_the_order_of_keys_is_no_difference() -> None:
    held, given = {"a": 1, "b": [1.0, None]}, {"b": [1.0, None], "a": 1}
    assert plan(make_record(rig=held), make_aggregate(rig=given)).action is RecordAction.NOTHING


@pytest.mark.parametrize("generation", Generation)
def test_an_insert_has_the_deterministic_id_the_moments_and_the_link(
    generation: Generation,
) -> None:
    aggregate = {**make_aggregate(_id="copied", subject=SUBJECT), "location": f"{LOCATION}/"}
    planned = plan(None, aggregate, generation=generation)
    assert planned.action is RecordAction.INSERT
    assert planned.document == {
        "_id": record_id(LOCATION),
        "name": aggregate["name"],
        "location": LOCATION,
        "subject": SUBJECT,
        "created": iso_moment(NOW),
        "last_modified": iso_moment(NOW),
        LINK_FIELDS[generation]: {CODE_OCEAN: ["co-1"]},
    }


def test_an_insert_without_a_code_ocean_id_leaves_the_links_as_they_came() -> None:
    planned = plan(None, make_aggregate(other_identifiers=None), None)
    assert planned.document is not None
    assert planned.document["other_identifiers"] is None


@pytest.mark.parametrize("location", [None, "", "/", 3])
def test_an_aggregate_without_location_is_refused(location: Any) -> None:
    with pytest.raises(InvalidInput, match=r"metadata.nd.json: location"):
        plan(None, {"location": location})


@pytest.mark.parametrize(
    ("links", "wanted", "expected"),
    [
        pytest.param({CODE_OCEAN: ["co-1"]}, "co-1", None, id="there"),
        pytest.param({CODE_OCEAN: ["co-1"]}, "co-2", "co-2", id="another"),
        pytest.param({CODE_OCEAN: None}, "co-1", "co-1", id="null list"),
        pytest.param({"DANDI": ["d"]}, "co-1", "co-1", id="other platform"),
        pytest.param(None, "co-1", "co-1", id="null"),
        pytest.param([{CODE_OCEAN: "co-1"}], "co-1", None, id="there, in the old list"),
        pytest.param(None, None, None, id="not registered"),
    ],
)
def test_the_code_ocean_id_is_added_once(
    links: Any, wanted: str | None, expected: str | None
) -> None:
    planned = plan(make_record(other_identifiers=links), make_aggregate(), wanted)
    assert planned.link == expected


def test_links_in_the_aggregate_fill_null_links_but_never_replace_them() -> None:
    aggregate = make_aggregate(other_identifiers={"DANDI": ["d"]})
    filled = plan(make_record(other_identifiers=None), aggregate)
    assert (filled.fields, filled.link) == ({"other_identifiers": {"DANDI": ["d"]}}, "co-1")
    assert plan(make_record(), aggregate, overwrite=True).action is RecordAction.NOTHING


def test_where_the_record_is_and_since_when_is_never_overwritten() -> None:
    aggregate = make_aggregate(_id="x", created="1970", last_modified="1970", subject=SUBJECT)
    planned = plan(make_record(), aggregate, overwrite=True)
    assert planned.fields == {"subject": SUBJECT}


words = st.text('aé東 "', max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
field_values = st.dictionaries(
    st.sampled_from(["subject", "procedures", "rig", "metadata_status"]), json_values
)
link_values = st.none() | st.dictionaries(
    st.sampled_from([CODE_OCEAN, "DANDI"]), st.lists(st.sampled_from(["co-1", "x"]), max_size=2)
)


@given(
    held=st.none() | field_values,
    given_fields=field_values,
    held_links=link_values,
    given_links=link_values,
    code_ocean_id=st.none() | st.just("co-1"),
    generation=st.sampled_from(Generation),
    overwrite=st.booleans(),
)
def test_a_plan_carried_out_leaves_nothing_to_plan_and_loses_nothing(
    held: dict[str, Any] | None,
    given_fields: dict[str, Any],
    held_links: Any,
    given_links: Any,
    code_ocean_id: str | None,
    generation: Generation,
    overwrite: bool,
) -> None:
    link_field = LINK_FIELDS[generation]
    aggregate = make_aggregate(**given_fields, **{link_field: given_links})
    existing = None if held is None else make_record(**held, **{link_field: held_links})
    planned = plan(existing, aggregate, code_ocean_id, generation, overwrite=overwrite)
    after = applied(existing, planned, generation)

    again = plan(after, aggregate, code_ocean_id, generation, overwrite=overwrite)
    assert again.action is RecordAction.NOTHING
    assert code_ocean_id is None or code_ocean_id in link_ids(after)
    assert all(after[name] is not None for name, value in given_fields.items() if value is not None)
    for name, value in (existing or {}).items():
        if value is None or name == "last_modified":
            continue
        if name == link_field:
            before, now = read_links({name: value}, name), read_links(after, name)
            assert all(set(before[platform]) <= set(now[platform]) for platform in before)
        else:
            assert canonical_text(after[name]) == canonical_text(value) or (
                overwrite and planned.replaced[name] == value
            )
