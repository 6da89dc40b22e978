"""Small CMVFs, on students of four modes who start far apart and differ in how many answers they gave."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from training.data.batching import batches
from training.data.simulated_students import Simulation, simulate
from training.data.tracing import TracingBatch, TracingData
from training.layers.mixtures import Mixture, Posterior
from training.system import PLAIN, prepare
from training.systems.cmvf import CMVF, Config, build
from training.systems.cmvf.loss import cmvf_loss
from training.systems.cmvf.model import Seen
from training.tasks.tracing import TRACING

SMALL = Config(dim=8, hidden=16, vector_dim=8, inference_units=16, window=6, warm_up=0.1, epochs=25)
STUDENTS = replace(
    Simulation(),
    students=200,
    concepts=8,
    learning=(0.05,) * 4,
    forgetting=(0.0,) * 4,
    profile=1.5,
    start_spread=0.3,
    answers=25,
    length_spread=1.2,
    most_answers=150,
)


LONG = replace(STUDENTS, answers=60, length_spread=0.2, profile=2.0)
"""Students whose modes can be told from their answers."""


@cache
def data(simulation: Simulation = STUDENTS) -> TracingData:
    return TRACING.view(simulate(simulation).interactions, PLAIN)


def model(config: Config = SMALL, seed: int = 0) -> CMVF:
    """Untrained, with weights far from their first ones."""
    torch.manual_seed(seed)
    module = build(config, data().schema)
    prepare(module, data())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.3)
    return module.eval()


@cache
def trained(config: Config = SMALL, simulation: Simulation = STUDENTS) -> CMVF:
    """Trained for all epochs, whichever is the best."""
    torch.manual_seed(0)
    module, split = build(config, data(simulation).schema), data(simulation).train
    prepare(module, data(simulation))
    optimiser = torch.optim.AdamW(module.parameters(), config.learning_rate)
    costs = split.cost()
    steps = [rows for epoch in range(config.epochs) for rows in batches(costs, config.batch_size, 0, epoch)]
    with torch.enable_grad():
        for number, rows in enumerate(steps):
            value, _ = cmvf_loss(module.train(), split.batch(rows), number / len(steps))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    return module.eval()


def distributions(module: CMVF, seen: Seen) -> tuple[Posterior, Mixture]:
    """What the module says of the students' vectors."""
    assert module.prior is not None
    assert seen.log_share is not None
    posterior = module.source(seen.number, seen.described, module.centre(seen))
    posterior = Posterior(*(part.expand(*seen.described.shape[:-1], -1) for part in posterior))
    return posterior, module.prior.mixture(seen.log_share)


def everyone(split: str = "train") -> TracingBatch:
    part = getattr(data(), split)
    return part.batch(np.arange(len(part)))
