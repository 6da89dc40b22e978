"""Operators that the exporter cannot translate equal their rewritten forms."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.rewrites import Rewrites

IDS = torch.tensor([[0, 3, 5, 0], [0, 0, 0, 0], [9, 9, 2, 1]])
COUNTS = torch.tensor([0, 2, 0, 3, 1, 0])
ROWS = torch.arange(24.0).reshape(6, 4)


def same(call: Callable[[], Tensor]) -> None:
    expected = call()
    with Rewrites():
        torch.testing.assert_close(call(), expected)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 0, 9, -1])
def test_a_bag_over_the_rows_of_a_matrix(mode: str, padding: int | None) -> None:
    bag = nn.EmbeddingBag(10, 3, mode=mode, padding_idx=padding)
    same(lambda: bag(IDS))
    same(lambda: functional.embedding_bag(IDS.int(), bag.weight, mode=mode, padding_idx=padding))


def test_a_bag_whose_elements_have_weights() -> None:
    bag = nn.EmbeddingBag(10, 3, mode="sum", padding_idx=0)
    same(lambda: bag(IDS, per_sample_weights=torch.rand(3, 4, generator=torch.Generator().manual_seed(0))))


def test_bags_of_one_packed_axis_and_normalised_tables_stay_with_torch() -> None:
    bag = nn.EmbeddingBag(10, 3, mode="sum", max_norm=0.1)
    same(lambda: bag(IDS))
    same(lambda: bag(IDS.flatten(), torch.tensor([0, 4, 8])))


@pytest.mark.parametrize("dim", [0, -2, None])
def test_repeats_with_a_known_total(dim: int | None) -> None:
    counts = COUNTS if dim is not None else COUNTS.repeat(4)
    total = int(counts.sum())
    same(lambda: torch.repeat_interleave(ROWS, counts, dim=dim, output_size=total))
    same(lambda: ROWS.repeat_interleave(counts, dim, output_size=total))


def test_repeats_of_places_along_another_axis_and_of_all_alike() -> None:
    same(lambda: torch.repeat_interleave(COUNTS, output_size=6))
    same(lambda: ROWS.T.repeat_interleave(COUNTS, dim=1, output_size=6))
    same(lambda: ROWS.repeat_interleave(torch.tensor([2]), dim=0, output_size=12))
    same(lambda: ROWS.repeat_interleave(2, dim=1))
    same(lambda: ROWS.repeat_interleave(COUNTS, dim=0))


def test_axes_are_joined_and_cut_as_torch_does() -> None:
    cube = torch.arange(24.0).reshape(2, 3, 4)
    for first, last in ((0, -1), (1, 2), (0, 1), (-2, -1), (2, 2)):
        same(lambda first=first, last=last: cube.flatten(first, last))
        same(lambda first=first, last=last: torch.flatten(cube, first, last))
    same(lambda: torch.tensor(3.0).flatten())
    same(lambda: COUNTS.flatten())
    same(lambda: cube[:0].flatten(1))
    same(lambda: cube.unflatten(2, (2, 2)))
    same(lambda: torch.unflatten(cube, -1, (-1, 2)))
    same(lambda: cube.unflatten(0, (2, 1)))
    same(lambda: nn.Flatten()(cube))
