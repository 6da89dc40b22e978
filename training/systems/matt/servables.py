"""What MATT serves around a base model.

    matt_sampler   user id, candidates, request key -> the paths of each candidate and their shares
    matt_scorer    user id, candidates, paths -> scores (click probabilities), spreads, each path's score
    matt           user id, candidates, request key -> scores and spreads: the sampler, then the scorer

Legend: B requests, C candidates packed over them, P sampled paths, Q = P + 1 with the full path in front.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kernels.path_sampling import instance_keys
from kernels.path_sampling.sampler import Sampler, Tables
from training.baselines.autoint import AutoInt
from training.baselines.deepfm import DeepFM
from training.data.click import ClickData, now
from training.layers import ragged
from training.layers.click_release import requests as click_requests
from training.layers.columns import Features
from training.layers.fields import FieldModel
from training.layers.id_tables import IdTables
from training.layers.requests import CANDIDATES, MAX_CANDIDATES, SCORES, USER_ID, asked
from training.servable import EnsembleServable, EnsembleStep, Packed, Servable, Signature, TensorSpec
from training.steps.path_sampler import REQUEST_KEY, path_sampler, request_keys
from training.systems.dea.model import DEA
from training.systems.matt.bases.autoint import AbsorbedAutoInt
from training.systems.matt.bases.dea import AbsorbedDEA
from training.systems.matt.bases.deepfm import AbsorbedDeepFM
from training.systems.matt.model import Matt, MattConfig, aggregate
from training.systems.matt.served import Absorbed, PlainPaths, Scorer

MAX_BATCH_SIZE = 16
"""Requests of a run: each candidate is scored over all paths at once."""
MASKS = TensorSpec(name="masks", dtype="int64", shape=("masks",), ragged=True)
MASK_OFFSETS = TensorSpec(name="mask_offsets", dtype="int32", shape=(), of="masks")
WEIGHTS = TensorSpec(name="weights", dtype="float32", shape=("weights",), ragged=True)
WEIGHT_OFFSETS = TensorSpec(name="weight_offsets", dtype="int32", shape=(), of="weights")
SPREAD = TensorSpec(name="spread", dtype="float32", shape=("candidates",), ragged=True, of="candidates")
PATH_SCORES = TensorSpec(name="path_scores", dtype="float32", shape=("weights",), ragged=True, of="weights")

ABSORBED: dict[type[FieldModel], Callable[..., Absorbed]] = {
    AutoInt: AbsorbedAutoInt,
    DEA: AbsorbedDEA,
    DeepFM: AbsorbedDeepFM,
}
"""Bases whose form over paths is faster than one forward for each path."""


def absorbed(base: FieldModel, data: ClickData) -> Absorbed:
    """A base model over paths."""
    fast = ABSORBED.get(type(base))
    return fast(base) if fast and base.embedding.is_of_ids else PlainPaths(base, data)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """The eager answers of one Matt: as served, in its own dtype, and as trained, field by field and path by path."""

    matt: Matt
    scorer: Scorer
    data: ClickData

    @classmethod
    def of(cls, matt: Matt, data: ClickData, dtype: torch.dtype) -> "Answers":
        own = copy.deepcopy(matt).to(dtype).eval()
        scorer = Scorer(absorbed(own.base, data).to(dtype), IdTables(data, own.base.embedding), own)
        return cls(matt=own, scorer=scorer.eval(), data=data)

    def fields(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Features:
        """The fields of each packed candidate, as the view has them now."""
        parts = zip(user_id[:, 0].tolist(), torch.tensor_split(candidates, ends[:-1].long()), strict=True)
        batches = [now(self.data, user, items.numpy()) for user, items in parts]
        dtype = next(self.matt.parameters()).dtype
        ids, dense, sets = (torch.cat([getattr(one, name) for one in batches]) for name in ("ids", "dense", "sets"))
        return Features(ids, dense.to(dtype), sets)

    @torch.no_grad()
    def sample(self, user_id: Tensor, candidates: Tensor, ends: Tensor, request_key: Tensor) -> Packed:
        """Masks [C * P] and shares [C * Q]."""
        requests = request_key[:, 0].index_select(0, ragged.requests(ends, candidates.shape[0]))
        fields = self.fields(user_id, candidates, ends)
        paths = self.matt.draw(fields.ids, instance_keys(requests, candidates))
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


def servables(name: str, matt: Matt, config: MattConfig, data: ClickData) -> tuple[Signature, ...]:
    """The three models of a release. Raises ValueError where a request would have to carry fields of the event."""
    if data.context:
        names = [field.name for field in data.context]
        raise ValueError(
            f"{data.schema.dataset}: events have the fields {names}, which the sampler of paths does not take"
        )
    served, trained = (Answers.of(matt, data, dtype) for dtype in (torch.float32, torch.float64))
    requests, users, wanted = click_requests(data, MAX_CANDIDATES), data.features.users.ids, asked(data.interactions)
    tables = Tables(
        user_ids=np.arange(1, len(users)),
        user_rows=users[1:],
        item_rows=data.features.items.ids,
        new_user=users[0],
    )
    sampler = path_sampler(
        f"{name}_sampler", Sampler(matt.frequencies, tables, matt.plan, matt.aggregation), requests, wanted
    )

    def example(batch_size: int, seed: int) -> Packed:
        return *requests(batch_size, seed), request_keys(batch_size, seed)

    scorer = Servable(
        name=f"{name}_scorer",
        inputs=(*wanted, MASKS, MASK_OFFSETS, WEIGHTS, WEIGHT_OFFSETS),
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
        inputs=(*wanted, REQUEST_KEY),
        outputs=(SCORES, SPREAD),
        example=example,
        eager=served.rank,
        eager64=trained.rank,
        reference=trained.rank_unabsorbed,
        max_batch_size=MAX_BATCH_SIZE,
        steps=steps(name),
    )
    return replace(sampler, max_batch_size=MAX_BATCH_SIZE), scorer, ensemble
