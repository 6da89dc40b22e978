"""Models as teams bring them, each of a kind that once could not be exported or was served wrongly."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.servable import Axis, Packed, Servable, TensorSpec, servable

Forward = Callable[..., object]
DENSE = TensorSpec(name="dense", dtype="float32", shape=(4,))
ANSWER = TensorSpec(name="answer", dtype="float32", shape=(4,))
IDS = TensorSpec(name="ids", dtype="int64", shape=(3,))
HISTORY = TensorSpec(name="history", dtype="int64", shape=("length",))
EVENTS = TensorSpec(name="events", dtype="float32", shape=("length", 4))
USER = TensorSpec(name="user", dtype="int64", shape=())
CANDIDATES = TensorSpec(name="candidates", dtype="int64", shape=("candidates",), ragged=True)
ENDS = TensorSpec(name="ends", dtype="int32", shape=(), of="candidates")
SCORES = TensorSpec(name="scores", dtype="float32", shape=("candidates",), ragged=True, of="candidates")


class Brought(nn.Module):
    """`forward` is a function of this module and its inputs, as short as a test wants it."""

    def __init__(self, forward: Forward, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self._forward = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *tensors: Tensor) -> object:
        return self._forward(self, *tensors)


def numbers(batch_size: int, seed: int, *shape: int) -> Tensor:
    return torch.randn(batch_size, *shape, generator=torch.Generator().manual_seed(seed + 100 * batch_size))


def ids(batch_size: int, seed: int, *shape: int, low: int = 0, high: int = 20) -> Tensor:
    random = torch.Generator().manual_seed(seed + 100 * batch_size)
    return torch.randint(low, high, (batch_size, *shape), generator=random)


def length(batch_size: int, seed: int) -> int:
    return 5 + (seed + batch_size) % 4


def ragged(batch_size: int, seed: int) -> Packed:
    """Users, packed candidates and accumulated counts; the first counts are 5, 0."""
    counts = ids(batch_size, seed, high=6)
    counts[0] = 5
    if batch_size > 2:
        counts[1] = 0
    ends = counts.cumsum(0).int()
    return ids(batch_size, seed), ids(int(ends[-1]), seed), ends


def table(rows: int = 20) -> nn.Embedding:
    return nn.Embedding(rows, 4)


def dense_model(module: nn.Module, name: str = "brought", **other: object) -> Servable:
    """One input dense [4], one output answer [4], unless told otherwise."""
    given: dict[str, object] = {
        "inputs": [DENSE],
        "outputs": [ANSWER],
        "example": lambda batch_size, seed: (numbers(batch_size, seed, 4),),
    }
    return servable(name=name, module=module, **{**given, **other})  # pyright: ignore[reportArgumentType]


def ids_model(module: nn.Module, spec: TensorSpec = IDS, name: str = "brought", low: int = 0) -> Servable:
    """One input ids [3] of 0 to 19, one output answer [4]."""
    dtype = getattr(torch, spec.dtype)
    return servable(
        name=name,
        module=module,
        inputs=[spec],
        outputs=[ANSWER],
        example=lambda batch_size, seed: (ids(batch_size, seed, 3, low=low).to(dtype),),
    )


def events_model(module: nn.Module, name: str = "brought", length_axis: str = "length") -> Servable:
    """One input events [length, 4], one output answer [4]."""
    return servable(
        name=name,
        module=module,
        inputs=[TensorSpec(name="events", dtype="float32", shape=(length_axis, 4))],
        outputs=[ANSWER],
        example=lambda batch_size, seed: (numbers(batch_size, seed, length(batch_size, seed), 4),),
    )


def names_and_copies() -> Servable:
    """Names that the exporter and the weights have as well; outputs that are an input, a weight, and each other."""
    names = ("linear", "layer.weight", "val_0", "relu", "tensors_0")
    outputs = [TensorSpec(name=name, dtype="float32", shape=(4,)) for name in names]

    def forward(self: Any, dense: Tensor, ids: Tensor) -> dict[str, Tensor]:
        inner = torch.relu(self.layer(dense)) + self.items(ids).sum(1)
        weights = self.layer.bias.expand(dense.shape[0], 4)
        return {"relu": inner, "linear": inner, "layer.weight": weights, "tensors_0": dense, "val_0": weights + dense}

    return dense_model(
        torch.compile(Brought(forward, layer=nn.Linear(4, 4), items=table())),  # pyright: ignore[reportArgumentType]
        "names_and_copies",
        inputs=[TensorSpec(name="embedding", dtype="float32", shape=(4,)), IDS],
        outputs=outputs,
        example=lambda batch_size, seed: (numbers(batch_size, seed, 4), ids(batch_size, seed, 3)),
    )


def flat() -> Servable:
    """Inputs and outputs of shape (), among them an id and a bool."""

    def forward(self: Any, user: Tensor, weight: Tensor, dense: Tensor) -> tuple[Tensor, ...]:
        score = torch.sigmoid((self.users(user) * dense).sum(1) * weight)
        return None, score, score > 0.5, user  # pyright: ignore[reportReturnType]

    return servable(
        name="flat",
        module=nn.DataParallel(Brought(forward, users=table())),
        inputs=[USER, TensorSpec(name="weight", dtype="float32", shape=()), DENSE],
        outputs=[
            TensorSpec(name="score", dtype="float32", shape=()),
            TensorSpec(name="clicked", dtype="bool", shape=()),
            TensorSpec(name="asked", dtype="int64", shape=()),
        ],
        example=lambda batch_size, seed: (
            ids(batch_size, seed),
            numbers(batch_size, seed),
            numbers(batch_size, seed, 4),
        ),
    )


def repeating() -> Servable:
    """A ragged ranker that repeats each user for its candidates."""

    def forward(self: Any, user: Tensor, candidates: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        counts = torch.diff(ends, prepend=ends.new_zeros(1)).long()
        users = self.users(user).repeat_interleave(counts, dim=-2, output_size=candidates.shape[0])
        return (users * self.items(candidates)).sum(-1), candidates

    copy = TensorSpec(name="same", dtype="int64", shape=("candidates",), ragged=True, of="candidates")
    return servable(
        name="repeating",
        module=Brought(forward, users=table(), items=table()),
        inputs=[USER, CANDIDATES, ENDS],
        outputs=[SCORES, copy],
        example=ragged,
    )


def half() -> Servable:
    parts = {"first": nn.Linear(16, 64), "norm": nn.LayerNorm(64), "last": nn.Linear(64, 4)}
    return servable(
        name="half",
        module=Brought(lambda self, x: self.last(torch.relu(self.norm(self.first(x)))), **parts).half(),
        inputs=[TensorSpec(name="dense", dtype="float16", shape=(16,))],
        outputs=[TensorSpec(name="answer", dtype="float16", shape=(4,))],
        example=lambda batch_size, seed: (numbers(batch_size, seed, 16).half(),),
    )


def pooled() -> Servable:
    """A bag over a padded history, a mask of bool beside it, and declared sizes."""
    axis = Axis("length", least=2, greatest=9)

    def forward(self: Any, history: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        history.mul_(mask)  # what a team does in place is not seen outside
        return self.bag(history), ~mask

    def example(batch_size: int, seed: int) -> Packed:
        history = ids(batch_size, seed, length(batch_size, seed))
        return history, history % 3 > 0

    return servable(
        name="pooled",
        module=Brought(forward, bag=nn.EmbeddingBag(20, 4, mode="mean", padding_idx=0)),
        inputs=[
            TensorSpec(name="history", dtype="int64", shape=(axis,)),
            TensorSpec(name="mask", dtype="bool", shape=("length",)),
        ],
        outputs=[ANSWER, TensorSpec(name="padding", dtype="bool", shape=("length",))],
        example=example,
    )


def tied() -> Servable:
    """The best ten of sixty vectors that are each there three times; what was read has the score -inf."""

    def forward(self: Any, history: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores = self.users(history).sum(1) @ self.items.T
        open_scores = scores.scatter(1, history, float("-inf"))
        best, items = torch.topk(open_scores, 10)
        return items, best, open_scores

    vectors = torch.randn(60, 4)
    return servable(
        name="tied",
        module=Brought(forward, users=table(), items=nn.Parameter(torch.cat([vectors] * 3))),
        inputs=[IDS],
        outputs=[
            TensorSpec(name="items", dtype="int64", shape=(10,)),
            TensorSpec(name="scores", dtype="float32", shape=(10,)),
            TensorSpec(name="all_scores", dtype="float32", shape=(180,)),
        ],
        example=lambda batch_size, seed: (ids(batch_size, seed, 3),),
    )


@dataclass
class Output:
    """What a library's model returns."""

    answer: Tensor
    loss: Tensor | None = None


def causal() -> Servable:
    def forward(self: Any, history: Tensor) -> Output:
        size, events = history.shape[1], self.items(history)
        later = torch.triu(torch.ones(size, size, dtype=torch.bool), 1)
        mixed, _ = self.attention(events, events, events, attn_mask=later, need_weights=True)
        return Output(mixed.mean(1))

    return servable(
        name="causal",
        module=Brought(forward, items=table(), attention=nn.MultiheadAttention(4, 2, batch_first=True)),
        inputs=[HISTORY],
        outputs=[ANSWER],
        example=lambda batch_size, seed: (ids(batch_size, seed, length(batch_size, seed)),),
    )


def recurrent() -> Servable:
    return events_model(Brought(lambda self, x: self.gru(x)[0][:, -1], gru=nn.GRU(4, 4, batch_first=True)), "recurrent")


def tables() -> Servable:
    """Three fields of one table; the second one is moved by 20 rows, so that only the others cannot be negative."""
    return ids_model(
        Brought(lambda self, ids: self.rows(ids + torch.tensor([0, 20, 0])).sum(1), rows=table(40)), name="tables"
    )


PUBLISHED: tuple[Callable[[], Servable], ...] = (
    causal,
    flat,
    half,
    names_and_copies,
    pooled,
    recurrent,
    repeating,
    tables,
    tied,
)
