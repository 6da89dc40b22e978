"""Configurations for an accelerator: the help has the command of each, and one step of every stage runs."""

import numpy as np
import pytest

from recserve import options
from recserve.commands.train import gpu_words, members
from tests.training.test_every_system import initial, ready_as
from training.registry import SYSTEMS, system


@pytest.mark.parametrize("name", [one.name for one in SYSTEMS.values() if one.gpu is not None])
def test_a_run_for_an_accelerator_can_be_said_and_starts(name: str) -> None:
    chosen = system(name)
    made = options.parse(members()[name], gpu_words(chosen)[3:], name)
    assert (made.config, made.accelerator) == (chosen.gpu, "auto")
    one = ready_as(chosen, chosen.gpu)
    module, stages = initial(one).train(), chosen.stages_of(chosen.gpu, one.data.schema)
    for stage in stages:
        module.zero_grad()
        value, _ = stage.loss(module, stage.samples(one.data).batch(np.arange(4)), 0.0)
        value.backward()
        assert bool(value.isfinite()), stage.name
        assert any(parameter.grad is not None for parameter in stage.parameters(module)), stage.name
