from dataclasses import replace

import pytest
import torch

from export.signature import axis_sizes, check_signature
from tests.export.models import CANDIDATES, OFFSETS, PROFILE, SCORES, release, scorer_model
from tests.serving import path_models
from training.servable import Axis, Signature, TensorSpec


def path_step() -> Signature:
    """A step with 4 masks and 5 weights for each candidate."""
    return path_models.release()[0]


def test_signatures_of_the_release_are_legal() -> None:
    for signature in release():
        check_signature(signature)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((PROFILE, PROFILE, CANDIDATES, OFFSETS), "'profile' is listed twice"),
        ((CANDIDATES,), "ragged input 'candidates' needs an int32 input with of='candidates'"),
        ((OFFSETS, PROFILE), "of='candidates' is not a ragged input"),
        ((CANDIDATES, replace(OFFSETS, dtype="int64")), "counts are int32 with shape"),
        ((CANDIDATES, OFFSETS, replace(PROFILE, shape=("batch", 8))), "leave 'batch' out of shape"),
        ((replace(CANDIDATES, shape=(4,)), OFFSETS), "a ragged tensor has one symbolic axis"),
        ((CANDIDATES, OFFSETS, replace(PROFILE, max_elements=3)), "max_elements bound ragged inputs only"),
    ],
)
def test_illegal_inputs_are_refused_by_name(inputs: tuple[TensorSpec, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"model 'scorer': .*{message}"):
        check_signature(replace(scorer_model(), inputs=inputs))


def test_ragged_output_says_whose_lengths_it_has() -> None:
    with pytest.raises(ValueError, match="ragged output 'scores' needs of="):
        check_signature(replace(scorer_model(), outputs=(replace(SCORES, of=None),)))


def test_several_elements_per_candidate_are_for_outputs_of_steps_that_are_no_graphs() -> None:
    several = replace(SCORES, per=3)
    with pytest.raises(ValueError, match="output 'scores': per=3, but a graph's ragged outputs have the lengths of"):
        check_signature(replace(scorer_model(), outputs=(several,)))
    with pytest.raises(ValueError, match="tensor 'profile': per is 2"):
        check_signature(replace(path_step(), outputs=(replace(PROFILE, per=2),)))
    check_signature(replace(path_step(), outputs=(several,)))


def test_an_output_that_is_no_multiple_of_its_candidates_is_refused() -> None:
    outputs = path_step().outputs
    assert axis_sizes(path_step(), outputs, (torch.zeros(8, dtype=torch.int64), torch.zeros(10))) == {"candidates": 2}
    with pytest.raises(ValueError, match=r"tensor 'masks'.* no multiple of 4"):
        axis_sizes(path_step(), outputs, (torch.zeros(9, dtype=torch.int64), torch.zeros(10)))


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        (Axis("masks", of="items", times=4), r"has 4 for each of 'items'; write 1 or more, of one of \['candidates'"),
        (Axis("masks", of="weights", times=4), "has 4 for each of 'weights'; write 1 or more"),
        (Axis("masks", of="candidates", times=0), "has 0 for each of 'candidates'; write 1 or more"),
    ],
)
def test_an_axis_follows_one_whose_size_is_its_own(axis: Axis, said: str) -> None:
    scorer = path_models.release()[1]
    inputs = (replace(spec, shape=(axis,)) if spec.name == "masks" else spec for spec in scorer.inputs)
    with pytest.raises(ValueError, match=f"axis 'masks' {said}"):
        check_signature(replace(scorer, inputs=tuple(inputs)))


def test_shape_without_an_axis_is_for_graphs_and_ensembles_have_an_axis() -> None:
    flat = replace(PROFILE, shape=())
    check_signature(replace(scorer_model(), inputs=(CANDIDATES, OFFSETS, flat)))
    for step in release()[2:]:
        with pytest.raises(
            ValueError, match=r"tensor 'profile': only a graph's tensors may have shape \(\); use shape"
        ):
            check_signature(replace(step, outputs=(flat,)))


@pytest.mark.parametrize("name", ["", "../up", "a/b", "1st", ".hidden"])
def test_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="model name"):
        check_signature(replace(scorer_model(), name=name))


def test_batch_size_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="max_batch_size is 0"):
        check_signature(replace(scorer_model(), max_batch_size=0))
