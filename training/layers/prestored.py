"""The served form of a click model that keeps a state of each user: the user's side once per change of the history, the
candidates' side per request.

    S_encoder   history, profile -> the user's state
    S_scorer    state, candidates -> scores (click probabilities)
    S_state     user id -> state, from the store, or from the encoder on a miss; where there is an S_observer, by it
                from the state before the newest events
    S           user id, candidates -> scores: state, then scorer

Legend: B requests, C candidates packed over them, L longest history, P fields of a profile.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from training.data.click import AGES, ClickData
from training.layers.click_release import reference_of
from training.layers.click_release import requests as click_requests
from training.layers.requests import CANDIDATES, MAX_CANDIDATES, OFFSETS, SCORES, USER_ID, asked
from training.servable import EnsembleServable, EnsembleStep, Packed, Servable, Signature, TensorSpec
from training.steps.rows import Rows
from training.steps.user_state import user_state

EDGE_LENGTHS = (0, 1, 7, 64)


def fits(data: ClickData) -> bool:
    """Whether a prestored state can know all of a request: it carries no fields of its own, and a profile is no more
    than ids."""
    layout = data.profile.layout
    return not (data.context or layout.dense or layout.sets)


def stamp_of(module: nn.Module) -> int:
    """Fingerprint of all weights and buffers, 63 bits: a state fits a scorer only if their stamps agree."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return int.from_bytes(digest.digest(), "big") >> 1


def history_specs(data: ClickData) -> tuple[TensorSpec, ...]:
    """A user's history as an encoder reads it, most recent event first, and the profile's fields, where there are
    any."""
    length, profile = data.max_length, len(data.profile.layout.fields)
    events = ("history_items", "history_values", *(("history_ages",) if AGES in data.reads else ()))
    fields = (TensorSpec(name="profile", dtype="int64", shape=(profile,), minimum=0),)
    return (
        *(TensorSpec(name=name, dtype="int64", shape=(length,), minimum=0) for name in events),
        TensorSpec(name="history_length", dtype="int64", shape=(1,), minimum=0, maximum=length),
        *(fields if profile else ()),
    )


def histories_of(data: ClickData) -> dict[str, np.ndarray]:
    """`user_ids` and what the encoder asks of all known users. The unknown user has zeros, the empty history."""
    arrays = {**data.histories(), "profile": data.profile.users.ids}
    known = {key: array[1:] for key, array in arrays.items() if array.shape[1]}
    return {"user_ids": np.arange(1, len(data.interactions.users)), **known}


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """The eager answers of a trained model in one dtype."""

    encoder: nn.Module
    """History and profile, as `history_specs` -> state."""
    scorer: nn.Module
    """Candidates [C], their ends [B] and the state -> scores [C]."""
    histories: Rows

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


def rows_of(data: ClickData) -> Rows:
    """What `Answers.histories` is."""
    histories = histories_of(data)
    return Rows(histories["user_ids"], {spec.name: histories[spec.name] for spec in history_specs(data)})


def prestored(  # noqa: PLR0913 - what a release is made of
    name: str,
    data: ClickData,
    module: nn.Module,
    states: tuple[TensorSpec, ...],
    served: Answers,
    exact: Answers,
    observer: Servable | None = None,
) -> tuple[Signature, ...]:
    """The models of a release. `module` is the trained one, `states` the state, its stamp last; `exact` answers in
    fp64. See `training.steps.user_state` for the observer."""
    requests, wanted = click_requests(data, MAX_CANDIDATES), asked(data.interactions)
    encoder = Servable(
        name=f"{name}_encoder",
        inputs=history_specs(data),
        outputs=states,
        example=Histories(rows=served.histories, names=tuple(spec.name for spec in history_specs(data)), draw=requests),
        eager=served.encode,
        module=served.encoder,
    )
    scorer = Servable(
        name=f"{name}_scorer",
        inputs=(wanted.candidates, OFFSETS, *states),
        outputs=(SCORES,),
        example=lambda size, seed: (*requests(size, seed)[1:], *served.state(*requests(size, seed))),
        eager=served.score,
        module=served.scorer,
    )
    # The step reads states for somebody who is to be ranked; without candidates it refuses before it does.
    some = (wanted.user_id, replace(wanted.candidates, min_elements=1), wanted.offsets)
    ranked = click_requests(data, MAX_CANDIDATES, least=1)
    state = user_state(
        f"{name}_state",
        encoder=encoder,
        histories=histories_of(data),
        inputs=some,
        example=ranked,
        observer=observer,
    )
    ranker = EnsembleServable(
        name=name,
        inputs=some,
        outputs=(SCORES,),
        example=ranked,
        eager=served.rank,
        eager64=exact.rank,
        reference=reference_of(module, data),
        steps=_steps(encoder, state, scorer),
        reads_histories=True,
    )
    return encoder, scorer, *(() if observer is None else (observer,)), state, ranker


@dataclass(frozen=True, kw_only=True, eq=False)
class Histories:
    """Seeded requests to the encoder: the longest history, then cut to each edge length with what was beyond left in
    place, then users as they come."""

    rows: Rows
    names: tuple[str, ...]
    """Of the rows' arrays, in order."""
    draw: Callable[[int, int], Packed]

    def __call__(self, batch_size: int, seed: int) -> Packed:
        found = dict(zip(self.names, self.rows.of(self.draw(batch_size, seed)[0]), strict=True))
        edges = torch.tensor(EDGE_LENGTHS)[: max(batch_size - 1, 0), None]
        length = found["history_length"]
        length[1 : 1 + len(edges)] = torch.minimum(length[1 : 1 + len(edges)], edges)
        return tuple(found.values())


def _steps(encoder: Signature, state: Signature, scorer: Signature) -> tuple[EnsembleStep, ...]:
    """The state, then the scorer on it."""
    found = {spec.name: spec.name for spec in encoder.outputs}
    candidates = {CANDIDATES.name: CANDIDATES.name}
    return (
        EnsembleStep(model=state.name, inputs={USER_ID.name: USER_ID.name, **candidates}, outputs=found),
        EnsembleStep(model=scorer.name, inputs={**candidates, **found}, outputs={SCORES.name: SCORES.name}),
    )
