"""`generate_then_rank`: what a generator lists for a history, scored anew by a ranker for the same user, in one call.

Built from the signatures of two releases, whichever systems they are of: the generator lists `items` [n] for a history,
the ranker scores ragged `candidates` of a `user_id`. Our design.

Legend: B requests, n items of a list.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from training.schema import Schema
from training.servable import EnsembleServable, EnsembleStep, Packed, Signature, TensorSpec

NAME = "generate_then_rank"
ITEMS, USER_ID, CANDIDATES, SCORES = "items", "user_id", "candidates", "scores"
GENERATOR_SCORES = "generator_scores"


def generate_then_rank(generator: Signature, ranker: Sequence[Signature]) -> EnsembleServable:
    """The ensemble; `ranker` is its release, whose last model answers `user_id`, `candidates` with `scores`.

    Outputs: the generator's, its `scores` as `generator_scores`; `scores` are the ranker's, of each item of the list
    (item 0, the filling, is scored as an unknown item). Raises ValueError where the two do not fit together.
    """
    whole = ranker[-1]
    listed = {spec.name: spec for spec in generator.outputs}
    if ITEMS not in listed or listed[ITEMS].dtype != "int64":
        raise ValueError(f"'{generator.name}' generates no int64 '{ITEMS}'; its outputs are {sorted(listed)}")
    user = _user_of(whole)
    names = {name: GENERATOR_SCORES if name == SCORES else name for name in listed}

    def eager(user_id: Tensor, *request: Tensor) -> Packed:
        answers = dict(zip(listed, generator.eager(*request), strict=True))
        items = answers[ITEMS]
        ends = torch.arange(1, items.shape[0] + 1, dtype=torch.int32) * items.shape[1]
        (scores,) = whole.eager(user_id, items.flatten(), ends)
        return *answers.values(), scores.reshape(items.shape)

    def example(batch_size: int, seed: int) -> Packed:
        return whole.example(batch_size, seed)[0], *generator.example(batch_size, seed)

    return EnsembleServable(
        name=NAME,
        inputs=(user, *generator.inputs),
        outputs=(
            *(replace(spec, name=names[spec.name]) for spec in generator.outputs),
            TensorSpec(name=SCORES, dtype="float32", shape=listed[ITEMS].shape),
        ),
        example=example,
        eager=eager,
        origin=generator.origin,
        max_batch_size=min(generator.max_batch_size, *(one.max_batch_size for one in ranker)),
        steps=(_as_step(generator, names), *(_on_items(step) for step in _steps_of(whole))),
        reads_histories=whole.reads_histories,
    )


def refuse_other_items(generator: Schema, ranker: Schema) -> None:
    """Raises ValueError unless both data sets number the same items alike: as many, of the same names and raw ids.

    Items without either are told apart by their data set alone.
    """
    ours, theirs = generator.key("item"), ranker.key("item")
    told_apart = ours.values is not None or ours.ids is not None or generator.dataset == ranker.dataset
    if told_apart and (ours.cardinality, ours.values, ours.ids) == (theirs.cardinality, theirs.values, theirs.ids):
        return
    counts = f"{ours.cardinality} ids of {generator.dataset} are not the {theirs.cardinality} of {ranker.dataset}"
    raise ValueError(
        f"generator and ranker know different items: the {counts}; train both on one data set, with --dataset"
    )


def _user_of(ranker: Signature) -> TensorSpec:
    """Its input `user_id`. Raises ValueError for a model that asks for or answers something else."""
    asked = [spec.name for spec in ranker.inputs if spec.of is None]
    answered = [spec.name for spec in ranker.outputs]
    if asked != [USER_ID, CANDIDATES] or answered != [SCORES]:
        raise ValueError(
            f"'{ranker.name}' does not rank: it must answer {USER_ID}, {CANDIDATES} with {SCORES}, not "
            f"{', '.join(asked)} with {', '.join(answered)}"
        )
    return ranker.inputs[0]


def _steps_of(model: Signature) -> tuple[EnsembleStep, ...]:
    """An ensemble's own, so that none stands inside another; of any other model itself."""
    return model.steps or (_as_step(model, {spec.name: spec.name for spec in model.outputs}),)


def _as_step(model: Signature, outputs: dict[str, str]) -> EnsembleStep:
    inputs = {spec.name: spec.name for spec in model.inputs if spec.of is None}
    return EnsembleStep(model=model.name, inputs=inputs, outputs=outputs)


def _on_items(step: EnsembleStep) -> EnsembleStep:
    """The ranker's step with the generator's items as candidates."""
    inputs = {name: ITEMS if source == CANDIDATES else source for name, source in step.inputs.items()}
    return EnsembleStep(model=step.model, inputs=inputs, outputs=step.outputs)
