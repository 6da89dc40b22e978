"""The margin across stages, and the samples and negatives of a stage."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.systems.csmf_models import QUICK, data, fresh
from training.system import Wanted
from training.systems.csmf import CSMF, SYSTEM
from training.systems.csmf.loss import cascade_loss, margins
from training.systems.csmf.samples import ALL, Cascade, cascade, served
from training.tasks.retrieval import RETRIEVAL

T = 0.1


def test_the_margin_is_between_0_and_gamma_and_larger_for_what_the_objectives_before_prefer() -> None:
    before = torch.linspace(-2, 2, 9)[None].requires_grad_()
    found = margins(before, torch.zeros(1), 0.3, T)
    assert ((found > 0) & (found < 0.3 + 1e-7)).all()
    assert (found.diff() >= 0).all()
    assert found[0, 4].item() == pytest.approx(0.15)
    assert found[0, 5].item() == pytest.approx(0.3 / (1 + np.exp(-0.5 / T)))
    assert not found.requires_grad


def test_the_loss_is_the_formula_written_out() -> None:
    draw = torch.Generator().manual_seed(0)
    scores, margin, share = (torch.rand(3, 5, generator=draw, dtype=torch.float64) for _ in range(3))
    items = torch.tensor([[7, 8, 9, 4, 0], [7, 8, 9, 8, 5], [7, 8, 9, 6, 6]])
    rows = []
    for row in range(3):
        own = scores[row, row] / T - share[row, row]
        others = [
            (scores[row, place] + margin[row, place]) / T - share[row, place]
            for place in range(5)
            if place != row and items[row, place] not in (0, items[row, row])
        ]
        rows.append(float(torch.logsumexp(torch.stack([own, *others]), 0) - own))
    assert cascade_loss(scores, items, margin, share, T).item() == pytest.approx(np.mean(rows))


def test_without_a_margin_it_is_the_softmax() -> None:
    draw = torch.Generator().manual_seed(0)
    scores, share = (torch.rand(4, 4, generator=draw) for _ in range(2))
    items = torch.tensor([1, 2, 3, 4]).expand(4, 4)
    found = cascade_loss(scores, items, margins(scores, scores.diagonal(), 0.0, T), share, T)
    assert torch.equal(found, nn.functional.cross_entropy(scores / T - share, torch.arange(4)))


def test_a_stage_goes_through_what_served_its_objective() -> None:
    marks, targets = served(data().train), data().train.targets[:, 0]
    for objective in range(3):
        samples = Cascade(data(), objective)
        met = samples.batch(np.arange(len(samples))).met
        assert met.targets[:, 0].tolist() == targets[marks[:, objective] > 0].tolist()
    everything = Cascade(data(), ALL)
    found = np.bincount(everything.batch(np.arange(len(everything))).met.targets[:, 0], minlength=300)
    counts = [np.bincount(targets[marks[:, one] > 0], minlength=300) for one in range(3)]
    assert found.tolist() == np.sum(counts, axis=0).tolist()


def test_recovery_has_a_share_of_the_samples_and_the_same_one_each_time() -> None:
    whole, part = Cascade(data(), 1), Cascade(data(), 1, 0.2)
    assert len(part) == round(0.2 * len(whole))
    again = Cascade(data(), 1, 0.2)
    rows = np.arange(len(part))
    assert torch.equal(part.batch(rows).met.targets, again.batch(rows).met.targets)
    assert cascade(data(), 1, 0.2, 0) is cascade(data(), 1, 0.2, 0)


def test_refused_is_what_the_user_took_as_far_as_the_objective_before_and_no_farther() -> None:
    """Clicks fall by chance, so that some users click later what they did not click at first."""
    view = RETRIEVAL.view(RETRIEVAL.planted(), Wanted(SYSTEM.reads, 20, {}))
    marks, train = served(view.train), view.train
    samples, rows = Cascade(view, 1, refused=8), np.arange(int(marks[:, 1].sum()))
    torch.manual_seed(0)
    found = samples.batch(rows).refused.numpy()
    users, both = train.user[marks[:, 1] > 0], 0
    for user in np.unique(users):
        own = train.user == user
        items = train.targets[own, 0]
        seen, clicked = ({*items[marks[own, 1] == value].tolist()} for value in (0, 1))
        assert {*found[users == user].flatten().tolist()} <= (seen - clicked or {0})
        both += len(seen & clicked)
    assert both
    torch.manual_seed(0)
    assert np.array_equal(samples.batch(rows).refused.numpy(), found), "drawn anew by torch's numbers alone"
    assert Cascade(view, 0, refused=3).batch(rows[:4]).refused.shape == (4, 0)


def test_a_refused_item_is_pushed_away_from_its_own_user() -> None:
    module = fresh(QUICK)
    module.enter(2)
    samples = Cascade(data(), 1, refused=2)
    batch = samples.batch(np.arange(40))
    losses = []
    for refused in (batch.refused, batch.refused * 0):
        losses.append(module.cascade_loss(batch._replace(refused=refused), 1)[0])
    assert losses[0] > losses[1]


def clicking(**settings: float) -> CSMF:
    """Untrained, pruned, and in the stage of clicks."""
    module = fresh(replace(QUICK, **settings))
    assert isinstance(module, CSMF)
    module.enter(1)
    module.enter(2)
    return module


def test_no_gradient_of_a_later_objective_reaches_what_an_earlier_one_owns_though_it_reads_it() -> None:
    module, batch = clicking(), Cascade(data(), 1, refused=1).batch(np.arange(64))
    module.cascade_loss(batch, 1)[0].backward()
    for tower in ("user", "item"):
        hidden, last = (module.get_parameter(f"{tower}_tower.{layer}.weight") for layer in (0, 2))
        assert hidden.grad is not None
        assert last.grad is not None
        earlier, outputs = module.get_buffer(f"{tower}_owner") == 0, module.output_owner == 0
        assert not hidden.grad[earlier].any()
        assert hidden.grad[~earlier].any()
        assert not last.grad[outputs].any()
        assert last.grad[~outputs].any()
    before = module.block("user", module.of_users(batch.met), 1)
    with torch.no_grad():
        next(module.masked()).mul_(torch.where(module.user_owner == 0, 2.0, 1.0))
    assert not torch.equal(before, module.block("user", module.of_users(batch.met), 1)), "it reads it"


def test_what_a_later_objective_owns_is_nothing_to_an_earlier_one() -> None:
    module, batch = clicking(), data().test.batch(np.arange(64))
    before = [module.block("user", module.of_users(batch), objective) for objective in (0, 1)]
    with torch.no_grad():
        for weight, owner in zip(module.masked(), (module.user_owner, module.output_owner[:, None]), strict=False):
            weight.mul_(torch.where(owner == 1, -3.0, 1.0))
    after = [module.block("user", module.of_users(batch), objective) for objective in (0, 1)]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_margins_count_from_the_second_objective_on() -> None:
    for objective, differs in ((0, False), (1, True)):
        batch = Cascade(data(), objective).batch(np.arange(64))
        losses = [clicking(gamma=gamma).cascade_loss(batch, objective)[0] for gamma in (0.0, 0.5)]
        assert bool(losses[1] > losses[0]) == differs
        assert differs or torch.equal(*losses)
