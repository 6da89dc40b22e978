"""Small GSVRs, on a log in which items are many and their kind says what they are like."""

from functools import cache

import numpy as np
import torch

from tests.training.click_views import view_of
from training.data.batching import batches
from training.data.click import ClickBatch, ClickData
from training.data.planted_scenarios import planted_markets, planted_moods
from training.layers.scenarios import ScenarioModel
from training.system import Loss, prepare
from training.systems.gsvr import GSVR, SYSTEM, Config, build
from training.systems.gsvr.model import gsvr_loss

SMALL = Config(
    dim=8, hidden=(16, 8), max_length=20, dropout=0.0, batch_size=128, epochs=6, learning_rate=5e-3, components=8
)


@cache
def data() -> ClickData:
    return view_of(SYSTEM, planted_markets(num_users=120, num_events=40, num_items=640), 20)


def everything(split: str = "train") -> ClickBatch:
    part = getattr(data(), split)
    return part.batch(np.arange(len(part)))


def model(config: Config = SMALL, seed: int = 0) -> GSVR:
    """Untrained, with weights far from their first ones."""
    torch.manual_seed(seed)
    module = build(config, data().schema)
    prepare(module, data())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


@cache
def moods() -> ClickData:
    """A log that nothing but user and scenario together explains."""
    return view_of(SYSTEM, planted_moods(), 4)


@torch.enable_grad()
def descended(module: GSVR | ScenarioModel, loss: Loss, log: ClickData, config: Config) -> None:
    """Trains for all epochs, whichever is the best."""
    prepare(module, log)
    optimiser = torch.optim.AdamW(module.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    costs = log.train.cost()
    steps = [rows for epoch in range(config.epochs) for rows in batches(costs, config.batch_size, 0, epoch)]
    for number, rows in enumerate(steps):
        value, _ = loss(module.train(), log.train.batch(rows), number / len(steps))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    module.eval()


@cache
def untended(config: Config = SMALL, seed: int = 0) -> GSVR:
    """Trained on the log of `data` for all epochs."""
    torch.manual_seed(seed)
    module = build(config, data().schema)
    descended(module, gsvr_loss, data(), config)
    return module
