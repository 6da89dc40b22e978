"""A path sampler, a graph that reads its ragged outputs, and the ensemble of the two, as a release."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kernels.path_sampling import unpack
from kernels.path_sampling.sampler import Sampler
from tests.kernels.frequency_logs import sampler
from training.layers.requests import CANDIDATES, OFFSETS, SCORES, USER_ID, Asked, Requests
from training.servable import (
    Axis,
    EnsembleServable,
    EnsembleStep,
    Packed,
    Servable,
    Signature,
    StepServable,
    TensorSpec,
    servable,
)
from training.steps.path_sampler import path_sampler

PATHS = 4
SAMPLER, SCORER, ENSEMBLE = "paths_sampler", "paths_scorer", "paths"
EACH = str(CANDIDATES.shape[0])
MASKS = (
    TensorSpec(name="masks", dtype="int64", shape=(Axis("masks", of=EACH, times=PATHS),), ragged=True),
    TensorSpec(name="mask_offsets", dtype="int32", shape=(), of="masks"),
)
WEIGHTS = (
    TensorSpec(name="weights", dtype="float32", shape=(Axis("weights", of=EACH, times=PATHS + 1),), ragged=True),
    TensorSpec(name="weight_offsets", dtype="int32", shape=(), of="weights"),
)


class KeptFields(nn.Module):
    """Score of a candidate: the weighted number of fields that its paths keep, and its item id's last digit."""

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.fields = fields

    def forward(
        self,
        candidates: Int[Tensor, " C"],
        masks: Int[Tensor, " M"],
        weights: Float[Tensor, " W"],
        candidate_offsets: Int[Tensor, " B"],
        mask_offsets: Int[Tensor, " B"],
        weight_offsets: Int[Tensor, " B"],
    ) -> Float[Tensor, " C"]:
        row = torch.arange(candidates.shape[0])[:, None]
        kept = unpack(masks[row * PATHS + torch.arange(PATHS)], self.fields).float().sum(-1)
        shares = weights[row * (PATHS + 1) + torch.arange(PATHS + 1)]
        return shares[:, 0] * self.fields + (shares[:, 1:] * kept).sum(1) + (candidates % 10).float()


def release() -> tuple[Signature, ...]:
    """The three models in the order of publishing."""
    one = sampler(PATHS)
    requests = Requests(user_ids=one.tables.user_ids, num_items=len(one.tables.item_rows) - 1)
    step = path_sampler(SAMPLER, one, requests, Asked(USER_ID, CANDIDATES, OFFSETS))
    scorer = scorer_of(one, step)

    def rank(user_id: Tensor, candidates: Tensor, ends: Tensor, request_key: Tensor) -> Packed:
        masks, weights = step.eager(user_id, candidates, ends, request_key)
        return scorer.eager(candidates, masks, weights, ends, PATHS * ends, (PATHS + 1) * ends)

    given = {spec.name: spec.name for spec in step.inputs if spec.of is None}
    drawn = {spec.name: spec.name for spec in step.outputs}
    ensemble = EnsembleServable(
        name=ENSEMBLE,
        inputs=step.inputs,
        outputs=(SCORES,),
        example=step.example,
        eager=rank,
        steps=(
            EnsembleStep(model=SAMPLER, inputs=given, outputs=drawn),
            EnsembleStep(model=SCORER, inputs={"candidates": "candidates", **drawn}, outputs={"scores": "scores"}),
        ),
    )
    return step, scorer, ensemble


def scorer_of(one: Sampler, step: StepServable) -> Servable:
    """The graph; its examples are what the sampler answers to those of `step`."""

    def example(batch_size: int, seed: int) -> Packed:
        user_id, candidates, ends, keys = step.example(batch_size, seed)
        masks, weights = step.eager(user_id, candidates, ends, keys)
        return candidates, masks, weights, ends, PATHS * ends, (PATHS + 1) * ends

    return servable(
        name=SCORER,
        module=KeptFields(one.tables.num_fields),
        inputs=(CANDIDATES, MASKS[0], WEIGHTS[0], OFFSETS, MASKS[1], WEIGHTS[1]),
        outputs=(SCORES,),
        example=example,
    )
