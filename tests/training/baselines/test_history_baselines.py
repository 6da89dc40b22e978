"""DIN and the poolings: which events of a history count, and how much."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.training.click_views import histories as data
from training.baselines import din, pooling
from training.baselines.din import DIN
from training.baselines.pooling import Pooling
from training.data.click import ClickBatch
from training.layers.ranker import RankerConfig
from training.system import System, prepare

SYSTEMS = {system.name: system for system in (din.SYSTEM, pooling.MEAN, pooling.RECENCY)}
SMALL = {"dim": 8, "hidden": (8, 4), "dropout": 0.0}


def built(system: System) -> nn.Module:
    """With weights far from zero, in evaluation mode."""
    torch.manual_seed(1)
    module = system.build(system.config(**SMALL), data().schema)
    prepare(module, data())
    for name, parameter in module.named_parameters():
        if name != "log_weight":
            nn.init.normal_(parameter, std=0.5)
    return module.eval()


def batch(count: int = 30) -> ClickBatch:
    """Of histories of many lengths."""
    rows = np.linspace(0, len(data().train) - 1, count).astype(np.int64)
    return data().train.batch(rows)


def test_din_weighs_each_event_by_its_unit_of_event_target_and_product() -> None:
    module, given = built(din.SYSTEM), batch()
    assert isinstance(module, DIN)
    history, _, target, profile = module.tables.look_up(given)
    interests = []
    for row, length in enumerate(given.history_length.tolist()):
        total = torch.zeros(8)
        for event in history[row, :length]:
            product = event * target[row]
            unit = module.of_event(event) + module.of_target(target[row]) + module.of_product(product)
            total = total + module.weight(functional.silu(unit)) * event
        interests.append(total / max(length, 1))
    expected = module.tower(torch.stack(interests), target, profile)
    torch.testing.assert_close(module(given), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("system", [pooling.MEAN, pooling.RECENCY], ids=lambda system: system.name)
def test_a_pooling_averages_the_events_under_its_weights_by_place(system: System) -> None:
    module, given = built(system), batch()
    assert isinstance(module, Pooling)
    with torch.no_grad():
        if system is pooling.RECENCY:
            module.log_weight.add_(torch.randn_like(module.log_weight))
    history, _, target, profile = module.tables.look_up(given)
    weights, pooled = module.log_weight.exp(), []
    for row, length in enumerate(given.history_length.tolist()):
        own = weights[:length, None] * history[row, :length]
        pooled.append(own.sum(0) / weights[:length].sum() if length else torch.zeros(8))
    expected = module.tower(module.value(torch.stack(pooled)), target, profile)
    torch.testing.assert_close(module(given), expected, rtol=1e-4, atol=1e-4)


def test_the_mean_has_no_weights_to_learn_and_recency_starts_at_one_over_the_place() -> None:
    mean, recency = (Pooling(RankerConfig(), data().schema, by_recency=by_recency) for by_recency in (False, True))
    assert not mean.log_weight.any()
    assert not mean.log_weight.requires_grad
    assert recency.log_weight.requires_grad
    torch.testing.assert_close(recency.log_weight.exp(), 1 / torch.arange(1.0, 257.0))


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=list(SYSTEMS))
def test_what_is_learnt_reaches_every_parameter(system: System) -> None:
    module = built(system)
    functional.binary_cross_entropy_with_logits(module(batch(180)), batch(180).label).backward()
    named = ((name, one.grad) for name, one in module.named_parameters() if one.requires_grad)
    assert [name for name, gradient in named if gradient is None or not gradient.any()] == []


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=list(SYSTEMS))
def test_dropout_is_the_configuration_s_in_training_and_off_in_evaluation(system: System) -> None:
    torch.manual_seed(0)
    module = system.build(system.config(**{**SMALL, "dropout": 0.5}), data().schema)
    prepare(module, data())
    assert not torch.equal(module.train()(batch()), module(batch()))
    assert torch.equal(module.eval()(batch()), module(batch()))
