"""Committed results say what they were measured on: run, configuration, seeds one by one, versions, command."""

import hashlib
import json
import shlex
import statistics
from pathlib import Path
from typing import Any

import pytest

from loadtest import RESULTS
from recserve import cli, results
from recserve.commands.train import Train
from training.checkpoint import config_to_json
from training.registry import system

NOT_RECORDED = "not recorded"
BEFORE = "2026-11-22"
"""Results until then did not keep the values of each seed, nor the command of a load test."""
TRAINED = sorted(results.FOLDER.glob("*/*/*.json"))
MEASURED = sorted(RESULTS.glob("*.json"))


def label(path: Path) -> str:
    """task/data set/name, without the ending."""
    return str(path.relative_to(results.FOLDER).with_suffix(""))


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.mark.parametrize("path", TRAINED, ids=label)
def test_a_trained_result_names_its_runs_its_seeds_and_the_command_that_makes_it_again(path: Path) -> None:
    result = results.Result(**read(path))
    assert label(path) == f"{result.task}/{result.dataset}/{result.name}"
    assert {"python", "torch", "numpy"} <= result.versions.keys()
    digest = hashlib.sha256(json.dumps(result.config, sort_keys=True).encode()).hexdigest()[:8]
    assert result.runs == [f"{result.system}/{result.dataset}-{digest}-s{seed}" for seed in result.seeds]
    program, *words = shlex.split(result.command)
    command = cli.command(words)
    assert program == "recserve"
    assert isinstance(command, Train)
    assert (command.system.name, command.record) == (result.system, True)
    assert (command.system.task.name, command.dataset or command.system.task.default) == (result.task, result.dataset)
    assert command.system.variant(command.config) == result.variant
    assert [command.seed + number for number in range(command.seeds)] == result.seeds
    assert config_to_json(command.config) | result.config == config_to_json(command.config)


@pytest.mark.parametrize("path", TRAINED, ids=label)
def test_mean_and_spread_are_those_of_the_seeds(path: Path) -> None:
    result = results.Result(**read(path))
    if result.by_seed is None:
        assert result.recorded <= BEFORE
        return
    assert result.by_seed.keys() == result.test.keys()
    for name, values in result.by_seed.items():
        assert len(values) == len(result.seeds)
        # What is in closed form has one seed, and no spread.
        expected = {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}
        assert result.test[name] == pytest.approx(expected)


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_a_measured_result_names_its_run_its_command_and_its_versions(path: Path) -> None:
    result = read(path)
    for name in ("run", "command", "versions", "hardware"):
        assert result[name], f"{name} is missing"
        assert result[name] != NOT_RECORDED or result["recorded"][:10] <= BEFORE, f"{name} is not recorded"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_has_the_result_that_it_was_drawn_from_beside_it(path: Path) -> None:
    assert path.with_suffix(".json") in MEASURED


def test_what_corp_was_drawn_for_is_a_run_of_a_published_result() -> None:
    corp = read(RESULTS / "reg4rec-corp.json")
    name, _ = corp["run"].split("/")
    published = next(one for one in results.of_system(system(name)) if one.config == corp["config"])
    assert published.dataset == corp["dataset"]
    assert [corp["run"]] == [published.runs[published.seeds.index(seed)] for seed in corp["seeds"]]
