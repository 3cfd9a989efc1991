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
        "Authorization",
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
        "password-stdin",
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


FORMS = [
    ({"password": 12345}, "password"),
    ({"tokens": {"token": ["abc"]}}, "tokens.token[0]"),
    ({"environment": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "abc"}]}, "environment[0].value"),
    ({"Env": [{"Name": "API_KEY", "Value": 7}]}, "Env[0].Value"),
    ({"environment": ["A=1", "API_KEY=abc"]}, "environment[1]"),
    ({"headers": {"Authorization": "Bearer abc"}}, "headers.Authorization"),
    ({"headers": ["Authorization: Bearer abc"]}, "headers[0]"),
    ({"command": ["run", "--password", "abc"]}, "command[2]"),
    ({"url": "https://host/k?X-Amz-Signature=0f"}, "url"),
    ({"url": "https://host/k?sig=0f"}, "url"),
    ({"url": "https://host/k?token=0f"}, "url"),
    ({"command_script": "set -e\nexport TOKEN=abc\nrun --password abc"}, "command_script line 2"),
]

HARMLESS = [
    {"token_count": 3, "password_file": "/path", "token": True, "secret": None, "password": ""},
    {"environment": [{"name": "TOKEN", "value": "$TOKEN"}, {"name": "A", "value": "b"}]},
    {"secrets": [{"name": "TOKEN", "valueFrom": "arn:aws:ssm:us-west-2:1:parameter/a"}]},
    {"command": ["run", "--password", "--verbose", "--token", "$TOKEN"]},
    {"command_script": "run --env-file %ENV_FILE\nexport TOKEN=$TOKEN"},
    {"alert_url": "https://host/hook?sig=abc"},
]


@pytest.mark.parametrize(("settings", "path"), FORMS)
def test_a_secret_is_found_and_hidden_in_every_form(settings, path):
    assert next(find_secrets(settings)) == path
    hidden = hide_secrets(settings)
    assert list(find_secrets(hidden)) == []
    assert "abc" not in str(hidden)


@pytest.mark.parametrize("settings", HARMLESS)
def test_no_alarm_without_a_secret(settings):
    assert list(find_secrets(settings)) == []


def test_every_line_of_a_script_that_tells_something_is_named_and_hidden():
    script = "set -e\ntool --password abc\nrun\nexport TOKEN=abc"
    assert list(find_secrets({"command_script": script})) == [
        "command_script line 2",
        "command_script line 4",
    ]
    assert hide_secrets({"command_script": script}) == {
        "command_script": "set -e\n***\nrun\n***",
    }


def test_what_hidden_text_says_is_no_secret_itself():
    once = hide_secrets(SETTINGS)
    assert hide_secrets(once) == once
    assert list(find_secrets(once)) == []


def test_an_address_that_only_the_run_may_know_is_accepted_and_hidden():
    settings = {"pipeline_monitor_settings": {"alert_url": "https://host/hook", "other": None}}
    assert list(find_secrets(settings)) == []
    assert hide_secrets(settings) == {
        "pipeline_monitor_settings": {"alert_url": "***", "other": None}
    }
