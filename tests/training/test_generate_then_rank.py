"""A generator and a ranker are joined only where both speak of the same items, whatever a ranker consists of."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.training.tasks.test_next_item import served
from training.generate_then_rank import generate_then_rank, refuse_other_items
from training.schema import Field, Schema
from training.servable import EnsembleServable, EnsembleStep, Packed, Signature, TensorSpec

ITEM = Field(
    name="item_id",
    role="item",
    kind="id",
    uses=("key",),
    cardinality=3,
    values=("unknown", "Alien (1979)", "Heat (1995)"),
)
USER = TensorSpec(name="user_id", dtype="int64", shape=(1,))
CANDIDATES = TensorSpec(name="candidates", dtype="int64", shape=("candidates",), ragged=True)
ENDS = TensorSpec(name="candidate_offsets", dtype="int32", shape=(), of="candidates")
SCORES = TensorSpec(name="scores", dtype="float32", shape=("candidates",), ragged=True, of="candidates")


def schema(dataset: str, item: Field) -> Schema:
    user = Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=9)
    return Schema(dataset=dataset, fields=(user, item))


def request(batch_size: int, _seed: int) -> Packed:
    ends = torch.arange(1, batch_size + 1, dtype=torch.int32)
    return torch.arange(batch_size)[:, None], torch.arange(batch_size), ends


def answer(user: Tensor, candidates: Tensor, ends: Tensor) -> Packed:
    """The candidate's number and the user's."""
    counts = ends.diff(prepend=ends.new_zeros(1))
    return (candidates + 1000.0 * user[:, 0].repeat_interleave(counts),)


def one_model() -> tuple[Signature, ...]:
    return (
        Signature(
            name="ranker",
            inputs=(USER, CANDIDATES, ENDS),
            outputs=(SCORES,),
            example=request,
            eager=answer,
            max_batch_size=4,
        ),
    )


def two_steps() -> tuple[Signature, ...]:
    (scorer,) = one_model()
    steps = (
        EnsembleStep(model="profile", inputs={"user_id": "user_id"}, outputs={"vector": "vector"}),
        EnsembleStep(
            model="scorer",
            inputs={"user_vector": "vector", "items": "candidates"},
            outputs={"scores": "scores"},
        ),
    )
    whole = EnsembleServable(
        name="both",
        inputs=scorer.inputs,
        outputs=scorer.outputs,
        example=request,
        eager=answer,
        max_batch_size=64,
        steps=steps,
    )
    return replace(scorer, name="scorer"), whole


def test_each_item_of_the_list_is_scored_for_the_user() -> None:
    generator = served("sasrec")
    joint = generate_then_rank(generator, one_model())
    user, history, ends = joint.example(3, 0)
    listed, own_scores, scores = joint.eager(user, history, ends)
    assert [spec.name for spec in joint.outputs] == ["items", "generator_scores", "scores"]
    expected = generator.eager(history, ends)
    assert torch.equal(listed, expected[0])
    assert torch.equal(own_scores, expected[1])
    assert torch.equal(scores, listed + 1000.0 * user)
    assert joint.max_batch_size == 4
    assert [spec.name for spec in joint.inputs] == ["user_id", "history", "history_offsets"]


def test_a_ranker_of_one_model_is_one_step_and_an_ensemble_its_own_steps() -> None:
    generator = served("sasrec")
    first, second = generate_then_rank(generator, one_model()).steps
    assert (first.model, first.inputs) == ("lists", {"history": "history"})
    assert first.outputs == {"items": "items", "scores": "generator_scores"}
    assert (second.model, second.outputs) == ("ranker", {"scores": "scores"})
    assert second.inputs == {"user_id": "user_id", "candidates": "items"}
    steps = generate_then_rank(generator, two_steps()).steps
    assert [step.model for step in steps] == ["lists", "profile", "scorer"]
    assert steps[2].inputs == {"user_vector": "vector", "items": "items"}


def test_what_generates_no_items_or_does_not_rank_is_refused_by_name() -> None:
    generator, (ranker,) = served("sasrec"), one_model()
    with pytest.raises(ValueError, match="'ranker' generates no int64 'items'; its outputs are"):
        generate_then_rank(ranker, (ranker,))
    with pytest.raises(
        ValueError, match="'lists' does not rank: it must answer user_id, candidates with scores, not his"
    ):
        generate_then_rank(generator, (generator,))
    keyed = replace(ranker, inputs=(*ranker.inputs, TensorSpec(name="key", dtype="int64", shape=(1,))))
    with pytest.raises(ValueError, match="not user_id, candidates, key with scores"):
        generate_then_rank(generator, (keyed,))


def test_the_same_items_of_another_data_set_are_taken() -> None:
    refuse_other_items(schema("ml-100k-sequels", ITEM), schema("ml-100k", replace(ITEM, name="film")))


@pytest.mark.parametrize(
    "other",
    [
        replace(ITEM, cardinality=4),
        replace(ITEM, values=("unknown", "Heat (1995)", "Alien (1979)")),
        replace(ITEM, ids="0123"),
    ],
)
def test_other_items_are_refused_with_both_data_sets_named(other: Field) -> None:
    with pytest.raises(ValueError, match=r"different items: the 3 ids of beauty are not the \d of ml-100k; train both"):
        refuse_other_items(schema("beauty", ITEM), schema("ml-100k", other))


def test_items_without_names_are_only_those_of_the_same_data_set() -> None:
    nameless = replace(ITEM, values=None)
    refuse_other_items(schema("hin-amazon", nameless), schema("hin-amazon", nameless))
    with pytest.raises(ValueError, match="the 3 ids of beauty are not the 3 of hin-amazon"):
        refuse_other_items(schema("beauty", nameless), schema("hin-amazon", nameless))
