"""An item that stands in for another at the end of a ranking is taken only where the module's own scores are equal."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.verify import Run, verify
from tests.export.brought import IDS, Brought, Forward, ids, table
from training.servable import Packed, Servable, TensorSpec, servable

ITEMS = torch.tensor([5.0, 4.0, 3.0, 3.0, 3.0, 1.0])


def ranked(self: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    scores, items = torch.topk(self.weight.expand(ids.shape[0], 6), 3)
    return items, scores


def renamed(self: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    items, scores = ranked(self, ids)
    return items + 10, scores


def not_full(self: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Item 0 is the unknown one; in every second row item 1 alone may be listed."""
    scores = self.weight.expand(ids.shape[0], 6).clone()
    scores[:, 2] += 0.5
    scores[:, 0], scores[::2, 2:] = -1e9, -1e9
    best, items = torch.topk(scores, 3)
    return torch.where(best > -1e9, items, 0), best


def model(forward: Forward) -> Servable:
    return servable(
        name="ranked",
        module=Brought(forward, weight=nn.Parameter(ITEMS), users=table()),
        inputs=[IDS],
        outputs=[
            TensorSpec(name="items", dtype="int64", shape=(3,)),
            TensorSpec(name="scores", dtype="float32", shape=(3,)),
        ],
        example=lambda batch_size, seed: (ids(batch_size, seed, 3),),
    )


def graph(*last: int) -> Run:
    """What answers the two best items, and then `last`."""

    def run(tensors: Packed) -> dict[str, np.ndarray]:
        rows = len(tensors[0])
        return {
            "items": np.array([[*range(3 - len(last)), *last]] * rows),
            "scores": np.array([[5, 4, 3]] * rows, np.float32),
        }

    return run


@pytest.mark.parametrize("item", [2, 3, 4])
def test_an_item_of_the_same_score_is_taken(item: int) -> None:
    assert verify(model(ranked), graph(item), "the graph") == 0


@pytest.mark.parametrize("items", [(5,), (6,), (-1,), (1,), (0, 2), (2, 2)])
def test_an_item_of_another_score_is_refused_though_it_claims_the_score(items: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"output 'items'.*as an output 'scores' of the same"):
        verify(model(ranked), graph(*items), "the graph")


def test_an_item_whose_score_nothing_shows_is_refused() -> None:
    def run(tensors: Packed) -> dict[str, np.ndarray]:
        answer = graph(next(other for other in (2, 3, 4) if other + 10 != expected))(tensors)
        return {**answer, "items": answer["items"] + 10}

    expected = int(model(renamed).eager(torch.zeros(1, 3, dtype=torch.int64))[0][0, -1])
    with pytest.raises(ValueError, match="output 'items' has other items than eager; where scores tie"):
        verify(model(renamed), run, "the graph")


@pytest.mark.parametrize(
    ("last", "in_place_of_none", "is_taken"),
    [(3, 0, True), (4, 0, True), (5, 0, False), (0, 0, False), (2, 0, False), (3, 5, False)],
)
def test_a_list_that_is_not_full_hides_no_tie_of_another_and_no_wrong_item(
    last: int, in_place_of_none: int, is_taken: bool
) -> None:
    def run(tensors: Packed) -> dict[str, np.ndarray]:
        rows = len(tensors[0])
        answer = {"items": np.array([[1, 2, last]] * rows), "scores": np.array([[4, 3.5, 3]] * rows, np.float32)}
        answer["items"][::2, 1], answer["scores"][::2, 1:] = 0, -1e9
        answer["items"][::2, 2] = in_place_of_none
        return answer

    if is_taken:
        assert verify(model(not_full), run, "the graph") == 0
    else:
        with pytest.raises(ValueError, match="output 'items'"):
            verify(model(not_full), run, "the graph")
