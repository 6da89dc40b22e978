from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from export.goldens import cut, cut_tensors, make_goldens, pack
from tests.export.models import profile_model, release, scorer_example, scorer_model
from training.servable import Packed


def test_each_request_gets_its_own_candidates_and_scores() -> None:
    scorer, inputs = scorer_model(), scorer_example(5, 0)
    goldens = cut(scorer, inputs, scorer.eager(*inputs))
    assert [golden.inputs["candidates"].shape for golden in goldens[:3]] == [(1, 9), (1, 0), (1, 1)]
    assert [set(golden.inputs) for golden in goldens] == [{"profile", "candidates"}] * 5
    for golden in goldens:
        (alone,) = scorer.eager(*pack(scorer, [golden.inputs]))
        np.testing.assert_allclose(golden.outputs["scores"][0], alone.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_packing_undoes_cutting(batch_size: int) -> None:
    scorer, inputs = scorer_model(), scorer_example(batch_size, 4)
    packed = pack(scorer, cut_tensors(scorer, scorer.inputs, inputs, inputs))
    assert all(torch.equal(after, before) for after, before in zip(packed, inputs, strict=True))
    assert [tensor.dtype for tensor in packed] == [tensor.dtype for tensor in inputs]


def test_counts_that_miss_elements_are_refused() -> None:
    scorer = scorer_model()
    profile, candidates, ends = scorer_example(3, 0)
    with pytest.raises(ValueError, match="do not divide the 10 elements of 'candidates'"):
        cut(scorer, (profile, candidates, ends - 1), (candidates.float(),))


def test_every_model_of_a_release_has_sixteen_goldens() -> None:
    for signature in release():
        goldens = make_goldens(signature)
        assert len(goldens) == 16
        assert {name for golden in goldens for name in golden.outputs} == {spec.name for spec in signature.outputs}


def test_goldens_do_not_change_from_one_publish_to_the_next() -> None:
    first, second = make_goldens(scorer_model()), make_goldens(scorer_model())
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.outputs["scores"], other.outputs["scores"])


def test_reference_and_served_form_are_kept_in_double_precision() -> None:
    profile = profile_model()

    def reference(history: Tensor, user: Tensor) -> Packed:
        assert (history.dtype, user.dtype) == (torch.int64, torch.float64)
        return (profile_model().module.double()(history, user),)

    (golden, *_) = make_goldens(replace(profile, reference=reference))
    assert golden.reference64["profile"].dtype == golden.served64["profile"].dtype == np.float64
    np.testing.assert_allclose(golden.served64["profile"], golden.reference64["profile"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(golden.outputs["profile"], golden.served64["profile"], rtol=0, atol=1e-5)
    assert next(profile.module.parameters()).dtype == torch.float32


def test_fp64_form_of_the_signature_goes_before_the_module() -> None:
    def seven(history: Tensor, user: Tensor) -> Packed:
        return (torch.full((len(history), 8), 7.0),)

    (golden, *_) = make_goldens(replace(profile_model(), reference=seven, eager64=seven))
    assert (golden.served64["profile"] == 7.0).all()


def test_answer_that_is_not_a_number_is_refused() -> None:
    def broken(history: Tensor, user: Tensor) -> Packed:
        return (torch.full((len(history), 8), float("nan")),)

    with pytest.raises(ValueError, match="output 'profile' holds NaN"):
        make_goldens(replace(profile_model(), eager=broken))


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        ({"minimum": 0}, "'candidates' holds -1, below its minimum 0"),
        ({"maximum": 3}, r"'candidates' holds \d+, above its maximum 3"),
        ({"max_elements": 8}, "'candidates' has 9 elements along 'candidates', above its greatest size 8"),
        ({"min_elements": 10}, "'candidates' has 9 elements along 'candidates', below its least size 10"),
    ],
)
def test_example_that_the_server_would_refuse_is_refused(bound: dict[str, int], message: str) -> None:
    scorer = scorer_model()
    inputs = (scorer.inputs[0], replace(scorer.inputs[1], **bound), scorer.inputs[2])
    with pytest.raises(ValueError, match=message):
        make_goldens(replace(scorer, inputs=inputs))
