"""Small CMKTs of both forms, on simulated students."""

from functools import cache
from typing import Any

import torch

from training.data.tracing import TracingData
from training.system import PLAIN, prepare
from training.systems.cmkt import SYSTEM, Config
from training.systems.cmkt.config import Update
from training.tasks.tracing import TRACING

UPDATES: tuple[Update, ...] = ("soft", "hard")


@cache
def data() -> TracingData:
    return TRACING.view(TRACING.planted(), PLAIN)


def model(update: Update, spread: float = 0.5) -> Any:
    """Untrained, with random weights of that spread; a CMKT, whose state is of its form."""
    torch.manual_seed(0)
    module = SYSTEM.build(Config(dim=8, hidden=12, update=update), data().schema)
    prepare(module, data())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, spread)
    return module.eval()
