"""`recserve study sparse-scenario`: models trained with a share of one scenario's samples, tested on all of them."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from serving.environment import circumstances
from training import datasets
from training.checkpoint import write_json
from training.data.click import ClickData, ClickSplit
from training.fit import FitOptions, fit
from training.registry import system
from training.system import Wanted
from training.tasks.click import CLICK
from training.tasks.click_slices import scenarios_of

MODELS = ("shared_bottom", "gsvr off", "gsvr free", "gsvr")
"""System, and of one with cells which they are."""


@dataclass(frozen=True, kw_only=True)
class SparseScenario(Command):
    """Train GSVR, its controls and its backbone with a share of one scenario's samples; test on all of them."""

    dataset: str = "kuairand"
    """Data set with scenarios."""
    scenario: int = 3
    """Number of the scenario that is made sparse."""
    share: float = 0.1
    """Share of its training samples that is kept."""
    seeds: int = 3
    """Number of seeds."""
    max_epochs: int | None = None
    """Epochs at most, in place of the configuration's."""
    output: Path = STUDY_RESULTS / "sparse-scenario.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if not 0 < self.share <= 1 or self.seeds < 1:
            raise ValueError("--share must be above 0 and at most 1, and --seeds at least 1")

    def run(self) -> int:
        found = {name: self._trained(name) for name in MODELS}
        result = {
            "scenario": "sparse-scenario",
            "kind": "sparse-scenario",
            "run": f"{self.seeds} seeds each, trained by the command",
            **circumstances(),
            "dataset": self.dataset,
            "sparse": self.scenario,
            "share": self.share,
            "test": found,
        }
        write_json(self.output, result)
        names = [name for name in next(iter(found.values())) if name.startswith("auc")]
        rows = [[name, *(np.mean(one[metric]) for metric in names)] for name, one in found.items()]
        show(self.console, table(f"{self.share:.0%} of scenario {self.scenario} kept", ["model", *names], rows))
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0

    def _trained(self, name: str) -> dict[str, list[float]]:
        """Test metrics, one value for each seed."""
        called, *cells = name.split()
        chosen = system(called)
        config: Any = chosen.config(**({"cells": cells[0]} if cells else {}))
        view = CLICK.view(datasets.read(self.dataset), Wanted(chosen.reads, config.max_length, {}))
        measured = []
        for seed in range(self.seeds):
            with tempfile.TemporaryDirectory() as folder, self.console.status(f"{name}, seed {seed}"):
                options = FitOptions(run=Path(folder) / "run", seed=seed, max_epochs=self.max_epochs, quiet=True)
                data = thinned(view, self.scenario, self.share)
                measured.append(fit(chosen, config, data, options).metrics["test"])
        return {metric: [one[metric] for one in measured] for metric in measured[0]}


def thinned(data: ClickData, scenario: int, share: float) -> ClickData:
    """With this share of a scenario's training samples, drawn by a fixed seed; histories stay as they were."""
    places = data.train.places
    kept = (scenarios_of(data.train) != scenario) | (np.random.default_rng(0).random(len(places)) < share)
    places = places[kept]
    source = data.source.counted(places)
    parts = (ClickSplit(source, one) for one in (places, data.validation.places, data.test.places))
    train, validation, test = parts
    return replace(data, source=source, train=train, validation=validation, test=test)
