"""Combo-ID attention on the CPU: the hash is exact, the definition keeps its promises, the operator equals it."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.combo_id_attention import Codebooks, Fields, Fusion, absorb, combo_id_attention, field_salt, mix, reference
from kernels.combo_id_attention.configs import Config, bucket_of
from kernels.combo_id_attention.cost import Sizes, integer_operations, requested, work
from kernels.combo_id_attention.reference import PRIMES, MixMode
from tests.kernels.combo_inputs import Inputs, draw, exact, group, permuted

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3}
SIZES = [5, 3, 0, 64]
LARGE_IDS = [0, 1, 2**31 - 20, 2**31 - 19, 2**31 - 1, 2**31, 2**32, 2**40 + 7, 2**62, 2**63 - 1]


def close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("user", "item", "heads"), [(5, 3, 2), (0, 4, 1), (1, 1, 1), (17, 2, 3), (0, 1, 2)])
def test_the_operator_equals_the_definition(dtype: torch.dtype, user: int, item: int, heads: int) -> None:
    inputs = draw(SIZES, dtype, user=user, item=item, heads=heads)
    output = combo_id_attention(*inputs)
    assert output.dtype == dtype
    assert output.shape == (72, user + item, heads * 8)
    close(output, reference.combo_id_attention(*exact(inputs)), dtype)


@pytest.mark.parametrize("mode", ["add", "mul", "gate", "half"])
def test_every_fusion_is_what_its_name_says(mode: MixMode) -> None:
    share, combo, dot = torch.tensor([0.25, 0.75]), torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    expected = {
        "add": combo + dot,
        "mul": combo * dot,
        "gate": share[:, None, None] * combo + (1 - share[:, None, None]) * dot,
        "half": torch.stack([combo[:, 0], dot[:, 1]], dim=1),
    }
    torch.testing.assert_close(reference.fuse(combo, dot, mix(mode, share)), expected[mode])
    inputs = draw(SIZES)
    inputs = inputs._replace(fusion=inputs.fusion._replace(mix=mix(mode, share)))
    close(combo_id_attention(*inputs), reference.combo_id_attention(*exact(inputs)), torch.float32)


def test_without_codebook_and_filter_it_is_plain_multi_head_attention() -> None:
    inputs = exact(draw([4, 2]))
    plain = Fusion(mix("gate", torch.zeros(2)).double(), torch.full((8, 8), -1.0).double())
    output = combo_id_attention(*inputs._replace(fusion=plain))
    request = torch.tensor([0, 0, 0, 0, 1, 1])
    parts = torch.cat([inputs.users.tokens[request], inputs.items.tokens], 1).unflatten(2, (8, 8)).transpose(1, 2)
    query, key, value = parts[:, :2], parts[:, 3:5], parts[:, 6:]
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    close(output, attended.transpose(1, 2).flatten(2), torch.float64)


def test_a_closed_filter_leaves_each_field_its_own_value() -> None:
    inputs = draw([4, 2])
    closed = inputs._replace(fusion=inputs.fusion._replace(tau=torch.ones(8, 8)))
    output = combo_id_attention(*closed)
    tokens = torch.cat([inputs.users.tokens[torch.tensor([0, 0, 0, 0, 1, 1])], inputs.items.tokens], dim=1)
    torch.testing.assert_close(output, tokens[:, :, -16:], rtol=0, atol=1e-6)


def test_a_dropped_field_does_not_count_and_the_threshold_alone_decides() -> None:
    inputs = draw([6])
    tau = torch.full((8, 8), -1.0)
    tau[:, 2] = 1.0
    dropping = inputs._replace(fusion=inputs.fusion._replace(tau=tau))
    dirty = inputs.users.tokens.clone()
    dirty[:, 2, -16:] = 1e6
    output = combo_id_attention(*dropping)
    changed = combo_id_attention(*dropping._replace(users=inputs.users._replace(tokens=dirty)))
    others = [0, 1, 3, 4, 5, 6, 7]
    assert torch.equal(output[:, others], changed[:, others])
    assert not torch.equal(output[:, 2], changed[:, 2])


def test_the_weight_of_a_pair_falls_steadily_to_zero_at_its_threshold() -> None:
    dot = torch.linspace(-1, 1, 201, dtype=torch.float64).reshape(1, 1, 1, 201)
    weight = reference.keep(dot, torch.full((1, 201), 0.5, dtype=torch.float64)).flatten()
    assert (weight[:101] == 0).all()
    assert (weight[101:] > 0).all()
    assert weight.diff().max() < 0.003


def code_of(book: int, id_: int, salt: list[int]) -> int:
    """Equation (1) in Python's integers, which have no width."""
    return sum(factor * id_**power for factor, power in zip(salt, (3, 2, 1, 0), strict=True)) % PRIMES[book]


@settings(max_examples=50, deadline=None)
@given(ids=st.lists(st.one_of(st.sampled_from(LARGE_IDS), st.integers(0, 2**63 - 1)), min_size=4, max_size=4))
def test_the_hash_is_that_of_unbounded_integers(ids: list[int]) -> None:
    salt, sizes = field_salt(4, seed=9), (2**20, 2**20 - 3)
    codes = reference.field_codes(torch.tensor([ids]), salt)
    rows = reference.pair_rows(codes, codes, sizes)
    for i, j in itertools.product(range(4), repeat=2):
        for book in (0, 1):
            left, right = (code_of(book, ids[f], salt[book, :, f].tolist()) for f in (i, j))
            assert rows[0, i, j, book] == (left + right) % PRIMES[book] % sizes[book]


def test_the_hash_stays_far_from_overflow_and_takes_negative_ids() -> None:
    assert max(PRIMES) ** 2 < 2**62
    salt = torch.tensor([[[p - 1] * 2] * 4 for p in PRIMES])
    ids = [2**31 - 2, -1]
    codes = reference.field_codes(torch.tensor([ids]), salt)
    expected = [[code_of(book, id_, [PRIMES[book] - 1] * 4) for book in (0, 1)] for id_ in ids]
    assert codes.tolist() == [expected]
    assert all(math.isqrt(p) and all(p % d for d in range(2, math.isqrt(p) + 1)) for p in PRIMES)


def test_the_salts_never_change() -> None:
    """Trained codebooks depend on them."""
    salt = field_salt(3, seed=1)
    assert salt.shape == (2, 4, 3)
    assert all((salt[book] < PRIMES[book]).all() for book in (0, 1))
    assert not torch.equal(salt, field_salt(3, seed=2))
    assert salt[0].tolist() == FROZEN_SALT


def test_a_pair_has_the_same_row_and_score_whichever_field_comes_first() -> None:
    inputs = exact(draw([3]))
    codes = reference.field_codes(inputs.items.ids, inputs.codebooks.salt[..., 5:])
    rows = reference.pair_rows(codes, codes, (101, 103))
    assert torch.equal(rows, rows.transpose(1, 2))
    heads = reference.split(inputs.items.tokens, 2)
    scores = inputs.codebooks.first[rows[..., 0]], inputs.codebooks.second[rows[..., 1]]
    combo = reference.mirror(reference.gated(reference.gate(heads, heads), scores))
    assert torch.equal(combo, combo.transpose(2, 3))
    assert (combo.diagonal(dim1=2, dim2=3) == 0).all()


def test_ids_that_one_codebook_cannot_tell_apart_the_other_can() -> None:
    ids = torch.tensor([[5, 77], [5 + PRIMES[0], 77]])
    codes = reference.field_codes(ids, field_salt(2, seed=3))
    rows = reference.pair_rows(codes, codes, (2**20, 2**20 - 3))[:, 0, 1]
    assert rows[0, 0] == rows[1, 0]
    assert rows[0, 1] != rows[1, 1]


@pytest.mark.parametrize("seed", range(4, 8))
@pytest.mark.parametrize("stride", [1, 64])
def test_sequential_ids_spread_evenly_and_collide_in_both_codebooks_as_rarely_as_chance(seed: int, stride: int) -> None:
    """A linear code fails here for seeds 4, 5 and 7: it is twelve times as uneven as chance."""
    sizes, count = (1009, 1013), 100
    ids = torch.cartesian_prod(torch.arange(count), torch.arange(count)) * stride
    codes = reference.field_codes(ids, field_salt(2, seed))
    rows = reference.pair_rows(codes[:, :1], codes[:, 1:], sizes)[:, 0, 0]
    for book, size in enumerate(sizes):
        counts = torch.bincount(rows[:, book], minlength=size).double()
        chi_square = ((counts - count**2 / size) ** 2 / (count**2 / size)).sum()
        assert abs(chi_square - size) < 5 * math.sqrt(2 * size)
    both = torch.bincount(rows[:, 0] * sizes[1] + rows[:, 1]).double()
    collisions = (both * (both - 1) / 2).sum()
    expected = count**2 * (count**2 - 1) / 2 / math.prod(sizes)
    assert expected / 2 < collisions < 2 * expected


def test_the_gate_mutes_a_slot_where_two_pairs_collide() -> None:
    """In one codebook of a single row all pairs collide; an open gate to the other tells them apart."""
    inputs = exact(draw([2], user=0, item=3, rows=(1, 1009)))
    codes = reference.field_codes(inputs.items.ids, inputs.codebooks.salt)
    rows = reference.pair_rows(codes, codes, (1, 1009))
    scores = inputs.codebooks.first[rows[..., 0]], inputs.codebooks.second[rows[..., 1]]
    collided = reference.gated(torch.ones(2, 1, 3, 3, dtype=torch.float64), scores)
    muted = reference.gated(torch.zeros(2, 1, 3, 3, dtype=torch.float64), scores)
    assert len(collided[:, 0].unique()) == 1
    assert len(muted[:, 0].triu(1).unique()) == 1 + 2 * 3


def test_an_absorbed_row_has_the_score_of_its_trained_row() -> None:
    torch.manual_seed(0)
    codebook, hidden = torch.randn(50, 6), (torch.randn(7, 6), torch.randn(7))
    output = (torch.randn(2, 7), torch.randn(2))
    rows = torch.tensor([3, 3, 49, 0])
    expected = torch.relu(codebook[rows] @ hidden[0].T + hidden[1]) @ output[0].T + output[1]
    torch.testing.assert_close(absorb(codebook, hidden, output)[rows], expected)


def test_gradients_reach_tokens_codebooks_and_fusion() -> None:
    inputs = exact(draw([2], user=2, item=2, heads=1, width=2, rows=(3, 4)))
    open_filter = inputs._replace(fusion=inputs.fusion._replace(tau=torch.full((4, 4), -0.25).double()))
    flat = open_filter.flat
    floats = [number for number, x in enumerate(flat) if x.is_floating_point() and number != 9]

    def run(*given: Tensor) -> Tensor:
        replaced = dict(zip(floats, given, strict=True))
        return reference.combo_id_attention(*group(tuple(replaced.get(n, x) for n, x in enumerate(flat))))

    assert torch.autograd.gradcheck(run, [flat[number].requires_grad_() for number in floats])


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5), seed=st.randoms(use_true_random=False))
def test_a_request_is_answered_alike_alone_and_in_any_batch(sizes: list[int], seed) -> None:
    inputs = draw(sizes)
    order = list(range(len(sizes)))
    seed.shuffle(order)
    shuffled, rows = permuted(inputs, order)
    output = combo_id_attention(*inputs)
    assert torch.equal(combo_id_attention(*shuffled), output[rows])
    alone, own = permuted(inputs, order[:1])
    assert torch.equal(combo_id_attention(*alone), output[own])


def test_no_candidates_give_no_outputs_and_surplus_ones_are_the_last_requests() -> None:
    assert combo_id_attention(*draw([0, 0])).shape == (0, 8, 16)
    inputs = draw([2, 3])
    short = inputs._replace(ends=torch.tensor([2, 4]))
    assert torch.equal(combo_id_attention(*short), combo_id_attention(*inputs))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_stays_in_its_candidate(value: float) -> None:
    inputs = draw([4, 3])
    dirty = inputs.items.tokens.clone()
    dirty[2] = value
    inputs = inputs._replace(fusion=inputs.fusion._replace(tau=torch.full((8, 8), -1.0)))
    clean = combo_id_attention(*inputs)
    output = combo_id_attention(*inputs._replace(items=inputs.items._replace(tokens=dirty)))
    others = [0, 1, 3, 4, 5, 6]
    assert torch.equal(output[others], clean[others])
    assert output[2].isnan().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": Fields(torch.zeros(2, 3, 63), torch.zeros(2, 3, dtype=torch.int64))}, r"\(3 \* 2 \+ 2\) \* D"),
        ({"items": Fields(torch.zeros(2, 3, 64), torch.zeros(2, 3, dtype=torch.int32))}, "item ids must be int64"),
        ({"items": Fields(torch.zeros(2, 2, 64), torch.zeros(2, 3, dtype=torch.int64))}, "item: 2 tokens for 3 ids"),
        ({"fusion": Fusion(torch.zeros(3, 2), torch.zeros(7, 7))}, r"tau \[7, 7\]"),
        ({"fusion": Fusion(torch.zeros(3, 3), torch.zeros(8, 8))}, "mix is for 3 heads, the codebooks for 2"),
        ({"codebooks": Codebooks(torch.zeros(6, 2), torch.zeros(4, 2), field_salt(8, 0))}, r"no divisor, got \(6, 4\)"),
    ],
)
def test_inputs_that_do_not_fit_are_named(change: dict[str, Fields], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combo_id_attention(*draw([1, 1])._replace(**change))  # pyright: ignore[reportArgumentType]


def test_candidates_of_no_request_and_items_without_fields_are_refused() -> None:
    inputs = draw([2])
    orphans = inputs._replace(users=Fields(*(x[:0] for x in inputs.users)), ends=inputs.ends[:0])
    with pytest.raises(ValueError, match="2 candidates of no request"):
        combo_id_attention(*orphans)
    with pytest.raises(ValueError, match="at least one field"):
        combo_id_attention(*draw([2], item=0))
    with pytest.raises(ValueError, match="at most 64 user fields"):
        bucket_of(65, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_opcheck_passes(dtype: torch.dtype) -> None:
    torch.library.opcheck(torch.ops.recserve.combo_id_attention, draw(SIZES, dtype).flat)


def test_compulsory_bytes_are_those_of_the_tensors_and_of_one_row_a_pair() -> None:
    inputs = draw([600, 400], user=5, item=3)
    sizes = sizes_of(inputs)
    tensors = [x for number, x in enumerate(inputs.flat) if number not in (5, 6)]
    pairs = 2 * 10 + 1000 * (15 + 3)
    assert work(sizes).read == sum(x.numel() * x.element_size() for x in tensors) + 2 * pairs * 2 * 4
    assert work(sizes).written == 1000 * 8 * 16 * 4
    dots = 2 * 2 * (2 * 25 + 1000 * (8 * 8 - 25))
    assert work(sizes).operations == 2 * 8 * (dots + pairs)
    assert integer_operations(sizes) == 10 * pairs
    with pytest.raises(ValueError, match="one request, not for 2"):
        requested(sizes, Config(heads=2, candidates=8, num_warps=4))


def sizes_of(inputs: Inputs) -> Sizes:
    return Sizes(
        requests=len(inputs.ends),
        candidates=inputs.items.ids.shape[0],
        user=inputs.users.ids.shape[1],
        item=inputs.items.ids.shape[1],
        heads=inputs.fusion.mix.shape[1],
        width=8,
        itemsize=inputs.items.tokens.element_size(),
        score_itemsize=inputs.codebooks.first.element_size(),
    )


FROZEN_SALT = [
    [722909340, 1667631020, 1817811775],
    [1371919918, 880303980, 380574338],
    [409605506, 502725525, 1202483045],
    [182984886, 1346504784, 1254700186],
]
