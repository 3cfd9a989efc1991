"""Which settings look like secrets."""

from __future__ import annotations

import pytest

from include.acquisitions.secret_settings import find_secrets, hide_secrets, names_a_secret


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "DB_PASSWORD",
        "token",
        "apiToken",
        "api_key",
        "apiKey",
        "api-key",
        "APIKey",
        "private_key",
        "secret_access_key",
        "AWS_SECRET_ACCESS_KEY",
        "client_secret",
        "passphrase",
    ],
)
def test_these_keys_name_a_secret(key):
    assert names_a_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "token_count",
        "tokenizer",
        "key",
        "sort_key",
        "password_file",
        "secretary",
        "keyboard",
        "",
        "access_level",
        "author",
        "num_tokens",
        "monkey",
        "aws_access_key_id",
    ],
)
def test_these_keys_name_none(key):
    assert not names_a_secret(key)


SETTINGS = {
    "a": {"password": "hunter2", "token": "", "api_key": None},
    "token": "$TOKEN",
    "secret": "%ENV_FILE",
    "environment": ["PATH=/bin", "AWS_SECRET_ACCESS_KEY=abc", "TOKEN=$TOKEN", "TOKEN"],
    "url": ["https://user:pw@host/x", "https://host/x@y"],
    "deep": [{"private_key": "---"}],
}


def test_every_secret_is_found_with_its_path():
    assert list(find_secrets(SETTINGS)) == [
        "a.password",
        "environment[1]",
        "url[0]",
        "deep[0].private_key",
    ]


def test_hiding_leaves_nothing_to_find_and_keeps_the_rest():
    hidden = hide_secrets(SETTINGS)
    assert hidden["a"] == {"password": "***", "token": "", "api_key": None}
    assert hidden["environment"] == ["PATH=/bin", "***", "TOKEN=$TOKEN", "TOKEN"]
    assert "hunter2" not in str(hidden)
    assert "pw@" not in str(hidden)
    assert hide_secrets({"n": 1}) == {"n": 1}
