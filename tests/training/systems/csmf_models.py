"""CSMF on planted data with objectives that conflict, trained once for all tests."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch
from torch import Tensor, nn

from training.checkpoint import snapshot
from training.data.planted_retrieval import planted_retrieval
from training.data.retrieval import RetrievalData
from training.fit import FitOptions, fit
from training.interactions import Interactions
from training.schema import Schema
from training.system import Stage, Wanted, prepare
from training.systems.csmf import SYSTEM, Config
from training.systems.csmf.cascaded import Cascaded
from training.systems.csmf.config import Way
from training.tasks.retrieval import RETRIEVAL

NAMES = ("seen", "clicked", "bought")
QUICK = Config(epochs=5, recovery_epochs=2, patience=5, dim=18, hidden=32, weight_decay=0.05, batch_size=64)
"""With a decay, which must not move what is frozen."""


class Trained(NamedTuple):
    """A finished run."""

    module: Cascaded
    test: dict[str, dict[str, float]]
    """Metrics of the test part after each stage by its name, the last under ""."""
    states: list[dict[str, Tensor]]
    """Of the module at the start of each stage."""

    def at(self, stage: int) -> Cascaded:
        """The module as it was when a stage began."""
        module = fresh(self.module.config)
        module.load_state_dict(self.states[stage])
        return module


def conflicting() -> Interactions:
    """Users click items with an even number alone, and buy those that four divides."""
    planted = planted_retrieval(num_users=300, num_items=200)
    even, fourth = ((pl.col("item") % step == 0).cast(pl.Float32) for step in (2, 4))
    return replace(planted, events=planted.events.with_columns(clicked=even, bought=fourth))


@cache
def data() -> RetrievalData:
    return RETRIEVAL.view(conflicting(), Wanted(SYSTEM.reads, 20, {}))


@cache
def trained(way: Way = "masks") -> Trained:
    states: list[dict[str, Tensor]] = []

    def watched(stage: Stage) -> Stage:
        """The loop asks for the parameters as it enters the stage."""

        def parameters(module: nn.Module) -> Iterable[nn.Parameter]:
            states.append(snapshot(module))
            return stage.parameters(module)

        return replace(stage, parameters=parameters)

    def stages(config: Config, schema: Schema) -> list[Stage]:
        return [watched(stage) for stage in SYSTEM.stages_of(config, schema)]

    with tempfile.TemporaryDirectory() as folder:
        options = FitOptions(run=Path(folder) / "run", quiet=True)
        found = fit(replace(SYSTEM, stages_by_schema=stages), replace(QUICK, way=way), data(), options)
    assert isinstance(found.module, Cascaded)
    parts = {part: metrics for part, metrics in found.metrics.items() if part != "validation"}
    test = {part.removeprefix("test").removeprefix(" after "): one for part, one in parts.items()}
    return Trained(found.module, test, states)


def fresh(config: Config = QUICK) -> Cascaded:
    """Untrained."""
    torch.manual_seed(0)
    module = SYSTEM.build(config, data().schema)
    prepare(module, data())
    assert isinstance(module, Cascaded)
    return module.eval()
