"""Towers of the task `retrieval` that are asked by user: `<name>_vector`, then `<name>_index`.

The index is a graph with the vectors of all items up to `EXACT_ITEMS`, beyond that an approximate one beside the model.

Legend: B requests, S events of a history, L items that the module reads, D width of vectors.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from serving.histories.reading import ITEMS as HISTORY
from serving.histories.reading import LENGTH, VALUES
from training.data.retrieval import RetrievalData, positives
from training.interactions import Interactions
from training.layers.click_release import bounded
from training.layers.item_filters import filter_specs, values_of
from training.layers.item_index import ExactIndex
from training.layers.items import known
from training.layers.objective_weights import alpha_of, drawn, weigh
from training.layers.towers import Towers
from training.layers.user_history import ReadHistory, counted
from training.retriever.by_user import Before, Further, Lists
from training.retriever.requests import USER_FIELDS
from training.servable import Packed, Servable, Signature, TensorSpec, servable
from training.steps.ann import EXACT_ITEMS, ann
from training.tasks.retrieval_served import asked

MAX_BATCH_SIZE = 32
VECTOR = "vector"


class UserVector(nn.Module):
    """Rows of users -> vectors."""

    def __init__(self, module: nn.Module, data: RetrievalData) -> None:
        super().__init__()
        self.module, self.reads_fields = module, data.user_fields.shape[1] > 0
        self.read = ReadHistory(counted(data.interactions, positives(data.interactions)), data.max_length)

    def forward(self, items: Tensor, length: Tensor, *rest: Tensor) -> Packed:
        """Vectors [B, D] of `history_items` [B, S], `history_length` [B, 1] and, where they count, `history_values`,
        then `user_fields` [B, F] where the module reads some, and `alpha` [B, O] where it weighs objectives."""
        values, rest = (rest[0], rest[1:]) if self.read.by_value else (None, rest)
        history, number = self.read(items, length, values)
        fields, rest = (rest[0], rest[1:]) if self.reads_fields else (history[:, :0], rest)
        users = cast(Towers, self.module).users(asked(fields, history, number))
        return (weighed(self.module, users, *rest),)


def lists(
    name: str, module: nn.Module, data: RetrievalData, top: int, before: Before, exact_items: int = EXACT_ITEMS
) -> Lists:
    """As `training.retriever.by_user.Lists`, on a copy of the module; with an approximate index of more than
    `exact_items` items."""
    module = copy.deepcopy(module).eval()
    vector = _vector(f"{name}_vector", module, data, before)
    with torch.no_grad():
        vectors = cast(Towers, module).items()
    make = ann if len(vectors) - 1 > exact_items else exact
    index, wider = (
        _index(one, f"{name}_index", vectors, size, (data.interactions, before, vector, _weights(module)))
        for one, size in ((make, top), (exact, top + 1))
    )
    return Lists(parts=(vector, index), wider=wider, further=_weights(module))


def weighed(module: nn.Module, users: Tensor, alpha: Tensor | None = None) -> Tensor:
    """Vectors [B, D], of a request that weighs the objectives as it does."""
    return users if alpha is None else weigh(module, users, alpha)


def _weights(module: nn.Module) -> tuple[Further, ...]:
    alpha = alpha_of(module)
    return () if alpha is None else (Further(alpha, partial(drawn, alpha)),)


def _vector(name: str, module: nn.Module, data: RetrievalData, before: Before) -> Servable:
    form = UserVector(module, data)
    double = UserVector(copy.deepcopy(module).double(), data).eval()
    rows = {spec.name: bounded(spec) for spec in before.rows}
    inputs = [rows[HISTORY], rows[LENGTH]]
    inputs += [rows[VALUES]] if form.read.by_value else []
    inputs += [rows[USER_FIELDS]] if form.reads_fields else []
    further = _weights(module)
    inputs += [one.spec for one in further]
    example = before.example([spec.name for spec in inputs], further=further)
    with torch.no_grad():
        width = form(*example(1, 0))[0].shape[1]
    outputs = (TensorSpec(name=VECTOR, dtype="float32", shape=(width,)),)
    plain = servable(
        name=name, module=form, inputs=inputs, outputs=outputs, example=example, max_batch_size=MAX_BATCH_SIZE
    )
    return replace(plain, reference=_one_by_one(double, form.read.by_value), eager64=torch.no_grad()(double.forward))


def _one_by_one(double: UserVector, by_value: bool) -> Callable[..., Packed]:
    """The training form in fp64: each user alone, with the history as it stands in a batch of training."""

    @torch.no_grad()
    def reference(items: Tensor, length: Tensor, *rest: Tensor) -> Packed:
        rows = []
        for row in range(len(items)):
            met = items[row, : int(length[row, 0])]
            if by_value:
                counts = double.read.counts[known(rest[0][row, : len(met)], len(double.read.counts))]
                met = met[counts]
            read = met[: double.read.length].flip(0)
            history = read[None] if len(read) else read.new_zeros(1, 1)
            own = [part[row : row + 1] for part in rest[int(by_value) :]]
            fields = own.pop(0) if double.reads_fields else history[:, :0]
            users = cast(Towers, double.module).users(asked(fields, history, torch.tensor([len(read)])))
            rows.append(weighed(double.module, users, *own))
        return (torch.cat(rows),)

    return reference


Make = Callable[..., Signature]
"""(name, vectors [N + 1, D], values of fields, top, inputs, items, example) -> the model that lists."""


def _index(
    make: Make,
    name: str,
    vectors: Tensor,
    top: int,
    around: tuple[Interactions, Before, Servable, tuple[Further, ...]],
) -> Signature:
    interactions, before, vector, further = around
    top = min(top, len(vectors) - 1)
    rows = {spec.name: bounded(spec) for spec in before.rows}
    inputs = (*vector.outputs, rows[HISTORY], *filter_specs(interactions))
    items = TensorSpec(name="items", dtype="int64", shape=(top,), ids=interactions.ids.get("item"))
    example = before.example([spec.name for spec in inputs], (vector,), further)
    return make(name, vectors.numpy(), values_of(interactions), top, inputs, items, example)


def exact(  # noqa: PLR0913 - as `training.steps.ann.ann`
    name: str,
    vectors: np.ndarray,
    values: dict[str, np.ndarray],
    top: int,
    inputs: tuple[TensorSpec, ...],
    items: TensorSpec,
    example: Callable[[int, int], Packed],
) -> Servable:
    """The graph that answers the same requests from a product with all item vectors float32 [N + 1, D]."""
    return servable(
        name=name,
        module=ExactIndex(torch.from_numpy(vectors), values, top),
        inputs=inputs,
        outputs=(items, TensorSpec(name="scores", dtype="float32", shape=(top,))),
        example=example,
        max_batch_size=MAX_BATCH_SIZE,
    )
