"""Presets: keys, fallback, merging, and what is wrong with stored ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.acquisitions.preset_changes import DagParams, check_tree, compare_trees, diff_text
from include.acquisitions.presets import (
    PresetKey,
    deep_merge,
    list_job_types,
    load_dag_preset,
    load_job_type,
    merge_params,
)
from include.clients.parameter_store import FolderPresets
from include.errors import AccessDenied, InvalidInput, Problem

P = "/assetflow/job_types"
STEP = "modality_transformation_settings"


class Store:
    """A store in memory that counts its requests."""

    def __init__(self, tree: Mapping[str, object]) -> None:
        self.tree = {
            f"{P}/{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in tree.items()
        }
        self.asked: list[str] = []

    def read_tree(self, path: str) -> dict[str, str]:
        self.asked.append(path)
        return {key: text for key, text in self.tree.items() if key.startswith(f"{path}/")}


parts = st.text(st.sampled_from("abc_-.9"), min_size=1, max_size=8)


@given(parts, parts, st.none() | parts)
def test_a_key_is_read_back_as_it_was_printed(job_type, task_id, modality):
    key = PresetKey(job_type, task_id, modality)
    assert PresetKey.parse(key.path(P), P) == key


@pytest.mark.parametrize(
    "text",
    [
        "v2/a/tasks",
        "v2/a/tasks/",
        "v2/a/tasks/b/",
        "v2/a/tasks/b/c/d",
        "a/tasks/b",
        "v2//tasks/b",
        "index_buckets/default",
        "v1/a/tasks/b",
    ],
)
def test_other_keys_are_no_presets(text):
    assert PresetKey.parse(f"{P}/{text}", P) is None
    assert PresetKey.parse("/elsewhere/v2/a/tasks/b", P) is None


def test_a_job_type_exists_as_soon_as_it_has_one_preset():
    store = Store({"v2/b/tasks/x": {}, "v2/a/tasks/x": {}, "v2/a/notes": {}, "v2/c/other/x": {}})
    assert list_job_types(store, P) == ["a", "b"]


def test_the_job_types_preset_replaces_the_default_one_whole():
    store = Store({
        "v2/default/tasks/x": {"image": "below", "image_version": "1"},
        "v2/default/tasks/y": {"image": "default"},
        "v2/default/tasks/z": {"image": "default"},
        "v2/mine/tasks/x": {"image": "mine"},
        "v2/mine/tasks/y": {},
        f"v2/default/tasks/{STEP}/ecephys": {"image": "e"},
        f"v2/default/tasks/{STEP}/behavior": {"image": "b"},
        f"v2/mine/tasks/{STEP}/behavior": {"image": "mine"},
    })
    presets = load_job_type(store, P, "mine")
    assert presets.find("x").task.given == {"image": "mine"}
    assert presets.find("y").task.is_empty
    assert presets.find("y").key == f"{P}/v2/mine/tasks/y"
    assert presets.find("z").task.image == "default"
    assert presets.find(STEP, "ecephys").task.image == "e"
    assert presets.find(STEP, "behavior").task.image == "mine"
    assert presets.find(STEP) is None
    assert store.asked == [f"{P}/v2/mine", f"{P}/v2/default"]


@pytest.mark.parametrize("job_type", ["custom", " Custom ", "CUSTOM"])
def test_custom_has_no_presets_and_asks_for_none(job_type):
    store = Store({"v2/default/tasks/x": {"image": "i"}})
    assert load_job_type(store, P, job_type).find("x") is None
    assert store.asked == []


def test_default_needs_no_presets_and_is_read_once():
    store = Store({})
    assert load_job_type(store, P, "default").find("x") is None
    assert store.asked == [f"{P}/v2/default"]


@pytest.mark.parametrize(
    ("asked", "said"), [("Ecephys", "did you mean ecephys"), ("x", "known are")]
)
def test_an_unknown_job_type_is_told_the_known_ones(asked, said):
    store = Store({"v2/ecephys/tasks/x": {}, "v2/default/tasks/x": {}})
    with pytest.raises(InvalidInput, match=said):
        load_job_type(store, P, asked)


def test_a_store_that_refuses_is_no_absence():
    class Refusing:
        def read_tree(self, path: str) -> dict[str, str]:
            raise AccessDenied(path)

    with pytest.raises(AccessDenied):
        load_job_type(Refusing(), P, "ecephys")


def test_everything_wrong_with_stored_presets_is_said_with_the_full_key():
    store = Store({
        "v2/a/tasks/b": "{",
        "v2/a/tasks/c": "[]",
        "v2/a/tasks/d": {"job_setings": {}},
        "v2/default/tasks/e": {"image": 3},
        "v2/a/tasks/fine": {"notify": 1},
    })
    with pytest.raises(InvalidInput) as error:
        load_job_type(store, P, "a")
    assert {(problem.item, problem.field) for problem in error.value.problems} == {
        (f"{P}/v2/a/tasks/b", ""),
        (f"{P}/v2/a/tasks/c", ""),
        (f"{P}/v2/a/tasks/d", "job_setings"),
        (f"{P}/v2/default/tasks/e", "image"),
    }


def test_a_key_for_other_readers_is_a_warning():
    presets = load_job_type(Store({"v2/a/tasks/b": {"image": "i", "notify": 1}}), P, "a")
    assert presets.find("b").task.image == "i"
    assert [f"{P}/v2/a/tasks/b: notify" in text for text in presets.warnings] == [True]


def test_presets_under_names_of_other_eras_are_found_and_todays_wins():
    store = Store({
        "v2/a/tasks/remove_folder": {"image": "old"},
        "v2/a/tasks/create_folder": {"image": "old"},
        "v2/a/tasks/create_staging_folder": {"image": "new"},
        f"v2/a/tasks/{STEP}/slap": {"image": "s"},
    })
    presets = load_job_type(store, P, "a")
    assert presets.find("remove_staging_folder").task.image == "old"
    assert presets.find("create_staging_folder").task.image == "new"
    assert presets.find(STEP, "slap2").task.image == "s"


# Merging --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": 1}}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": {"x": 1}}, {"a": 5}, {"a": 5}),
        pytest.param({"a": 5}, {"a": {"x": 1}}, {"a": {"x": 1}}, id="the caller's object wins"),
        pytest.param({"a": None}, {"a": {}}, {"a": {}}, id="an empty object over nothing"),
    ],
)
def test_objects_merge_and_anything_else_replaces(below, above, merged):
    before = json.dumps([below, above])
    assert deep_merge(below, above) == merged
    assert json.dumps([below, above]) == before


trees = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
).filter(lambda value: isinstance(value, dict))


@given(trees, trees)
def test_merging_again_changes_nothing(below, above):
    merged = deep_merge(below, above)
    assert deep_merge(merged, above) == merged
    assert deep_merge(below, {}) == below
    assert deep_merge({}, above) == above


def test_an_untouched_field_of_the_form_does_not_hide_the_preset():
    defaults = {"days": 14, "limits": {"share": 0.1}, "bucket": None}
    preset = {"days": 3, "limits": {"count": 5}}
    conf = {"days": 14, "bucket": "b", "extra": 1}
    assert merge_params(preset, conf, defaults) == {
        "days": 3,
        "limits": {"share": 0.1, "count": 5},
        "bucket": "b",
        "extra": 1,
    }


@pytest.mark.parametrize(
    "empty", [{"dry_run": None}, {"buckets": None}, {"buckets": []}, {"prefix": ""}], ids=str
)
def test_an_empty_field_does_not_hide_the_preset(empty: dict[str, Any]):
    preset = {"dry_run": True, "buckets": ["a"], "prefix": "b"}
    defaults = {"dry_run": False, "buckets": None, "prefix": None}
    assert merge_params(preset, empty, defaults) == preset


def test_null_is_a_choice_where_it_says_something():
    merged = merge_params({"days": 3}, {"days": None}, {"days": 14}, nullable=["days"])
    assert merged == {"days": None}


def test_a_dag_reads_its_preset_by_name():
    store = Store({"index_buckets/nightly": {"days": 3}})
    read = load_dag_preset(store, P, "index_buckets", "nightly", known_params=["days"])
    assert read == {"days": 3}
    assert load_dag_preset(store, P, "index_buckets", "default", known_params=[]) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x", "known are bad, list, nightly"),
        ("bad", "did you mean days"),
        ("list", "not an object"),
    ],
)
def test_a_dag_preset_that_cannot_be_used_is_refused_with_its_key(name, said):
    store = Store({
        f"d/{key}": v for key, v in {"nightly": {}, "bad": {"dayz": 1}, "list": []}.items()
    })
    with pytest.raises(InvalidInput, match=said) as error:
        load_dag_preset(store, P, "d", name, known_params=["days"])
    assert f"{P}/d/{name}" in str(error.value)


# Folder and store -----------------------------------------------------------------------------------


def test_a_folder_and_a_store_are_compared_by_what_the_json_says():
    folder = {"a": '{"x": 1, "y": 2}', "b": "{}", "c": '{"z": 1}'}
    stored = {"a": '{"y":2,"x":1}', "c": '{"z": 2}', "d": "{}"}
    changes = compare_trees(folder, stored)
    assert changes.created == {"b": "{}"}
    assert changes.updated == {"c": '{"z": 1}'}
    assert changes.unchanged == ("a",)
    assert changes.only_in_store == ("d",)
    assert '-  "z": 2' in diff_text("c", stored["c"], folder["c"])
    assert diff_text("a", stored["a"], folder["a"]) == ""


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("v2/a/tasks/b", "{", "not JSON"),
        ("v2/a/tasks/b", '{"skip": 1}', "skip"),
        ("v2/a/tasks/b", '{"job_settings": {"password": "x"}}', "looks like a secret"),
        ("v2/a/b", "{}", "not the key of a preset"),
        ("index_buckets/default", "[]", "not an object"),
        ("index_buckets/default", '{"token": "x"}', "looks like a secret"),
    ],
)
def test_a_folder_is_checked_before_it_is_loaded(key, text, said):
    (problem,) = check_tree({f"{P}/{key}": text}, P)
    assert said in str(problem)
    assert problem.item == f"{P}/{key}"


def read_days(params: Mapping[str, object]) -> None:
    if not isinstance(params.get("lookback_days", 14), int):
        raise InvalidInput([Problem("index_buckets", "lookback_days", "should be a number")])


DAGS = {"index_buckets": DagParams(["lookback_days", "max_removals"], read_days)}


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ('{"max_removal": 5}', "max_removal", "did you mean max_removals?"),
        ('{"days": 5}', "days", "params are lookback_days, max_removals"),
        ('{"lookback_days": "all"}', "lookback_days", "should be a number"),
    ],
    ids=["nearly right", "unknown", "a value that cannot be used"],
)
def test_params_that_would_make_every_run_red_are_refused_before_they_are_stored(text, field, said):
    key = f"{P}/index_buckets/default"
    (problem,) = check_tree({key: text}, P, DAGS)
    assert (problem.item, problem.field) == (key, field)
    assert said in str(problem)


def test_params_of_a_dag_that_nobody_described_are_stored_as_they_are():
    tree = {
        f"{P}/index_buckets/default": '{"max_removals": 5}',
        f"{P}/of_the_lab/default": '{"x": 1}',
    }
    assert check_tree(tree, P, DAGS) == []


@pytest.mark.parametrize("name", ["alert_url", "password"])
def test_a_diff_hides_what_looks_like_a_secret_on_both_sides(name):
    stored, wanted = (
        json.dumps({"image": image, "job_settings": {name: f"https://{secret}"}})
        for image, secret in (("old", "hunter1"), ("new", "hunter2"))
    )
    shown = diff_text("a", stored, wanted)
    assert '-  "image": "old"' in shown
    assert "hunter" not in shown


def test_a_diff_of_nothing_but_secrets_says_that_there_is_one():
    stored, wanted = ('{"password": "hunter1"}', '{"password": "hunter2"}')
    shown = diff_text("a", stored, wanted)
    assert "differ in what is hidden" in shown
    assert "hunter" not in shown


def test_a_diff_of_what_is_no_json_hides_secrets_too():
    assert "hunter" not in diff_text("a", "PASSWORD=hunter1", '{"image": "x"}')


def test_the_seeds_of_this_project_are_sound():
    tree = FolderPresets(Path(__file__).parents[2] / "presets", P).read_tree(P)
    assert check_tree(tree, P) == []
    assert list_job_types(FolderPresets(Path(__file__).parents[2] / "presets", P), P) == [
        "behavior",
        "default",
        "ecephys",
    ]
