"""MATT's served form: the absorbed first layer says what the base says path by path, and is computed once."""

from functools import cache

import numpy as np
import pytest
import torch

from export.kernel_form import kernel_form
from tests.training.systems.matt_models import BASES, config_of, data, untrained
from training.servable import Servable, Signature, StepServable
from training.systems.matt import SYSTEM
from training.systems.matt.bases.autoint import AbsorbedAutoInt
from training.systems.matt.distinct import Distinct
from training.systems.matt.model import kept_fields
from training.systems.matt.served import Scorer, per_candidate


@cache
def released(name: str) -> dict[str, Signature]:
    """By what they are: sampler, scorer, ensemble."""
    signatures = SYSTEM.release(untrained(name), config_of(name), data())
    assert [one.name for one in signatures] == ["matt_sampler", "matt_scorer", "matt"]
    return dict(zip(("sampler", "scorer", "ensemble"), signatures, strict=True))


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("model", ["scorer", "ensemble"])
def test_the_absorbed_form_equals_one_forward_per_path(name: str, model: str) -> None:
    signature = released(name)[model]
    assert signature.reference is not None
    assert signature.eager64 is not None
    inputs = signature.example(10, 1)
    exact = tuple(tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs)
    parts = zip(signature.reference(*exact), signature.eager64(*exact), signature.eager(*inputs), strict=True)
    for expected, in64, in32 in parts:
        torch.testing.assert_close(in64, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(in32.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["fm", "deepfm", "autoint", "dcnv2", "mlp", "dea", "dgenctr"])
def test_the_scorer_of_every_base_can_be_exported(name: str) -> None:
    scorer = released(name)["scorer"]
    assert isinstance(scorer, Servable)
    kernel_form(scorer)


@pytest.mark.parametrize("count", [3, 63, 64])
def test_the_full_path_keeps_every_field_up_to_as_many_as_a_mask_has_bits(count: int) -> None:
    kept = kept_fields(torch.zeros(2, 1, dtype=torch.int64), count)
    assert kept.shape == (2, 2, count)
    assert kept[:, 0].all()
    assert not kept[:, 1].any()


@pytest.mark.parametrize("name", ["deepfm", "dea"])
def test_the_served_sampler_draws_what_evaluation_draws(name: str) -> None:
    sampler, scorer = released(name)["sampler"], released(name)["scorer"]
    assert isinstance(sampler, StepServable)
    masks, weights = sampler.eager(*sampler.example(10, 1))
    inputs = scorer.example(10, 1)
    assert torch.equal(masks, inputs[3])
    assert torch.equal(weights, inputs[5])


@pytest.mark.parametrize("name", ["autoint", "dea"])
def test_a_request_is_answered_alike_alone_and_in_a_batch(name: str) -> None:
    scorer = released(name)["scorer"]
    inputs = scorer.example(10, 1)
    together = scorer.eager(*inputs)[0]
    ends = [0, *inputs[2].tolist()]
    for number in (0, 1, 4, 9):
        alone = scorer.eager(*request(inputs, number))[0]
        torch.testing.assert_close(alone, together[ends[number] : ends[number + 1]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("which", [3, 5])
def test_a_request_with_too_few_masks_or_weights_gets_no_score_and_spoils_no_other(which: int) -> None:
    scorer = released("deepfm")["scorer"]
    inputs = list(scorer.example(6, 1))
    right, ends = scorer.eager(*inputs)[0], [0, *inputs[2].tolist()]
    border = int(inputs[which + 1][2])
    inputs[which] = torch.cat([inputs[which][: border - 1], inputs[which][border:]])
    inputs[which + 1] = inputs[which + 1] - (torch.arange(6) >= 2).to(torch.int32)
    found = scorer.eager(*inputs)[0]
    assert found[ends[2] : ends[3]].isnan().all()
    others = torch.ones(len(found), dtype=torch.bool)
    others[ends[2] : ends[3]] = False
    assert torch.equal(found[others], right[others])


def test_a_negative_id_gets_no_plausible_score() -> None:
    scorer = released("deepfm")["scorer"]
    user, candidates, *rest = scorer.example(4, 1)
    candidates = candidates.clone()
    candidates[3] = -1
    score, spread, _ = scorer.eager(user, candidates, *rest)
    assert score[3].isnan()
    assert spread[3].isnan()
    assert not score[4:].isnan().any()


def test_the_first_layer_is_applied_once_per_field_not_once_per_path() -> None:
    """Multiplications with the first layer's weight matrix: none are left, whatever the number of paths."""
    module = released("deepfm")["scorer"]
    assert isinstance(module, Servable)
    names = {name for name, _ in module.module.named_parameters()}
    inputs = module.example(3, 0)
    program = torch.export.export(module.module, inputs)
    used = {spec.target for spec in program.graph_signature.input_specs if spec.target}
    assert any(name.endswith("network.first.weight") for name in names)
    called = program.graph_signature.inputs_to_parameters
    read = {called[node.name] for node in program.graph.nodes if node.name in called and node.users}
    assert used >= read
    assert not any(name.endswith("network.first.weight") for name in read)


def test_each_path_is_there_once_in_the_order_in_which_they_come() -> None:
    distinct = Distinct.of(torch.tensor([[7, 3, 7, 5, 3], [6, 6, 6, 6, 6]]))
    assert distinct.candidate.tolist() == [0, 0, 0, 1]
    assert distinct.masks.tolist() == [7, 3, 5, 6]
    assert distinct.place.tolist() == [[0, 1, 0, 2, 1], [3, 3, 3, 3, 3]]
    values = torch.tensor([0.1, 0.2, 0.3, 0.4, 9.0])
    assert torch.equal(distinct.spread(values), values[distinct.place])


def test_paths_that_keep_the_same_fields_go_through_autoint_once() -> None:
    module = scorer_of("autoint")
    user, candidates, ends, masks, *rest = released("autoint")["scorer"].example(6, 1)
    absorbed = module.absorbed
    assert isinstance(absorbed, AbsorbedAutoInt)
    seen: list[int] = []
    hook = absorbed.layers.register_forward_pre_hook(lambda _, tokens: seen.append(len(tokens[0])))
    same = masks.reshape(-1, module.paths)[:, :1].expand(-1, module.paths).flatten()
    scores = module(user, candidates, ends, same, *rest)[2].reshape(-1, module.paths + 1)
    hook.remove()
    # The full path and one more, of each candidate and of the one that is dropped.
    assert seen == [-(-2 * (len(candidates) + 1) // absorbed.together)]
    assert torch.equal(scores[:, 1:], scores[:, 1:2].expand(-1, module.paths))


def test_paths_stand_side_by_side_and_the_last_one_twice_where_they_are_odd() -> None:
    absorbed = scorer_of("autoint").absorbed
    assert isinstance(absorbed, AbsorbedAutoInt)
    fields = len(absorbed.mean_rows)
    assert absorbed.together == 16 // fields > 1
    rows = torch.arange((absorbed.together + 1) * fields).unflatten(0, (-1, fields))
    last = rows[-1].repeat(absorbed.together)
    assert torch.equal(absorbed.grouped(rows), torch.stack([rows[:-1].flatten(), last]))


def scorer_of(name: str) -> Scorer:
    scorer = released(name)["scorer"]
    assert isinstance(scorer, Servable)
    assert isinstance(scorer.module, Scorer)
    return scorer.module


def test_values_are_found_by_request_though_lengths_do_not_fit() -> None:
    values = torch.arange(7)
    ends = torch.tensor([2, 3]), torch.tensor([5, 7])
    found, fits = per_candidate(values, ends, torch.tensor([0, 0, 1, 1]), 2)
    assert fits.tolist() == [False, True]
    assert found[2].tolist() == [5, 6]


def request(inputs: tuple[torch.Tensor, ...], number: int) -> tuple[torch.Tensor, ...]:
    """The scorer's inputs of one of the requests, alone."""
    user, candidates, ends, masks, mask_ends, weights, weight_ends = inputs

    def part(values: torch.Tensor, borders: torch.Tensor) -> torch.Tensor:
        return torch.tensor_split(values, borders[:-1].long())[number]

    parts = [part(candidates, ends), part(masks, mask_ends), part(weights, weight_ends)]
    counts = [torch.tensor([len(one)], dtype=torch.int32) for one in parts]
    return user[number : number + 1], *(each for pair in zip(parts, counts, strict=True) for each in pair)


def test_examples_hold_the_edge_cases() -> None:
    _, candidates, ends, _ = released("deepfm")["ensemble"].example(10, 0)
    counts = np.diff(ends.numpy(), prepend=0)
    assert {0, 1, 2} <= set(counts.tolist())
    assert (candidates > 1000).any()
