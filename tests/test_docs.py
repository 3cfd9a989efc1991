"""The documentation says what is true: every name in it exists, and everything a person needs is named."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from include.acquisitions.command import JOB_SETTINGS, ScriptValues
from include.acquisitions.mail import VERBS
from include.acquisitions.pipeline import TASKS
from include.acquisitions.trigger_form import FIELDS
from include.cli.main import commands
from include.settings import VERSION, Settings
from include.transformations.environment_paths import TRANSFORMATIONS

if TYPE_CHECKING:
    from include.local.stack import LocalStack

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
USER_GUIDE = (ROOT / "docs/user-guide.md").read_text()
OPERATORS_GUIDE = (ROOT / "docs/operators-guide.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
MODULES = sorted((ROOT / "include").rglob("*.py"))
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "presets/README.md",
    )
}  # fmt: skip

on_every_page = pytest.mark.parametrize("page", sorted(PAGES))


def texts_in(path: Path) -> str:
    """Every text in the code of one module, one a line; what an f-string fills in is ``{}``."""
    texts = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            texts.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    return "\n".join(texts)


# Reading Markdown ----------------------------------------------------------------------------------


def blocks(text: str, language: str) -> list[str]:
    """Contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """Code within sentences and tables; fenced blocks do not count."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def table(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    below = text.split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert lines, f"no table below {heading}"
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines[0].splitlines()
    ]
    return rows[2:]


def code_in(cell: str) -> str:
    found = re.search(r"`([^`]+)`", cell)
    assert found, f"no code in {cell!r}"
    return found[1]


def anchors(text: str) -> set[str]:
    """Headings as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", found.lower()).replace(" ", "-") for found in headings}


# DAGs and tasks ------------------------------------------------------------------------------------


def dags() -> dict[str, list[str]]:
    """DAG id → ids of its tasks, as its file says them."""
    found: dict[str, list[str]] = {}
    for path in DAG_FILES:
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and any(
                "dag(" in ast.unparse(decorator) for decorator in node.decorator_list
            ):
                found[node.name] = [
                    str(keyword.value.value)
                    for call in ast.walk(node)
                    if isinstance(call, ast.Call)
                    for keyword in call.keywords
                    if keyword.arg == "task_id" and isinstance(keyword.value, ast.Constant)
                ]
    return found


def test_the_readme_lists_every_dag_and_no_other() -> None:
    assert {code_in(row[0]) for row in table(README, "## DAGs")} == dags().keys()


def test_the_readme_lists_the_named_tasks_in_their_order() -> None:
    rows = table(README, "### The tasks of one run")
    assert tuple(code_in(row[0]) for row in rows) == TASKS


def test_every_task_of_every_dag_is_in_the_readme() -> None:
    named = set(spans(README))
    assert {task for tasks in dags().values() for task in tasks} - named == set()


@on_every_page
def test_settings_are_given_to_tasks_that_exist(page: str) -> None:
    named = set(re.findall(r"\btasks\.(\w+)", PAGES[page]))
    for block in blocks(PAGES[page], "json"):
        content = json.loads(block)
        if "conn_type" not in content:
            named |= content.keys()
    assert named <= {*TASKS}


# Settings and connections --------------------------------------------------------------------------


def env_settings() -> dict[str, Any]:
    """Variable → default, of every setting that has a variable of its own."""
    return {
        f"ASSETFLOW_{name.upper()}": field.default
        for name, field in Settings.model_fields.items()
        if field.validation_alias is None
    }


def as_default(cell: str) -> str:
    return {"empty": "", "none": "None"}.get(cell, cell.strip("`"))


def printed(default: Any) -> str:
    return json.dumps([str(one) for one in default]) if isinstance(default, list) else str(default)


def test_the_readme_tells_every_setting_with_its_default() -> None:
    told = {code_in(row[0]): as_default(row[1]) for row in table(README, "## Settings")}
    assert told == {name: printed(default) for name, default in env_settings().items()}


def connection_ids() -> set[str]:
    """Connections that the hooks ask for by default."""
    texts = [path.read_text() for path in (ROOT / "include/hooks").glob("*.py")]
    return {name for text in texts for name in re.findall(r'default_conn_name = "(\w+)"', text)}


def test_the_readme_tells_every_connection() -> None:
    assert {code_in(row[0]) for row in table(README, "## Connections")} == connection_ids()


def test_the_operators_guide_says_how_to_set_up_every_connection() -> None:
    assert connection_ids() - set(spans(OPERATORS_GUIDE)) == set()


@on_every_page
def test_every_connection_named_exists(page: str) -> None:
    named = {span for span in spans(PAGES[page]) if re.fullmatch(r"assetflow_\w+", span)}
    named |= {name.lower() for name in re.findall(r"AIRFLOW_CONN_(\w+)", PAGES[page])}
    assert named <= connection_ids()


@on_every_page
def test_every_variable_named_exists(page: str) -> None:
    of_commands = (ROOT / "include/operators/commands.py").read_text()
    known = {
        *env_settings(),
        *re.findall(r'"(ASSETFLOW_\w+)"', of_commands),
        *re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE),
    }
    assert set(re.findall(r"\bASSETFLOW_[A-Z0-9_]+", PAGES[page])) <= known


# Commands ------------------------------------------------------------------------------------------


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


@on_every_page
def test_every_make_target_named_exists(page: str) -> None:
    text = PAGES[page]
    code = [*spans(text), *blocks(text, "bash"), *blocks(text, "")]
    named = {found for one in code for found in re.findall(r"^make ([a-z-]+)", one, re.MULTILINE)}
    assert named <= make_targets()


def test_the_readme_names_every_make_target() -> None:
    assert {f"make {target}" for target in make_targets()} <= set(spans(README))


def test_make_help_tells_every_target() -> None:
    told = set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert told == make_targets() == set(phony[1].split())


def test_make_runs_modules_that_exist() -> None:
    for module in re.findall(r"\$\(BIN\)/python -m ((?:include|benchmarks)[\w.]*)", MAKEFILE):
        folder = ROOT / module.replace(".", "/")
        assert (folder / "__main__.py").is_file() or folder.with_suffix(".py").is_file(), module


@cache
def command_tree() -> Any:
    return typer.main.get_command(commands)


def every_command(group: Any = None, above: str = "") -> Iterator[str]:
    for name, command in (group or command_tree()).commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, f"{above}{name} ")
        else:
            yield f"{above}{name}"


def check_invocation(words: list[str]) -> None:
    """Fail unless these words after ``assetflow`` are a command, its arguments and its options."""
    command, rest = command_tree(), list(words)
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"assetflow {shlex.join(words)}: there is no {name}"
        command = command.commands[name]
    options = {
        option for found in command.params for option in (*found.opts, *found.secondary_opts)
    }
    for word in rest:
        if word.startswith("-") and word != "--help":
            assert word.partition("=")[0] in options, f"assetflow {shlex.join(words)}: no {word}"


def invocations(text: str) -> Iterator[list[str]]:
    """Words after the name of our command, wherever a page or a file writes it."""
    for found in re.finditer(
        r"(?:-m include\.cli|\.venv/bin/assetflow|(?<=`)assetflow(?= ))((?: +[\w./<>{}\"$|=-]+)*)",
        text,
    ):
        words = [word.strip('"') for word in found[1].split()]
        if "|" in words:
            words = words[: words.index("|")]
        several = next((word for word in words if "|" in word), None)
        if several is None:
            yield words
            continue
        place = words.index(several)
        yield from ([*words[:place], one, *words[place + 1 :]] for one in several.split("|"))


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(text, id=page) for page, text in sorted(PAGES.items())),
        pytest.param(MAKEFILE, id="Makefile"),
        *(
            pytest.param(texts_in(path), id=str(path.relative_to(ROOT)))
            for path in MODULES
            if "`assetflow " in path.read_text()
        ),
    ],
)
def test_every_command_named_exists_with_its_options(text: str) -> None:
    for words in invocations(text):
        check_invocation(words)


@pytest.mark.parametrize(
    ("words", "is_right"),
    [
        (["presets", "push", "--dry-run"], True),
        (["presets", "pull"], False),
        (["presets", "push", "--force"], False),
    ],
)
def test_a_wrong_command_would_be_noticed(words: list[str], is_right: bool) -> None:
    if is_right:
        check_invocation(words)
    else:
        with pytest.raises(AssertionError):
            check_invocation(words)


@pytest.mark.parametrize("command", sorted(every_command()))
def test_every_command_is_documented(command: str) -> None:
    told = [
        " ".join(words)
        for text in (README, OPERATORS_GUIDE, PAGES["CHANGELOG.md"])
        for words in invocations(text)
    ]
    assert any(found.startswith(command) for found in told) or f"make {command}" in README


@on_every_page
def test_shell_blocks_are_whole(page: str) -> None:
    for block in blocks(PAGES[page], "bash"):
        checked = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, "")


# Files and links -----------------------------------------------------------------------------------


@on_every_page
def test_every_link_leads_somewhere(page: str) -> None:
    here = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (here / path).resolve() if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


@on_every_page
def test_every_file_named_exists(page: str) -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {".local", ".venv"}
    for span in spans(PAGES[page]):
        top, slash, _ = span.partition("/")
        if slash and top in folders and not re.search(r"[{*<\s]", span):
            assert (ROOT / span).exists(), span


def test_a_module_that_the_design_names_is_there() -> None:
    design = PAGES["docs/design/001-one-run.md"]
    for row in table(design, "## Modules"):
        for name in re.findall(r"`([\w/]+\.py)`", row[0]):
            assert (ROOT / "include" / name).is_file() or (
                ROOT / "include" / code_in(row[0]).split("/")[0] / name
            ).is_file(), name


# What people read in the program -------------------------------------------------------------------


def test_the_user_guide_tells_every_field_of_the_form() -> None:
    told = " ".join(row[0] for row in table(USER_GUIDE, "## 3. Submit"))
    assert [field["title"] for field in FIELDS.values() if field["title"] not in told] == []


def test_the_user_guide_tells_every_mail() -> None:
    subjects = [code_in(row[0]) for row in table(USER_GUIDE, "### What the mails mean")]
    assert sorted(subjects) == sorted(f"Airflow {verb} {{asset}}" for verb in VERBS.values())


def test_the_operators_guide_tells_every_placeholder() -> None:
    placeholders = {JOB_SETTINGS, *ScriptValues().by_placeholder()}
    assert placeholders - set(spans(OPERATORS_GUIDE)) == set()


def test_the_readme_tells_every_job_environment() -> None:
    rows = table(README, "## Job environments")
    assert [code_in(row[0]) for row in rows] == list(TRANSFORMATIONS)


@cache
def texts_of_the_program() -> str:
    """Every text in the code of every module."""
    return "\n".join(texts_in(path) for path in MODULES)


def quoted_messages() -> Iterator[str]:
    yield from (
        span
        for row in table(USER_GUIDE, "## 5. When it is red")
        for span in re.findall(r"`([^`]+)`", row[0])
    )
    rows = table(OPERATORS_GUIDE, "## 14. When something is wrong")
    yield from (text for row in rows for text in re.findall(r"\*([^*]+)\*", row[0]))


@pytest.mark.parametrize("message", sorted(set(quoted_messages())))
def test_a_message_that_a_guide_quotes_is_one_of_the_programs(message: str) -> None:
    assert message in texts_of_the_program()


# Versions ------------------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere() -> None:
    from include.transformations.job.record import SOFTWARE_VERSION

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## (\S+)", PAGES["CHANGELOG.md"], re.MULTILINE)
    assert newest
    assert {project["version"], VERSION, SOFTWARE_VERSION, newest[1]} == {VERSION}


# The request of the README -------------------------------------------------------------------------


@pytest.mark.stack
def test_the_request_of_the_readme_starts_a_run_that_ends_well(local_stack: LocalStack) -> None:
    from include.clients.airflow_api import FINAL_STATES, AirflowApi

    (block,) = (found for found in blocks(README, "bash") if "dagRuns" in found)
    script = block.replace(".venv/bin/python", shlex.quote(sys.executable))
    assert "root=.local\n" in script
    script = script.replace("root=.local\n", f"root={shlex.quote(str(local_stack.root))}\n")
    answer = subprocess.run(
        ["bash", "-euo", "pipefail"], input=script, cwd=ROOT, text=True, capture_output=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    run = json.loads(answer.stdout)
    assert local_stack.airflow is not None
    account = local_stack.airflow.account()
    api = AirflowApi.sign_in(account.url, account.user, account.password)
    while (state := api.run_state(run["dag_id"], run["dag_run_id"])) not in FINAL_STATES:
        time.sleep(0.5)
    failed = [
        task.label
        for task in api.task_states(run["dag_id"], run["dag_run_id"])
        if task.state == "failed"
    ]
    assert (state, failed) == ("success", [])
