"""The second stage: paths are drawn, rewarded against what follows, and preferred over their like."""

import copy
import math

import numpy as np
import pytest
import torch

from tests.training.systems.reg4rec_models import data, stepped, trained, untrained
from training.data.sequences import SequenceBatch
from training.systems.reg4rec import Reg4Rec, preference
from training.systems.reg4rec.preference import (
    advantages,
    clipped_gain,
    divergence,
    log_probs,
    random_place,
    sample,
    window_of,
)
from training.systems.reg4rec.rewards import rewards
from training.systems.reg4rec.supervised import codes_of


def _train_batch(users: int = 16) -> SequenceBatch:
    return data().train.batch(np.arange(users))


def test_paths_are_drawn_with_the_probabilities_that_are_claimed() -> None:
    module, _ = untrained(codebooks=2, words=2, given=False)
    batch = _train_batch(1)
    torch.manual_seed(0)
    with torch.no_grad():
        encoded = module.generator.encode(batch.items, batch.length)
        paths = sample(module.generator, encoded, 20_000, None)
        claimed = log_probs(module.generator, encoded, paths, None)[0].sum(1).exp()
    actions = torch.cat((paths.tokens[0], paths.categories[0]), 1)
    kinds, which, counts = torch.unique(actions, dim=0, return_inverse=True, return_counts=True)
    expected = torch.zeros(len(kinds)).scatter(0, which, claimed)
    often = counts > 400
    assert int(often.sum()) >= 3
    torch.testing.assert_close(counts[often] / 20_000, expected[often], rtol=0.15, atol=0)
    books = paths.tokens[0] // 2
    assert bool((books.sort(-1).values == torch.arange(2)).all())


def test_with_masks_every_path_that_is_drawn_is_an_item() -> None:
    module, sequences = untrained()
    batch, catalogue = _train_batch(4), module.catalogue()
    with torch.no_grad():
        encoded = module.generator.encode(batch.items, batch.length)
        paths = sample(module.generator, encoded, 200, catalogue)
    items = {tuple(row) for row in sequences.given["codes"][1:].tolist()}
    drawn = {tuple(row) for row in codes_of(paths.tokens, 6).flatten(0, 1).tolist()}
    assert drawn <= items
    assert len(drawn) > 10


def test_a_path_starts_at_any_place_that_has_a_target() -> None:
    targets = torch.tensor([[5, 7, 9, 0], [3, 0, 0, 0]]).repeat(300, 1)
    torch.manual_seed(0)
    place = random_place(SequenceBatch(torch.arange(600), targets, torch.full((600,), 4), targets))
    counts = torch.bincount(place[::2], minlength=4)
    assert counts[3] == 0
    assert counts[:3].min() > 70
    assert not place[1::2].any()


def test_the_window_holds_what_follows_the_place_and_ends_with_the_sequence() -> None:
    module, _ = untrained()
    targets = torch.tensor([[4, 5, 6, 0], [7, 8, 0, 0], [1, 2, 3, 9]])
    batch = SequenceBatch(torch.arange(3), targets, torch.tensor([3, 2, 4]), targets)
    window = window_of(module, batch, torch.tensor([1, 0, 3]), 3)
    assert window.there.tolist() == [[True, True, False], [True, True, False], [True, False, False]]
    items = torch.tensor([[5, 6], [7, 8], [9, 9]])
    assert torch.equal(window.codes[:2, :2], module.codes[items[:2]])
    assert torch.equal(window.categories[:2, :2], module.categories[items[:2]])
    assert torch.equal(window.codes[2, 0], module.codes[9])


def test_equal_rewards_give_no_gradient() -> None:
    ratio = torch.ones(2, 5, 3, requires_grad=True)
    reward = torch.tensor([[0.1] * 5, [0.7] * 5]) + 0.2
    clipped_gain(ratio, advantages(reward), 0.2).backward()
    assert ratio.grad is not None
    assert not ratio.grad.any()
    assert advantages(torch.tensor([[1.0, 3.0]])).tolist()[0] == pytest.approx([-1, 1], abs=1e-4)


def test_advantages_are_normalised_by_mean_and_spread_of_the_user_s_own_paths() -> None:
    found = advantages(torch.tensor([[1.0, 5.0, 0.0], [0.0, 2.0, 1.0]]))
    expected = [(one - 2) / math.sqrt(14 / 3) for one in (1, 5, 0)], [(one - 1) / math.sqrt(2 / 3) for one in (0, 2, 1)]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(advantages(torch.tensor([[1.0, 5.0], [0.0, 2.0]])), torch.tensor([[-1.0, 1.0]] * 2))


def test_rewards_that_hardly_differ_are_not_blown_up() -> None:
    close = torch.tensor([[0.0, 1e-6]], dtype=torch.float64)
    assert advantages(close)[0].tolist() == pytest.approx([-1 / 3, 1 / 3])


def test_gain_stops_growing_where_the_ratio_has_moved_too_far() -> None:
    ratio = torch.tensor([[[1.5], [0.5], [1.5], [0.5]]], requires_grad=True)
    advantage = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    gain = clipped_gain(ratio, advantage, 0.2)
    assert gain.item() == pytest.approx((1.2 + 0.5 - 1.5 - 0.8) / 4)
    gain.backward()
    assert ratio.grad is not None
    assert ratio.grad.flatten().tolist() == [0.0, 0.25, -0.25, 0.0]


def by_hand(module: Reg4Rec, batch: SequenceBatch) -> tuple[torch.Tensor, float]:
    """The stage's loss but for the divergence, and the mean reward, from the random numbers that are next: each path of
    each user against what the data set says comes after the place."""
    config, generator, catalogue = module.config, module.generator, module.catalogue()
    place, gains, mean = random_place(batch), [], 0.0
    encoded = generator.encode(batch.items, place + 1)
    paths = sample(generator, encoded, config.rollouts, catalogue)
    chances = log_probs(generator, encoded, paths, catalogue)
    codes = codes_of(paths.tokens, config.shape.words)
    for user, start in enumerate(place.tolist()):
        following = data().sequence(int(batch.user[user]))[1:-2][start : start + config.window].tolist()
        weights = [config.window_decay**number for number in range(len(following))]
        reward = torch.zeros(config.rollouts)
        for weight, item in zip(weights, following, strict=True):
            right = codes[user] == module.codes[item]
            hit = paths.categories[user] == module.categories[item]
            agree = paths.categories[user, :, 1:] == paths.categories[user, :, :-1]
            value = right.float().mean(1) + right.all(1) + 0.5 * hit.float().mean(1) + 0.5 * agree.float().mean(1)
            reward += weight / sum(weights) * value
        scaled = (reward - reward.mean()) / (reward.std(correction=0) + 1e-6)
        gains.append((scaled[:, None] * chances[user]).mean())
        mean += reward.mean().item() / len(place)
    return -torch.stack(gains).mean(), mean


def test_the_stage_prefers_paths_by_what_follows_their_place() -> None:
    """Without dropout, whatever the configuration says."""
    module, _ = untrained(dropout=0.3, rollouts=6, window=3, window_decay=0.5, kl_weight=0.0)
    batch, parameters = _train_batch(), [module.generator.to_token.weight, module.generator.category_of_state.weight]
    torch.manual_seed(5)
    value, logged = preference.loss(module.train(), batch, 0.0)
    torch.manual_seed(5)
    expected, reward = by_hand(module.eval(), batch)
    assert logged["reward"].item() == pytest.approx(reward, rel=1e-5)
    for found, wanted in zip(
        torch.autograd.grad(value, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        assert wanted.abs().max() > 1e-4
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)


def test_the_divergence_is_zero_only_from_itself() -> None:
    new = torch.randn(2, 3, 4)
    assert divergence(new, new).item() == 0
    assert divergence(new, new + 0.1).item() > 0
    assert divergence(new, new - 0.1).item() > 0


def test_the_reference_is_what_the_stage_starts_with_and_stays() -> None:
    module = copy.deepcopy(trained())
    assert module.reference is not None
    start = copy.deepcopy(module.generator.state_dict())
    stepped(module, preference.loss, 3, 1e-2)
    kept, moved = module.reference.state_dict(), module.generator.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in start.items())
    assert not all(torch.equal(moved[name], value) for name, value in start.items())
    assert not any(parameter.requires_grad for parameter in module.reference.parameters())


def _held_out(module: Reg4Rec) -> tuple[float, float]:
    """Mean consistency and step-hit of paths that are drawn for users held out."""
    torch.manual_seed(0)
    batch = data().validation.batch(np.arange(len(data().validation)))
    target = batch.targets.gather(1, batch.length[:, None] - 1)
    with torch.no_grad():
        encoded = module.generator.encode(batch.items, batch.length)
        paths = sample(module.generator, encoded, 16, module.catalogue())
    parts = rewards(
        codes_of(paths.tokens, 6), paths.categories, module.codes[target], module.categories[target].expand(-1, 16)
    )
    return parts.consistency.float().mean().item(), parts.step_hit.float().mean().item()


@pytest.mark.long
def test_preferences_raise_consistency_and_hits_on_users_held_out() -> None:
    module = copy.deepcopy(trained(40))
    before = _held_out(module)
    after = _held_out(stepped(module, preference.loss, 60, 1e-3))
    assert after[0] > 1.1 * before[0]
    assert after[1] > 1.1 * before[1]
