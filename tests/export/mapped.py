"""Models whose clients send ids of their own: strings, whole numbers of 62 bits, negative ones."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.kinds import kernel_forms
from serving.ids import IdMap
from tests.export.brought import ENDS, USER, Brought, ids
from tests.export.hot_models import hot_model
from tests.export.models import release
from training.servable import KernelServable, Packed, Servable, Signature, TensorSpec, servable

NAMES = IdMap(
    ids=np.array(sorted(["1", "01", " 1", "1 ", "anna", "\u00e9ve", "e\u0301ve", "\u7121\u540d", "A" * 1024]), object)
)
"""Forms that are easily taken for each other."""
SKUS = IdMap(ids=np.array([-(2**62), -7, -1, 0, 3, 2**31, 2**53, 2**53 + 1, 2**62 - 1]))
NAMED = IdMap(ids=np.array(sorted(f"user-{number}" for number in range(20)), object))
WHOLE = IdMap(ids=np.array(sorted((2**62 - 1 - 7919 * number) * (-1) ** number for number in range(9))))
ASKER = TensorSpec(name="user", dtype="int64", shape=(), ids=NAMES)
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
        module=Brought(forward, users=nn.Embedding(10, 4), items=nn.Embedding(10, 4)),
        inputs=[ASKER, ITEMS, ENDS],
        outputs=[SCORES, COPY, BEST, WHO],
        example=example,
        max_batch_size=32,
    )


def reader(name: str = "reader") -> Servable:
    """Ragged candidates and a history of strings, a user of 62 bits; scores, and the best three items by name."""

    def forward(self: Any, user: Tensor, history: Tensor, candidates: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
        counts = torch.diff(ends, prepend=ends.new_zeros(1)).long()
        states = self.users(user) + self.items(history).sum(1)
        rows = states.repeat_interleave(counts, dim=-2, output_size=candidates.shape[0])
        return (rows * self.items(candidates)).sum(-1), torch.topk(states @ self.items.weight.T, 3)[1]

    def read(batch_size: int, seed: int) -> Packed:
        users, candidates, ends = example(batch_size, seed)
        return users, ids(batch_size, seed, 7 + (seed + batch_size) % 4, high=10), candidates, ends

    torch.manual_seed(4)
    return servable(
        name=name,
        module=Brought(forward, users=nn.Embedding(10, 4), items=nn.Embedding(10, 4)),
        inputs=[
            replace(USER, ids=WHOLE),
            TensorSpec(name="history", dtype="int64", shape=("length",), ids=NAMES),
            replace(ITEMS, ids=NAMES),
            ENDS,
        ],
        outputs=[SCORES, TensorSpec(name="best", dtype="int64", shape=(3,), ids=NAMES)],
        example=read,
    )


def hot() -> tuple[Servable, KernelServable]:
    """A scorer with a hot op in both forms, whose candidates are strings."""
    plain = hot_model("mapped_hot")
    inputs = tuple(_mapped(spec, candidates=NAMES) for spec in plain.inputs)
    model = replace(plain, inputs=inputs)
    return model, *kernel_forms((model,))  # pyright: ignore[reportReturnType]


def with_states(users: IdMap = NAMED) -> tuple[Signature, ...]:
    """encoder, scorer, user_state and ranker: users are strings, items whole numbers."""
    encoder, *others = release()
    mapped = [
        replace(one, inputs=tuple(_mapped(spec, user_id=users, candidates=SKUS) for spec in one.inputs))
        for one in others
    ]
    return encoder, *mapped


def _mapped(spec: TensorSpec, **maps: IdMap) -> TensorSpec:
    return replace(spec, ids=maps[spec.name], minimum=None) if spec.name in maps else spec
