"""GSVR as it is built, served and explained: counts, cells that training never met, the loss, the controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.systems.gsvr_models import SMALL, data, everything, model
from training.data.click import ClickBatch
from training.layers.mixtures import mixture_kl
from training.system import prepare
from training.systems.gsvr import SYSTEM, Config, build
from training.systems.gsvr.evaluation import CELLS, cell_counts
from training.systems.gsvr.model import gsvr_loss
from training.systems.gsvr.served import ServedGSVR


def test_a_user_whom_training_never_met_in_a_scenario_is_known_by_the_history_and_asks_no_counts() -> None:
    module, batch = model(), everything("test")
    user = torch.nonzero(module.users.cells.counts.reshape(-1, 4)[:, 3] == 0)[1]
    one = ClickBatch(*(part[:1] for part in batch))._replace(scenario=torch.tensor([3]), user=user)
    with torch.no_grad():
        kept = module.host.tables.look_up(one)
        other = kept._replace(history=kept.history.flip(2))
        priors = [module.users.prior(module.interests(part)).moments().mean for part in (kept, other)]
    assert not torch.isclose(*priors).all()
    names = [spec.name for spec in SYSTEM.release(module, SMALL, data())[-1].inputs]
    assert names == ["user_id", "candidates", "candidate_offsets", "market"]


def test_cells_are_counted_on_the_training_part_alone() -> None:
    module, batch = model(), everything()
    counts = module.users.cells.count(batch.user, batch.scenario)
    pairs = np.stack([batch.user.numpy(), batch.scenario.numpy()])
    _, place, expected = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    assert counts.tolist() == expected[place].tolist()
    assert int(module.users.cells.counts.sum()) == len(data().train) == int(module.items.cells.counts.sum())
    strangers = torch.tensor([-1, 121, 2**60, 0])
    assert module.users.cells.count(strangers, torch.ones(4, dtype=torch.int64)).tolist() == [0] * 4


def test_users_of_the_same_behaviours_share_the_answer_of_a_scenario_in_which_training_met_neither() -> None:
    module, batch = model(), everything("test")
    users = module.users.cells
    small = torch.full((121,), 3)
    unmet = torch.nonzero(users.count(torch.arange(121), small) == 0)[:, 0]
    met = torch.nonzero(users.count(torch.arange(121), small) > 0)[:, 0]
    assert len(unmet) > 3
    first = ClickBatch(*(part[:1] for part in batch))._replace(scenario=torch.tensor([3]))
    answers = [float(module(first._replace(user=user[None]))) for user in (*unmet[1:4], *met[:3])]
    assert answers[0] == answers[1] == answers[2]
    assert len(set(answers)) == 4, "users whom training met there have answers of their own"


def test_items_of_the_same_fields_share_the_answer_where_training_met_neither() -> None:
    module = model()
    kind = data().interactions.items["kind"].to_numpy()
    unmet = np.flatnonzero(module.items.cells.counts.reshape(-1, 4)[:, 3].numpy() == 0)
    same = unmet[kind[unmet] == 2][:2]
    other = unmet[kind[unmet] == 3][0]
    one = ClickBatch(*(part[:1] for part in everything("test")))._replace(scenario=torch.tensor([3]))
    answers = [float(module(one._replace(item=torch.tensor([item])))) for item in (*same, other)]
    assert answers[0] == pytest.approx(answers[1], abs=1e-6)
    assert abs(answers[0] - answers[2]) > 1e-4


def test_a_cell_is_as_sure_as_the_prior_before_training() -> None:
    """From a smaller variance the divergence widens the cells of many samples first, and few steps end there."""
    module = build(SMALL, data().schema)
    prepare(module, data())
    batch = everything()
    for side in module.sides(batch, module.host.tables.look_up(batch), noise=False):
        torch.testing.assert_close(
            side.posterior.log_variance, side.prior.log_variance[:1].expand_as(side.posterior.log_variance)
        )


def test_nothing_is_drawn_but_in_training() -> None:
    module, batch = model(replace(SMALL, unseen_rate=0.0)), everything("test")
    assert torch.equal(module(batch), module(batch))
    module.train()
    values = [float(gsvr_loss(module, batch, 0.9)[0]) for _ in range(2)]
    assert values[0] != values[1]
    cold = [float(gsvr_loss(module, batch, 0.0)[1]["divergence"]) for _ in range(2)]
    assert cold[0] == cold[1], "the divergence is in closed form"


def test_the_loss_is_the_entropy_plus_the_divergence_of_each_cell_once() -> None:
    config = replace(SMALL, unseen_rate=0.0, beta=0.7, prior_weight=0.4, warm_up=0.2)
    module, batch = model(config), everything()
    embedded = module.host.tables.look_up(batch)
    sides = module.sides(batch, embedded, noise=False)
    whole = sum(float((mixture_kl(one.posterior, one.prior) / one.samples).mean()) for one in sides)
    priors = zip((module.users, module.items), sides, strict=True)
    held = 0.4 * sum(float(one.prior.spread(side.prior)) for one, side in priors)
    shares = {}
    for done in (0.1, 0.3, 0.9):
        torch.manual_seed(3)
        total, logged = gsvr_loss(module, batch, done)
        shares[done] = float(total.detach() - logged["loss"]) - held
        assert float(logged["divergence"]) == pytest.approx(whole, rel=1e-4)
    assert shares[0.1] == pytest.approx(0, abs=1e-4)
    assert shares[0.3] == pytest.approx(0.35 * whole, rel=1e-3)
    assert shares[0.9] == pytest.approx(0.7 * whole, rel=1e-3)


@pytest.mark.parametrize("cells", ["variational", "free", "off"])
@pytest.mark.parametrize("permuted", [False, True], ids=["true", "by lot"])
def test_tables_answer_as_what_was_trained(cells: str, permuted: bool) -> None:
    module = model(Config(**{**vars(SMALL), "cells": cells, "permuted": permuted, "backbone": "pepnet"})).double()
    batch = everything("test")
    batch = batch._replace(
        user=torch.cat([torch.tensor([-3, 0, 500]), batch.user[3:]]),
        item=torch.cat([torch.tensor([0, 5000, -1]), batch.item[3:]]),
        scenario=torch.cat([torch.tensor([0, 9, -2]), batch.scenario[3:]]),
    )
    with torch.no_grad():
        torch.testing.assert_close(ServedGSVR(module)(batch), module(batch))


def test_scenarios_by_lot_are_one_for_each_item_at_the_true_rates() -> None:
    module, batch = model(replace(SMALL, permuted=True)), everything()
    drawn = module.scenario(batch)
    assert len({*zip(batch.item.tolist(), drawn.tolist(), strict=True)}) == len(set(batch.item.tolist()))
    rates = [np.bincount(one.numpy(), minlength=4) / len(one) for one in (drawn, batch.scenario)]
    assert rates[0] == pytest.approx(rates[1], abs=0.06)
    assert (drawn != batch.scenario).float().mean() > 0.3
    assert torch.equal(model().scenario(batch), batch.scenario)
    pairs = np.stack([batch.user.numpy(), drawn.numpy()])
    _, place, met = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    assert module.users.cells.count(batch.user, drawn).tolist() == met[place].tolist(), "training's own by lot too"


@torch.no_grad()
def test_free_tables_know_the_scenario_the_other_control_does_not_and_both_learn_what_to_say_of_strangers() -> None:
    batch = everything("test")
    for cells in ("free", "off"):
        module = model(replace(SMALL, cells=cells, unseen_rate=1.0))
        nothing = torch.zeros(len(batch.user), 8)
        vectors = [module.users.means(batch.user, torch.full_like(batch.user, s), nothing) for s in (1, 2)]
        assert torch.equal(*vectors) == (cells == "off")
        embedded, stranger = module.host.tables.look_up(batch), torch.zeros_like(batch.user)
        user = module.users.means(stranger, batch.scenario, nothing)
        item = module.items.means(stranger, batch.scenario, embedded.target)
        torch.testing.assert_close(module.control(batch), module.score(embedded, batch.scenario, user, item))


@torch.no_grad()
def test_figures_by_count_are_of_the_same_samples_whether_cells_are_true_or_by_lot() -> None:
    test, batch = data().test, everything("test")
    counts = cell_counts(test)
    assert (counts.min(), counts.max() > 10) == (0, True)
    found = []
    for permuted in (False, True):
        module = model(replace(SMALL, permuted=permuted))
        own = module.users.cells.count(batch.user, module.scenario(batch)).numpy()
        assert (own == counts).all() == (not permuted)
        found.append(SYSTEM.measure(module, lambda one, split: one(split.batch(np.arange(len(split)))).numpy(), test))
    for metric, _, least, most in CELLS:
        inside = (counts >= least) & (counts <= most)
        assert [one[metric.replace("auc", "samples")] for one in found] == [inside.sum()] * 2
        assert all((metric in one) == (len({*test.label[inside]}) == 2) for one in found)
    assert sum(found[1][metric.replace("auc", "samples")] for metric, *_ in CELLS) == len(counts)


def test_only_a_model_that_knows_scenarios_is_a_backbone() -> None:
    for name in ("fm", "din", "gsvr", "mean_pooling"):
        with pytest.raises(ValueError, match=f"backbone is {name}, which knows no scenario; choose shared_bottom"):
            build(replace(SMALL, backbone=name), data().schema)
    assert SYSTEM.baseline_of(replace(SMALL, backbone="pepnet")) == "pepnet"
    assert SYSTEM.variant(replace(SMALL, backbone="pepnet", cells="off", permuted=True)) == "pepnet-off-permuted"
