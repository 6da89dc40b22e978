"""What LREA serves: the user's side once per change of the history, the candidates' side per request.

    lrea_encoder   history, profile -> the user's state
    lrea_state     user id -> state, from the store, or from the encoder on a miss
    lrea_scorer    state, candidates -> scores (click probabilities)
    lrea           user id, candidates -> scores: state, then scorer

Legend: B requests, C candidates packed over them, L longest history, H heads, R rank, D width.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from training.data.click import ClickData
from training.layers.click_release import plain_release, reference_of
from training.layers.click_release import requests as click_requests
from training.layers.requests import CANDIDATES, MAX_CANDIDATES, OFFSETS, SCORES, USER_ID, asked
from training.servable import EnsembleServable, EnsembleStep, Packed, Servable, Signature, TensorSpec
from training.steps.rows import Rows
from training.steps.user_state import STAMP, user_state
from training.systems.lrea.model import LREA, Config
from training.systems.lrea.served import SCORERS, UserEncoder, stamp_of

EDGE_LENGTHS = (0, 1, 7, 64)


def state_specs(config: Config) -> tuple[TensorSpec, ...]:
    """The user's state: M or Kc and Vc, then ub, the profile's share of the first layer, the stamp."""
    width = config.dim // config.heads
    absorbed = (TensorSpec(name="product", dtype="float32", shape=(config.dim, config.dim)),)
    factored = tuple(
        TensorSpec(name=name, dtype="float32", shape=(config.heads, config.rank, width)) for name in ("keys", "values")
    )
    return (
        *(absorbed if config.layout == "absorbed" else factored),
        TensorSpec(name="bias", dtype="float32", shape=(config.dim,)),
        TensorSpec(name="profile_share", dtype="float32", shape=(config.hidden[0],)),
        STAMP,
    )


def history_specs(config: Config, profile: int) -> tuple[TensorSpec, ...]:
    """A user's history, most recent event first, and `profile` fields, where there are any."""
    length = config.max_length
    fields = (TensorSpec(name="profile", dtype="int64", shape=(profile,), minimum=0),)
    return (
        TensorSpec(name="history_items", dtype="int64", shape=(length,), minimum=0),
        TensorSpec(name="history_values", dtype="int64", shape=(length,), minimum=0),
        TensorSpec(name="history_length", dtype="int64", shape=(1,), minimum=0, maximum=length),
        *(fields if profile else ()),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """The eager answers of a trained model in one dtype."""

    encoder: UserEncoder
    scorer: torch.nn.Module
    histories: Rows

    @classmethod
    def of(cls, model: LREA, histories: Rows, dtype: torch.dtype, stamp: int) -> "Answers":
        own = copy.deepcopy(model).to(dtype).eval()
        scorer = SCORERS[model.config.layout](own, stamp).eval()
        return cls(encoder=UserEncoder(own, stamp).eval(), scorer=scorer, histories=histories)

    @torch.no_grad()
    def encode(self, *history: Tensor) -> Packed:
        return self.encoder(*history)

    @torch.no_grad()
    def score(self, *tensors: Tensor) -> Packed:
        return self.scorer(*tensors)

    def state(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Packed:
        return self.encode(*self.histories.of(user_id))

    def rank(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Packed:
        return self.score(candidates, ends, *self.state(user_id, candidates, ends))


def servables(name: str, model: LREA, config: Config, data: ClickData) -> tuple[Signature, ...]:
    """The four models of a release; the plain ones where a request carries fields of its own, or where a profile is
    more than ids, which a prestored state does not know."""
    layout = data.profile.layout
    if data.context or layout.dense or layout.sets:
        return plain_release(name, model, data)
    stamp, histories = stamp_of(model), histories_of(data)
    specs = history_specs(config, len(layout.fields))
    rows = Rows(histories["user_ids"], {spec.name: histories[spec.name] for spec in specs})
    served, exact = (Answers.of(model, rows, dtype, stamp) for dtype in (torch.float32, torch.float64))
    requests, wanted = click_requests(data, MAX_CANDIDATES), asked(data.interactions)
    encoder = Servable(
        name=f"{name}_encoder",
        inputs=specs,
        outputs=state_specs(config),
        example=Histories(rows=rows, requests=requests),
        eager=served.encode,
        module=served.encoder,
    )
    scorer = Servable(
        name=f"{name}_scorer",
        inputs=(wanted.candidates, OFFSETS, *state_specs(config)),
        outputs=(SCORES,),
        example=lambda size, seed: (*requests(size, seed)[1:], *served.state(*requests(size, seed))),
        eager=served.score,
        module=served.scorer,
    )
    # The step reads states for somebody who is to be ranked; without candidates it refuses before it does.
    some = (wanted.user_id, replace(wanted.candidates, min_elements=1), wanted.offsets)
    ranked = click_requests(data, MAX_CANDIDATES, least=1)
    state = user_state(f"{name}_state", encoder=encoder, histories=histories, inputs=some, example=ranked)
    ranker = EnsembleServable(
        name=name,
        inputs=some,
        outputs=(SCORES,),
        example=ranked,
        eager=served.rank,
        eager64=exact.rank,
        reference=reference_of(model, data),
        steps=_steps(encoder, state, scorer),
        reads_histories=True,
    )
    return encoder, scorer, state, ranker


def histories_of(data: ClickData) -> dict[str, np.ndarray]:
    """`user_ids` and what the encoder asks of all known users. The unknown user has zeros, the empty history."""
    arrays = {**data.histories(), "profile": data.profile.users.ids}
    known = {key: array[1:] for key, array in arrays.items() if array.shape[1]}
    return {"user_ids": np.arange(1, len(data.interactions.users)), **known}


@dataclass(frozen=True, kw_only=True, eq=False)
class Histories:
    """Seeded requests to the encoder: the longest history, then cut to each edge length with what was beyond left in
    place, then users as they come."""

    rows: Rows
    requests: Callable[[int, int], Packed]

    def __call__(self, batch_size: int, seed: int) -> Packed:
        items, values, length, *profile = self.rows.of(self.requests(batch_size, seed)[0])
        edges = torch.tensor(EDGE_LENGTHS)[: max(batch_size - 1, 0), None]
        length[1 : 1 + len(edges)] = torch.minimum(length[1 : 1 + len(edges)], edges)
        return items, values, length, *profile


def _steps(encoder: Signature, state: Signature, scorer: Signature) -> tuple[EnsembleStep, ...]:
    """The state, then the scorer on it."""
    found = {spec.name: spec.name for spec in encoder.outputs}
    candidates = {CANDIDATES.name: CANDIDATES.name}
    return (
        EnsembleStep(model=state.name, inputs={USER_ID.name: USER_ID.name, **candidates}, outputs=found),
        EnsembleStep(model=scorer.name, inputs={**candidates, **found}, outputs={SCORES.name: SCORES.name}),
    )
