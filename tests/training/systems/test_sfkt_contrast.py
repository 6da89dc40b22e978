"""Changed histories and their contrast."""

from math import log

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.systems.sfkt_models import WINDOW, data, model
from training.layers.answers import AnswerCounts, difficulties
from training.systems.sfkt.augmentation import (
    CHANGED,
    KEPT,
    MASKED,
    History,
    Peers,
    augmented,
    cropped,
    masked,
    replaced,
    swapped,
)
from training.systems.sfkt.contrast import Contrast, drawn
from training.tasks.tracing import cross_entropy


@pytest.fixture
def history() -> History:
    batch = data().train.batch(np.arange(64))
    torch.manual_seed(1)
    return History(batch.questions, batch.responses, batch.length)


@pytest.fixture
def peers() -> Peers:
    made = Peers(len(data().concepts))
    made.prepare(data().concepts, AnswerCounts.of(data()))
    return made


def answers(history: History, row: int) -> list[tuple[int, int]]:
    length = int(history.length[row])
    return [*zip(history.questions[row, :length].tolist(), history.responses[row, :length].tolist(), strict=True)]


def rows(history: History) -> range:
    return range(len(history.length))


def in_order(part: list[tuple[int, int]], whole: list[tuple[int, int]]) -> bool:
    rest = iter(whole)
    return all(one in rest for one in part)


def test_a_mask_takes_answers_out_and_leaves_the_others_in_order(history: History) -> None:
    found = masked(history)
    assert all(in_order(answers(found, row), answers(history, row)) for row in rows(history))
    assert MASKED[0] < 1 - float(found.length.sum() / history.length.sum()) < MASKED[1]
    assert not found.questions[~found.there].any()
    assert not found.responses[~found.there].any()


def test_a_crop_leaves_a_piece_of_neighbours(history: History) -> None:
    found = cropped(history)
    starts = []
    for row in rows(history):
        whole, part = answers(history, row), answers(found, row)
        assert len(part) >= KEPT * len(whole)
        starts.append(next(start for start in range(len(whole)) if whole[start : start + len(part)] == part))
    assert len({*starts}) > 3


def test_a_swap_moves_some_neighbours_by_one(history: History) -> None:
    found = swapped(history)
    moved = 0
    for row in rows(history):
        before, after = answers(history, row), answers(found, row)
        assert sorted(before) == sorted(after)
        place = 0
        while place < len(before):
            pair = before[place : place + 2]
            if after[place] != before[place]:
                assert after[place : place + 2] == pair[::-1]
                moved += 2
                place += 1
            place += 1
    assert moved / int(history.length.sum()) == pytest.approx(CHANGED, abs=0.07)


def test_a_replacement_is_of_the_same_concepts_and_fits_the_answer(history: History, peers: Peers) -> None:
    found = replaced(history, peers)
    assert torch.equal(found.responses, history.responses)
    there, difficulty = history.there, torch.from_numpy(difficulties(AnswerCounts.of(data())))
    sets = torch.from_numpy(np.sort(data().concepts, axis=1))
    before, after = history.questions[there], found.questions[there]
    assert torch.equal(sets[before], sets[after])
    harder = difficulty[after] - difficulty[before]
    assert (harder[history.responses[there] == 1] <= 0).all()
    assert (harder[history.responses[there] == 0] >= 0).all()
    assert 0.1 < float((before != after).float().mean()) < CHANGED
    assert not found.questions[~there].any()


def test_questions_that_nobody_trained_on_replace_none_and_are_replaced_by_none() -> None:
    concepts = np.array([[0, 0], [1, 0], [1, 0], [1, 0], [1, 2], [2, 1]])
    counts = AnswerCounts(np.array([[0, 5, 9, 0, 1, 9], [0, 5, 1, 0, 9, 1]]), np.zeros((2, 3), np.int64))
    peers = Peers(6)
    peers.prepare(concepts, counts)
    every = torch.arange(6).expand(50, -1)
    easier, harder = (peers(every, torch.full_like(every, right)).unique(dim=0).tolist() for right in (1, 0))
    assert easier == [[0, 1, 1, 3, 4, 4]]
    assert harder == [[0, 2, 2, 3, 5, 5]]


def test_each_student_s_history_is_changed_in_one_of_the_ways(history: History, peers: Peers) -> None:
    found = augmented(history, peers)
    shorter = found.length < history.length
    other = (found.questions != history.questions).any(dim=1) & ~shorter
    same_set = torch.tensor([sorted(answers(found, row)) == sorted(answers(history, row)) for row in rows(history)])
    shares = [float(one.float().mean()) for one in (shorter, other & same_set, other & ~same_set)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.15)


def test_counts_and_window_of_a_changed_history_are_of_its_own_answers(history: History, peers: Peers) -> None:
    built = model()
    found = augmented(history, peers)
    state = built.of(found)
    for row in rows(history):
        wins, fails = np.zeros(built.size), np.zeros(built.size)
        own = answers(found, row)
        for question, response in own:
            for concept in {*data().concepts[question].tolist()} - {0}:
                (wins if response else fails)[concept] += 1
        assert state.wins[row].tolist() == wins.tolist()
        assert state.fails[row].tolist() == fails.tolist()
        newest = [question for question, _ in own][-WINDOW:]
        assert state.asked[row].tolist() == [0] * (WINDOW - len(newest)) + newest
    assert state.totals.sum(dim=1).tolist() == found.length.tolist()


def test_what_is_changed_ends_before_the_answer_that_is_learnt() -> None:
    batch = data().train.batch(np.arange(64))
    prefix = drawn(batch)
    for row in range(64):
        length = int(prefix.history.length[row])
        assert 1 <= length < int(batch.length[row])
        assert torch.equal(prefix.history.questions[row, :length], batch.questions[row, :length])
        assert prefix.question[row] == batch.questions[row, length]
        assert prefix.response[row] == batch.responses[row, length]
        assert not prefix.history.questions[row, length:].any()
        assert not prefix.history.responses[row, length:].any()
    short = prefix.history.length.argsort()
    assert (prefix.weight[short].diff() <= 0).all(), "short histories weigh most"
    assert prefix.weight.tolist() == pytest.approx((1 / (1 + prefix.history.length / 20)).tolist())


def test_one_who_gave_a_single_answer_has_no_history_to_change() -> None:
    batch = data().train.batch(np.arange(3))
    prefix = drawn(batch._replace(length=torch.ones(3, dtype=torch.int64)))
    assert prefix.history.length.tolist() == prefix.weight.tolist() == [0, 0, 0]


def test_nothing_but_histories_tells_students_apart(peers: Peers) -> None:
    """All are asked the same questions by which they are compared; of one history contrast cannot know two apart."""
    built, prefix = model(), drawn(data().train.batch(np.arange(64)))
    common = torch.tensor([3, 9])
    one, other = (built.changed(prefix, peers, common) for _ in range(2))
    for view in (one, other):
        assert torch.equal(view.asked.vectors[:, :2], view.asked.vectors[:1, :2].expand(64, -1, -1))
        assert torch.equal(view.asked.vectors[:, 2], built.asked(prefix.question[:, None]).vectors[:, 0])
    assert not torch.equal(one.fused, other.fused), "each history is changed anew"
    same = one.fused[:1, :2].expand(8, -1, -1)
    assert built.contrast is not None
    assert built.contrast(same, same).tolist() == pytest.approx([log(8)] * 8, abs=1e-5)


def test_contrast_is_low_where_two_views_are_alike_and_others_are_not() -> None:
    torch.manual_seed(0)
    contrast = Contrast(8)
    views = torch.randn(16, 3, 8)
    alike, shuffled = contrast(views, views), contrast(views, views.roll(1, 0))
    assert (alike < 0.5 * shuffled).all()


def test_without_contrast_the_loss_is_that_of_the_answers() -> None:
    batch = data().train.batch(np.arange(8))
    built = model(contrast=0.0)
    loss, named = built.loss(batch, 0.0)
    assert torch.equal(loss, cross_entropy(built(batch), batch))
    assert not named


def test_with_contrast_it_is_more_by_its_weight() -> None:
    batch = data().train.batch(np.arange(8))

    def extra(weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        built = model(contrast=weight)
        torch.manual_seed(3)
        loss, named = built.loss(batch, 0.0)
        return loss - cross_entropy(built(batch), batch), named

    more, named = extra(0.5)
    assert more.item() == pytest.approx(0.5 * sum(one.item() for one in named.values()), abs=1e-5)
    assert more.item() > 0
    assert extra(0.25)[0].item() == pytest.approx(more.item() / 2, abs=1e-5)
