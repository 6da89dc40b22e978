"""What LREA serves: names, shapes, bounds, seeded requests and the trusted answers to them.

    lrea_encoder   history, user fields -> state (Kc, Vc or M; ub; profile; stamp)
    lrea_state     user id -> state, prestored
    lrea_scorer    state, packed candidates -> scores (click probabilities)
    lrea           user id, candidates -> scores: lrea_state, then lrea_scorer

Legend: B requests, C candidates packed over them.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.ranking import USER_FIELDS, RankingData, RankingSplit
from training.layers.requests import CANDIDATES, OFFSETS, SCORES, UNKNOWN_USERS, USER_ID
from training.servable import (
    EnsembleServable,
    EnsembleStep,
    Packed,
    Servable,
    Signature,
    TensorSpec,
)
from training.steps.rows import Rows
from training.steps.user_state import user_state
from training.system import Infer
from training.systems.lrea import attention
from training.systems.lrea.model import LREA, Config
from training.systems.lrea.served import SCORERS, UserEncoder, stamp_of

ENCODER_BATCH = 64
CALLERS = 8
"""Threads that score a split: the server answers requests together that come at the same time."""
EDGE_LENGTHS = (0, 1, 2)
EDGE_COUNTS = (500, 1, 2, 7, 64, 63, 65, 100)


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
        TensorSpec(name="profile", dtype="float32", shape=(config.hidden[0],)),
        TensorSpec(name="stamp", dtype="int64", shape=(1,)),
    )


def history_specs(config: Config) -> tuple[TensorSpec, ...]:
    """A user's history as the data set stores it, most recent event first."""
    length = config.max_length
    return (
        TensorSpec(name="history_items", dtype="int64", shape=(length,), minimum=0),
        TensorSpec(name="history_ratings", dtype="int64", shape=(length,), minimum=0),
        TensorSpec(name="history_length", dtype="int64", shape=(1,), minimum=0, maximum=length),
        TensorSpec(name="user_fields", dtype="int64", shape=(len(USER_FIELDS),), minimum=0),
    )


class Answers:
    """The eager answers of a trained model, in fp32 as served and in fp64 as trained."""

    def __init__(self, model: LREA, histories: dict[str, np.ndarray], *, dtype: torch.dtype, stamp: int) -> None:
        self.model = copy.deepcopy(model).to(dtype).eval()
        self.stamp = stamp
        names = (spec.name for spec in history_specs(model.config))
        self.histories = Rows(histories["user_ids"], {name: histories[name] for name in names})
        self.encoder = UserEncoder(self.model, stamp).eval()
        self.scorer = SCORERS[model.config.layout](self.model, stamp).eval()

    def history(self, user_id: Tensor) -> Packed:
        """Encoder inputs of users [B, 1]; those of a user who is not known are zeros, the empty history."""
        return self.histories.of(user_id)

    @torch.no_grad()
    def encode(self, *history: Tensor) -> Packed:
        return self.encoder(*history)

    @torch.no_grad()
    def score(self, candidates: Tensor, ends: Tensor, *state: Tensor) -> Packed:
        dtype = self.model.bias.dtype
        return self.scorer(candidates, ends, *(part.to(dtype) if part.is_floating_point() else part for part in state))

    def state(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Packed:
        return self.encode(*self.history(user_id))

    def rank(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Packed:
        return self.score(candidates, ends, *self.encode(*self.history(user_id)))

    @torch.no_grad()
    def encode_unabsorbed(self, *history: Tensor) -> Packed:
        """The state out of the decompressed history S~, never through G (eqs. 1, 2, then the sums of eq. 4)."""
        items, ratings, length, fields = history
        model, config = self.model, self.model.config
        events, mask = self.encoder.history(items, ratings, length[:, 0])
        down, up = model.matrices(events, mask)
        compressed = attention.compress(down, mask[:, :, None] * events)
        restored = attention.decompress(up, compressed, mask)
        keys = attention.split_heads(model.key(compressed), config.heads)
        divisor = length.to(events.dtype).clamp(min=1)
        value = model.value(restored)
        masked_up = mask[:, :, None] * up
        values = attention.split_heads(masked_up.transpose(1, 2) @ value, config.heads)
        values = values / (divisor * keys.shape[-1] ** 0.5)[:, :, None, None]
        bias = (value.sum(dim=1).unflatten(-1, (config.heads, -1)) * model.bias[:, None]).flatten(1) / divisor
        profile = model.tower.of_profile(model.tables.profile(fields))
        stamp = torch.full((len(items), 1), self.stamp)
        if config.layout == "absorbed":
            return (
                attention.absorb_fully(attention.Absorbed(keys, values, bias), model.query.weight.T),
                bias,
                profile,
                stamp,
            )
        return keys, values, bias, profile, stamp

    @torch.no_grad()
    def score_one_by_one(self, candidates: Tensor, ends: Tensor, *state: Tensor) -> Packed:
        """Each request by itself, from the trained module's own layers: no packing, no folded table."""
        model = self.model
        scores = []
        for row, ids in enumerate(torch.tensor_split(candidates, ends[:-1].long())):
            one = tuple(part[row : row + 1].to(model.bias.dtype) for part in state[:-1])
            *user, bias, profile = one
            target = model.tables.items()[torch.where(ids < model.tables.num_items, ids, 0)]
            if model.config.layout == "absorbed":
                interest = target @ user[0][0] + bias
            else:
                queries = attention.split_heads(model.query(target)[None], model.config.heads)
                interest = attention.attend(queries, attention.Absorbed(user[0], user[1], bias))[0]
            first = model.tower.of_target(target) + profile
            scores.append(torch.sigmoid(model.tower.finish(interest, target, first)))
        return (torch.cat(scores),)

    @torch.no_grad()
    def rank_unabsorbed(self, user_id: Tensor, candidates: Tensor, ends: Tensor) -> Packed:
        """Eqs. (1) to (4) to the letter and without the ReLU: one decompressed history per candidate."""
        model, heads = self.model, self.model.config.heads
        counts = torch.diff(ends.long(), prepend=torch.zeros(1, dtype=torch.int64))
        items, ratings, length, fields = (part.repeat_interleave(counts, dim=0) for part in self.history(user_id))
        events, mask = self.encoder.history(items, ratings, length[:, 0])
        down, up = model.matrices(events, mask)
        restored = attention.decompress(up, attention.compress(down, mask[:, :, None] * events), mask)
        target = model.tables.items()[torch.where(candidates < model.tables.num_items, candidates, 0)]
        scores = attention.attention_scores(
            attention.split_heads(model.query(target)[:, None], heads),
            attention.split_heads(model.key(restored), heads),
            model.bias,
        )
        interest = attention.weighted_sum(scores, attention.split_heads(model.value(restored), heads), mask)[:, 0]
        return (torch.sigmoid(model.tower(interest, target, model.tables.profile(fields))),)


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Seeded requests out of real histories; the first ones are the edge cases."""

    histories: dict[str, np.ndarray]
    num_items: int

    def users(self, batch_size: int, seed: int) -> Tensor:
        """int64 [B, 1]: the user with the longest history, the one with the shortest, any; the last are unknown."""
        by_length = np.argsort(self.histories["history_length"][:, 0], kind="stable")
        chosen = np.random.default_rng(seed).choice(by_length, size=batch_size)
        edges = by_length[[-1, 0]][:batch_size]
        chosen[: len(edges)] = edges
        users, unknown = self.histories["user_ids"][chosen], UNKNOWN_USERS[: batch_size // 4]
        users[batch_size - len(unknown) :] = unknown
        return torch.from_numpy(users[:, None])

    def candidates(self, batch_size: int, seed: int, *, empty: bool) -> tuple[Tensor, Tensor]:
        """Packed ids int64 [C] and their ends int32 [B]; one id of the first request is unknown."""
        random = np.random.default_rng(seed)
        counts = random.integers(1, 200, size=batch_size)
        edges = (EDGE_COUNTS[0], 0, *EDGE_COUNTS[1:]) if empty else EDGE_COUNTS
        counts[: len(edges)] = edges[:batch_size]
        ids = random.integers(1, self.num_items, size=int(counts.sum()))
        ids[0] = 2**40
        return torch.from_numpy(ids), torch.from_numpy(np.cumsum(counts).astype(np.int32))

    def encode(self, batch_size: int, seed: int) -> Packed:
        """Histories: the longest, then cut to each edge length with what was beyond left in place."""
        users = np.searchsorted(self.histories["user_ids"], self.users(batch_size, seed)[:, 0].numpy())
        rows = np.minimum(users, len(self.histories["user_ids"]) - 1)
        names = ("history_items", "history_ratings", "history_length", "user_fields")
        items, ratings, length, fields = (torch.from_numpy(self.histories[name][rows]) for name in names)
        edges = torch.tensor(EDGE_LENGTHS)[: max(batch_size - 1, 0), None]
        length[1 : 1 + len(edges)] = torch.minimum(length[1 : 1 + len(edges)], edges)
        return items, ratings, length, fields

    def rank(self, batch_size: int, seed: int) -> Packed:
        """User ids, candidates and their ends."""
        return self.users(batch_size, seed), *self.candidates(batch_size, seed, empty=False)


def servables(model: LREA, config: Config, data: RankingData) -> tuple[Signature, ...]:
    """The four models of a release, in the order in which they must appear."""
    stamp = stamp_of(model)
    histories = data.histories()
    served = Answers(model, histories, dtype=torch.float32, stamp=stamp)
    trained = Answers(model, histories, dtype=torch.float64, stamp=stamp)
    requests = Requests(histories=histories, num_items=model.tables.num_items)
    encoder = Servable(
        name="lrea_encoder",
        inputs=history_specs(config),
        outputs=state_specs(config),
        example=requests.encode,
        eager=served.encode,
        eager64=trained.encode,
        reference=trained.encode_unabsorbed,
        module=served.encoder,
    )
    scorer = Servable(
        name="lrea_scorer",
        inputs=(CANDIDATES, OFFSETS, *state_specs(config)),
        outputs=(SCORES,),
        example=lambda batch_size, seed: (
            *requests.candidates(batch_size, seed, empty=True),
            *served.state(requests.users(batch_size, seed), *requests.candidates(batch_size, seed, empty=True)),
        ),
        eager=served.score,
        eager64=trained.score,
        reference=trained.score_one_by_one,
        module=served.scorer,
    )
    rank_inputs = (USER_ID, CANDIDATES, OFFSETS)
    state = user_state("lrea_state", encoder=encoder, histories=histories, inputs=rank_inputs, example=requests.rank)
    ranker = EnsembleServable(
        name="lrea",
        inputs=rank_inputs,
        outputs=(SCORES,),
        example=requests.rank,
        eager=served.rank,
        eager64=trained.rank,
        reference=trained.rank_unabsorbed,
        steps=steps(encoder),
    )
    return encoder, scorer, state, ranker


def score_split(infer: Infer, split: RankingSplit, config: Config) -> np.ndarray:
    """Served scores float32 [len(split)] in sample order: one request per user and moment, each with its own past."""
    _, first, moment = np.unique(
        np.stack([split.user, split.timestamp]), axis=1, return_index=True, return_inverse=True
    )
    rows_of = np.split(np.argsort(moment, kind="stable"), np.cumsum(np.bincount(moment))[:-1])
    scores = np.zeros(len(split), np.float32)

    def score(start: int) -> None:
        batch = split.batch(first[start : start + ENCODER_BATCH])
        spare = config.max_length - batch.history_items.shape[1]
        history = {
            "history_items": np.pad(batch.history_items.numpy(), ((0, 0), (0, spare))),
            "history_ratings": np.pad(batch.history_ratings.numpy(), ((0, 0), (0, spare))),
            "history_length": batch.history_length.numpy()[:, None],
            "user_fields": batch.user_fields.numpy(),
        }
        states = infer("lrea_encoder", history)
        for number, rows in enumerate(rows_of[start : start + ENCODER_BATCH]):
            state = {name: values[number : number + 1] for name, values in states.items()}
            candidates = split.batch(rows).item.numpy()[None]
            scores[rows] = infer("lrea_scorer", {"candidates": candidates, **state})["scores"][0]

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(score, range(0, len(first), ENCODER_BATCH)))
    return scores


def steps(encoder: Servable) -> tuple[EnsembleStep, ...]:
    """lrea_state, then lrea_scorer on its outputs."""
    state = {spec.name: spec.name for spec in encoder.outputs}
    candidates = {CANDIDATES.name: CANDIDATES.name}
    return (
        EnsembleStep(model="lrea_state", inputs={USER_ID.name: USER_ID.name, **candidates}, outputs=state),
        EnsembleStep(model="lrea_scorer", inputs={**candidates, **state}, outputs={SCORES.name: SCORES.name}),
    )
