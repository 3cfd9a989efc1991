"""Placeholders: every value arrives byte for byte, in every place, as a real Bash sees it."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from include.acquisitions.command import ScriptValues, fill_script, fill_settings
from include.errors import InvalidInput

NASTY = 'it\'s "q" $HOME $(touch x) `id` \\ \\\\ ${y} !! \n\tEOF é\u2028 %IMAGE * ~ #'

PLACES = {
    "bare": "printf '%s' %INPUT_SOURCE",
    "within a bare word": "x=%INPUT_SOURCE; printf '%s' \"$x\"",
    "double quotes": "printf '%s' \"%INPUT_SOURCE\"",
    "single quotes": "printf '%s' '%INPUT_SOURCE'",
    "after a comment with a quote": "# don't %IMAGE_VERSION\nprintf '%s' %INPUT_SOURCE",
    "substitution in double quotes": "printf '%s' \"$(printf '%s.' %INPUT_SOURCE)\" | head -c -1",
    "quotes within quotes": 'x="$(printf \'%s.\' "%INPUT_SOURCE")"; printf \'%s\' "${x%.}"',
    "array": "x=(1 '%INPUT_SOURCE'); printf '%s' \"${x[1]}\"",
    "argument of a second shell": "bash -c 'printf %s \"$1\"' _ %INPUT_SOURCE",
    "after arithmetic": "x=$((1<<2)); printf '%s' '%INPUT_SOURCE'",
    "here-string": "cat <<<%INPUT_SOURCE'.' | head -c -2",
    "after a continued line with a comment": "true \\\n# don't\nprintf '%s' %INPUT_SOURCE",
    "function": "f() { printf '%s' \"$1\"; }\nf %INPUT_SOURCE",
    "case": "case a in a) printf '%s' \"%INPUT_SOURCE\";; esac",
}
IN_DOCUMENTS = {
    "document": "cat <<E_O_F\n%INPUT_SOURCE.\nE_O_F\n",
    "quoted document": "cat <<'E_O_F'\n%INPUT_SOURCE.\nE_O_F\n",
    "document with a quote before": "cat <<E_O_F\ndon't \"%INPUT_SOURCE.\nE_O_F\n",
    "two documents": "cat <<A /dev/fd/3 3<<B\nfirst\nA\n%INPUT_SOURCE.\nB\n",
}

values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
shell_texts = st.text(st.sampled_from("'\"\\$`(){}<>|&;#!*~%\n\t aE_OF"), max_size=30)


def run(script: str) -> bytes:
    ended = subprocess.run(["bash", "-c", script], capture_output=True, timeout=20, check=False)
    assert ended.stderr == b"", (script, ended.stderr)
    return ended.stdout


def run_all(scripts: list[str]) -> list[bytes]:
    """Output of each script, all in one process: starting Bash costs more than the scripts do."""
    mark = "\x01\x02\x03"
    text = "".join(f"({script}\n)\nprintf '{mark}'\n" for script in scripts)
    return run(text).split(mark.encode())[:-1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values | shell_texts)
@example(NASTY)
@example("")
@example("'")
@example("\\")
@example("-n")
@example("\r\n")
def test_a_value_arrives_byte_for_byte_in_every_place(value):
    filled = [fill_script(script, ScriptValues(input_source=value)) for script in PLACES.values()]
    for place, output in zip(PLACES, run_all(filled), strict=True):
        assert output == value.encode(), place


@settings(max_examples=40, deadline=None)
@given(values | shell_texts)
@example(NASTY)
@example("\\\n")
@example("x\nB\ny")
def test_a_value_arrives_byte_for_byte_in_a_here_document(value):
    for place, script in IN_DOCUMENTS.items():
        asked = ScriptValues(input_source=value)
        if place == "two documents" and "B" in value.split("\n"):
            with pytest.raises(InvalidInput, match="would end its here-document"):
                fill_script(script, asked)
            continue
        filled = fill_script(script, asked)
        assert run(filled).endswith(f"{value}.\n".encode()), place


@given(st.dictionaries(values, values | st.integers() | st.none() | st.lists(values), max_size=4))
@settings(max_examples=40, deadline=None)
@example({"a": NASTY.replace("%IMAGE", ""), "b": None, "NUL": "\0", "lone": "\ud800"})
def test_settings_arrive_as_the_json_they_are(job_settings):
    asked = ScriptValues(job_settings=job_settings, image="i", image_version="1")
    if "%" in json.dumps(job_settings):
        return
    for script in (
        "printf '%s' '%JOB_SETTINGS'",
        "printf '%s' ' %JOB_SETTINGS '",
        'printf "%s" "%JOB_SETTINGS"',
        "printf '%s' %JOB_SETTINGS",
    ):
        assert json.loads(run(fill_script(script, asked))) == job_settings


def test_placeholders_are_filled_in_order_and_within_settings():
    asked = ScriptValues(
        job_settings={"input_source": "%INPUT_SOURCE", "deep": [{"%IMAGE": "a %IMAGE_VERSION"}]},
        image="ghcr.io/x",
        image_version="1.2",
        input_source="/in",
        output_location="/out",
        s3_location="s3://b/n",
        env_file="/env",
    )
    script = "run %IMAGE:%IMAGE_VERSION %OUTPUT_LOCATION %S3_LOCATION %ENV_FILE ' %JOB_SETTINGS '"
    assert fill_script(script, asked) == (
        "run ghcr.io/x:1.2 /out s3://b/n /env "
        """' {"input_source": "/in", "deep": [{"ghcr.io/x": "a 1.2"}]} '"""
    )


def test_a_placeholder_that_is_part_of_a_value_is_data():
    filled = fill_script("ls %INPUT_SOURCE", ScriptValues(input_source="/a%IMAGE", image="i"))
    assert filled == "ls /a%IMAGE"


def test_a_script_without_placeholders_is_left_alone():
    script = "#!/usr/bin/env python3\nprint('unbalanced \")"
    assert fill_script(script, ScriptValues()) == script


def test_every_missing_value_is_named_with_its_line():
    with pytest.raises(InvalidInput) as error:
        fill_script("a %IMAGE\nb %IMAGE_VERSION\nc '%ENV_FILE'", ScriptValues(image="i"))
    assert [(problem.field, problem.reason) for problem in error.value.problems] == [
        ("line 2", "%IMAGE_VERSION has no value in this run"),
        ("line 3", "%ENV_FILE has no value in this run"),
    ]


def test_missing_values_within_settings_are_named_with_their_path():
    asked = ScriptValues(job_settings={"a": {"b": ["%ENV_FILE"]}, "c": "%JOB_SETTINGS"})
    with pytest.raises(InvalidInput) as error:
        fill_settings(asked)
    assert [problem.field for problem in error.value.problems] == ["a.b[0]", "c"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("x=`ls %INPUT_SOURCE`", "backticks"),
        ("echo $'%INPUT_SOURCE'", r"\$'…'"),
        ("echo ${x:-%INPUT_SOURCE}", r"within \$\{…\}"),
        ("echo $((%INPUT_SOURCE + 1))", "assign the placeholder"),
        ("echo $%INPUT_SOURCE", r"directly after '\$'"),
        ('echo "$%INPUT_SOURCE"', r"directly after '\$'"),
        ("cat <<E\n$%INPUT_SOURCE\nE\n", r"directly after '\$'"),
        ("echo \\%INPUT_SOURCE", "after a backslash"),
        ('echo "\\%INPUT_SOURCE"', "after a backslash"),
        ("bash -c 'ls %INPUT_SOURCE'", "reads as code"),
        ("singularity exec x bash -lc \"ls '%INPUT_SOURCE'\"", "reads as code"),
        ("bash -c \\\n  'ls %INPUT_SOURCE'", "reads as code"),
        ("eval ls '%INPUT_SOURCE'", "reads as code"),
        ("ssh host ls '%INPUT_SOURCE'", "reads as code"),
        ("sbatch --wrap='ls %INPUT_SOURCE'", "reads as code"),
        ("bash <<E\nls '%INPUT_SOURCE'\nE\n", "reads as code"),
        ("bash <<'E'\nls '%INPUT_SOURCE'\nE\n", "reads as code"),
        ("cat <<E | bash\nls '%INPUT_SOURCE'\nE\n", "reads as code"),
        ("python3 -c \"print('%INPUT_SOURCE')\"", "reads as code"),
        ("#!/usr/bin/env python3\nprint('%INPUT_SOURCE')", "shell scripts only"),
        ("cat <<%INPUT_SOURCE\n", "delimiter"),
        ("cat <<E\n%INPUT_SOURCE\n", "has no end"),
        ("cat <<E '\n'\n%INPUT_SOURCE\nE\n", "quoted line end"),
        ("x=$(case a in a) ls %INPUT_SOURCE;; esac)", "`case`"),
        ("ls '%INPUT_SOURCE", "not closed"),
        ('ls "%INPUT_SOURCE', "not closed"),
        ("ls $(%INPUT_SOURCE", "not closed"),
        ('ls "${x:-\'}" %INPUT_SOURCE', "single quote within"),
    ],
)
def test_a_place_that_cannot_be_made_safe_is_refused(script, reason):
    with pytest.raises(InvalidInput, match=reason):
        fill_script(script, ScriptValues(input_source="/a b'; touch x"))


@pytest.mark.parametrize("script", ["bash -c 'ls %INPUT_SOURCE'", "ssh host ls %INPUT_SOURCE"])
def test_a_plain_value_may_stand_in_code(script):
    filled = fill_script(script, ScriptValues(input_source="/data/session_1/ecephys"))
    assert "/data/session_1/ecephys" in filled


@pytest.mark.parametrize(
    ("value", "reason"), [("a\0b", "NUL"), ("a" * 131_072, "longer than 131071 bytes")]
)
def test_what_no_argument_can_carry_is_refused(value, reason):
    with pytest.raises(InvalidInput, match=reason):
        fill_script("ls %INPUT_SOURCE", ScriptValues(input_source=value))


def test_a_value_that_would_lose_its_tab_is_refused():
    with pytest.raises(InvalidInput, match="starts with a tab"):
        fill_script("cat <<-E\n%INPUT_SOURCE\nE\n", ScriptValues(input_source="\ta"))


def test_a_document_that_strips_tabs_keeps_other_values():
    asked = ScriptValues(input_source="/a $b")
    assert run(fill_script("cat <<-E\n\t%INPUT_SOURCE\n\tE\n", asked)) == b"/a $b\n"
