"""One program for many assets: its order, its end, what it is told and what it is not."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from include.clients.metadata_status_v1 import AssetToCheck, CheckedStatus, StatusCheckerV1
from include.errors import CommandFailed, MalformedAnswer, ServiceUnavailable
from include.transformations.environments import build_environment

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".local" / "environments"

SUBJECT = {
    "subject_id": "632269",
    "sex": "Female",
    "date_of_birth": "2022-11-22",
    "genotype": "wt/wt",
    "species": {"name": "Mus musculus"},
    "source": {"name": "Jackson Laboratory"},
}

BEGIN = """
import json, os, signal, sys, time
from pathlib import Path

def answer(status="Valid", *said):
    print(json.dumps({"status": status, "problems": {"metadata": said}}), flush=True)
"""
TELL_NAME = "for line in sys.stdin: answer('Valid', json.loads(line)['name'], str(os.getpid()))"

MakeChecker = Callable[..., StatusCheckerV1]


@pytest.fixture
def make_checker(tmp_path: Path) -> Iterator[MakeChecker]:
    """A checker whose "Python" is a program of the test's own, and its limits."""
    checkers = []

    def make(body: str, **limits: float) -> StatusCheckerV1:
        python = tmp_path / "python"
        python.write_text(f"#!{sys.executable} -I\n{BEGIN}\n{body}\n")
        python.chmod(0o755)
        checkers.append(StatusCheckerV1(python, ROOT, **limits))
        return checkers[-1]

    yield make
    for checker in checkers:
        checker.close()


def asset(name: str = "one", **core: object) -> AssetToCheck:
    return AssetToCheck(name, f"s3://private/{name}", core)


def said(checked: CheckedStatus) -> tuple[str, ...]:
    return checked.problems["metadata"]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(pid: int) -> None:
    end = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < end, f"process {pid} did not end"
        time.sleep(0.02)


# The real program


def test_many_assets_are_answered_in_their_order() -> None:
    kinds = [
        (asset("valid", subject=SUBJECT), "Valid"),
        (asset("missing"), "Missing"),
        (asset("invalid", subject=SUBJECT, rig=["odd"]), "Invalid"),
        (asset("big", subject=SUBJECT, processing={"notes": "x" * 2**20}), "Invalid"),
    ]
    wanted = kinds * 25

    with StatusCheckerV1(build_environment("metadata-status-v1", ENVIRONMENTS), ROOT) as checker:
        checked = checker.check([one for one, _ in wanted])

    assert [one.status for one in checked] == [status for _, status in wanted]
    assert checked[0] == CheckedStatus("Valid", {})
    assert checked[2].problems == {"rig": ("holds a list, not a JSON object",)}


# One program, for as long as it is needed


def test_nothing_is_started_before_there_is_something_to_ask(tmp_path: Path) -> None:
    with StatusCheckerV1(tmp_path / "nowhere", ROOT) as checker:
        assert checker.check([]) == []


def test_one_program_answers_every_call_and_ends_with_the_checker(
    make_checker: MakeChecker,
) -> None:
    with make_checker(TELL_NAME) as checker:
        first, second = checker.check([asset("a"), asset("b")])
        [third] = checker.check([asset("c")])
        pid = said(first)[1]

        assert [said(one) for one in (first, second, third)] == [("a", pid), ("b", pid), ("c", pid)]
        assert is_running(int(pid))
    assert not is_running(int(pid))


def test_a_program_that_does_not_want_to_end_is_killed(
    make_checker: MakeChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.clients.metadata_status_v1.GRACE_S", 0.1)
    with make_checker(f"{TELL_NAME}\ntime.sleep(600)") as checker:
        [checked] = checker.check([asset()])
    assert not is_running(int(said(checked)[1]))


def test_threads_get_the_answers_to_their_own_assets(make_checker: MakeChecker) -> None:
    checker = make_checker(TELL_NAME)
    batches = [[asset(f"{batch}-{number}") for number in range(20)] for batch in range(8)]

    with ThreadPoolExecutor(8) as pool:
        checked = list(pool.map(checker.check, batches))

    for batch, answers in zip(batches, checked, strict=True):
        assert [said(one)[0] for one in answers] == [one.name for one in batch]
    assert len({said(one)[1] for answers in checked for one in answers}) == 1


def test_nothing_is_told_to_it_but_where_to_find_its_modules(
    make_checker: MakeChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "a secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    checker = make_checker(
        "for line in sys.stdin: answer('Valid', *(f'{k}={v}' for k, v in os.environ.items()))"
    )

    [checked] = checker.check([asset()])

    variables = dict(one.split("=", 1) for one in said(checked))
    variables.pop("LC_CTYPE", None)  # Python's own, where there is no locale
    assert variables == {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}


# What may go wrong


def test_a_killed_program_is_an_error_once_and_is_started_again(make_checker: MakeChecker) -> None:
    checker = make_checker(TELL_NAME)
    [before] = checker.check([asset()])
    os.kill(int(said(before)[1]), signal.SIGKILL)
    wait_for_end(int(said(before)[1]))

    with pytest.raises(ServiceUnavailable, match="was ended by SIGKILL at two"):
        checker.check([asset("two")])

    [after] = checker.check([asset("three")])
    assert said(after)[0] == "three"


def test_a_program_that_dies_at_an_asset_is_reported_with_it(make_checker: MakeChecker) -> None:
    checker = make_checker(
        "for line in sys.stdin:\n"
        "    if 'poison' in line: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    answer()"
    )
    with pytest.raises(ServiceUnavailable, match="was ended by SIGSEGV at poison"):
        checker.check([asset("fine"), asset("poison"), asset("fine")])


def test_a_program_that_gives_up_says_its_last_words(make_checker: MakeChecker) -> None:
    checker = make_checker("import no_such_module")
    with pytest.raises(CommandFailed, match=r"(?s)exit code 1 at one.*No module named"):
        checker.check([asset("one", subject={"notes": "x" * 2**20})])


def test_a_silent_program_is_ended_at_its_limit(make_checker: MakeChecker, tmp_path: Path) -> None:
    checker = make_checker(
        f"Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "print('thinking', file=sys.stderr, flush=True)\n"
        "time.sleep(600)",
        time_limit_s=1,
        start_limit_s=1,
    )
    with pytest.raises(ServiceUnavailable, match=r"(?s)did not answer in 2 s at one.*thinking"):
        checker.check([asset("one", subject={"notes": "x" * 2**20})])
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_only_the_first_asset_waits_for_the_start(make_checker: MakeChecker) -> None:
    checker = make_checker(
        "time.sleep(0.5)\n"
        "for number, line in enumerate(sys.stdin):\n"
        "    time.sleep(600 * number)\n"
        "    answer()",
        time_limit_s=0.2,
        start_limit_s=60,
    )
    assert checker.check([asset()]) == [CheckedStatus("Valid", {"metadata": ()})]
    with pytest.raises(ServiceUnavailable, match=r"did not answer in 0\.2 s"):
        checker.check([asset()])


def test_much_said_on_the_way_blocks_nobody(make_checker: MakeChecker) -> None:
    checker = make_checker(
        "print('x' * 2**20, file=sys.stderr, flush=True)\n"
        "for line in sys.stdin:\n"
        "    print('y' * 2**20, file=sys.stderr, flush=True)\n"
        "    answer('Valid', 'z' * 2**20)"
    )
    big = asset("big", subject={"notes": "x" * 2**22})
    assert [len(said(one)[0]) for one in checker.check([big, big])] == [2**20, 2**20]


@pytest.mark.parametrize(
    "said_instead",
    ["Hello", "[]", '{"status": "Valid"}', '{"status": "Fine", "problems": {}}',
     '{"status": ["Valid"], "problems": {}}', '{"status": "Valid", "problems": {"rig": 1}}'],
)  # fmt: skip
def test_another_answer_is_not_taken(make_checker: MakeChecker, said_instead: str) -> None:
    checker = make_checker(f"for line in sys.stdin: print({said_instead!r}, flush=True)")
    with pytest.raises(MalformedAnswer, match="answered"):
        checker.check([asset()])


def test_an_environment_that_is_not_there_says_how_to_build_it(tmp_path: Path) -> None:
    checker = StatusCheckerV1(tmp_path / "nowhere", ROOT)
    with pytest.raises(CommandFailed, match="environments build metadata-status-v1"):
        checker.check([asset()])


def test_what_json_cannot_hold_is_invalid_and_costs_the_others_nothing(
    make_checker: MakeChecker,
) -> None:
    endless: dict[str, object] = {}
    endless["self"] = endless
    checked = make_checker(TELL_NAME).check([asset("a"), asset("b", subject=endless), asset("c")])

    assert [one.status for one in checked] == ["Valid", "Invalid", "Valid"]
    assert said(checked[1])[0].startswith("cannot be written as JSON")
    assert said(checked[2])[0] == "c"


def test_a_call_that_is_broken_off_leaves_no_answer_behind(
    make_checker: MakeChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = make_checker(TELL_NAME)
    checker.check([asset("a")])

    def interrupt(_: bytes) -> CheckedStatus:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("include.clients.metadata_status_v1._read_answer", interrupt)
        with pytest.raises(KeyboardInterrupt):
            checker.check([asset("b")])

    [checked] = checker.check([asset("c")])
    assert said(checked)[0] == "c"
