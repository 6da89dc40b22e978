import pytest
import torch
from torch import Tensor

from training.layers import answer_counts
from training.layers.answer_counts import MOST, ConceptCounts, counted, counts_before, counts_of

SIZE = 7


def answers() -> tuple[Tensor, Tensor]:
    """Concepts [3, 23, 2], some unknown and some named twice, and responses."""
    random = torch.Generator().manual_seed(0)
    concepts = torch.randint(0, SIZE, (3, 23, 2), generator=random)
    concepts[:, 4] = 3
    return concepts, torch.randint(0, 2, (3, 23), generator=random)


def by_hand(concepts: Tensor, response: Tensor, end: int) -> Tensor:
    """Fails and wins [2, 3, SIZE] of the first answers."""
    found = torch.zeros(2, 3, SIZE)
    for row in range(3):
        for place in range(end):
            for concept in {*concepts[row, place].tolist()} - {0}:
                found[response[row, place], row, concept] += 1
    return found


def test_each_concept_of_a_question_counts_once() -> None:
    concepts, response = answers()
    found = counted(concepts, response, torch.ones(3, 23), SIZE)
    assert torch.equal(torch.stack((found.fails, found.wins)), by_hand(concepts, response, 23))


def test_an_answer_of_no_weight_does_not_count() -> None:
    concepts, response = answers()
    weight = (torch.arange(23) < 9).float().expand(3, -1)
    found = counted(concepts, response, weight, SIZE)
    assert torch.equal(torch.stack((found.fails, found.wins)), by_hand(concepts, response, 9))


@pytest.mark.parametrize("chunk", [1, 8, 23, 64])
def test_counts_before_each_answer_are_those_of_its_concepts_in_whatever_chunks(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_counts, "_CHUNK", chunk)
    concepts, response = answers()
    found = counts_before(concepts, response, torch.zeros(1), SIZE)
    for place in range(23):
        fails, wins = by_hand(concepts, response, place)
        expected = counts_of(ConceptCounts(wins, fails), concepts[:, place : place + 1])
        assert torch.equal(found.wins[:, place], expected.wins[:, 0])
        assert torch.equal(found.fails[:, place], expected.fails[:, 0])


def test_counts_end_where_a_float_no_longer_counts() -> None:
    one = torch.ones(1, SIZE, dtype=torch.float64)
    more = ConceptCounts(MOST * one, 0 * one).more(ConceptCounts(one, one))
    assert (more.wins == MOST).all()
    assert (more.fails == 1).all()
