"""Two small models: one with regular inputs and a sequence axis, one that scores ragged candidates."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.system import Packed, Servable, TensorSpec, servable

NUM_ITEMS = 50
OUT_OF_VOCABULARY = NUM_ITEMS


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
        outputs=(TensorSpec(name="profile", dtype="float32", shape=(8,)),),
        example=profile_example,
        max_batch_size=16,
    )


def scorer_model(name: str = "scorer") -> Servable:
    torch.manual_seed(2)
    return servable(
        name=name,
        module=Scorer(),
        inputs=(
            TensorSpec(name="profile", dtype="float32", shape=(8,)),
            TensorSpec(
                name="candidates", dtype="int64", shape=("candidates",), ragged=True, minimum=-1, max_elements=1000
            ),
            TensorSpec(name="candidate_offsets", dtype="int32", shape=(), of="candidates"),
        ),
        outputs=(TensorSpec(name="scores", dtype="float32", shape=("candidates",), ragged=True, of="candidates"),),
        example=scorer_example,
        max_batch_size=32,
    )
