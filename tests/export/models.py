"""A small release: a profile of each user, a scorer of ragged candidates, stored states, and the ensemble of both."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.servable import EnsembleServable, EnsembleStep, Packed, Servable, StepServable, TensorSpec, servable
from training.steps.user_state import user_state

NUM_ITEMS = 50
OUT_OF_VOCABULARY = NUM_ITEMS
NUM_USERS = 5
STAMP = 1234567890123

CANDIDATES = TensorSpec(
    name="candidates", dtype="int64", shape=("candidates",), ragged=True, minimum=-1, max_elements=1000
)
OFFSETS = TensorSpec(name="candidate_offsets", dtype="int32", shape=(), of="candidates")
ASKED = (TensorSpec(name="user_id", dtype="int64", shape=(1,)), CANDIDATES, OFFSETS)
PROFILE = TensorSpec(name="profile", dtype="float32", shape=(8,))
SCORES = TensorSpec(name="scores", dtype="float32", shape=("candidates",), ragged=True, of="candidates")


class Profile(nn.Module):
    """Mean of the history's embeddings, scaled per user."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(NUM_ITEMS + 1, 8)
        self.scale = nn.Linear(4, 8)

    def forward(self, history: Int[Tensor, "B L"], user: Float[Tensor, "B 4"]) -> Float[Tensor, "B 8"]:
        return self.items(known(history)).mean(1) * self.scale(user)


class Scorer(nn.Module):
    """Dot product of each candidate with the state of the user who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(NUM_ITEMS + 1, 8)
        self.state = nn.Linear(8, 8)

    def forward(
        self, profile: Float[Tensor, "B 8"], candidates: Int[Tensor, " C"], candidate_offsets: Int[Tensor, " B"]
    ) -> Float[Tensor, " C"]:
        user = self.state(profile).index_select(0, segments(candidates, candidate_offsets))
        return (self.items(known(candidates)) * user).sum(-1)


def known(ids: Int[Tensor, "*axes"]) -> Int[Tensor, "*axes"]:
    """Ids, with those outside the vocabulary sent to the last row."""
    return torch.where((ids < 0) | (ids >= NUM_ITEMS), OUT_OF_VOCABULARY, ids)


def segments(packed: Int[Tensor, " C"], ends: Int[Tensor, " B"]) -> Int[Tensor, " C"]:
    """The request to which each packed element belongs: the number of requests that end at or before it."""
    marks = torch.zeros(packed.shape[0] + 1, dtype=torch.int64)
    return marks.scatter_add(0, ends.long(), torch.ones_like(ends, dtype=torch.int64)).cumsum(0)[:-1]


def profile_example(batch_size: int, seed: int) -> Packed:
    generator = torch.Generator().manual_seed(seed)
    history = torch.randint(-1, NUM_ITEMS + 5, (batch_size, 6), generator=generator)
    return history, torch.randn(batch_size, 4, generator=generator)


def scorer_example(batch_size: int, seed: int) -> Packed:
    """Counts 9, 0, 1, then anything up to 9."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.cat([torch.tensor([9, 0, 1]), torch.randint(0, 10, (batch_size,), generator=generator)])[:batch_size]
    candidates = torch.randint(-1, NUM_ITEMS + 5, (int(counts.sum()),), generator=generator)
    return torch.randn(batch_size, 8, generator=generator), candidates, counts.cumsum(0).int()


def profile_model(name: str = "profile") -> Servable:
    torch.manual_seed(1)
    return servable(
        name=name,
        module=Profile(),
        inputs=(
            TensorSpec(name="history", dtype="int64", shape=("length",)),
            TensorSpec(name="user", dtype="float32", shape=(4,)),
        ),
        outputs=(PROFILE,),
        example=profile_example,
        max_batch_size=16,
    )


def scorer_model(name: str = "scorer") -> Servable:
    torch.manual_seed(2)
    return servable(
        name=name,
        module=Scorer(),
        inputs=(PROFILE, CANDIDATES, OFFSETS),
        outputs=(SCORES,),
        example=scorer_example,
        max_batch_size=32,
    )


class Encoder(nn.Module):
    """A profile with the mark of the weights that it was computed with."""

    stamp: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(NUM_ITEMS + 1, 8)
        self.register_buffer("stamp", torch.tensor([STAMP]))

    def forward(self, history: Int[Tensor, "B 6"]) -> tuple[Float[Tensor, "B 8"], Int[Tensor, "B 1"]]:
        return self.items(known(history)).mean(1), self.stamp.expand(history.shape[0], 1)


def encoder_model() -> Servable:
    torch.manual_seed(3)
    return servable(
        name="encoder",
        module=Encoder(),
        inputs=(TensorSpec(name="history", dtype="int64", shape=(6,)),),
        outputs=(PROFILE, TensorSpec(name="stamp", dtype="int64", shape=(1,))),
        example=lambda batch_size, seed: profile_example(batch_size, seed)[:1],
    )


def user_example(batch_size: int, seed: int) -> Packed:
    """Users 10, 11, ... in turn; each asks for at least one candidate."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 10, (batch_size,), generator=generator)
    candidates = torch.randint(0, NUM_ITEMS, (int(counts.sum()),), generator=generator)
    return torch.arange(batch_size)[:, None] % NUM_USERS + 10, candidates, counts.cumsum(0).int()


def release() -> tuple[Servable, Servable, StepServable, EnsembleServable]:
    """encoder, scorer, user_state and ranker, in the order of publishing."""
    encoder, scorer = encoder_model(), scorer_model()
    (histories, _) = profile_example(NUM_USERS, 0)

    def rank(user_id: Tensor, candidates: Tensor, candidate_offsets: Tensor) -> Packed:
        profile = encoder.eager(histories[user_id[:, 0] - 10])[0]
        return scorer.eager(profile, candidates, candidate_offsets)

    state = state_of(encoder, {"user_ids": np.arange(10, 10 + NUM_USERS), "history": histories.numpy()})
    steps = (
        EnsembleStep(
            model="user_state",
            inputs={"user_id": "user_id", "candidates": "candidates"},
            outputs={"profile": "user_profile"},
        ),
        EnsembleStep(
            model="scorer",
            inputs={"profile": "user_profile", "candidates": "candidates"},
            outputs={"scores": "scores"},
        ),
    )
    ranker = EnsembleServable(
        name="ranker",
        inputs=ASKED,
        outputs=(SCORES,),
        example=user_example,
        eager=rank,
        max_batch_size=32,
        steps=steps,
    )
    return encoder, scorer, state, ranker


def state_of(encoder: Servable, histories: dict[str, np.ndarray]) -> StepServable:
    """The step `user_state` of these histories."""
    return user_state("user_state", encoder=encoder, histories=histories, inputs=ASKED, example=user_example)
