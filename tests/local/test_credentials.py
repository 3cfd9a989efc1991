"""Passwords are made once and are nobody else's to read."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from cryptography.fernet import Fernet

from include.local.credentials import Credentials


def test_they_stay_the_same(tmp_path: Path) -> None:
    assert Credentials.of(tmp_path) == Credentials.of(tmp_path)


def test_two_commands_that_come_first_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(lambda _: Credentials.of(tmp_path), range(16)))
    assert len(made) == 1


def test_two_stacks_share_none(tmp_path: Path) -> None:
    first, second = Credentials.of(tmp_path / "a"), Credentials.of(tmp_path / "b")
    assert not set(asdict(first).values()) & set(asdict(second).values())


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    Credentials.of(tmp_path)
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_one_that_is_new_in_this_version_is_added_to_the_old(tmp_path: Path) -> None:
    old = asdict(Credentials.of(tmp_path))
    del old["reader_password"]
    (tmp_path / "secrets.json").write_text(json.dumps(old))
    new = asdict(Credentials.of(tmp_path))
    assert new.pop("reader_password")
    assert new == old


def test_the_fernet_key_is_one(tmp_path: Path) -> None:
    Fernet(Credentials.of(tmp_path).fernet_key)
