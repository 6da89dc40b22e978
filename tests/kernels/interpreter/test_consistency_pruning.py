"""The kernel of consistency pruning in the interpreter: the definition's bits, traffic, invariance."""

import pytest
import torch

from kernels.case import Case
from kernels.consistency_pruning import Beams, Candidates, reference
from kernels.consistency_pruning.cases import cases
from kernels.consistency_pruning.configs import CONFIGS, Config, choose
from kernels.consistency_pruning.kernel import launch
from kernels.meter import meter
from tests.kernels.pruning_inputs import assert_same_bits, draw, rule

CONFIG = CONFIGS[90]
MIDDLE = Config(block=512, num_warps=8, in_registers=False)
"""Not shipped: as the largest one, but quicker to interpret."""


@pytest.mark.parametrize("penalty", [0.0, 0.25], ids=["hard", "soft"])
@pytest.mark.parametrize(("candidates", "slots"), [(0, 3), (1, 1), (2, 3), (7, 4), (63, 8), (64, 5), (65, 70)], ids=str)
def test_the_kernel_has_the_bits_of_the_definition(candidates: int, slots: int, penalty: float) -> None:
    inputs, given = draw(candidates, slots, batch=2, seed=candidates), rule(min_keep=3, penalty=penalty)
    assert_same_bits(launch(*inputs, given), reference.consistency_pruning(*inputs, given))


@pytest.mark.parametrize("min_keep", [1, 7])
def test_where_all_disagree_the_floor_has_the_bits_of_the_definition(min_keep: int) -> None:
    inputs, given = draw(60, 8, batch=2), rule(min_keep=min_keep)
    inputs = inputs._replace(need=torch.full_like(inputs.need, 9))
    result = launch(*inputs, given)
    assert (result.parents >= 0).sum(dim=1).tolist() == [min_keep, min_keep]
    assert_same_bits(result, reference.consistency_pruning(*inputs, given))


@pytest.mark.parametrize(("candidates", "config"), [(1000, CONFIG["1024"]), (512, MIDDLE)], ids=["1000", "512"])
def test_many_candidates_have_the_bits_of_the_definition(candidates: int, config: Config) -> None:
    inputs, given = draw(candidates, 40, batch=1), rule(window=90, min_keep=50)
    assert_same_bits(launch(*inputs, given, config=config), reference.consistency_pruning(*inputs, given))


@pytest.mark.parametrize("penalty", [0.0, 2.0**-15], ids=["hard", "soft"])
@pytest.mark.parametrize("width", [6, 70])
def test_shares_in_one_tile_and_in_several(width: int, penalty: float) -> None:
    inputs, given = draw(30, 6, batch=1, width=width), rule(penalty=penalty)
    assert_same_bits(launch(*inputs, given), reference.consistency_pruning(*inputs, given))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_half_precision_scores_are_penalised_and_saturate_as_defined() -> None:
    inputs, given = draw(40, 20, dtype=torch.float16), rule(penalty=2.0**15)
    result = launch(*inputs, given)
    assert torch.finfo(torch.float16).min in result.beams.scores
    assert_same_bits(result, reference.consistency_pruning(*inputs, given))


@pytest.mark.parametrize("penalty", [0.0, 0.5], ids=["hard", "soft"])
def test_bits_do_not_depend_on_the_configuration(penalty: float) -> None:
    inputs, given = draw(50, 8, batch=1), rule(penalty=penalty)
    configs = (CONFIG["64"], CONFIG["128"], Config(block=256, num_warps=2, in_registers=False))
    results = [launch(*inputs, given, config=config) for config in configs]
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_a_request_is_answered_alike_alone_and_at_any_place_of_a_batch() -> None:
    inputs, given = draw(30, 6, batch=4), rule()
    shuffled = launch(*inputs.of(torch.tensor([2, 0, 3, 1])), given)
    for place, request in enumerate([2, 0, 3, 1]):
        alone = launch(*inputs.of(torch.tensor([request])), given)
        for one, other in zip((*alone.beams, *alone[1:]), (*shuffled.beams, *shuffled[1:]), strict=True):
            assert torch.equal(one[0], other[place])


def test_tensors_cut_out_of_wider_ones_are_read_right_and_left_alone() -> None:
    inputs, given = draw(20, 5, batch=2), rule()
    wide = [torch.stack([x, torch.full_like(x, 3)], dim=x.dim()).select(x.dim(), 0) for x in inputs.tensors]
    assert not wide[0].is_contiguous()
    before = [x.clone() for x in wide]
    result = launch(Candidates(*wide[:3]), Beams(inputs.beams.scores, *wide[3:6]), wide[6], given)
    assert_same_bits(result, reference.consistency_pruning(*inputs, given))
    torch.testing.assert_close(wide, before, rtol=0, atol=0, equal_nan=True)


def test_no_requests_are_no_work() -> None:
    assert launch(*draw(5, 4, batch=0), rule()).beams.codes.shape == (0, 4, 4)


@pytest.mark.parametrize("case", [case for case in cases() if case.metered], ids=lambda case: case.config)
def test_traffic_is_at_most_a_twentieth_over_the_minimum(case: Case) -> None:
    with meter() as measured:
        case.launch(*case.inputs(0))
    assert measured.bytes_read + measured.bytes_written <= 1.05 * (case.work.read + case.work.written)
    assert measured.bytes_written == case.work.written
    assert measured.out_of_bounds == 0
    assert measured.conflicts == 0


def test_the_configuration_follows_from_the_larger_of_candidates_and_slots() -> None:
    assert choose(90, 64, 3, 1) is CONFIG["64"]
    assert choose(89, 3, 65, 1) is CONFIG["128"]
    assert choose(120, 64, 3, 2) is CONFIG["128-shares"]
    assert choose(75, 129, 3, 1) is CONFIG["1024"]
    with pytest.raises(ValueError, match=r"1025 candidates and 3 slots .* crss_candidates"):
        choose(90, 1025, 3, 1)
