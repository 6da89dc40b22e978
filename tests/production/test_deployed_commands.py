"""Whatever deploys recserve calls it by words that its command line takes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from recserve.cli import command
from recserve.commands.releases.pull import Pull
from recserve.commands.serve import Serve
from tests.production.helm import CHART, ROOT, rendered

pytestmark = pytest.mark.production


def of_chart(folder: Path) -> list[list[str]]:
    found = []
    for values in sorted((CHART / "examples").glob("*.yaml")):
        for one in rendered(folder, values):
            if one["kind"] == "Deployment" and one["metadata"]["name"].endswith("-servers"):
                spec: dict[str, Any] = one["spec"]["template"]["spec"]
                containers = [*spec.get("initContainers", ()), *spec["containers"]]
                found += [container["args"] for container in containers]
    return found


def of_files() -> list[list[str]]:
    deploy = ROOT / "deploy"
    composition = yaml.safe_load((deploy / "compose" / "compose.yaml").read_text())
    runtime = yaml.safe_load((deploy / "kserve" / "runtime.yaml").read_text())
    recipe = (deploy / "containers" / "cpu.Dockerfile").read_text()
    return [
        composition["services"]["server-a"]["command"],
        runtime["spec"]["containers"][0]["args"],
        json.loads(recipe.rpartition("CMD ")[2]),
    ]


def test_every_command_is_one(tmp_path: Path) -> None:
    words = [*of_chart(tmp_path), *of_files()]
    made = [command(one) for one in words]
    assert [type(one) for one in made].count(Pull) == 1
    assert [type(one) for one in made].count(Serve) == len(made) - 1 == 6
    for one in made:
        if isinstance(one, Serve):
            assert one.ready_port == 8003
