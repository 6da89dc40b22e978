"""Lists of items: by score, equal scores by id, without the history."""

import torch

from training.layers.histories import newest
from training.layers.listing import _counted, best_of_all, best_of_found, best_places

INF = torch.inf


def test_packed_histories_are_cut_to_their_newest_items() -> None:
    items, length = newest(torch.tensor([1, 2, 3, 4, 5, 6]), torch.tensor([1, 1, 6], dtype=torch.int32), 3)
    assert items.tolist() == [[1, 0, 0], [0, 0, 0], [4, 5, 6]]
    assert length.tolist() == [1, 0, 3]


def test_the_best_of_all_are_those_outside_the_history_and_equal_ones_by_id_also_at_the_end() -> None:
    scores = torch.tensor([9.0, 5.0, 3.0, 3.0, 3.0, 4.0]).expand(5, -1)
    history = torch.tensor([[0, 0], [1, 0], [5, 2], [2**40, -1], [3, 3]])
    found = best_of_all(scores, history, 3)
    assert found.items.tolist() == [[1, 5, 2], [5, 2, 3], [1, 3, 4], [1, 5, 2], [1, 5, 2]]
    assert found.scores[1].tolist() == [4.0, 3.0, 3.0]


def test_ties_are_by_id_whatever_the_size() -> None:
    scores = torch.zeros(2, 5_000)
    scores[1, ::7] = 1.0
    found = best_of_all(scores, torch.zeros(2, 1, dtype=torch.int64), 300)
    assert found.items[0].tolist() == list(range(1, 301))
    assert found.items[1].tolist() == list(range(7, 7 * 301, 7))


def test_a_list_longer_than_the_catalogue_is_filled_up() -> None:
    scores = torch.tensor([[0.0, 1.0, torch.nan, 2.0]])
    found = best_of_all(scores, torch.tensor([[0]]), 6)
    assert found.items.tolist() == [[3, 1, 0, 0, 0, 0]]
    assert found.scores.tolist() == [[2.0, 1.0, -INF, -INF, -INF, -INF]]


def test_the_best_of_what_was_found_are_no_filling_nothing_dead_and_nothing_of_the_history() -> None:
    items = torch.tensor([[7, 0, 5, 9, 2, 4]])
    scores = torch.tensor([[1.0, 8.0, 3.0, 1.0, 1.0, -INF]])
    found = best_of_found(items, scores, torch.tensor([[2, 0, -3]]), 4)
    assert found.items.tolist() == [[5, 7, 9, 0]]
    assert found.scores.tolist() == [[3.0, 1.0, 1.0, -INF]]
    assert best_of_found(items, scores, torch.tensor([[0]]), 2).items.tolist() == [[5, 2]]


def test_rows_with_and_without_equal_scores_are_listed_as_by_counting() -> None:
    drawn = torch.Generator().manual_seed(0)
    for size in (1, 2, 9, 40):
        scores = torch.randint(-3, 4, (200, size), generator=drawn).float()
        scores[100:] += torch.rand(100, size, generator=drawn)
        scores[torch.rand(scores.shape, generator=drawn) < 0.2] = -INF
        for top in (1, 3, 9, 50):
            assert torch.equal(best_places(scores, top), _counted(scores, min(top, size))), (size, top)
