"""The checks that show that GSVR is real: the divergence, counts, cells that training never met, and the controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.systems.gsvr_models import SMALL, data, model, trained
from training.data.click import ClickBatch
from training.systems.gsvr import GSVR, SYSTEM, Config, build
from training.systems.gsvr.cells import Mixture, Posterior, Prior, gaussian_kl, mixture_kl
from training.systems.gsvr.evaluation import CELLS, cell_counts
from training.systems.gsvr.model import gsvr_loss
from training.systems.gsvr.served import ServedGSVR


def everything(split: str = "train") -> ClickBatch:
    part = getattr(data(), split)
    return part.batch(np.arange(len(part)))


def distributions(seed: int = 0, components: int = 5) -> tuple[Posterior, Mixture]:
    torch.manual_seed(seed)
    cell = Posterior(torch.randn(3, 4).double(), 0.5 * torch.randn(3, 4).double())
    shares = torch.log_softmax(torch.randn(3, components).double(), dim=1)
    return cell, Mixture(shares, torch.randn(components, 4).double(), 0.3 * torch.randn(components, 4).double())


def log_density(z: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    return -0.5 * ((z - mean) ** 2 / log_variance.exp() + log_variance + np.log(2 * np.pi)).sum(-1)


@pytest.mark.parametrize("seed", range(4))
def test_the_divergence_from_a_mixture_is_a_bound_that_is_never_negative(seed: int) -> None:
    cell, prior = distributions(seed)
    bound = mixture_kl(cell, prior)
    z = cell.mean + (cell.log_variance / 2).exp() * torch.randn(20_000, 3, 4).double()
    components = log_density(z[:, :, None], prior.mean, prior.log_variance)
    sampled = (log_density(z, *cell) - torch.logsumexp(prior.log_share + components, dim=2)).mean(0)
    assert (bound >= sampled - 0.05).all()
    assert (bound >= -1e-6).all()
    convex = (prior.log_share.exp() * gaussian_kl(cell.mean[:, None], cell.log_variance[:, None], *prior[1:])).sum(1)
    assert (bound <= convex + 1e-9).all()


def test_of_one_component_it_is_the_closed_form() -> None:
    cell, prior = distributions(components=1)
    normal = torch.distributions.Normal
    exact = torch.distributions.kl_divergence(
        normal(cell.mean, (cell.log_variance / 2).exp()), normal(prior.mean, (prior.log_variance / 2).exp())
    ).sum(1)
    torch.testing.assert_close(mixture_kl(cell, prior), exact)
    own = Mixture(torch.zeros(3, 1).double(), cell.mean[:1], cell.log_variance[:1])
    assert mixture_kl(Posterior(cell.mean[:1], cell.log_variance[:1]), own._replace(log_share=own.log_share[:1])) == 0


def test_moments_of_a_mixture_are_those_of_its_draws() -> None:
    _, prior = distributions()
    chosen = torch.multinomial(prior.log_share.exp(), 40_000, replacement=True)  # (3, draws)
    z = prior.mean[chosen] + (prior.log_variance[chosen] / 2).exp() * torch.randn(3, 40_000, 4).double()
    found = prior.moments()
    torch.testing.assert_close(found.mean, z.mean(1), atol=0.05, rtol=0)
    torch.testing.assert_close(found.log_variance.exp(), z.var(1), atol=0.1, rtol=0.05)


def test_the_prior_is_alike_for_like_entities_and_moves_none_of_their_vectors() -> None:
    torch.manual_seed(0)
    prior, side = Prior(8, 5, 1.0), torch.randn(4, 8, requires_grad=True)
    same = prior(side[[0, 1, 0]])
    assert torch.equal(same.log_share[0], same.log_share[2])
    assert not torch.equal(same.log_share[0], same.log_share[1])
    (same.log_share.sum() + prior.mean.sum()).backward()
    assert side.grad is None


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


def test_sparse_cells_stay_nearer_to_the_prior_and_are_less_sure() -> None:
    module = trained().module
    assert isinstance(module, GSVR)
    sparse, dense = near_and_spread(module)
    assert sparse[0] < 0.7 * dense[0]
    assert sparse[1] > 1.15 * dense[1]


def test_without_the_division_by_counts_the_order_is_lost() -> None:
    """At the same weight in all: a tenth, as cells have ten samples or so."""
    module = trained(replace(SMALL, by_count=False, beta=0.1 * SMALL.beta)).module
    assert isinstance(module, GSVR)
    sparse, dense = near_and_spread(module)
    assert sparse[0] > 0.9 * dense[0]
    assert sparse[1] < dense[1]


@torch.no_grad()
def near_and_spread(module: GSVR) -> tuple[tuple[float, float], tuple[float, float]]:
    """Divergence from the prior and deviation of users' cells with at most 2 samples and with 12 or more."""
    batch = everything()
    embedded = module.host.tables.look_up(batch)
    user, _ = module.sides(batch, embedded, noise=False)
    divergence, deviation = mixture_kl(user.posterior, user.prior), (user.posterior.log_variance / 2).exp().mean(1)
    rows = user.samples <= 2, user.samples >= 12
    assert all(int(one.sum()) > 30 for one in rows)
    sparse, dense = ((float(divergence[one].mean()), float(deviation[one].mean())) for one in rows)
    return sparse, dense


def test_a_large_weight_of_the_divergence_holds_all_cells_at_the_prior() -> None:
    near, free = trained(replace(SMALL, beta=30.0, epochs=2, warm_up=0.0)).module, trained().module
    gaps = []
    for module in (near, free):
        assert isinstance(module, GSVR)
        user = torch.arange(1, 121)
        means = [module.users.means(user, torch.full_like(user, s), torch.zeros(120, 8)) for s in (1, 2)]
        gaps.append(float((means[0] - means[1]).detach().norm(dim=1).mean()))
    assert gaps[0] < 0.5 * gaps[1]


def test_means_of_a_user_of_two_minds_differ_between_scenarios() -> None:
    module = trained().module
    assert isinstance(module, GSVR)
    user = torch.arange(1, 121)
    with torch.no_grad():
        one, other = (module.users.means(user, torch.full_like(user, s), torch.zeros(120, 8)) for s in (1, 2))
        apart = (one - other).norm(dim=1) / one.norm(dim=1)
    assert apart.median() > 0.2


def test_it_beats_both_controls_where_items_are_many() -> None:
    found = {
        cells: trained(replace(SMALL, cells=cells)).metrics["test"]["auc"] for cells in ("variational", "free", "off")
    }
    assert found["variational"] > found["off"] + 0.005
    assert found["variational"] > found["free"] + 0.005


def test_nothing_is_drawn_but_in_training() -> None:
    module, batch = model(), everything("test")
    assert torch.equal(module(batch), module(batch))
    module.train()
    values = [float(gsvr_loss(module, batch, 0.9)[0]) for _ in range(2)]
    assert values[0] != values[1]
    cold = [float(gsvr_loss(module, batch, 0.0)[1]["divergence"]) for _ in range(2)]
    assert cold[0] == cold[1], "the divergence is in closed form"


def test_the_loss_is_the_entropy_plus_the_divergence_of_each_cell_once() -> None:
    config = replace(SMALL, unseen_rate=0.0, beta=0.7, prior_weight=0.0, warm_up=0.2)
    module, batch = model(config), everything()
    embedded = module.host.tables.look_up(batch)
    sides = module.sides(batch, embedded, noise=False)
    whole = sum(float((mixture_kl(one.posterior, one.prior) / one.samples).mean()) for one in sides)
    shares = {}
    for done in (0.1, 0.3, 0.9):
        torch.manual_seed(3)
        total, logged = gsvr_loss(module, batch, done)
        shares[done] = float(total.detach() - logged["loss"])
        assert float(logged["divergence"]) == pytest.approx(whole, rel=1e-4)
    assert shares[0.1] == pytest.approx(0, abs=1e-6)
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


def test_figures_by_count_are_of_the_samples_whose_cell_training_met_so_often() -> None:
    module = model()
    counts = cell_counts(module, data().test)
    assert counts.min() == 0
    assert counts.max() > 10
    found = SYSTEM.measure(
        module, lambda one, split: one(split.batch(np.arange(len(split)))).detach().numpy(), data().test
    )
    assert {metric for metric, *_ in CELLS} <= found.keys() | {"auc_cell_0"}
    assert sum(((counts >= least) & (counts <= most)).sum() for _, _, least, most in CELLS) == len(counts)


def test_only_a_model_that_knows_scenarios_is_a_backbone() -> None:
    for name in ("fm", "din", "gsvr", "mean_pooling"):
        with pytest.raises(ValueError, match=f"backbone is {name}, which knows no scenario; choose shared_bottom"):
            build(replace(SMALL, backbone=name), data().schema)
    assert SYSTEM.baseline_of(replace(SMALL, backbone="pepnet")) == "pepnet"
    assert SYSTEM.variant(replace(SMALL, backbone="pepnet", cells="off", permuted=True)) == "pepnet-off-permuted"


def test_the_spread_grows_with_the_variances_of_the_cells_and_its_mean_is_near_the_score() -> None:
    module = trained().module
    assert isinstance(module, GSVR)
    parts = {one.name: one for one in SYSTEM.release(module, SMALL, data())}
    assert [*parts] == ["gsvr_history", "gsvr_scorer", "gsvr_spread", "gsvr"]
    request = parts["gsvr_spread"].example(4, 1)
    found = dict(
        zip((one.name for one in parts["gsvr_spread"].outputs), parts["gsvr_spread"].eager(*request), strict=True)
    )
    (scores,) = parts["gsvr_scorer"].eager(*request)
    own = request[-1][0].item()
    first = slice(0, int(request[1][0]))
    assert (found[f"mean_{own}"][first] - scores[first]).abs().mean() < 0.1
    assert all(
        torch.equal(one, other) for one, other in zip(parts["gsvr_spread"].eager(*request), found.values(), strict=True)
    )
    graph = parts["gsvr_spread"].module
    assert graph is not None
    for side in (graph.get_submodule("users"), graph.get_submodule("items")):
        side.get_buffer("log_variances").add_(2)
    wider = parts["gsvr_spread"].eager(*request)
    assert (wider[3] > 1.3 * found["deviation_1"]).all()
