"""Every click system on a data set with fields of every kind: it trains, it reads them all, and what is missing is
nothing."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training.click_views import everything, view_of
from training.data.click import FEATURES, HISTORY, WHO, ClickBatch, ClickData, ClickSplit
from training.data.columns import Layout
from training.registry import SYSTEMS
from training.system import System, prepare
from training.tasks.click import CLICK

CLICK_SYSTEMS = {name: system for name, system in SYSTEMS.items() if system.task is CLICK}
SMALL = {"dim": 8, "hidden": (8, 4), "dropout": 0.0}
OWN = {"dea": {"refresh_every": 3}, "dgenctr": {"temperature": 0.03}}
"""So that thresholds are at work, and that cosines become large logits in a few steps."""


@pytest.fixture(params=CLICK_SYSTEMS.values(), ids=list(CLICK_SYSTEMS))
def system(request: pytest.FixtureRequest) -> System:
    return request.param


@cache
def data_of(reads: frozenset[str]) -> ClickData:
    return view_of(next(one for one in CLICK_SYSTEMS.values() if one.reads == reads), everything())


def built(system: System) -> nn.Module:
    """With weights far from zero, in evaluation mode."""
    torch.manual_seed(0)
    module = system.build(system.config(**SMALL), data_of(system.reads).schema)
    prepare(module, data_of(system.reads))
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return module.eval()


def batch_of(system: System, count: int = 200) -> ClickBatch:
    train = data_of(system.reads).train
    return train.batch(np.linspace(0, len(train) - 1, count).astype(np.int64))


@torch.no_grad()
def logits(module: nn.Module, batch: ClickBatch) -> Tensor:
    return module(batch)


def parts_of(system: System) -> tuple[str, str, str]:
    """Names of what it reads: ids, numbers and sets."""
    return ("ids", "dense", "sets") if FEATURES in system.reads else ("profile", "profile_dense", "profile_sets")


def layout_of(system: System) -> Layout:
    """Of these parts."""
    data = data_of(system.reads)
    return (data.features if FEATURES in system.reads else data.profile).layout


def test_each_step_lowers_the_loss_and_every_parameter_of_the_stages_learns(system: System) -> None:
    data = data_of(system.reads)
    torch.manual_seed(0)
    config = system.config(**SMALL, **OWN.get(system.name, {}))
    module = system.build(config, data.schema)
    prepare(module, data)
    stages = system.stages_of(config)
    moved = {id(one) for stage in stages for one in stage.parameters(module) if one.requires_grad}
    unseen = {name for name, one in module.named_parameters() if id(one) in moved}
    for stage in stages:
        parameters = [one for one in stage.parameters(module) if one.requires_grad]
        optimiser, losses = torch.optim.Adam(parameters, lr=0.02), []
        samples = stage.samples(data)
        batch = batch_of(system) if isinstance(samples, ClickSplit) else samples.batch(np.arange(len(samples)))
        for _ in range(30):
            loss, _ = stage.loss(module, batch, 0.5)
            optimiser.zero_grad()
            loss.backward()
            for name, one in module.named_parameters():
                assert one.grad is None or one.grad.isfinite().all(), name
                unseen -= {name} if one.grad is not None and one.grad.any() else set()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.9 * losses[0]
    assert not unseen


def test_each_dense_field_counts_where_it_is_there_and_nowhere_else(system: System) -> None:
    module, batch = built(system), batch_of(system)
    _, dense, _ = parts_of(system)
    before = logits(module, batch)
    numbers = getattr(batch, dense)
    assert numbers.shape[1] == (3 if FEATURES in system.reads else 2)
    for column in range(numbers.shape[1]):
        there = ~numbers[:, column].isnan()
        assert 0 < int(there.sum()) < len(there)
        other = numbers.clone()
        other[:, column] = 2 * other[:, column] + 3
        after = logits(module, batch._replace(**{dense: other}))
        assert torch.equal(after[~there], before[~there])
        assert (after[there] != before[there]).float().mean() > 0.5


def test_each_multi_valued_field_counts(system: System) -> None:
    module, batch = built(system), batch_of(system)
    _, _, sets = parts_of(system)
    values = getattr(batch, sets)
    for start in (0, 3):  # the user's tags, the event's words
        held = values[:, start] > 0
        other = values.clone()
        other[held, start] = values[held, start] % 6 + 1
        after = logits(module, batch._replace(**{sets: other}))
        assert torch.equal(after[~held], logits(module, batch)[~held])
        assert (after[held] != logits(module, batch)[held]).float().mean() > 0.3


def test_a_missing_number_gives_the_logit_of_the_missing_row_whatever_stands_in_its_place(system: System) -> None:
    module, batch = built(system), batch_of(system)
    ids, dense, _ = parts_of(system)
    for column, place in enumerate(layout_of(system).dense):
        missing = getattr(batch, ids).clone()
        missing[:, place] = 0
        answers = []
        for value in (float("nan"), 5.0):
            numbers = getattr(batch, dense).clone()
            numbers[:, column] = value
            answers.append(logits(module, batch._replace(**{ids: missing, dense: numbers})))
        assert torch.equal(*answers)
        assert answers[0].isfinite().all()


def test_each_field_of_the_moment_and_of_the_item_counts(system: System) -> None:
    """The scenario among them."""
    module, batch = built(system), batch_of(system)
    ids, _, _ = parts_of(system)
    names = [
        field.name for field in getattr(data_of(system.reads), "features" if ids == "ids" else "profile").layout.fields
    ]
    for name, other in (("channel", 3), ("last_kind", 6), ("user_kind", 5)):
        place = names.index(name)
        changed = getattr(batch, ids).clone()
        changed[:, place] = (changed[:, place] + 1) % other
        assert (logits(module, batch._replace(**{ids: changed})) != logits(module, batch)).float().mean() > 0.5, name
    if HISTORY in system.reads:
        assert (logits(module, batch._replace(item=batch.item.roll(1))) != logits(module, batch)).float().mean() > 0.5
        longest = batch.history_length.max()
        shorter = batch._replace(history_length=(batch.history_length - 1).clamp(min=0))
        changes = logits(module, shorter) != logits(module, batch)
        assert changes[batch.history_length == longest].float().mean() > 0.5


def test_neither_user_nor_label_is_read_nor_an_item_where_features_say_it(system: System) -> None:
    """Serving has none of them: they are zeros there, but for the user where a system says that it reads it."""
    module, batch = built(system), batch_of(system)
    unread = batch._replace(label=torch.zeros_like(batch.label))
    if WHO not in system.reads:
        unread = unread._replace(user=torch.zeros_like(batch.user))
    if FEATURES in system.reads:
        unread = unread._replace(item=torch.zeros_like(batch.item))
    assert torch.equal(logits(module, unread), logits(module, batch))


@pytest.mark.parametrize("name", [name for name, one in CLICK_SYSTEMS.items() if HISTORY in one.reads])
def test_what_lies_beyond_a_history_s_length_does_not_count(name: str) -> None:
    module, batch = built(CLICK_SYSTEMS[name]), batch_of(CLICK_SYSTEMS[name])
    beyond = torch.arange(batch.history_items.shape[1]) >= batch.history_length[:, None]
    assert beyond.any()
    dirty = batch._replace(
        history_items=torch.where(beyond, 7, batch.history_items),
        history_values=torch.where(beyond, 3, batch.history_values),
    )
    assert torch.equal(logits(module, dirty), logits(module, batch))
