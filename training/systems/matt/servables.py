"""What MATT serves around a base model.

    matt_sampler   user id, candidates, request key -> the paths of each candidate and their shares
    matt_scorer    user id, candidates, paths -> scores (click probabilities), spreads, each path's score
    matt           user id, candidates, request key -> scores and spreads: the sampler, then the scorer

Where fields of users follow from their histories, `matt_user` reads each user's row once, and sampler and scorer take
that row in place of the user id.

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
from training.data.columns import Columns, side_by_side
from training.layers import ragged
from training.layers.click_release import requests as click_requests
from training.layers.columns import Features
from training.layers.fields import FieldModel
from training.layers.id_tables import IdTables
from training.layers.items import known
from training.layers.requests import CANDIDATES, MAX_CANDIDATES, SCORES, USER_ID, asked
from training.layers.users import USER, follows, numbers, user_row, user_step
from training.servable import (
    Axis,
    EnsembleServable,
    EnsembleStep,
    Packed,
    Servable,
    Signature,
    StepServable,
    TensorSpec,
)
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

_KINDS = ("", "_dense", "_sets")

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
    users: StepServable | None
    """The step that reads the users' rows; None where the scorer has them."""

    @classmethod
    def of(cls, matt: Matt, data: ClickData, dtype: torch.dtype, users: StepServable | None) -> "Answers":
        own = copy.deepcopy(matt).to(dtype).eval()
        scorer = Scorer(absorbed(own.base, data).to(dtype), IdTables(data, own.base.embedding), own)
        return cls(matt=own, scorer=scorer.eval(), data=data, users=users)

    def fields(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Features:
        """The fields of each packed candidate, as the view has them now."""
        parts = zip(user_id[:, 0].tolist(), torch.tensor_split(candidates, ends[:-1].long()), strict=True)
        batches = [now(self.data, user, items.numpy()) for user, items in parts]
        dtype = next(self.matt.parameters()).dtype
        ids, dense, sets = (torch.cat([getattr(one, name) for one in batches]) for name in ("ids", "dense", "sets"))
        return Features(ids, dense.to(dtype), sets)

    def given_fields(self, user: Packed, candidates: Tensor, ends: Tensor) -> Features:
        """The fields of each packed candidate, with the rows of the users as a request brings them."""
        named = dict(zip(user_row(self.data).arrays(), (numbers(part).numpy() for part in user), strict=True))
        blank = self.data.features.users.rows(np.zeros(len(user[0]), np.int64))
        users = Columns(*(named.get(f"{USER}{kind}", part) for kind, part in zip(_KINDS, blank, strict=True)))
        items = self.data.features.items
        item = known(candidates, len(items.ids)).numpy()
        both = side_by_side((users.rows(ragged.requests(ends, len(candidates)).numpy()), items.rows(item)))
        ids, dense, sets = map(torch.from_numpy, both)
        return Features(ids, dense.to(next(self.matt.parameters()).dtype), sets)

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
        drawn = masks, ends * paths, shares.to(dtype), ends * (paths + 1)
        user = (user_id,) if self.users is None else self.users.eager(user_id)
        return *(one.to(dtype) if one.is_floating_point() else one for one in user), candidates, ends, *drawn

    @torch.no_grad()
    def score_unabsorbed(self, *tensors: Tensor) -> Packed:
        """One forward of the base model per path: no table, nothing shared between paths."""
        *user, candidates, ends, masks, _, weights, _ = tensors
        paths = self.matt.config.paths
        if self.users is None:
            fields = self.fields(user[0], candidates, ends)
        else:
            fields = self.given_fields(tuple(user), candidates, ends)
        logits = self.matt.path_logits(fields, masks.reshape(-1, paths))
        probability, spread = aggregate(logits, weights.reshape(-1, paths + 1), self.matt.decided)
        return probability, spread, torch.sigmoid(logits).flatten()

    def rank_unabsorbed(self, user_id: Tensor, candidates: Tensor, ends: Tensor, request_key: Tensor) -> Packed:
        return self.score_unabsorbed(*self.with_paths(user_id, candidates, ends, request_key))[:2]


def steps(name: str, users: StepServable | None) -> tuple[EnsembleStep, ...]:
    """The step that reads the users' rows, where there is one; the sampler, then the scorer on its paths."""
    asked, paths, answers = _same(USER_ID, CANDIDATES), _same(MASKS, WEIGHTS), _same(SCORES, SPREAD)
    if users is None:
        first, user, fields = (), _same(USER_ID), _same(USER_ID)
    else:
        user = _same(*users.outputs)
        first, fields = (EnsembleStep(model=users.name, inputs=asked, outputs=user),), {USER: USER}
    drawn = {**fields, **_same(CANDIDATES, REQUEST_KEY)}
    return (
        *first,
        EnsembleStep(model=f"{name}_sampler", inputs=drawn, outputs=paths),
        EnsembleStep(model=f"{name}_scorer", inputs={**user, **_same(CANDIDATES), **paths}, outputs=answers),
    )


def _same(*specs: TensorSpec) -> dict[str, str]:
    return {spec.name: spec.name for spec in specs}


def servables(name: str, matt: Matt, config: MattConfig, data: ClickData) -> tuple[Signature, ...]:
    """The models of a release. Raises ValueError where a request would have to carry fields of the event."""
    if data.context:
        names = [field.name for field in data.context]
        raise ValueError(
            f"{data.schema.dataset}: events have the fields {names}, which the sampler of paths does not take"
        )
    requests, wanted = click_requests(data, MAX_CANDIDATES), asked(data.interactions)
    users = user_step(name, data, tuple(wanted), requests) if follows(data.features.layout) else None
    served, trained = (Answers.of(matt, data, dtype, users) for dtype in (torch.float32, torch.float64))
    drawing = Sampler(matt.frequencies, _tables(data, users), matt.plan, matt.aggregation)
    sampler = path_sampler(f"{name}_sampler", drawing, requests, wanted, users)

    def example(batch_size: int, seed: int) -> Packed:
        return *requests(batch_size, seed), request_keys(batch_size, seed)

    who = (wanted.user_id,) if users is None else users.outputs
    masks, weights = (
        replace(one, shape=(Axis(one.name, of=str(CANDIDATES.shape[0]), times=number),))
        for one, number in ((MASKS, config.paths), (WEIGHTS, config.paths + 1))
    )
    scorer = Servable(
        name=f"{name}_scorer",
        inputs=(*who, wanted.candidates, wanted.offsets, masks, MASK_OFFSETS, weights, WEIGHT_OFFSETS),
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
        steps=steps(name, users),
        reads_histories=users is not None,
    )
    parts = (sampler,) if users is None else (users, sampler)
    return *(replace(one, max_batch_size=MAX_BATCH_SIZE) for one in parts), scorer, ensemble


def _tables(data: ClickData, users: StepServable | None) -> Tables:
    """The sampler's: without users, where their rows come with the requests."""
    rows = data.features.users.ids
    known_users = np.arange(1, len(rows) if users is None else 1)
    return Tables(
        user_ids=known_users,
        user_rows=rows[known_users],
        item_rows=data.features.items.ids,
        new_user=rows[0],
    )
