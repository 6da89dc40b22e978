"""Shared bottom and PEPNet: what a scenario changes, and how."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.click_views import view
from training.baselines import pepnet, shared_bottom
from training.baselines.pepnet import PEPNet
from training.baselines.shared_bottom import SharedBottom
from training.data.click import HISTORY, ClickBatch, ClickData
from training.data.planted_scenarios import planted_halves
from training.layers.scenarios import Gate, ScenarioModel, masked_mean
from training.system import System, prepare

SMALL = {"dim": 8, "hidden": (8, 4), "dropout": 0.0}
BOTH = [shared_bottom.SYSTEM, pepnet.SYSTEM]


@pytest.fixture(scope="module")
def data() -> ClickData:
    return view(planted_halves(num_users=20), frozenset({HISTORY}), 30)


def built(system: System, data: ClickData) -> ScenarioModel:
    """With weights far from zero."""
    torch.manual_seed(1)
    module = system.build(system.config(**SMALL), data.schema)
    prepare(module, data)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert isinstance(module, ScenarioModel)
    return module.eval()


def batch(data: ClickData) -> ClickBatch:
    return data.test.batch(np.arange(40))


@pytest.mark.parametrize("system", BOTH, ids=lambda system: system.name)
def test_the_scenario_changes_the_logit_and_what_is_none_is_the_unknown(system: System, data: ClickData) -> None:
    module, given = built(system, data), batch(data)
    with torch.no_grad():
        answers = [module(given._replace(scenario=torch.full_like(given.scenario, number))) for number in range(6)]
    for one, other in pairwise(answers):
        assert (one != other).all()
    for stranger in (-1, 6, 2**60, -(2**63)):
        found = module(given._replace(scenario=torch.full_like(given.scenario, stranger)))
        torch.testing.assert_close(found, answers[0])


def test_a_sample_goes_through_the_tower_of_its_own_scenario(data: ClickData) -> None:
    module, given = built(shared_bottom.SYSTEM, data), batch(data)
    assert isinstance(module, SharedBottom)
    embedded = module.tables.look_up(given)
    interest = masked_mean(embedded.history, embedded.mask)
    x = torch.cat([interest, embedded.target, interest * embedded.target, embedded.profile], dim=1)
    bottom = torch.relu(module.bottom(x))
    expected = []
    for row, number in enumerate(given.scenario.tolist()):
        weights = module.towers.weights.weight[number]
        first, shift, last, bias = weights.split([32, 4, 4, 1])
        expected.append(last @ torch.relu(first.reshape(8, 4).T @ bottom[row] + shift) + bias)
    torch.testing.assert_close(module(given), torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_the_tower_of_a_scenario_that_training_never_met_is_the_mean_of_the_others(data: ClickData) -> None:
    module = built(shared_bottom.SYSTEM, data)
    assert isinstance(module, SharedBottom)
    scenario = data.train.batch(np.arange(len(data.train))).scenario
    expected = module.towers.weights.weight[scenario].mean(dim=0)
    torch.testing.assert_close(module.towers.weights.table()[0], expected, rtol=1e-4, atol=1e-5)


def test_a_gate_lies_between_0_and_2_starts_at_1_and_passes_no_gradient_to_what_it_looks_at() -> None:
    torch.manual_seed(0)
    gate, scene, x = Gate(3, 5, 4), torch.randn(7, 3), torch.randn(7, 5, requires_grad=True)
    assert torch.equal(gate(scene, x), x)
    for parameter in gate.parameters():
        nn.init.normal_(parameter, std=2.0)
    strength = gate.strength(scene, x)
    assert 0 <= strength.min() < 0.5
    assert 1.5 < strength.max() <= 2
    (gradient,) = torch.autograd.grad(gate(scene, x).sum(), x)
    torch.testing.assert_close(gradient, strength)
    assert not torch.isclose(gate.strength(scene + 1, x), strength).all()


def test_pepnet_gates_what_was_pooled_and_never_a_single_behaviour(data: ClickData) -> None:
    """Any history of the same mean has the same answer in every scenario."""
    module, given = built(pepnet.SYSTEM, data), batch(data)
    assert isinstance(module, PEPNet)
    embedded = module.tables.look_up(given)
    mean = masked_mean(embedded.history, embedded.mask)
    flat = embedded._replace(history=mean[:, None].expand_as(embedded.history))
    torch.testing.assert_close(module.logits(flat, given.scenario), module(given), rtol=1e-4, atol=1e-5)
    scene = module.scenes(given.scenario)
    parts = [
        gate(scene, part) for gate, part in zip(module.gates, (mean, embedded.target, embedded.profile), strict=True)
    ]
    torch.testing.assert_close(module.tower(*parts), module(given))
