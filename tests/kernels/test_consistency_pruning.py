"""Consistency pruning on the CPU: the rules of the step, and that the operator has the bits of the definition."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.consistency_pruning import (
    SHARE_UNIT,
    Beams,
    Candidates,
    Pruned,
    Rule,
    category_shares,
    consistency_pruning,
    crss_candidates,
    crss_log_probs,
    initial_beams,
    reference,
    required_match,
)
from kernels.consistency_pruning.cost import Sizes, work
from tests.kernels.pruning_inputs import assert_same_bits, draw, rule

MODES = pytest.mark.parametrize("penalty", [0.0, 0.25], ids=["hard", "soft"])
SIZES = [(0, 3), (1, 1), (2, 3), (7, 4), (63, 8), (64, 64), (65, 70), (512, 20)]


def int32(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def one_step(scores: list[float], match: list[int], *, need: int, rule: Rule, slots: int = 4) -> Pruned:
    """Candidate i extends beam i; after the step its agreement is match[i]."""
    count = len(scores)
    beams = initial_beams(1, max(slots, count), 2)._replace(match=torch.zeros(1, max(slots, count), dtype=torch.int32))
    beams.match[0, :count] = int32(*match)
    tokens = int32(*(i * 2 * rule.codebook_size for i in range(count)))
    candidates = Candidates(torch.tensor([scores]), tokens[None], torch.full((1, count, 1), -1, dtype=torch.int32))
    return both(candidates, beams, int32(need), rule)


def both(candidates: Candidates, beams: Beams, need: Tensor, rule: Rule) -> Pruned:
    """The operator's answer, which is the definition's."""
    result = consistency_pruning(candidates, beams, need, rule)
    assert_same_bits(result, reference.consistency_pruning(candidates, beams, need, rule))
    return result


@MODES
@pytest.mark.parametrize("width", [1, 7], ids=["ids", "shares"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
@pytest.mark.parametrize(("candidates", "slots"), SIZES, ids=str)
def test_the_operator_has_the_bits_of_the_definition(
    candidates: int, slots: int, dtype: torch.dtype, width: int, penalty: float
) -> None:
    both(*draw(candidates, slots, width=width, dtype=dtype, seed=candidates), rule(min_keep=3, penalty=penalty))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 30), st.integers(1, 12), st.integers(1, 40), st.integers(1, 14), st.integers(0, 99), st.booleans()
)
def test_the_operator_has_the_bits_of_the_definition_for_any_sizes(
    candidates: int, slots: int, window: int, min_keep: int, seed: int, soft: bool
) -> None:
    given_rule = rule(window=window, min_keep=min_keep, penalty=0.5 if soft else 0.0)
    both(*draw(candidates, slots, seed=seed), given_rule)


@pytest.mark.parametrize(
    ("categories", "match", "kept"), [((5, 5, 9), 1, True), ((5, 9, 5), 0, False), ((9, 9, 9), 2, True)]
)
def test_three_of_four_tokens_need_one_agreeing_pair(categories: tuple[int, ...], match: int, kept: bool) -> None:
    checked = Rule(window=4, codebook_size=3)
    # The second beam always agrees, so that the floor does not save the first.
    beams = initial_beams(1, 2, 4)
    for step, category in enumerate(categories, start=1):
        need = int32(required_match(0.5, step) if step == 3 else 0)
        tokens = int32(*(beam * 12 + 3 * (step - 1) for beam in (0, 1 if step > 1 else 0)))
        both_categories = torch.tensor([[[category], [7]]], dtype=torch.int32)
        beams = both(
            Candidates(torch.tensor([[-1.0, -2.0]]), tokens[None], both_categories), beams, need, checked
        ).beams
    assert beams.match[0].tolist() == ([match, 2] if kept else [2, 0])
    assert beams.scores.isfinite().sum() == 1 + kept


@pytest.mark.parametrize(
    ("categories", "consistent"),
    [((12, 12, 12), 2), ((30, 30, 27), 1), ((27, 30, 27), 0), ((30, 30, 30), 2), ((27, 30, 30), 1)],
)
def test_agreement_is_the_step_consistency_of_the_reward(categories: tuple[int, ...], consistent: int) -> None:
    beams = initial_beams(1, 1, 3)
    for step, category in enumerate(categories):
        candidates = Candidates(torch.tensor([[0.0]]), int32(step * 40)[None], int32(category).view(1, 1, 1))
        beams = both(candidates, beams, int32(0), Rule(window=1, codebook_size=40)).beams
    assert beams.match.item() == consistent


def test_required_agreement_is_a_share_of_the_pairs_rounded_up_and_equality_passes() -> None:
    assert [required_match(0.5, step) for step in (1, 2, 3, 4, 5)] == [0, 1, 1, 2, 2]
    assert [required_match(1.0, step) for step in (1, 4)] == [0, 3]
    assert [required_match(0.0, step, SHARE_UNIT) for step in (1, 8)] == [0, 0]
    assert required_match(0.1 + 0.2, 11) == required_match(0.3, 11) == 3
    assert required_match(0.5, 2, SHARE_UNIT) == SHARE_UNIT // 2
    with pytest.raises(ValueError, match=r"theta is 1\.5"):
        required_match(1.5, 3)


def test_order_is_by_score_then_by_place_and_nan_is_never_kept() -> None:
    scores = [0.0, math.nan, -1.0, -0.0, math.inf, -math.inf, -1.0, math.inf]
    result = one_step(scores, [0] * 8, need=0, rule=Rule(window=8, codebook_size=3), slots=8)
    assert result.parents[0].tolist() == [4, 7, 0, 3, 2, 6, -1, -1]
    assert result.beams.scores[0].tolist() == [math.inf, math.inf, 0.0, 0.0, -1.0, -1.0, -math.inf, -math.inf]
    assert not result.beams.scores[0, 3].signbit()


def test_a_window_cuts_before_the_check_and_slots_after_it() -> None:
    result = one_step([5.0, 4.0, 3.0, 2.0, 1.0], [0, 1, 0, 1, 1], need=1, rule=Rule(window=4, codebook_size=3), slots=5)
    assert result.parents[0].tolist() == [1, 3, -1, -1, -1]
    assert result.disagreeing.tolist() == [2]


def test_where_all_disagree_the_floor_keeps_those_with_the_most_agreement_then_the_best_placed() -> None:
    result = one_step(
        [5.0, 4.0, 3.0, 2.0, 1.0], [0, 1, 2, 1, 1], need=9, rule=Rule(window=5, codebook_size=3, min_keep=3), slots=5
    )
    assert result.parents[0].tolist() == [1, 2, 3, -1, -1]
    alone = one_step([1.0, 1.0, 1.0], [0, 0, 0], need=9, rule=Rule(window=5, codebook_size=3))
    assert alone.parents[0].tolist() == [0, -1, -1, -1]


def test_soft_mode_drops_nothing_and_lowers_the_score_by_the_missing_agreement() -> None:
    soft = Rule(window=5, codebook_size=3, penalty=0.5)
    result = one_step([5, 4.75, 4.5, 4], [0, 1, 2, 2], need=2, rule=soft)
    assert result.parents[0].tolist() == [2, 1, 0, 3]
    assert result.beams.scores[0].tolist() == [4.5, 4.25, 4.0, 4.0]
    assert result.disagreeing.tolist() == [2]


@MODES
def test_a_request_without_candidates_has_only_dead_slots(penalty: float) -> None:
    inputs = draw(6, 4, batch=2)
    inputs.candidates.scores[1] = torch.tensor([math.nan, -math.inf] * 3)
    result = both(*inputs, rule(penalty=penalty))
    assert result.beams.scores[1].tolist() == [-math.inf] * 4
    assert result.parents[1].tolist() == result.tokens[1].tolist() == [-1] * 4
    assert (result.beams.codes[1] == -1).all()
    assert (result.beams.last[1] == -1).all()
    assert result.disagreeing[1] == 0


@MODES
def test_without_a_threshold_the_step_is_plain_beam_search_bit_for_bit(penalty: float) -> None:
    inputs = draw(60, 20, seed=4)
    unchecked = both(inputs.candidates, inputs.beams, torch.zeros_like(inputs.need), rule(window=30, penalty=penalty))
    scores, tokens = inputs.candidates.scores + 0.0, inputs.candidates.tokens
    scores = torch.where(scores > -math.inf, scores, -math.inf)
    for row in range(3):
        order = scores[row].argsort(descending=True, stable=True)[:30]
        order = order[(scores[row, order] > -math.inf) & (tokens[row, order] >= 0) & (tokens[row, order] < 400)][:20]
        assert torch.equal(unchecked.beams.scores[row, : len(order)], scores[row, order])
        assert torch.equal(unchecked.parents[row, : len(order)], tokens[row, order] // 20)
        assert torch.equal(unchecked.tokens[row, : len(order)], tokens[row, order] % 20)
    assert unchecked.disagreeing.tolist() == [0, 0, 0]


def test_more_is_pruned_as_the_threshold_grows_and_beams_are_never_empty() -> None:
    inputs = draw(60, 20, seed=4)
    results = [both(inputs.candidates, inputs.beams, torch.full_like(inputs.need, need), rule()) for need in range(5)]
    dropped = [int(result.disagreeing.sum()) for result in results]
    assert dropped == sorted(dropped)
    assert dropped[0] == 0 < dropped[1] < dropped[3]
    assert all((result.beams.scores > -math.inf).any(dim=1).all() for result in results)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)))
def test_a_request_is_answered_alike_at_any_place_of_any_batch(order: list[int]) -> None:
    inputs = draw(30, 6, batch=5)
    whole = consistency_pruning(*inputs, rule())
    part = consistency_pruning(*inputs.of(torch.tensor(order[:3])), rule())
    for one, other in zip((*part.beams, *part[1:]), (*whole.beams, *whole[1:]), strict=True):
        assert torch.equal(one, other[order[:3]])


def test_shares_add_up_and_equal_distributions_agree_in_full() -> None:
    shares = category_shares(torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]))
    assert shares.tolist() == [[10924, 10922, 10922], [16384, 8192, 8192], [0, SHARE_UNIT, 0]]
    assert reference.agreement(shares[0], shares[0]) == SHARE_UNIT
    assert reference.agreement(shares[1], shares[2]) == 8192


def test_a_path_keeps_its_codes_and_gets_the_new_one() -> None:
    codes = torch.tensor([[[1, -1, -1], [-1, 2, -1]]], dtype=torch.int32)
    beams = initial_beams(1, 2, 3)._replace(codes=codes)
    candidates = Candidates(torch.tensor([[-2.0, -1.0]]), int32(0 + 2 * 4 + 3, 12 + 0)[None], int32(7, 8).view(1, 2, 1))
    result = both(candidates, beams, int32(0), Rule(window=2, codebook_size=4))
    assert result.beams.codes[0].tolist() == [[0, 2, -1], [1, -1, 3]]
    assert result.beams.last[0].flatten().tolist() == [8, 7]
    assert result.tokens[0].tolist() == [0, 11]


def all_paths(per_codebook: bool = False) -> tuple[Beams, list[Beams]]:
    """Every ordered path of 3 codebooks with 3 words, under a model whose logits depend on the whole path."""
    slots, codebooks, words = 162, 3, 3
    beams, history = initial_beams(1, slots, codebooks), []
    for _ in range(codebooks):
        seen = ((beams.codes + 1) * torch.tensor([1, 4, 16])).sum(dim=2)
        logits = torch.sin(seen[:, :, None, None] * 1.7 + torch.arange(9.0).view(3, 3) * 0.9)
        log_probs = crss_log_probs(logits, beams.codes, per_codebook)
        scores, tokens = crss_candidates(beams, log_probs, 2000)
        categories = torch.full((*scores.shape, 1), -1, dtype=torch.int32)
        step = Rule(window=2000, codebook_size=words)
        beams = consistency_pruning(Candidates(scores, tokens, categories), beams, int32(0), step).beams
        history.append(beams)
    return beams, history


def test_the_probabilities_of_all_ordered_paths_add_up_to_one() -> None:
    beams, history = all_paths()
    assert [int((step.scores > -math.inf).sum()) for step in history] == [9, 54, 162]
    assert beams.scores.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert sorted(beams.codes[0].tolist()) == sorted(6 * [list(path) for path in itertools.product(range(3), repeat=3)])


def test_with_a_softmax_in_each_codebook_every_order_has_probability_one() -> None:
    assert all_paths(per_codebook=True)[0].scores.exp().sum().item() == pytest.approx(6, abs=1e-4)


@given(st.integers(0, 50), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_candidates_are_those_of_a_stable_sort_also_among_equal_scores(seed: int, window: int) -> None:
    random = torch.Generator().manual_seed(seed)
    beams = initial_beams(2, 3, 2)._replace(scores=torch.tensor([[0.0, -1.0, -math.inf], [0.0, 0.0, math.nan]]))
    log_probs = -torch.randint(0, 3, (2, 3, 2, 5), generator=random).float()
    scores, tokens = crss_candidates(beams, log_probs, window)
    every = (beams.scores[:, :, None, None] + log_probs).flatten(1).nan_to_num(nan=-math.inf, neginf=-math.inf)
    expected = every.argsort(dim=1, descending=True, stable=True)[:, :window].sort(dim=1).values
    assert torch.equal(tokens, expected.int())
    assert torch.equal(scores, every.gather(1, expected))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("window", 0, "window is 0"),
        ("min_keep", 0, "min_keep is 0"),
        ("codebook_size", -1, "codebook_size is -1"),
        ("penalty", 0.3, r"penalty is 0\.3, must be 0 or a power of two"),
        ("penalty", -0.5, r"penalty is -0\.5"),
        ("penalty", math.nan, "penalty is nan"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule(**{"window": 4, "codebook_size": 3, field: value})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        (0, "scores", torch.zeros(3, 7, dtype=torch.float64), "scores is torch.float64"),
        (0, "tokens", torch.zeros(3, 7, dtype=torch.int64), "tokens is torch.int64"),
        (0, "categories", torch.zeros(3, 7, dtype=torch.int32), "categories has 2 axes"),
        (1, "codes", torch.zeros(2, 4, 4, dtype=torch.int32), r"tokens is .* must be int32 \[2, 7\]"),
        (1, "last", torch.zeros(3, 4, 2, dtype=torch.int32), r"last is torch.int32 \[3, 4, 2\]"),
        (1, "match", torch.zeros(3, 5, dtype=torch.int32), r"match is .* must be int32 \[3, 4\]"),
    ],
)
def test_tensors_that_do_not_fit_are_named(part: int, field: str, value: Tensor, message: str) -> None:
    candidates, beams, need = draw(7, 4)
    if part == 0:
        candidates = candidates._replace(**{field: value})
    else:
        beams = beams._replace(**{field: value})
    with pytest.raises(ValueError, match=message):
        consistency_pruning(candidates, beams, need, rule())


def test_compulsory_bytes_are_those_of_the_tensors() -> None:
    inputs = draw(30, 6, batch=2)
    result = consistency_pruning(*inputs, rule(window=30))
    least = work(Sizes(requests=2, candidates=30, slots=6, codebooks=4, window=30))
    assert least.read == sum(x.nbytes for x in inputs.tensors)
    assert least.written == sum(x.nbytes for x in (*result.beams, *result[1:]))
    assert work(Sizes(requests=2, candidates=30, slots=6, codebooks=4, window=10)).read == least.read - 2 * 20 * 8
