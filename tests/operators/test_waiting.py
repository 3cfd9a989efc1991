"""Waiting in the worker, for a while."""

from __future__ import annotations

import itertools

import pytest

from include.operators.waiting import wait_here


@pytest.mark.parametrize("looks", [1, 2, 5])
def test_waiting_ends_with_the_first_look_that_is_true(looks: int):
    answers = iter([False] * (looks - 1) + [True])
    pauses: list[float] = []
    assert wait_here(lambda: next(answers), pause=pauses.append)
    assert len(pauses) == looks - 1


def test_waiting_gives_up_after_its_time():
    pauses: list[float] = []
    assert not wait_here(lambda: False, for_s=20, pause=pauses.append)
    assert 20 <= sum(pauses) < 30


def test_looks_become_ever_more_seldom():
    pauses: list[float] = []
    wait_here(lambda: False, for_s=60, pause=pauses.append)
    assert all(one <= other for one, other in itertools.pairwise(pauses))
