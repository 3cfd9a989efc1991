"""Which parts of a text tell a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.acquisitions.secret_text import find_secret_spans, is_told

TELLING = [
    "AWS_SECRET_ACCESS_KEY=abc",
    "export AWS_SECRET_ACCESS_KEY=abc",
    "export A=1 DB_PASSWORD='a b'; run",
    'TOKEN="abc" python run.py',
    "docker run -e API_KEY=abc image",
    "tool --password abc",
    "Server=a;UID=u;PWD=abc",
    "tool --password=abc --verbose",
    "tool --api-key \\\n  abc",
    'tool --token "abc$X"',
    'curl -H "Authorization: Bearer abc" https://host',
    "curl -H 'X-Api-Key: abc' https://host",
    "Authorization: Basic dXNlcjpwdw==",
    "curl -s -u user:pw https://host",
    "curl --user 'user:pw' https://host",
    "https://user:pw@host/path",
    "mongodb://user:pw@host:27017/db",
    "https://b.s3.amazonaws.com/k?X-Amz-Expires=9&X-Amz-Signature=0f0f",
    "https://host/workflows/1?api=1&sig=%2Babc",
    "https://host/?token=abc",
    """curl -d '{"user": "u", "password": "abc"}' https://host""",
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    "cat > key <<E\n-----BEGIN PRIVATE KEY-----\nabc",
]

HARMLESS = [
    "",
    "A sentence about tokens, and a secret: none.",
    "token_count=3",
    "apptainer exec --pwd /work image run",
    "OLDPWD=$PWD; PWD='/data'",
    "run --token true",
    "PASSWORD_FILE=/run/secrets/pw",
    "tool --password-file /run/secrets/pw --token-file=/t",
    "docker login --password-stdin -u AWS host",
    "docker build --secret id=aws,src=/root/.aws .",
    "docker run -u 1000:1000 --env-file %ENV_FILE image",
    "TOKEN=$TOKEN",
    'export TOKEN="$TOKEN"',
    "TOKEN=${TOKEN:?is needed here}",
    "TOKEN=$(aws secretsmanager get-secret-value --secret-id a)",
    'TOKEN="$(jq -r ".token" file)" run',
    "TOKEN=`cat file`",
    "TOKEN= run",
    'if [ -z "$password" ]; then exit 1; fi',
    "tool --password --verbose",
    'tool --password "$PW" --token $1',
    'curl -H "Authorization: Bearer $TOKEN" https://host',
    "curl -H 'Authorization: Bearer '\"$TOKEN\" https://host",
    'curl -u "$USER:$PW" https://host',
    "https://$USER:$PW@host/",
    "https://host/?token=$TOKEN&page=2",
    "https://host/x@y:z",
    "s3://bucket/a:b@c",
    "http://host:8080/x@y",
    "x-offset: 3",
    '"password": ""',
    "SECRET=arn:aws:secretsmanager:us-west-2:1:secret:a",
    '"$ASSETFLOW_TRANSFORM" ecephys --job-settings \'%JOB_SETTINGS\' --process-record "$RECORD"',
]


@pytest.mark.parametrize("text", TELLING)
def test_a_secret_is_found_wherever_it_stands(text: str) -> None:
    assert list(find_secret_spans(text))
    around = f"set -e\n{text}\n"
    assert list(find_secret_spans(around))


@pytest.mark.parametrize("text", HARMLESS)
def test_no_alarm_for_names_references_and_prose(text: str) -> None:
    found = [text[start:end] for start, end in find_secret_spans(text)]
    assert found == []


@pytest.mark.parametrize("value", [12345, 1.5, "abc", "$2b$12$x/y", "%2Babc", "Bearer abc", "'a'"])
def test_a_value_may_tell(value: object) -> None:
    assert is_told(value)


@pytest.mark.parametrize("value", [None, True, False, "", " ", '""', "$A", "${A}$B", "%ENV_FILE"])
def test_a_value_may_only_refer(value: object) -> None:
    assert not is_told(value)


@given(st.text(alphabet="a\"'$({`)}=-: \n\\\\@/&?", max_size=400), st.sampled_from(TELLING))
def test_any_text_is_read(noise: str, secret: str) -> None:
    for start, end in find_secret_spans(noise):
        assert 0 <= start < end <= len(noise)
    assert list(find_secret_spans(f"{secret}\n\n{noise}"))


def test_a_long_script_is_read_in_no_time() -> None:
    script = 'curl -u "$(a' * 5_000 + "://a:" * 5_000 + 'TOKEN="$(x)' * 5_000
    assert isinstance(list(find_secret_spans(script)), list)
