"""The task `next_item`: the best items after a history.

A module of this task has
- `max_length`: items of a history that it reads;
- `loss(batch, share_done) -> (scalar, scalars to log)` of a `SequenceBatch`, unless its system brings its own stages;
- `best(items [B, L], length [B], top) -> Best`: the best items of each history but those in it, score descending, equal
  ones by id unless the module knows better. A history is oldest first, 0 beyond its length, which is 1 to
  `max_length`; a model of sets ignores the order. Any int64 may be in it.

Axes: B requests, H history items packed over them, L history, top places of a list.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol, cast

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.asking import Question, Shown, Tensors, as_ids, history_of, listed, newest_of
from training.data.sequences import NEEDS, TASK, SequenceBatch, SequenceData, SequenceSplit, choices, sequences
from training.data.synthetic_sequences import synthetic_sequences
from training.interactions import Interactions
from training.layers.histories import newest
from training.layers.listing import Best
from training.layers.served_lists import (
    MAX_BATCH_SIZE,
    MAX_HISTORY,
    OFFSETS,
    Requests,
    history_spec,
    items_spec,
    one_by_one,
    served_scores,
)
from training.ranking_metrics import CUTOFFS, ranking_quality
from training.retriever.by_user import by_user
from training.servable import Packed, Servable, Signature, TensorSpec, servable
from training.system import PLAIN, Column, Predict, Stage, Task, Wanted
from training.tasks.next_item_by_user import lists
from training.tasks.next_item_slices import SLICES, sliced
from training.traffic import MOMENTS, moments

LISTED = 20
"""Items of a served list."""
_BLOCK = 128
"""Histories that are evaluated together."""


@dataclass(frozen=True, kw_only=True)
class NextItemConfig:
    """What all systems of the task have."""

    max_length: int = 50
    """Newest items of a history that count."""
    epochs: int = 20
    """Passes over the users at most."""
    batch_size: int = 128
    """Users of a step; each of their places is a target."""
    learning_rate: float = 1e-3
    """Rate of AdamW at its highest."""
    schedule: Literal["constant", "linear"] = "constant"
    """Schedule of the rate. linear: it rises over the first 2 % of the steps, then falls to zero."""
    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW."""
    patience: int | None = None
    """Passes without a better NDCG@10 on the validation part before training stops; None for never."""

    def __post_init__(self) -> None:
        for name in ("max_length", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


class NextItem(Protocol):
    """What the module's docstring says."""

    max_length: int

    def loss(self, batch: SequenceBatch, share_done: float, /) -> tuple[Tensor, dict[str, Tensor]]: ...

    def best(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int, /) -> Best: ...


class Places(nn.Module):
    """The place of each held-out item in its list, 1 = first, inf where it is not among the best 10."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: SequenceBatch) -> Float[Tensor, " B"]:
        parts = torch.arange(len(batch.length), device=batch.length.device).split(_BLOCK)
        return torch.cat([self._of(SequenceBatch(*(column[part] for column in batch))) for part in parts])

    def _of(self, batch: SequenceBatch) -> Float[Tensor, " B"]:
        found = cast(NextItem, self.module).best(batch.items, batch.length, max(CUTOFFS))
        return place_of(found.items, batch.newest_target())


def place_of(items: Int64[Tensor, "B top"], target: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
    """The place of each target in its list, 1 = first, inf where it is not in it."""
    places = torch.arange(1.0, items.shape[1] + 1, device=items.device)
    return torch.where(items == target[:, None], places, torch.inf).amin(1)


class Recommender(nn.Module):
    """The plain served form: packed histories -> lists."""

    def __init__(self, module: nn.Module, top: int) -> None:
        super().__init__()
        self.module, self.top = module, top

    def forward(self, history: Int[Tensor, " H"], history_offsets: Int[Tensor, " B"]) -> Packed:
        """Items and scores [B, top]; an empty history is one unknown item, a negative id is answered with NaN."""
        module = cast(NextItem, self.module)
        items, length = newest(history, history_offsets, module.max_length)
        found = module.best(items, length.clamp(min=1), self.top)
        return found.items, served_scores(found, items)


class OneByOne:
    """The reference: each history alone, neither packed nor padded, by the module in fp64."""

    def __init__(self, module: nn.Module, top: int) -> None:
        self._module, self._top = copy.deepcopy(module).double().eval(), top

    @torch.no_grad()
    def __call__(self, history: Tensor, ends: Tensor) -> Packed:
        """Items and scores [B, top]."""
        module = cast(NextItem, self._module)
        read = one_by_one(history, ends, module.max_length)
        found = [module.best(one, torch.tensor([one.shape[1]]), self._top) for one in read]
        scores = [served_scores(best, one) for best, one in zip(found, read, strict=True)]
        return torch.cat([best.items for best in found]), torch.cat(scores)


def own_loss(module: nn.Module, batch: SequenceBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The module's."""
    return cast(NextItem, module).loss(batch, share_done)


class NextItemTask(Task[SequenceData, SequenceSplit]):
    """See the module's docstring."""

    name = TASK
    title = "next item"
    columns = (
        Column(title="recall@5", metric="recall5"),
        Column(title="NDCG@5", metric="ndcg5"),
        Column(title="recall@10", metric="recall10"),
        Column(title="NDCG@10", metric="ndcg10", judges=True),
    )
    further = SLICES
    default = "beauty"
    needs = NEEDS
    traffic = MOMENTS

    def view(self, interactions: Interactions, wanted: Wanted) -> SequenceData:
        return sequences(interactions, wanted)

    def tested(self, interactions: Interactions) -> str:
        return f"the last choice of each of {len(sequences(interactions, PLAIN).test):,} users"

    def planted(self, seed: int = 0) -> Interactions:
        return synthetic_sequences(seed=seed)

    def stage(self, config: object) -> Stage:
        assert isinstance(config, NextItemConfig)
        return Stage(
            name="next item",
            loss=own_loss,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            schedule=config.schedule,
            weight_decay=config.weight_decay,
            patience=config.patience or config.epochs,
            monitor="ndcg10",
        )

    def evaluate(self, module: nn.Module, predict: Predict, split: SequenceSplit) -> dict[str, float]:
        """recall@k and ndcg@k; recall@10 also of the targets that are rare or new, where there are some."""
        places = predict(Places(module), split)
        return ranking_quality(places) | sliced(split, places)

    def request(self, interactions: Interactions, question: Question) -> Tensors:
        """The history, and the user where one is named, for those who rank."""
        question.refuse("candidates", "the answer lists the best of all items")
        history = history_of(interactions, question, choices(interactions))[-MAX_HISTORY:]
        asking = {} if question.user is None else {"user_id": as_ids(interactions, "user", [question.user])}
        return {"history": as_ids(interactions, "item", history), **asking}

    def shown(self, interactions: Interactions, question: Question, request: Tensors, answer: Tensors) -> Shown:
        """Items with their scores; places without an item are left out."""
        newest = newest_of(interactions, question, request, choices(interactions))
        return listed(interactions, question, newest, answer, ("next items", f"chose {len(newest)} items, lately"))

    def questions(
        self, interactions: Interactions, random: np.random.Generator, count: int, most: int
    ) -> list[Question]:
        drawn = moments(interactions, choices(interactions), random, count)
        return [Question(one.user, one.history, (), most) for one in drawn]

    def release(self, name: str, module: nn.Module, data: SequenceData) -> tuple[Signature, ...]:
        return (served_list(name, module, data, lambda one: one),)

    def listed_by_user(self, name: str, module: nn.Module, data: SequenceData, top: int) -> tuple[Signature, ...]:
        none = np.zeros((len(data.interactions.users), 0), np.int64)
        return by_user(name, partial(lists, name, module, data, top), data.interactions, none)


def served_list(name: str, module: nn.Module, data: SequenceData, form: Callable[..., nn.Module]) -> Servable:
    """The plain served form; `form` makes of a module, which stays as it is for the reference, what is exported and has
    the same `max_length` and `best`."""
    module = copy.deepcopy(module).eval()
    faster = form(module)
    # One place more, so that no toss-up decides who is the last in the list.
    further = _served(name, faster, data, LISTED + 1)
    double = _served(name, form(copy.deepcopy(module).double()), data, LISTED)
    max_length = cast(NextItem, module).max_length
    return replace(
        _served(name, faster, data, LISTED),
        example=Requests(data=data, answer=further.eager, max_length=max_length),
        eager64=double.eager,
        reference=OneByOne(module, LISTED),
    )


def _served(name: str, module: nn.Module, data: SequenceData, top: int) -> Servable:
    return servable(
        name=name,
        module=Recommender(module, top),
        inputs=(history_spec(data), OFFSETS),
        outputs=(
            items_spec(data, top),
            TensorSpec(name="scores", dtype="float32", shape=(top,)),
        ),
        example=lambda batch_size, seed: (),
        max_batch_size=MAX_BATCH_SIZE,
    )


NEXT_ITEM = NextItemTask()
