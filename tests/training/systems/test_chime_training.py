"""What CHIME's objectives and levels are for: users with an old interest of many events and a new one of few."""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch

from tests.training.systems.chime_models import (
    BURST,
    CLUSTERS,
    NEW,
    OF_ONE,
    OLD,
    SMALL,
    USERS,
    burst_data,
    data,
    model,
    trained,
)
from training.layers.residual import ResidualLevels
from training.systems.chime import CHIME, attention
from training.systems.chime.adaptation import Behaviours
from training.systems.chime.evaluation import evaluate, left
from training.systems.chime.sequences import (
    SequenceBatch,
    Sequences,
    any_liked,
    compress_loss,
    contrast,
    next_liked,
    quantise_loss,
)

PASSES = 20
LIKED = torch.tensor([[1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]]).bool()


def test_the_next_liked_item_is_the_first_one_after_a_place() -> None:
    assert next_liked(LIKED).tolist() == [[-1, 0, 0, 0, 3, 4], [-1, -1, -1, -1, -1, 4], [-1] * 6]


def test_any_liked_item_but_the_next_is_drawn_evenly() -> None:
    torch.manual_seed(0)
    drawn = torch.stack([any_liked(LIKED, next_liked(LIKED)) for _ in range(3000)])
    first = drawn[:, 0, 1]
    assert {*first.tolist()} == {-1, 3, 4}
    assert (first == 3).float().mean().item() == pytest.approx(1 / 3, abs=0.05)
    assert {*drawn[:, 1, 5].tolist()} == {-1}, "the only one is the next one"
    assert {*drawn[:, 2].flatten().tolist()} == {-1}


def test_each_place_is_compared_with_other_users_other_items() -> None:
    torch.manual_seed(0)
    items = torch.tensor([[4, 2, 3], [5, 4, 0]])
    zeros = torch.zeros_like(items)
    batch = SequenceBatch(torch.tensor([1, 2]), items, zeros, zeros, zeros.float(), torch.tensor([3, 2]))
    interests = torch.nn.functional.normalize(torch.randn(2, 3, 4), dim=2)
    vectors = torch.nn.functional.normalize(torch.randn(9, 4), dim=1)
    positive = torch.tensor([[-1, 0, 0], [-1, 0, 0]])
    against, whose = [2, 5, 4, 7], [1, 2, 2, 3]
    found = contrast(interests, batch, positive, (torch.tensor(against), torch.tensor(whose)), vectors, 0.5)
    losses = []
    for row, place in ((0, 1), (0, 2), (1, 1)):
        item = int(items[row, 0])
        others = [
            other for other, user in zip(against, whose, strict=True) if other != item and user != batch.user[row]
        ]
        scores = torch.stack([interests[row, place] @ vectors[one] for one in (item, *others)]) / 0.5
        losses.append(scores.logsumexp(0) - scores[0])
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_sequences_are_the_training_part_cut_from_the_newest_event() -> None:
    sequences, train = Sequences(data(), 16), data().train
    assert int(sequences.cost().sum()) == len(train)
    batch = sequences.batch(np.arange(len(sequences)))
    first = int(batch.user[0])
    own = train.places[train.user == first]
    newest = np.sort(own)[::-1][:16]
    row = batch.user.tolist().index(first)
    assert batch.items[row, : len(newest)].tolist() == data().log.item[newest].tolist()
    assert batch.liked[row, : len(newest)].tolist() == data().log.label[newest].tolist()
    assert batch.length.sum() == len(train)


def test_the_loss_is_the_two_objectives_by_their_weights_and_the_quantiser_s() -> None:
    torch.manual_seed(0)
    built = CHIME(replace(SMALL, immediate=0.7, holistic=0.2), data().schema)
    built.prepare(data())
    sequences = Sequences(data(), SMALL.sequence)
    loss, logged = compress_loss(built.compressor, sequences.batch(np.arange(8)))
    assert all(value > 0 for value in logged.values())
    torch.testing.assert_close(loss, 0.7 * logged["immediate"] + 0.2 * logged["holistic"] + logged["vq"])


def test_words_that_nobody_uses_are_put_where_interests_are() -> None:
    torch.manual_seed(0)
    levels = ResidualLevels(2, 4, 3)
    latents = torch.randn(50, 3)
    with torch.no_grad():
        levels.start(latents)
        next(levels.books).words[0, 1] = 100.0
    levels.count(levels(latents))
    levels.reseed(latents, 1)
    levels.count(levels(latents))
    assert all((level.used > 0).all() for level in levels.books)


def test_words_start_where_interests_are_and_follow_them() -> None:
    built = model().compressor
    built.get_buffer("started").fill_(value=False)
    latents = torch.nn.functional.normalize(torch.randn(300, 8), dim=1).requires_grad_()
    quantise_loss(built, latents).backward()
    assert built.started
    assert latents.grad is not None
    assert latents.grad.any()
    moved = torch.nn.functional.normalize(latents.detach() + 0.3, dim=1)
    gaps = []
    for _ in range(30):
        gaps.append(float((moved - built.quantised(moved, SMALL.levels)).detach().square().sum()))
        quantise_loss(built, moved)
    assert gaps[-1] < 0.5 * gaps[0]


def test_training_puts_a_word_that_is_far_from_all_interests_back_among_them() -> None:
    torch.manual_seed(0)
    built = CHIME(replace(SMALL, reseed_every=2), data().schema).compressor
    latents = torch.nn.functional.normalize(torch.randn(300, 8), dim=1)
    quantise_loss(built, latents)
    first = next(built.levels.books).words
    with torch.no_grad():
        first[0, 3] = 100.0
    for _ in range(4):
        quantise_loss(built, latents)
    assert first.abs().max() < 2


class Found(NamedTuple):
    """Of users whom training did not see, before the last event of their burst."""

    next_rank: float
    """Mean reciprocal rank of that event's item."""
    old: float
    """AUC of the items of the old interest against those of no interest."""


@cache
def burst(holistic: float = BURST.holistic, immediate: float = BURST.immediate) -> CHIME:
    return trained(replace(BURST, holistic=holistic, immediate=immediate), PASSES)


@torch.no_grad()
def found(built: CHIME) -> Found:
    log, users = burst_data().log, np.arange(1, USERS + 1)[-USERS // 5 :]
    _, ends = log.all_of(users)
    length = np.full(len(users), OLD + NEW - 1)
    items, values = log.windows(ends - 1, length, OLD + NEW - 1)
    ages = log.ages(ends - 1, length, OLD + NEW - 1)
    history = Behaviours(*map(torch.from_numpy, (items, values, ages)))
    compressor = built.compressor
    interests = compressor.interests(compressor.item_inputs(), history, torch.from_numpy(length))
    scores = interests[:, 0] @ compressor.adaptation.targets(compressor.adaptation.parts())[1:].T
    after = torch.from_numpy(log.windows(ends, length, 1)[0]) - 1
    rank = 1 + (scores > scores.gather(1, after)).sum(1)
    cluster = torch.arange(CLUSTERS).repeat_interleave(OF_ONE)
    old, new = (torch.from_numpy((items[:, place] - 1) // OF_ONE)[:, None] for place in (-1, 0))
    wins = scores[:, :, None] > scores[:, None]
    pairs = (cluster == old)[:, :, None] & ((cluster != old) & (cluster != new))[:, None]
    return Found(float((1 / rank).mean()), float(wins[pairs].float().mean()))


@pytest.mark.long
def test_without_the_holistic_loss_the_old_interest_is_lost() -> None:
    assert found(burst()).old > 0.9
    assert found(burst(holistic=0.0)).old < 0.6


@pytest.mark.long
def test_without_the_immediate_loss_the_next_item_is_lost() -> None:
    assert found(burst()).next_rank > 1.5 * found(burst(immediate=0.0)).next_rank


def test_the_histogram_holds_the_old_interest_and_the_new_one() -> None:
    built, log = burst(), burst_data().log
    assert built.past is not None
    user = USERS
    places = np.arange(log.of(user).start, log.of(user).stop)
    codes = built.past.seen(built.compressor).codes[places][:, 0].numpy()
    old, new = (np.bincount(part, minlength=BURST.words) for part in (codes[:OLD], codes[OLD + 1 :]))
    assert (old > 0).sum() < OLD / 2, "few words stand for many events"
    assert (old * new).sum() <= 0.1 * old.sum() * new.sum(), "the two interests have words of their own"
    counts = attention.histogram(torch.from_numpy(codes)[None, :, None], torch.ones(1, len(codes)), BURST.words)[0, 0]
    assert (counts.numpy() >= old).all()
    assert (counts.numpy() >= new).all()


@torch.no_grad()
def test_the_next_item_is_ranked_among_all_by_the_newest_interest() -> None:
    built, split = model(), data().test
    batch = split.batch(np.arange(len(split)))
    measured = evaluate(built, lambda module, part: module(part.batch(np.arange(len(part)))).numpy(), split)
    interests = built.remembered(batch).interest.numpy()
    adaptation = built.compressor.adaptation
    scores = interests @ adaptation.targets(adaptation.parts()).numpy().T
    ranks = [
        1 + sum(other > row[item] for other in row[1:])
        for row, item, label, length in zip(scores, batch.item, batch.label, batch.history_length, strict=True)
        if label > 0 and length > 0
    ]
    assert 20 < len(ranks) < len(split)
    assert measured["next_mrr"] == pytest.approx(np.mean(1 / np.array(ranks)), rel=1e-4)


def test_every_level_leaves_less_over() -> None:
    built = burst()
    assert built.past is not None
    energy = [left(built, built.past, levels) for levels in range(1, BURST.levels + 1)]
    assert all(after < before for before, after in pairwise(energy)), energy
    assert energy[0] < 0.5


def test_what_is_fine_is_in_the_levels_behind_the_first() -> None:
    """Users whose behaviours are of one of four kinds within one of four groups, which the first level's four words
    stand for: their own kind's items against those of the group's other kinds, by the mean quantised behaviour."""
    torch.manual_seed(0)
    groups, kinds = torch.randn(4, 1, 1, 8), 0.4 * torch.randn(4, 4, 1, 8)
    latents = groups + kinds + 0.05 * torch.randn(4, 4, 40, 8)
    levels = ResidualLevels(3, 4, 8)
    levels.start(latents.view(-1, 8))
    codes = torch.cat([chosen.codes for _, chosen in levels(latents.view(-1, 8))], 1).view(16, 40, 3)
    counts = attention.histogram(codes[:, :30], torch.ones(16, 30), 4)
    words = torch.cat([level.words for level in levels.books]).detach()
    means = attention.mean(counts, words).view(16, 3, 8)

    def told_apart(number: int) -> float:
        user, items = means[:, :number].sum(1).view(4, 4, 8), latents[:, :, 30:]
        near = -(user[:, :, None, None] - items[:, None]).square().sum(-1)  # (group, kind of user, kind of item, item)
        own = near[:, range(4), range(4)]
        others = near[:, ~torch.eye(4).bool()].view(4, 4, 3, 10)
        return float((own[:, :, None, :, None] > others[:, :, :, None]).float().mean())

    assert told_apart(1) < 0.6
    assert told_apart(3) > 0.9
