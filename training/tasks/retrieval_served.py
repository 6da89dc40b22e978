"""The plain served form of any module of the task `retrieval`.

    <name>_user   history [, user_id] [, alpha] -> vector
    <name>_item   fields of any item -> vector; its product with a user's is the score
    <name>        history [, user_id] [, alpha] -> items, scores

Items are folded into the graph as their vectors: one product and TopK, exact, which measures fastest up to about 2e5
items; beyond that `training.retriever` asks an index. `user_id` is there where the
module reads fields of users, `alpha` where it weighs objectives (`training.layers.objective_weights`), and
`<name>_item` where it reads fields of items. Items of the history are not listed.

Legend: B requests, H history items packed over them, L longest history that is read, N items, D width of vectors,
K listed items.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData, fields_of
from training.layers.histories import newest
from training.layers.items import known
from training.layers.objective_weights import alpha_of, drawn, legal, weigh
from training.layers.ragged import requests
from training.layers.towers import DescribesItems, Towers
from training.servable import NO_SCORE, Packed, Signature, TensorSpec, servable

TOP = 100
"""K, where there are as many items."""
MAX_HISTORY = 2_000
"""Items of one request; the module reads the newest `max_length` of them, none of them is listed."""
MAX_BATCH_SIZE = 32
HISTORY = TensorSpec(
    name="history", dtype="int64", shape=("history",), ragged=True, minimum=0, max_elements=MAX_HISTORY
)
OFFSETS = TensorSpec(name="history_offsets", dtype="int32", shape=(), of="history")
USER_ID = TensorSpec(name="user_id", dtype="int64", shape=(1,))
"""Any int64; one whom the release does not know has unknown fields."""
_UNKNOWN = 2**40
_CLEAR = 2e-6
"""Two scores that differ by a smaller share of the largest are a toss-up between one library's sums and another's."""
_SPARE = 4
"""Users drawn for each one needed."""


class Beside(NamedTuple):
    """What a request carries beside the history, where the release takes it."""

    user_id: Int[Tensor, "B 1"] | None
    alpha: Float[Tensor, "B O"] | None


class Served(nn.Module):
    """Towers, and the fields of the users."""

    user_fields: Int64[Tensor, "U+1 F"]

    def __init__(self, module: nn.Module, data: RetrievalData) -> None:
        super().__init__()
        self.module, self.length = module, data.max_length
        self.register_buffer("user_fields", torch.from_numpy(data.user_fields))

    def beside(self, tensors: Packed) -> Beside:
        """By name: `user_id` first, where fields of users are read."""
        count = int(self.user_fields.shape[1] > 0)
        user_id, alpha = (next(iter(part), None) for part in (tensors[:count], tensors[count:]))
        return Beside(user_id, alpha)

    def user_vectors(
        self, history: Int[Tensor, " H"], history_offsets: Int[Tensor, " B"], beside: Beside
    ) -> Float[Tensor, "B D"]:
        """Of packed histories."""
        items, length = newest(history, history_offsets, self.length)
        user_id, alpha = beside
        user = length.new_zeros(length.shape) if user_id is None else known(user_id[:, 0], len(self.user_fields))
        users = cast(Towers, self.module).users(asked(self.user_fields.index_select(0, user), items, length))
        return users if alpha is None else weigh(self.module, users, alpha)


class _UserTower(Served):
    """Packed histories -> user vectors."""

    def forward(
        self, history: Int[Tensor, " H"], history_offsets: Int[Tensor, " B"], *beside: Tensor
    ) -> Float[Tensor, "B D"]:
        """Vectors [B, D]."""
        return self.user_vectors(history, history_offsets, self.beside(beside))


class _Retriever(Served):
    """Packed histories -> ranked items."""

    vectors: Float[Tensor, "D N+1"]

    def __init__(self, module: nn.Module, data: RetrievalData) -> None:
        super().__init__(module, data)
        with torch.no_grad():
            self.register_buffer("vectors", cast(Towers, module).items().T.contiguous())
        self.top = min(TOP, self.vectors.shape[1] - 1)

    def forward(self, history: Int[Tensor, " H"], history_offsets: Int[Tensor, " B"], *beside: Tensor) -> Packed:
        """Items int64 [B, K], best first, and scores [B, K]."""
        scores, items = torch.topk(self.scores(history, history_offsets, *beside), self.top, dim=1)
        alpha = self.beside(beside).alpha
        if alpha is not None:
            asks = legal(alpha)[:, None]
            items = torch.where(asks, items, 0)
            # Where nothing is asked for nothing is listed; what a runtime makes of the order of NaN does not matter.
            scores = torch.where((alpha > 0).any(dim=1)[:, None], scores, NO_SCORE)
            scores = torch.where(asks, scores, torch.nan)
        return torch.where(scores > NO_SCORE, items, 0), scores

    def scores(self, history: Tensor, history_offsets: Tensor, *beside: Tensor) -> Tensor:
        """Scores [B, N+1], NO_SCORE for item 0 and what is in the history."""
        scores = self.user_vectors(history, history_offsets, self.beside(beside)) @ self.vectors
        num_rows = scores.shape[1]
        first = torch.arange(scores.shape[0], device=scores.device) * num_rows
        met = requests(history_offsets, history.shape[0]) * num_rows + known(history, num_rows)
        places = torch.cat((first, met))
        return scores.flatten().scatter(0, places, NO_SCORE).reshape(-1, num_rows)


class _ItemTower(nn.Module):
    """Fields of items -> their vectors."""

    def __init__(self, module: DescribesItems) -> None:
        super().__init__()
        self.module = module

    def forward(self, *fields: Int64[Tensor, "B 1"]) -> Float[Tensor, "B D"]:
        """Vectors [B, D]."""
        return self.module.described(torch.cat(fields, dim=1))


def _item(name: str, module: nn.Module, data: RetrievalData) -> tuple[Signature, ...]:
    """The model that makes vectors of items by their fields, where the module can and there are some."""
    fields = fields_of(data.schema, "item")
    if not fields or not isinstance(module, DescribesItems):
        return ()
    tower = _ItemTower(module).eval()

    def example(size: int, seed: int) -> Packed:
        """Items of the catalogue, the unknown one first."""
        items = np.append(0, np.random.default_rng(seed).integers(0, len(data.item_fields), size - 1))
        return tuple(torch.from_numpy(data.item_fields[items, place, None]) for place in range(len(fields)))

    with torch.no_grad():
        (width,) = tower(*example(1, 0)).shape[1:]
    model = servable(
        name=f"{name}_item",
        module=tower,
        inputs=tuple(TensorSpec(name=field.name, dtype="int64", shape=(1,)) for field in fields),
        outputs=(TensorSpec(name="vector", dtype="float32", shape=(width,)),),
        example=example,
        max_batch_size=MAX_BATCH_SIZE,
    )
    return (model,)


def served(name: str, module: nn.Module, data: RetrievalData) -> tuple[Signature, ...]:
    """`<name>_user`, `<name>_item` and `name`, on a copy of the module. Users' and lists' reference is the module in
    fp64, one request at a time, without packing, padding, filter in the graph or TopK."""
    module = copy.deepcopy(module).eval()
    double = copy.deepcopy(module).double()
    tower, retriever = _UserTower(module, data), _Retriever(module, data).eval()
    twin = _Retriever(double, data).eval()
    ids = data.interactions.ids
    history = replace(HISTORY, ids=ids.get("item"), minimum=None if "item" in ids else 0)
    user_id = replace(USER_ID, ids=ids.get("user"))
    alpha = alpha_of(module)
    inputs = (
        *(history, OFFSETS),
        *((user_id,) if data.user_fields.shape[1] else ()),
        *(() if alpha is None else (alpha,)),
    )
    example = Requests(data=data, scores=retriever.scores, alpha=alpha)
    with torch.no_grad():
        (width,) = tower(*example(1, 0)).shape[1:]
    answers = (
        TensorSpec(name="items", dtype="int64", shape=(retriever.top,), ids=ids.get("item")),
        TensorSpec(name="scores", dtype="float32", shape=(retriever.top,)),
    )
    vector = TensorSpec(name="vector", dtype="float32", shape=(width,))
    user, listed = (
        servable(name=own, module=form, inputs=inputs, outputs=outputs, example=example, max_batch_size=MAX_BATCH_SIZE)
        for own, form, outputs in ((f"{name}_user", tower, (vector,)), (name, retriever, answers))
    )
    reference = _Reference(double, data, retriever.top)
    return (
        replace(user, reference=reference.vectors, eager64=_UserTower(double, data)),
        *_item(name, module, data),
        replace(listed, reference=reference.lists, eager64=twin),
    )


class _Reference:
    """The training form: one request at a time, as it stands in a batch of training."""

    def __init__(self, module: nn.Module, data: RetrievalData, top: int) -> None:
        self.module, self.towers, self.data, self.top = module, cast(Towers, module), data, top

    def vectors(self, history: Tensor, offsets: Tensor, *beside: Tensor) -> Packed:
        """Vectors [B, D]."""
        return (torch.cat([vector for _, vector in self._requests(history, offsets, beside)]),)

    def lists(self, history: Tensor, offsets: Tensor, *beside: Tensor) -> Packed:
        """Items and scores [B, K]."""
        items = self.towers.items()
        rows = []
        for met, vector in self._requests(history, offsets, beside):
            scores = items @ vector[0]
            scores[0] = NO_SCORE
            scores[[item for item in met.tolist() if item < len(items)]] = NO_SCORE
            values, order = torch.sort(scores, descending=True, stable=True)
            rows.append((torch.where(values > NO_SCORE, order, 0)[: self.top], values[: self.top]))
        return tuple(torch.stack(column) for column in zip(*rows, strict=True))

    def _requests(self, history: Tensor, offsets: Tensor, beside: Packed) -> list[tuple[Tensor, Tensor]]:
        """Of each the history, and the user's vector [1, D]."""
        parts = torch.tensor_split(history, offsets.long()[:-1])
        count = int(self.data.user_fields.shape[1] > 0)
        users = beside[0][:, 0].tolist() if count else [0] * len(parts)
        vectors = [self._vector(met, user) for met, user in zip(parts, users, strict=True)]
        for alpha in beside[count:]:
            vectors = [weigh(self.module, one, alpha[row : row + 1]) for row, one in enumerate(vectors)]
        return list(zip(parts, vectors, strict=True))

    def _vector(self, history: Tensor, user: int) -> Tensor:
        length = min(len(history), self.data.max_length)
        fields = self.data.user_fields[user if 0 < user < len(self.data.user_fields) else 0]
        read = history[len(history) - length :] if length else history.new_zeros(1)
        return self.towers.users(asked(torch.from_numpy(fields)[None], read[None], torch.tensor([length])))


def asked(user_fields: Tensor, history: Tensor, length: Tensor) -> RetrievalBatch:
    """A batch of requests, whose targets nobody knows."""
    none = history[:, :0]
    return RetrievalBatch(user_fields, history, length, none, user_fields.new_zeros(0, 0, 0).float(), none)


@dataclass(frozen=True, kw_only=True, eq=False)
class Requests:
    """Seeded requests of real histories that a rounding error does not decide; the first ones are the edge cases."""

    data: RetrievalData
    scores: Callable[..., Tensor]
    alpha: TensorSpec | None
    """Weights of objectives, where requests have some."""

    def __call__(self, batch_size: int, seed: int) -> Packed:
        """Histories int64 [H], their ends int32 [B] and, where fields of users are read, user ids int64 [B, 1], then
        weights of objectives float32 [B, O].

        One item alone, an empty history, an unknown item and user, a history longer than what is read (where one may be
        longer), then users as they come.
        """
        split = self.data.test
        rows = np.random.default_rng(seed).choice(len(split), 4 + _SPARE * batch_size)
        batch = split.batch(rows)
        histories = [row[:end].numpy() for row, end in zip(batch.history, batch.length.tolist(), strict=True)]
        users = split.user[rows]
        histories[0], histories[1] = batch.seen[0, :1].numpy(), histories[1][:0]
        histories[2], users[2] = np.append(histories[2], _UNKNOWN), _UNKNOWN
        met = batch.seen[3][batch.seen[3] > 0].numpy()
        histories[3] = np.resize(met, min(self.data.max_length + len(met), MAX_HISTORY))
        alpha = () if self.alpha is None else (drawn(self.alpha, len(rows), seed),)
        clear = self._clear(histories, users, alpha)[:batch_size]
        if len(clear) < batch_size:
            raise ValueError(
                f"only {len(clear)} of {len(rows)} requests have lists that rounding does not decide; train the model "
                "before it is exported"
            )
        return self._packed([histories[row] for row in clear], users[clear], tuple(one[clear] for one in alpha))

    def _clear(self, histories: list[np.ndarray], users: np.ndarray, alpha: Packed) -> list[int]:
        """Requests whose listed scores, and the one after them, stand apart."""
        with torch.no_grad():
            scores = self.scores(*self._packed(histories, users, alpha))
        values = torch.topk(scores, min(TOP + 1, scores.shape[1]), dim=1).values
        listed = values[:, 1:] > NO_SCORE
        largest = torch.where(values > NO_SCORE, values.abs(), 0.0).amax(dim=1, keepdim=True)
        toss_up = listed & (values[:, :-1] - values[:, 1:] <= _CLEAR * largest)
        return [int(row) for row in torch.nonzero(~toss_up.any(dim=1))[:, 0]]

    def _packed(self, histories: list[np.ndarray], users: np.ndarray, alpha: Packed) -> Packed:
        ends = np.cumsum([len(history) for history in histories]).astype(np.int32)
        packed = torch.from_numpy(np.concatenate(histories)), torch.from_numpy(ends)
        users_read = (torch.from_numpy(users[:, None]),) if self.data.user_fields.shape[1] else ()
        return *packed, *users_read, *alpha
