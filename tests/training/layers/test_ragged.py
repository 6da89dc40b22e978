"""Packed candidates know their request."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.layers import ragged

COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=8)


def ends_of(counts: list[int]) -> torch.Tensor:
    return torch.tensor(counts).cumsum(0).to(torch.int32)


@given(COUNTS)
def test_each_candidate_knows_its_request(counts: list[int]) -> None:
    found = ragged.requests(ends_of(counts), sum(counts))
    assert found.tolist() == [request for request, count in enumerate(counts) for _ in range(count)]


@given(COUNTS, st.integers(1, 3))
def test_candidates_past_the_last_end_belong_to_the_last_request(counts: list[int], beyond: int) -> None:
    total = sum(counts)
    assert ragged.requests(ends_of(counts), total + beyond)[total:].tolist() == [len(counts) - 1] * beyond
