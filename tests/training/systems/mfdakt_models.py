"""MF-DAKT on planted students: small, with weights that nothing trained, and as it is trained."""

from functools import cache
from typing import Any

import torch

from training.data.simulated_students import Simulation, simulate
from training.data.tracing import TracingBatch, TracingData
from training.system import Wanted, prepare
from training.systems.mfdakt import MFDAKT, SYSTEM, Config
from training.tasks.tracing import TRACING

SMALL: dict[str, Any] = {"dim": 8, "hidden": 12}
PLANTED, QUICK = Simulation(), Config(**SMALL)


@cache
def data(simulation: Simulation = PLANTED) -> TracingData:
    """Students of a simulation, by default the planted ones."""
    return TRACING.view(simulate(simulation).interactions, Wanted(SYSTEM.reads, Config().max_length, {}))


def fresh(config: Config = QUICK, spread: float = 0.7) -> MFDAKT:
    """With random weights, in evaluation mode."""
    torch.manual_seed(0)
    module = MFDAKT(config, data().schema)
    prepare(module, data())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, spread)
    return module.eval()


def answers(*pairs: tuple[int, int]) -> TracingBatch:
    """Of one new student: questions, each with its response."""
    questions, responses = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T[:, None]
    student, length = torch.zeros(1, dtype=torch.int64), torch.tensor([len(pairs)])
    return TracingBatch(student, questions, responses, length, torch.ones(1, len(pairs)))
