"""Lists of next items: Plackett and Luce by hand, the cross-entropy as a special case, and how fast relevance falls."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training.systems.heterrec_models import SMALL, data, model
from training.layers.catalogue_loss import catalogue_loss
from training.systems.heterrec.loss import listwise, next_items
from training.systems.heterrec.relevance import STEPS, gamma, relevance

LOGITS = torch.tensor([[0.3, -1.2, 2.0, 0.7, -0.4], [1.0, 0.1, -2.0, 0.0, 3.0]], dtype=torch.float64)


def loss_of(logits: torch.Tensor, targets: list[list[int]], weight: float = 0.8, order: str = "plackett-luce") -> list:
    wanted = torch.tensor(targets)
    scores = logits.gather(1, wanted.clamp(min=0))
    found = listwise(logits.logsumexp(1), scores, wanted >= 0, torch.tensor(weight, dtype=logits.dtype), order)  # pyright: ignore
    return found.tolist()


def test_a_list_costs_what_plackett_and_luce_have_it_cost_step_by_step() -> None:
    targets = [[2, 0, 4], [4, 1, 3]]
    for row, wanted in enumerate(targets):
        left, expected = list(range(5)), 0.0
        for step, item in enumerate(wanted):
            values = LOGITS[row].tolist()
            expected += 0.8**step * (math.log(sum(math.exp(values[one]) for one in left)) - values[item])
            left.remove(item)
        assert loss_of(LOGITS, targets)[row] == pytest.approx(expected, abs=1e-9)


def test_independent_steps_are_softmaxes_apart() -> None:
    targets = torch.tensor([[2, 0, 4], [4, 1, 3]])
    apart = [functional.cross_entropy(LOGITS, targets[:, step], reduction="none") for step in range(3)]
    expected = apart[0] + 0.8 * apart[1] + 0.64 * apart[2]
    assert loss_of(LOGITS, targets.tolist(), order="independent") == pytest.approx(expected.tolist())


def test_one_step_is_the_cross_entropy_and_so_is_a_list_of_which_only_the_first_is_there() -> None:
    expected = functional.cross_entropy(LOGITS, torch.tensor([2, 4]), reduction="none").tolist()
    assert loss_of(LOGITS, [[2], [4]]) == pytest.approx(expected)
    assert loss_of(LOGITS, [[2, -1, -1], [4, -1, -1]]) == pytest.approx(expected)


def test_a_step_that_is_not_there_places_nothing_and_the_later_ones_keep_their_weight() -> None:
    values = LOGITS[0]
    left = values[[0, 1, 3, 4]].logsumexp(0)
    expected = float(values.logsumexp(0) - values[2] + 0.64 * (left - values[4]))
    assert loss_of(LOGITS[:1], [[2, -1, 4]]) == pytest.approx([expected])


def test_the_order_of_the_list_matters_unless_steps_are_independent_and_weigh_the_same() -> None:
    lists = [list(one) for one in itertools.permutations([2, 0, 4])]
    ordered = {round(loss_of(LOGITS[:1], [one], 1.0)[0], 9) for one in lists}
    apart = {round(loss_of(LOGITS[:1], [one], 1.0, "independent")[0], 9) for one in lists}
    assert len(ordered) == 6
    assert len(apart) == 1


@pytest.mark.parametrize("top", [20.0, 60.0])
def test_a_model_that_fits_has_a_finite_loss_and_gradient(top: float) -> None:
    """The first item has all of the probability in fp32, so that nothing is left for the second."""
    logits = torch.tensor([[top, 0.0, -top]], requires_grad=True)
    scores = logits[:, :2]
    shares = (scores - logits.logsumexp(1, keepdim=True)).exp()
    assert float(1 - shares[0, 0].detach()) < 1e-6
    loss = listwise(logits.logsumexp(1), scores, torch.ones(1, 2, dtype=torch.bool), torch.tensor(0.9), "plackett-luce")
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert loss.item() == pytest.approx(0.9 * (top + math.log(1 - 0.999)), rel=1e-3)


def test_the_next_items_of_a_place_end_with_the_window_and_hold_none_twice() -> None:
    targets = torch.tensor([[5, 6, 5, 7], [3, 4, 0, 0]])
    assert next_items(targets, 3).tolist() == [
        [[5, 6, 0], [6, 5, 7], [5, 7, 0], [7, 0, 0]],
        [[3, 4, 0], [4, 0, 0], [0, 0, 0], [0, 0, 0]],
    ]
    assert next_items(targets, 1)[..., 0].tolist() == targets.tolist()


def test_blocks_give_the_loss_and_the_gradients_of_all_logits_at_once() -> None:
    torch.manual_seed(0)
    states, items = (torch.randn(size, 6, dtype=torch.float64, requires_grad=True) for size in (150, 40))
    targets = torch.stack([torch.randperm(40)[:3] for _ in range(150)])
    there = torch.rand(150, 3) < 0.8
    there[:, 0] = True
    weight = torch.tensor(0.9, dtype=torch.float64)

    def terms(normaliser: torch.Tensor, scores: torch.Tensor, part: slice) -> torch.Tensor:
        return listwise(normaliser, scores, there[part], weight, "plackett-luce").sum()

    logits = states @ items.T
    whole = terms(logits.logsumexp(1), logits.gather(1, targets), slice(None))
    blocks = catalogue_loss(states, items, targets, terms)
    torch.testing.assert_close(blocks, whole)
    expected = torch.autograd.grad(whole, (states, items))
    for one, other in zip(torch.autograd.grad(2 * blocks, (states, items)), expected, strict=True):
        torch.testing.assert_close(one, 2 * other)


@pytest.mark.parametrize(("steps", "order"), [(1, "plackett-luce"), (3, "plackett-luce"), (3, "independent")])
def test_a_training_step_costs_the_mean_over_its_places(steps: int, order: str) -> None:
    config = replace(SMALL, steps=steps, order=order, gamma=0.7)  # pyright: ignore[reportArgumentType]
    counts = data().train_item_counts.copy()
    batch = data().train.batch(np.arange(20))
    unused = next(item for item in range(60, 0, -1) if not (batch.targets == item).any())
    counts[unused] = 0
    module = model(config, replace(data(), train_item_counts=counts))
    tokens, vectors = module.tables()
    logits = module.encode(tokens[batch.items]) @ vectors.T / SMALL.temperature
    logits[..., [0, unused]] = -torch.inf
    expected = []
    for row, column in torch.nonzero(batch.targets).tolist():
        nexts = [one for one in batch.targets[row, column : column + steps].tolist() if one]
        found = loss_of(logits[row, column][None], [nexts], float(module.gamma), order)
        expected.append(found[0])
    assert module.loss(batch, 0.0)[0].item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_gamma_is_the_fall_of_the_share_of_later_items_that_others_have_nearby() -> None:
    """Everyone walks the same way by pairs: the next item is near for all, later ones are of somebody's own."""
    random = np.random.default_rng(0)
    walks = [np.concatenate([[2 * one, 2 * one + 1] for one in random.permutation(3000)[:6]]) + 1 for _ in range(400)]
    shares = relevance(walks)
    assert shares[0] > 0.15
    assert shares[0] > 3 * shares[1]
    assert gamma(np.array([0.4, 0.2, 0.1])) == pytest.approx(0.5)
    assert gamma(np.array([0.1, 0.2, 0.4])) == 1.0
    assert gamma(np.array([0.4, 0.0, 0.1])) == 1.0
    assert relevance([np.array([1])]).tolist() == [0.0] * STEPS


def test_what_only_one_user_has_is_not_relevant_and_neither_is_what_fifty_others_outdo() -> None:
    alone = [np.array([1, 2, 3]), np.array([4, 5, 6])]
    assert relevance(alone).tolist() == [0.0] * STEPS
    assert relevance([*alone, *alone])[:2].tolist() == [1.0, 1.0]
    crowd = [np.array([1, item]) for item in range(10, 60) for _ in range(3)]
    few = [np.array([1, 2])] * 2
    assert relevance([*crowd[3:], *few])[0] == 1.0
    assert relevance([*crowd, *few])[0] == pytest.approx(150 / 152)


def test_gamma_is_measured_where_it_is_not_given() -> None:
    measured = model().gamma.item()
    assert measured == pytest.approx(gamma(relevance([one[:-2] for one in data().sequences])))
    assert measured < 1
    assert model(replace(SMALL, gamma=0.5)).gamma.item() == 0.5
