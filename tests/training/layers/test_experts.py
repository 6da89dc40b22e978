"""Experts side by side are the same as experts one by one, and their orthogonality is what the notes compute."""

import pytest
import torch
from torch.nn import functional

from training.layers.experts import Experts, orthogonality, squared_error, weighted_sum


def test_a_group_equals_its_experts_one_by_one() -> None:
    group, x = Experts(3, 5, 7, 4), torch.randn(6, 5)
    with torch.no_grad():
        group.first_bias.normal_()
        group.second_bias.normal_()
    for number in range(3):
        hidden = functional.gelu(x @ group.first[number] + group.first_bias[number], approximate="tanh")
        alone = hidden @ group.second[number] + group.second_bias[number]
        torch.testing.assert_close(group(x)[:, number], alone)


def test_orthogonal_experts_cost_nothing_equal_ones_two_and_others_twice_the_squared_cosine() -> None:
    orthogonal = torch.eye(6)[:3].reshape(3, 2, 3) * torch.tensor([1.0, 5.0, 0.2])[:, None, None]
    assert orthogonality(orthogonal).item() == pytest.approx(0.0, abs=1e-6)
    one = torch.randn(1, 4, 5)
    assert orthogonality(torch.cat([one, 3 * one])).item() == pytest.approx(2.0, abs=1e-5)
    two = torch.randn(2, 4, 5)
    cosine = functional.cosine_similarity(two[0].flatten(), two[1].flatten(), dim=0)
    assert orthogonality(two).item() == pytest.approx(2 * float(cosine) ** 2, abs=1e-6)


def test_a_group_sums_the_orthogonality_of_its_layers() -> None:
    group = Experts(2, 5, 7, 4)
    expected = orthogonality(group.first) + orthogonality(group.second)
    assert group.orthogonality().item() == pytest.approx(expected.item())


def test_a_part_of_weight_zero_leaves_no_trace() -> None:
    weights, parts = torch.tensor([[1.0, 0.0, 0.5]]), torch.randn(1, 3, 4)
    other = parts.clone()
    other[:, 1] = 1e6
    assert torch.equal(weighted_sum(weights, parts), weighted_sum(weights, other))


def test_the_squared_error_sums_over_dimensions_and_averages_over_items() -> None:
    assert squared_error(torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])).item() == 7.0
