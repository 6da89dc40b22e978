"""Packed candidates and padded rows hold the same."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.layers import ragged

COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any)


def ends_of(counts: list[int]) -> torch.Tensor:
    return torch.tensor(counts).cumsum(0).to(torch.int32)


@given(COUNTS)
def test_packing_undoes_padding(counts: list[int]) -> None:
    packed = torch.arange(sum(counts) * 2.0).reshape(-1, 2)
    at = ragged.layout(ends_of(counts), len(packed))
    assert torch.equal(ragged.pack(ragged.pad(packed, at), at), packed)


@given(COUNTS)
def test_each_row_begins_with_the_candidates_of_its_request(counts: list[int]) -> None:
    packed = torch.arange(float(sum(counts)))[:, None]
    padded = ragged.pad(packed, ragged.layout(ends_of(counts), len(packed)))
    assert padded.shape == (len(counts), max(counts), 1)
    for row, own in zip(padded, packed.split(counts), strict=True):
        assert torch.equal(row[: len(own)], own)


@given(COUNTS)
def test_each_candidate_knows_its_request(counts: list[int]) -> None:
    at = ragged.layout(ends_of(counts), sum(counts))
    assert at.request.tolist() == [request for request, count in enumerate(counts) for _ in range(count)]


@given(COUNTS, st.integers(1, 3))
def test_candidates_past_the_last_end_belong_to_the_last_request(counts: list[int], beyond: int) -> None:
    total = sum(counts)
    at = ragged.layout(ends_of(counts), total + beyond)
    assert at.request[total:].tolist() == [len(counts) - 1] * beyond
    packed = torch.arange(float(total + beyond))[:, None]
    assert torch.equal(ragged.pack(ragged.pad(packed, at), at)[:total], packed[:total])


def test_a_batch_of_empty_requests_can_be_laid_out() -> None:
    at = ragged.layout(torch.tensor([0, 0], dtype=torch.int32), 1)
    assert at.to_padded.shape == (2, 1)
    assert at.request.tolist() == [1]
