"""Models whose clients send ids of their own: strings, whole numbers of 62 bits, negative ones."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from serving.ids import IdMap
from tests.export.brought import ENDS, Brought, ids
from training.servable import Packed, Servable, TensorSpec, servable

NAMES = IdMap(
    ids=np.array(sorted(["1", "01", " 1", "1 ", "anna", "\u00e9ve", "e\u0301ve", "\u7121\u540d", "A" * 1024]), object)
)
"""Forms that are easily taken for each other."""
SKUS = IdMap(ids=np.array([-(2**62), -7, -1, 0, 3, 2**31, 2**53, 2**53 + 1, 2**62 - 1]))
DENSE_USER = TensorSpec(name="user", dtype="int64", shape=(), ids=NAMES)
ITEMS = TensorSpec(name="candidates", dtype="int64", shape=("candidates",), ragged=True, ids=SKUS)
SCORES = TensorSpec(name="scores", dtype="float32", shape=("candidates",), ragged=True, of="candidates")
COPY = TensorSpec(name="asked", dtype="int64", shape=("candidates",), ragged=True, of="candidates", ids=SKUS)
BEST = TensorSpec(name="best", dtype="int64", shape=(3,), ids=SKUS)
WHO = TensorSpec(name="who", dtype="int64", shape=(), ids=NAMES)


def example(batch_size: int, seed: int) -> Packed:
    """Users, packed candidates, ends; among them dense ids that no client has a name for. The first counts are 5, 0."""
    counts = ids(batch_size, seed, high=6)
    counts[0] = 5
    if batch_size > 2:
        counts[1] = 0
    users, items = ids(batch_size, seed, high=10), ids(int(counts.sum()), seed, high=10)
    users[0], items[0], items[1] = 2**40, -1, 10
    return users, items, counts.cumsum(0).int()


def ranker(name: str = "mapped") -> Servable:
    """Scores of ragged candidates, the ids that were asked for, the user's best three of all items, and the user."""

    def forward(self: Any, user: Tensor, candidates: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
        counts = torch.diff(ends, prepend=ends.new_zeros(1)).long()
        states = self.users(user)
        users = states.repeat_interleave(counts, dim=-2, output_size=candidates.shape[0])
        best = torch.topk(states @ self.items.weight[1:].T, 3)[1] + 1
        return (users * self.items(candidates)).sum(-1), candidates, best, user

    torch.manual_seed(3)
    return servable(
        name=name,
        module=Brought(forward, users=torch.nn.Embedding(10, 4), items=torch.nn.Embedding(10, 4)),
        inputs=[DENSE_USER, ITEMS, ENDS],
        outputs=[SCORES, COPY, BEST, WHO],
        example=example,
        max_batch_size=32,
    )
