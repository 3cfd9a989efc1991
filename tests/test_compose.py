"""The production shape: what compose, image and `.env` say fits together, as far as text can show it."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from include.settings import VERSION, Settings

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "docker-compose.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ENV_EXAMPLE = (ROOT / ".env.example").read_text()

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
AIRFLOW = {name: found for name, found in SERVICES.items() if name.startswith("airflow-")}
ONE_TIME = {"airflow-init"}
WITH_DATABASE = {
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
}


def env_names(text: str) -> set[str]:
    """Names that the file sets, those that are only shown behind a ``#`` included."""
    return set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE))


def env_values(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z][A-Z0-9_]+)=(.*)$", text, re.MULTILINE))


def compose_variables() -> set[str]:
    """Variables that compose fills in; ``$$`` is for the container's shell."""
    return set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE))


def connection_ids() -> set[str]:
    """Connections that the hooks ask for by default."""
    texts = [path.read_text() for path in (ROOT / "include/hooks").glob("*.py")]
    return {name for text in texts for name in re.findall(r'default_conn_name = "(\w+)"', text)}


@cache
def airflow_options() -> dict[str, dict[str, Any]]:
    """``AIRFLOW__SECTION__OPTION`` → its entry in the configuration reference."""
    from airflow.configuration import retrieve_configuration_description

    reference = retrieve_configuration_description(include_providers=True)
    return {
        f"AIRFLOW__{section.upper()}__{option.upper()}": entry
        for section, content in reference.items()
        for option, entry in content["options"].items()
    }


def waits_for(service: dict[str, Any]) -> dict[str, str]:
    """Service → the condition it must meet first."""
    return {name: found["condition"] for name, found in service.get("depends_on", {}).items()}


def test_every_component_of_airflow_is_there() -> None:
    assert set(SERVICES) == {
        "postgres", "redis", "airflow-init", "airflow-apiserver", "airflow-scheduler",
        "airflow-dag-processor", "airflow-triggerer", "airflow-worker",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(WITH_DATABASE))
def test_secrets_and_addresses_are_the_same_in_every_component(name: str) -> None:
    values = {service["environment"].get(name) for service in AIRFLOW.values()}
    assert len(values) == 1
    assert None not in values


def test_no_secret_has_a_value_in_the_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"SECRET|PASSWORD|FERNET", variable):
                assert re.fullmatch(r"\$\{\w+:\?.*\}", str(value)), f"{name}: {variable}"


def test_no_secret_has_a_value_in_the_example() -> None:
    values = env_values(ENV_EXAMPLE)
    secret = [name for name in values if re.search(r"SECRET|PASSWORD|FERNET", name)]
    assert {name: values[name] for name in secret} == dict.fromkeys(secret, "")


@pytest.mark.parametrize(
    "path",
    [
        "docker-compose.yaml", "Dockerfile", ".env.example", "README.md", "docs/operators-guide.md",
    ],
)  # fmt: skip
def test_every_option_of_airflow_exists(path: str) -> None:
    named = set(re.findall(r"AIRFLOW__[A-Z0-9_]+", (ROOT / path).read_text()))
    assert named - airflow_options().keys() == set()


def test_options_that_the_embedded_airflow_sets_exist(tmp_path: Path) -> None:
    from include.local.stack import LocalStack

    airflow = LocalStack(tmp_path).airflow
    assert airflow is not None
    named = {name for name in airflow.settings() if name.startswith("AIRFLOW__")}
    assert named - airflow_options().keys() == set()


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONE_TIME))
def test_every_lasting_service_has_a_health_check_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_the_scheduler_answers_where_its_health_check_asks() -> None:
    port = airflow_options()["AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT"]["default"]
    scheduler = SERVICES["airflow-scheduler"]
    assert f":{port}/health" in " ".join(scheduler["healthcheck"]["test"])
    assert scheduler["environment"]["AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK"] == "True"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_only_for_what_can_become_ready(name: str) -> None:
    for other, condition in waits_for(SERVICES[name]).items():
        assert other in SERVICES
        if condition == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert (other, condition) == ("airflow-init", "service_completed_successfully")


def test_nothing_of_airflow_starts_before_its_tables_are_made() -> None:
    for name in AIRFLOW.keys() - ONE_TIME:
        assert waits_for(AIRFLOW[name])["airflow-init"] == "service_completed_successfully"


def test_every_component_is_the_same_image_of_this_version() -> None:
    assert {service["image"] for service in AIRFLOW.values()} == {f"assetflow:{VERSION}"}


def test_every_volume_is_declared_or_a_path() -> None:
    declared = set(yaml.safe_load(COMPOSE)["volumes"])
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in declared or source.startswith(("/", ".", "${")), mount


def test_the_share_has_one_path_inside_and_outside() -> None:
    mounts = [mount for mount in AIRFLOW["airflow-worker"]["volumes"] if "ASSETFLOW_SHARE" in mount]
    (mount,) = mounts
    outside, inside = mount[: len(mount) // 2], mount[len(mount) // 2 + 1 :]
    assert outside == inside


def test_the_image_has_the_airflow_that_is_locked() -> None:
    lock = (ROOT / "requirements.txt").read_text()
    found = re.search(r"^apache-airflow==(\S+)", lock, re.MULTILINE)
    assert found
    assert f"FROM apache/airflow:{found[1]}-python3.11\n" in DOCKERFILE


def test_everything_copied_into_the_image_exists() -> None:
    sources = re.findall(r"^COPY (?:--\S+ )*(\S+) \S+$", DOCKERFILE, re.MULTILINE)
    assert len(sources) == DOCKERFILE.count("\nCOPY ")
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_the_image_has_every_folder_that_airflow_is_pointed_at() -> None:
    copied = set(re.findall(r"^COPY --chown=\S+ (\S+) \S+$", DOCKERFILE, re.MULTILINE))
    pointed_at = set(re.findall(r"/opt/assetflow/(\w+)", DOCKERFILE))
    assert pointed_at <= copied
    # What the tasks import, and what `assetflow presets push` reads.
    assert {"include", "presets"} <= copied


def test_below_a_path_every_address_of_the_execution_api_has_it() -> None:
    """Airflow answers 404 for what is mounted in it when the path of its own address is missing."""
    found = re.findall(r"http://[\w-]+:8080(\S*)/execution/", COMPOSE)
    assert found == ["${ASSETFLOW_AIRFLOW_PATH:-}"] * 2


def test_every_variable_of_compose_is_in_the_example() -> None:
    assert compose_variables() - env_values(ENV_EXAMPLE).keys() == set()


def test_the_example_names_every_setting_and_connection_and_nothing_unknown() -> None:
    settings = {
        f"ASSETFLOW_{name.upper()}"
        for name, field in Settings.model_fields.items()
        if field.validation_alias is None
    }
    aliases = {
        str(field.validation_alias)
        for field in Settings.model_fields.values()
        if field.validation_alias is not None
    }
    connections = {f"AIRFLOW_CONN_{name.upper()}" for name in connection_ids()}
    assert aliases <= connections
    assert env_names(ENV_EXAMPLE) == settings | connections | compose_variables()


def test_the_example_can_be_read_as_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in env_values(ENV_EXAMPLE).items():
        if name.startswith("ASSETFLOW_"):
            monkeypatch.setenv(name, value)
    read, defaults = Settings(), Settings.model_construct()
    # Where every worker sees it; the default is for one machine.
    different = {"environments_root", "parameter_store_connection"}
    for name in Settings.model_fields.keys() - different:
        assert getattr(read, name) == getattr(defaults, name), name


def test_the_connections_of_the_example_can_be_read() -> None:
    for name, value in env_values(ENV_EXAMPLE).items():
        if name.startswith("AIRFLOW_CONN_"):
            assert "conn_type" in json.loads(value), name
