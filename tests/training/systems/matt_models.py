"""Small trained bases with Matt around them, for the tests of MATT."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch

from tests.training.click_views import fields as data
from training.layers.columns import Features
from training.system import prepare
from training.systems.dea import DEA
from training.systems.dea import Config as DEAConfig
from training.systems.matt import SYSTEM, Matt, MattConfig

__all__ = ["BASES", "SMALL", "config_of", "data", "features", "trained", "untrained"]

SMALL = MattConfig(dim=8, hidden=(8, 4), dropout=0.0, paths=4)
_COLLIDING = DEAConfig(dim=8, hidden=(8, 4), dropout=0.0, codebook_rows=64)
_DEAS = {"dea": _COLLIDING, "deep_dea": replace(_COLLIDING, layers=2, fusion="mul")}
"""With few rows, so that pairs collide; what a configuration of MATT cannot ask for."""
BASES = ("deepfm", "autoint", *_DEAS)


def config_of(name: str, **changes: Any) -> MattConfig:
    return replace(SMALL, base="dea" if name == "deep_dea" else name, **changes)


def features(count: int | None = None) -> Features:
    """Of the first samples of the test part, or of all."""
    split = data().test
    return Features(*map(torch.from_numpy, split.features(np.arange(count or len(split)))))


def untrained(name: str, **changes: Any) -> Matt:
    """Matt around a prepared base whose parameters are random and large enough to matter."""
    config = config_of(name, **changes)
    torch.manual_seed(0)
    module = SYSTEM.build(config, data().schema)
    assert isinstance(module, Matt)
    if name in _DEAS:
        module.base = DEA(_DEAS[name], data().schema)
    prepare(module, data())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return module.eval()


@cache
def trained(steps: int = 150) -> Matt:
    """DeepFM fitted to the planted set for some steps, with Matt around it."""
    module = untrained("deepfm").train()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    random = np.random.default_rng(0)
    for _ in range(steps):
        batch = data().train.batch(random.integers(0, len(data().train), 256))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(module(batch), batch.label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return module.eval()
