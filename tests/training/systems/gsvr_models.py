"""Small GSVRs, on a log in which items are many and their kind says what they are like."""

import tempfile
from functools import cache
from pathlib import Path

import torch

from tests.training.click_views import view_of
from training.data.click import ClickData
from training.data.planted_scenarios import planted_markets
from training.fit import FitOptions, FitResult, fit
from training.system import prepare
from training.systems.gsvr import GSVR, SYSTEM, Config, build

SMALL = Config(
    dim=8, hidden=(16, 8), max_length=20, dropout=0.0, batch_size=128, epochs=6, learning_rate=5e-3, components=8
)


@cache
def data() -> ClickData:
    return view_of(SYSTEM, planted_markets(num_users=120, num_events=40, num_items=640), 20)


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
def trained(config: Config = SMALL, seed: int = 0) -> FitResult:
    with tempfile.TemporaryDirectory() as folder:
        return fit(SYSTEM, config, data(), FitOptions(run=Path(folder) / "run", seed=seed, quiet=True))
