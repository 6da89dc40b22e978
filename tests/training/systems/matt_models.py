"""Small trained bases with Matt around them, for the tests of MATT."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from training.data.fields import FieldData
from training.data.synthetic import planted_fields

from training.system import System
from training.systems import matt
from training.systems.matt import Matt

SMALL = {"dim": 8, "hidden": (8, 4), "dropout": 0.0, "paths": 4}
SYSTEMS: dict[str, tuple[System, Any]] = {
    "deepfm": (matt.DEEPFM, matt.DeepFMConfig(**SMALL)),
    "autoint": (matt.AUTOINT, matt.AutoIntConfig(**SMALL, layers=2)),
    "dea": (matt.DEA, matt.DEAConfig(**SMALL, codebook_rows=64)),
    "deep_dea": (matt.DEA, matt.DEAConfig(**SMALL, codebook_rows=64, layers=2, fusion="mul")),
}


@cache
def data() -> FieldData:
    return planted_fields()


def untrained(name: str, **changes: Any) -> Matt:
    """Matt around a prepared base whose parameters are random and large enough to matter."""
    system, config = SYSTEMS[name]
    torch.manual_seed(0)
    module = system.build(replace(config, **changes), data().schema)
    system.prepare(module, data())
    assert isinstance(module, Matt)
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
