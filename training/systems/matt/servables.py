"""What MATT serves around a base model.

    matt_<base>_sampler   user id, candidates, request key -> the paths of each candidate and their shares
    matt_<base>_scorer    user id, candidates, paths -> scores (click probabilities), spreads, each path's score
    matt_<base>           user id, candidates, request key -> scores and spreads: the sampler, then the scorer

Legend: B requests, C candidates packed over them, P sampled paths, Q = P + 1 with the full path in front.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kernels.path_sampling import instance_keys
from kernels.path_sampling.sampler import Sampler, Tables
from training.data.fields import FieldData
from training.layers import ragged
from training.layers.fields import FieldModel
from training.layers.requests import CANDIDATES, OFFSETS, SCORES, USER_ID, IdTables, Requests, fields_of
from training.servable import EnsembleServable, EnsembleStep, Packed, Servable, Signature, TensorSpec
from training.steps.path_sampler import REQUEST_KEY, path_sampler, request_keys
from training.systems.matt.model import Matt, aggregate
from training.systems.matt.served import Absorbed, Scorer

MAX_BATCH_SIZE = 16
"""Requests of a run: each candidate is scored over all paths at once."""
MASKS = TensorSpec(name="masks", dtype="int64", shape=("masks",), ragged=True)
MASK_OFFSETS = TensorSpec(name="mask_offsets", dtype="int32", shape=(), of="masks")
WEIGHTS = TensorSpec(name="weights", dtype="float32", shape=("weights",), ragged=True)
WEIGHT_OFFSETS = TensorSpec(name="weight_offsets", dtype="int32", shape=(), of="weights")
SPREAD = TensorSpec(name="spread", dtype="float32", shape=("candidates",), ragged=True, of="candidates")
PATH_SCORES = TensorSpec(name="path_scores", dtype="float32", shape=("weights",), ragged=True, of="weights")

Absorb = Callable[[FieldModel], Absorbed]
"""A base model -> its form over paths."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """The eager answers of one Matt: as served, in its own dtype, and as trained, field by field and path by path."""

    matt: Matt
    scorer: Scorer
    data: FieldData

    @classmethod
    def of(cls, matt: Matt, absorb: Absorb, data: FieldData, dtype: torch.dtype) -> "Answers":
        own = copy.deepcopy(matt).to(dtype).eval()
        scorer = Scorer(absorb(own.base), IdTables(data, own.base.embedding), own)
        return cls(matt=own, scorer=scorer.eval(), data=data)

    def fields(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Tensor:
        """int64 [C, F]: the raw fields of each packed candidate."""
        parts = zip(user_id[:, 0].tolist(), torch.tensor_split(candidates, ends[:-1].long()), strict=True)
        return torch.cat([fields_of(self.data, user, items) for user, items in parts])

    @torch.no_grad()
    def sample(self, user_id: Tensor, candidates: Tensor, ends: Tensor, request_key: Tensor) -> Packed:
        """Masks [C * P] and shares [C * Q]."""
        requests = request_key[:, 0].index_select(0, ragged.requests(ends, candidates.shape[0]))
        fields = self.fields(user_id, candidates, ends)
        paths = self.matt.draw(fields, instance_keys(requests, candidates))
        return paths.masks.flatten(), paths.shares.flatten()

    @torch.no_grad()
    def score(self, *tensors: Tensor) -> Packed:
        return self.scorer(*tensors)

    def rank(self, user_id: Tensor, candidates: Tensor, ends: Tensor, request_key: Tensor) -> Packed:
        return self.score(*self.with_paths(user_id, candidates, ends, request_key))[:2]

    def with_paths(self, user_id: Tensor, candidates: Tensor, ends: Tensor, request_key: Tensor) -> Packed:
        """The scorer's inputs."""
        masks, shares = self.sample(user_id, candidates, ends, request_key)
        paths, dtype = self.matt.config.paths, next(self.matt.parameters()).dtype
        return user_id, candidates, ends, masks, ends * paths, shares.to(dtype), ends * (paths + 1)

    @torch.no_grad()
    def score_unabsorbed(  # noqa: PLR0913 - the graph's inputs
        self,
        user_id: Tensor,
        candidates: Tensor,
        ends: Tensor,
        masks: Tensor,
        mask_ends: Tensor,
        weights: Tensor,
        weight_ends: Tensor,
    ) -> Packed:
        """One forward of the base model per path: no table, nothing shared between paths."""
        paths = self.matt.config.paths
        logits = self.matt.path_logits(self.fields(user_id, candidates, ends), masks.reshape(-1, paths))
        probability, spread = aggregate(logits, weights.reshape(-1, paths + 1), self.matt.decided)
        return probability, spread, torch.sigmoid(logits).flatten()

    def rank_unabsorbed(self, user_id: Tensor, candidates: Tensor, ends: Tensor, request_key: Tensor) -> Packed:
        return self.score_unabsorbed(*self.with_paths(user_id, candidates, ends, request_key))[:2]


def steps(name: str) -> tuple[EnsembleStep, ...]:
    """The sampler, then the scorer on its paths."""
    asked = {spec.name: spec.name for spec in (USER_ID, CANDIDATES)}
    paths = {spec.name: spec.name for spec in (MASKS, WEIGHTS)}
    answers = {spec.name: spec.name for spec in (SCORES, SPREAD)}
    return (
        EnsembleStep(model=f"{name}_sampler", inputs={**asked, REQUEST_KEY.name: REQUEST_KEY.name}, outputs=paths),
        EnsembleStep(model=f"{name}_scorer", inputs={**asked, **paths}, outputs=answers),
    )


def servables(name: str, matt: Matt, absorb: Absorb, data: FieldData) -> tuple[Signature, ...]:
    """The three models of a release of `name`."""
    served, trained = (Answers.of(matt, absorb, data, dtype) for dtype in (torch.float32, torch.float64))
    requests = Requests(user_ids=data.user_ids, num_items=len(data.item_rows) - 1)
    tables = Tables(user_ids=data.user_ids, user_rows=data.user_rows, item_rows=data.item_rows, new_user=data.new_user)
    sampler = path_sampler(f"{name}_sampler", Sampler(matt.frequencies, tables, matt.plan, matt.aggregation), requests)

    def example(batch_size: int, seed: int) -> Packed:
        return *requests(batch_size, seed), request_keys(batch_size, seed)

    scorer = Servable(
        name=f"{name}_scorer",
        inputs=(USER_ID, CANDIDATES, OFFSETS, MASKS, MASK_OFFSETS, WEIGHTS, WEIGHT_OFFSETS),
        outputs=(SCORES, SPREAD, PATH_SCORES),
        example=lambda batch_size, seed: served.with_paths(*example(batch_size, seed)),
        eager=served.score,
        eager64=trained.score,
        reference=trained.score_unabsorbed,
        max_batch_size=MAX_BATCH_SIZE,
        module=served.scorer,
    )
    ensemble = EnsembleServable(
        name=name,
        inputs=(USER_ID, CANDIDATES, OFFSETS, REQUEST_KEY),
        outputs=(SCORES, SPREAD),
        example=example,
        eager=served.rank,
        eager64=trained.rank,
        reference=trained.rank_unabsorbed,
        max_batch_size=MAX_BATCH_SIZE,
        steps=steps(name),
    )
    return replace(sampler, max_batch_size=MAX_BATCH_SIZE), scorer, ensemble
