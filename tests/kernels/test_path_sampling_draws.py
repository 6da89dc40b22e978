"""Random words and drawn fields against their definitions: known blocks, enumerated distributions."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.path_sampling import PathMasks, Plan, path_sampling, path_words, unpack
from kernels.path_sampling.philox import WORD, Words, philox
from kernels.path_sampling.reference import MAX_WEIGHT, bounded

KNOWN_BLOCKS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((WORD,) * 4, (WORD,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
"""Counter, key and block of the generator's published test vectors."""

WEIGHTS = (9, 0, 4, 2, 1)


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN_BLOCKS)
def test_the_generator_gives_its_published_blocks(
    counter: tuple[int, ...], key: tuple[int, int], block: tuple[int, ...]
) -> None:
    assert tuple(int(word) for word in philox(Words(*map(torch.tensor, counter)), key)) == block


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(0, WORD)] * 4), st.tuples(*[st.integers(0, WORD)] * 2))
def test_the_generator_equals_unbounded_integers(counter: tuple[int, ...], key: tuple[int, int]) -> None:
    a, b, c, d = counter
    for number in range(10):
        k0, k1 = (key[0] + number * 0x9E3779B9) & WORD, (key[1] + number * 0xBB67AE85) & WORD
        first, second = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = second >> 32 ^ b ^ k0, second & WORD, first >> 32 ^ d ^ k1, first & WORD
    assert tuple(int(word) for word in philox(Words(*map(torch.tensor, counter)), key)) == (a, b, c, d)


def test_words_are_those_of_key_path_and_draw() -> None:
    key = -3
    words = path_words(torch.tensor([5, key]), Plan(paths=3, draws=4, seed=11, version=12))
    counter = Words(*map(torch.tensor, (key & WORD, (key >> 32) & WORD, 2, 3)))
    expected = [int(word) for word in philox(counter, (11, 12))]
    assert (words[1, 2, 3].long() & WORD).tolist() == expected


@pytest.mark.parametrize("total", [1, 2, 3, 10, 64, 65535, 99991, 64 * MAX_WEIGHT])
def test_a_bounded_integer_keeps_as_many_words_for_each_value(total: int) -> None:
    """The words of value x are an interval; only its first word can be refused, and is where the interval is longer."""
    values = torch.arange(min(total, 2000))
    starts = -(-(values << 32) // total)
    ends = -(-((values + 1) << 32) // total)
    for words, kept in ((starts, ends - starts == (1 << 32) // total), (starts + 1, None), (ends - 1, None)):
        inside = words < ends
        value, accepted = bounded(words[:, None], torch.full_like(words, total))
        assert torch.equal(value[inside], values[inside])
        assert torch.equal(accepted[inside], torch.ones_like(accepted[inside]) if kept is None else kept[inside])


def test_the_first_accepted_word_decides_and_four_refused_ones_show() -> None:
    total = torch.tensor([3, 3, 3])
    words = torch.tensor([[1 << 31, 0, 0, 0], [0, 0, WORD, 1 << 31], [0, 0, 0, 0]])
    value, accepted = bounded(words, total)
    assert value[:2].tolist() == [1, 2]
    assert accepted.tolist() == [True, True, False]


def distribution(weights: tuple[int, ...], draws: int) -> dict[int, Fraction]:
    """Probability of each mask by successive sampling, enumerated."""
    found: dict[int, Fraction] = {}
    for order in itertools.permutations([f for f, weight in enumerate(weights) if weight], draws):
        chance, left = Fraction(1), sum(weights)
        for field in order:
            chance *= Fraction(weights[field], left)
            left -= weights[field]
        mask = sum(1 << field for field in order)
        found[mask] = found.get(mask, Fraction(0)) + chance
    return found


def p_value(masks: Tensor, expected: dict[int, Fraction]) -> float:
    """Of a chi-square test; 0 where a mask occurs that cannot."""
    if not set(masks.unique().tolist()) <= set(expected):
        return 0.0
    mean = torch.tensor([float(chance) * masks.numel() for chance in expected.values()], dtype=torch.float64)
    seen = torch.tensor([int((masks == mask).sum()) for mask in expected], dtype=torch.float64)
    statistic, freedom = ((seen - mean) ** 2 / mean).sum(), torch.tensor(len(expected) - 1.0, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom / 2, statistic / 2))


def sample(weights: tuple[int, ...], draws: int, rows: int = 1000, seed: int = 0) -> PathMasks:
    keys = torch.arange(rows) * 7919
    repeated = torch.tensor(weights, dtype=torch.int32).repeat(rows, 1)
    return path_sampling(repeated, keys, Plan(paths=40, draws=draws, seed=seed))


@pytest.mark.parametrize(
    "weights", [WEIGHTS, (1, 1, 1, 1), (65535, 65535, 1, 40000, 20000), (3, 5)], ids=["skewed", "flat", "wide", "two"]
)
@pytest.mark.parametrize("draws", [1, 2, 3])
def test_paths_follow_the_enumerated_distribution(weights: tuple[int, ...], draws: int) -> None:
    if draws >= sum(weight > 0 for weight in weights):
        draws = 1
    result = sample(weights, draws)
    assert (result.flags == 0).all()
    assert p_value(result.masks, distribution(weights, draws)) > 1e-3


def test_the_chi_square_test_catches_a_wrong_distribution() -> None:
    assert p_value(sample((9, 0, 4, 2, 2), 2).masks, distribution(WEIGHTS, 2)) < 1e-9
    assert p_value(sample((9, 1, 4, 2, 1), 2).masks, distribution(WEIGHTS, 2)) == 0


def test_inclusion_falls_with_the_weight_as_the_closed_form_says() -> None:
    expected = distribution(WEIGHTS, 2)
    kept = unpack(sample(WEIGHTS, 2).masks, 5).double().mean((0, 1))
    for field in range(5):
        chance = float(sum(p for mask, p in expected.items() if mask >> field & 1))
        assert float(kept[field]) == pytest.approx(chance, abs=5 * math.sqrt(0.25 / 40000))


def test_paths_of_one_row_and_rows_of_one_path_are_independent() -> None:
    """Pairs of neighbours follow the product of the distribution with itself."""
    single = distribution(WEIGHTS, 1)
    pairs = {a * 64 + b: p * q for (a, p), (b, q) in itertools.product(single.items(), single.items())}
    masks = sample(WEIGHTS, 1).masks
    assert p_value(masks[:, ::2] * 64 + masks[:, 1::2], pairs) > 1e-3
    assert p_value(masks[::2] * 64 + masks[1::2], pairs) > 1e-3
