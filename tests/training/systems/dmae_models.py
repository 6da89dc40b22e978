"""Small DMAEs on planted clicks, untrained and trained, and batches to ask them."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from tests.training.click_views import view
from training.data.click import AGES, HISTORY, ClickBatch, ClickData
from training.data.planted_clicks import planted_clicks
from training.layers.ranker import HistoryModel, RankerConfig
from training.loop import predict
from training.system import System, prepare
from training.systems.dmae import DMAE, SYSTEM, Config

LENGTH = 16
SMALL = Config(dim=8, width=8, max_length=LENGTH, hidden=(8, 4), dropout=0.0, attention_units=8)


@cache
def data() -> ClickData:
    return view(planted_clicks(), frozenset({HISTORY, AGES}), LENGTH)


def model(config: Config = SMALL, seed: int = 0) -> DMAE:
    """Untrained, with ages that count."""
    torch.manual_seed(seed)
    built = DMAE(config, data().schema)
    built.prepare(data())
    with torch.no_grad():
        built.ages.rows.weight.normal_()
    return built.eval()


def batch(rows: np.ndarray | None = None) -> ClickBatch:
    """Of the test part, whose histories are full."""
    return data().test.batch(np.arange(40) if rows is None else rows)


def train(chosen: System, config: RankerConfig, on: ClickData, steps: int = 120) -> HistoryModel:
    """A short training by the system's own loss."""
    torch.manual_seed(0)
    built = chosen.build(config, on.schema)
    prepare(built, on)
    assert isinstance(built, HistoryModel)
    optimiser = torch.optim.Adam(built.parameters(), lr=1e-2)
    random, (stage,) = np.random.default_rng(0), chosen.stages_of(config)
    for _ in range(steps):
        loss, _ = stage.loss(built, on.train.batch(random.integers(0, len(on.train), 128)), 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return built.eval()


@cache
def trained(decoder_weight: float) -> DMAE:
    built = train(SYSTEM, replace(SMALL, decoder_weight=decoder_weight), data())
    assert isinstance(built, DMAE)
    return built


def measured(built: DMAE) -> dict[str, float]:
    return SYSTEM.measure(built, predict, data().test)
