from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.local.stand_ins.state_file import StateFile

CHANGES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.none() | st.integers()),
    max_size=20,
)


@given(changes=CHANGES)
def test_a_file_opened_again_holds_what_was_put(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str, int | None]]
) -> None:
    path = tmp_path_factory.mktemp("state") / "state.sqlite"
    file = StateFile(path)
    expected: dict[str, dict[str, int]] = {"a": {}, "b": {}}
    for kind, id_, value in changes:
        if value is None:
            assert file.remove(kind, id_) is (id_ in expected[kind])
            expected[kind].pop(id_, None)
        else:
            file.put(kind, id_, {"value": value})
            expected[kind][id_] = value
    # Not closed: a killed process does not close either.
    for known in (file, StateFile(path)):
        for kind, documents in expected.items():
            assert [known["value"] for known in known.all(kind)] == list(documents.values())
            assert all(known.get(kind, id_) == {"value": v} for id_, v in documents.items())
    file.clear()
    assert list(StateFile(path).all("a")) == []


def test_what_is_kept_in_memory_only_is_there_too() -> None:
    file = StateFile()
    file.put("a", "x", {"value": 1})
    assert file.get("a", "x") == {"value": 1}
    assert file.get("a", "y") is None
