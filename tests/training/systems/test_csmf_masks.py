"""Cumulative-percentile pruning: which weights an objective gives away."""

import numpy as np
import pytest
import torch

from training.systems.csmf.masks import give, give_outputs, least


def pruned(magnitudes: list[float], tau: float, among: list[bool] | None = None) -> list[bool]:
    there = torch.tensor(among if among else [True] * len(magnitudes))
    return least(torch.tensor(magnitudes), tau, there).tolist()


def test_the_smallest_whose_sum_is_at_most_the_share_are_given() -> None:
    """Of 1 + 2 + 3 + 4 a half is 5: 1 and 2, as with 3 it would be 6."""
    assert pruned([3, 1, 4, 2], 0.5) == [False, True, False, True]
    assert pruned([3, 1, 4, 2], 0.6) == [True, True, False, True]
    assert pruned([3, 1, 4, 2], 0.5, [True, False, True, True]) == [False, False, False, True]
    assert pruned([1, 1, 1, 1], 0.5) == [True, True, False, False], "of equal ones the first"


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_one_more_would_exceed_the_share_in_every_layer(tau: float) -> None:
    random = np.random.default_rng(0)
    for magnitudes in (random.random((20, 30)), random.pareto(1.5, (20, 30)), random.standard_normal((5, 7)) ** 2):
        chosen = least(torch.from_numpy(magnitudes), tau, torch.ones(magnitudes.shape, dtype=torch.bool)).numpy()
        assert magnitudes[chosen].sum() <= tau * magnitudes.sum()
        assert magnitudes[chosen].sum() + magnitudes[~chosen].min() > tau * magnitudes.sum()
        assert magnitudes[chosen].max() <= magnitudes[~chosen].min()


def test_a_layer_with_a_long_tail_of_small_weights_gives_more_at_the_same_share() -> None:
    random = torch.Generator().manual_seed(0)
    even = torch.ones(1000) + 0.01 * torch.rand(1000, generator=random)
    tailed = torch.rand(1000, generator=random) ** 8
    everyone = torch.ones(1000, dtype=torch.bool)
    counts = [int(least(one, 0.5, everyone).sum()) for one in (even, tailed)]
    assert counts[0] == pytest.approx(500, abs=5)
    assert counts[1] > 800


def test_what_others_own_stays_theirs() -> None:
    owner = torch.tensor([0, 0, 1, 1, 1, 2], dtype=torch.int8)
    give(owner, torch.tensor([0.1, 0.1, 5.0, 1.0, 3.0, 0.1]), 1, 0.5)
    assert owner.tolist() == [0, 0, 1, 2, 2, 2]


def test_outputs_are_given_by_what_both_towers_make_of_them() -> None:
    """A dimension that one tower hardly uses goes first, however large it is in the other."""
    user, item = torch.tensor([[9.0], [1.0], [3.0], [3.0]]), torch.tensor([[0.1], [1.0], [-3.0], [3.0]])
    owner = torch.zeros(4, dtype=torch.int8)
    give_outputs(owner, (user, item), 0, 0.15, later=1)
    assert owner.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("tau", [0.01, 0.99])
def test_every_objective_finds_an_output_whatever_the_share(tau: float) -> None:
    weights = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    owner = torch.zeros(5, dtype=torch.int8)
    for objective in range(4):
        give_outputs(owner, (weights, weights), objective, tau, later=4 - objective)
    assert set(owner.tolist()) == {0, 1, 2, 3, 4}
