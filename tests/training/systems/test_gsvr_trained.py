"""What a trained GSVR does: cells by their counts, scenarios that differ, and what it beats."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.click_views import view_of
from tests.training.systems.gsvr_models import SMALL, data, descended, everything, moods, untended
from training.baselines import shared_bottom
from training.data.planted_scenarios import planted_markets
from training.layers.mixtures import mixture_kl
from training.layers.scenarios import ScenarioModel
from training.metrics import auc
from training.systems.gsvr import GSVR, SYSTEM, build
from training.systems.gsvr.model import gsvr_loss
from training.tasks.click import click_loss
from training.tasks.click_slices import scenarios_of

pytestmark = pytest.mark.long


def test_sparse_cells_stay_nearer_to_the_prior_and_are_less_sure() -> None:
    sparse, dense = near_and_spread(untended())
    assert sparse[0] < 0.7 * dense[0]
    assert sparse[1] > 1.08 * dense[1]


def test_without_the_division_by_counts_the_order_is_lost() -> None:
    """At the same weight in all: a tenth, as cells have ten samples or so."""
    sparse, dense = near_and_spread(untended(replace(SMALL, by_count=False, beta=0.1 * SMALL.beta)))
    assert sparse[0] > 0.85 * dense[0]
    assert sparse[1] < 1.03 * dense[1]


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
    gaps = []
    for module in (untended(replace(SMALL, beta=30.0, epochs=2, warm_up=0.0)), untended()):
        user = torch.arange(1, 121)
        means = [module.users.means(user, torch.full_like(user, s), torch.zeros(120, 8)) for s in (1, 2)]
        gaps.append(float((means[0] - means[1]).detach().norm(dim=1).mean()))
    assert gaps[0] < 0.5 * gaps[1]


def test_means_of_a_user_of_two_minds_differ_between_scenarios() -> None:
    module, user = untended(), torch.arange(1, 121)
    with torch.no_grad():
        one, other = (module.users.means(user, torch.full_like(user, s), torch.zeros(120, 8)) for s in (1, 2))
        apart = (one - other).norm(dim=1) / one.norm(dim=1)
    assert apart.median() > 0.2


def test_it_beats_its_backbone_in_the_sparse_scenario_and_loses_nothing_in_the_dense_one() -> None:
    """On another draw of events of the same users, as the test part has a dozen of the sparse one."""
    whole = view_of(SYSTEM, planted_markets(num_users=120, num_events=300, num_items=640), 20)
    batches = []
    for market in (1, 3):
        rows = np.flatnonzero(scenarios_of(whole.train) == market)
        batches.append(whole.train.batch(rows[:1000]))
    gains = []
    for seed in range(3):
        torch.manual_seed(seed)
        alone = shared_bottom.SYSTEM.build(SMALL, data().schema)
        assert isinstance(alone, ScenarioModel)
        descended(alone, click_loss, data(), SMALL)
        with torch.no_grad():
            with_cells, without = (
                np.array([auc(one.label.numpy(), module(one).numpy()) for one in batches])
                for module in (untended(SMALL, seed), alone)
            )
        gains.append(with_cells - without)
    dense, sparse = np.mean(gains, axis=0)
    assert sparse > 0.005
    assert dense > -0.002


def test_what_user_and_scenario_decide_together_is_lost_where_scenarios_are_by_lot_or_off() -> None:
    config = replace(SMALL, dim=4, batch_size=256, epochs=10, learning_rate=1e-2)
    test, found = moods().test, {}
    for name, changed in (("true", {}), ("by lot", {"permuted": True}), ("off", {"cells": "off"})):
        torch.manual_seed(0)
        module = build(replace(config, **changed), moods().schema)
        descended(module, gsvr_loss, moods(), config)
        with torch.no_grad():
            found[name] = auc(test.label, module(test.batch(np.arange(len(test)))).numpy())
    assert found["true"] > 0.82
    assert found["true"] > found["off"] + 0.03
    assert found["true"] > found["by lot"] + 0.06


@torch.no_grad()
def test_it_beats_both_controls_where_items_are_many() -> None:
    test = everything("test")
    found = {
        cells: auc(test.label.numpy(), untended(replace(SMALL, cells=cells))(test).numpy())
        for cells in ("variational", "free", "off")
    }
    assert found["variational"] > found["off"] + 0.01
    assert found["variational"] > found["free"] + 0.01


def test_the_spread_grows_with_the_variances_of_the_cells_and_its_mean_is_near_the_score() -> None:
    module = untended()
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
