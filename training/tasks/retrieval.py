"""The task `retrieval`: the items that a user will meet, found by one product of a user's vector with all items'.

A module of the task has (as a type: `training.layers.towers.Towers`)
- `prepare(data: RetrievalData)`: fills its buffers from the training part, such as item fields int64 [N+1, G] and
  training events of each item int64 [N+1];
- `users(batch: RetrievalBatch) -> [B, D]`: vectors of users, from `batch.user_fields` int64 [B, F], `batch.history`
  int64 [B, L], oldest first and 0 beyond `batch.length` int64 [B], alone; an empty history is legal, and so is any id;
- `items() -> [N+1, D]`: vectors of all items by dense id; row 0, the unknown one, is never listed;
- `loss(batch, share_done) -> (scalar, scalars to log)`, unless its system brings its own stages; `batch.targets` int64
  [B, 1] is what came after each history, `batch.objectives` float32 [B, 1, O] what it served.

An item's score is the product of the vectors, the order is (score descending, id ascending), and what the user has met
is left out. The protocol of the split is that of `training.data.retrieval`; the plain served form is
`training.tasks.retrieval_served`.

Legend: B users, L history, T targets, N items, O objectives, D width of vectors, F and G fields of users and items.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.asking import Question, Shown, Tensors, as_ids, history_of, listed, newest_of
from training.data.planted_retrieval import planted_retrieval
from training.data.retrieval import NEEDS, RetrievalBatch, RetrievalData, RetrievalSplit, retrieval_view
from training.data.retrieval_events import has_parts, positives
from training.interactions import Interactions
from training.layers.towers import Towers
from training.metrics import UndefinedError
from training.ranking_metrics import retrieval_quality
from training.retriever.by_user import by_user
from training.servable import Signature
from training.system import PLAIN, Column, Predict, Stage, Task, Wanted
from training.tasks.retrieval_by_user import lists
from training.tasks.retrieval_served import MAX_HISTORY, served
from training.traffic import MOMENTS, moments

CUTOFFS = (20, 50, 100, 200, 500)
_RANK_BLOCK = 256
_FEW = 8
"""Targets of a row up to which a pass over the row for each takes less than to sort it."""


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """What all systems of the task can be told."""

    max_length: int = 20
    """Newest items of a history that count."""
    epochs: int = 20
    """Passes over the training part at most; the one that is best on the validation part counts."""
    batch_size: int = 256
    """Samples of a training step, over all processes."""
    learning_rate: float = 2e-3
    """Rate of AdamW."""
    weight_decay: float = 0.0
    """Decay of AdamW: each step takes this times the learning rate off every weight."""
    patience: int = 3
    """Epochs without a better recall100 on validation before training stops."""


class _Rankings(nn.Module):
    """The module as `predict` wants it: batch -> rank of each target; items are computed once."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._items: Tensor | None = None

    def forward(self, batch: RetrievalBatch) -> Float[Tensor, "B T"]:
        towers = cast(Towers, self.module)
        items = self._items = towers.items() if self._items is None else self._items
        users = towers.users(batch)
        blocks = torch.arange(len(users), device=users.device).split(_RANK_BLOCK)
        return torch.cat([ranks(users[rows] @ items.T, batch.seen[rows], batch.targets[rows]) for rows in blocks])


def ranks(
    scores: Float[Tensor, "B N+1"], seen: Int64[Tensor, "B S"], targets: Int64[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Place of each target, 1 = first, in the list of all items that were not seen; of equal scores the lower id comes
    first. NaN for target 0; inf for one that was seen or has a score of NaN."""
    listed = scores.scatter(1, seen, -torch.inf)
    listed[:, 0] = -torch.inf
    own = listed.gather(1, targets)
    place = _sorted(listed, targets) if targets.shape[1] > _FEW else _counted(listed, targets)
    return torch.where(targets > 0, torch.where(own > -torch.inf, place, torch.inf), torch.nan)


def _counted(listed: Float[Tensor, "B N+1"], targets: Int64[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Places, each by a pass over the row."""
    ids = torch.arange(listed.shape[1], device=listed.device)
    places = []
    for target in targets.unbind(1):
        own = listed.gather(1, target[:, None])
        ahead = (listed > own) | ((listed == own) & (ids < target[:, None]))
        places.append(1.0 + ahead.sum(dim=1))
    return torch.stack(places, dim=1)


def _sorted(listed: Float[Tensor, "B N+1"], targets: Int64[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """The same places, all by one sort of the row, in which a score of NaN is the last."""
    order = torch.sort(
        listed.nan_to_num(nan=-torch.inf, neginf=-torch.inf), dim=1, descending=True, stable=True
    ).indices
    place = torch.arange(listed.shape[1], device=listed.device).expand_as(order)
    return 1.0 + torch.empty_like(order).scatter_(1, order, place).gather(1, targets)


def _loss(module: nn.Module, batch: RetrievalBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
    return cast(Towers, module).loss(batch, share_done)


class Retrieval(Task[RetrievalData, RetrievalSplit]):
    """See the module's docstring."""

    name = "retrieval"
    title = "retrieval"
    columns = (
        *(Column(title=f"Recall@{k}", metric=f"recall{k}", judges=k == 100) for k in CUTOFFS),
        Column(title="NDCG@50", metric="ndcg50"),
    )
    further = (Column(title="NDCG@20", metric="ndcg20"),)
    default = "beauty"
    needs = NEEDS
    traffic = MOMENTS

    def view(self, interactions: Interactions, wanted: Wanted) -> RetrievalData:
        """As `retrieval_view`; of `wanted.reads`, "users" gives the users' profile fields."""
        return retrieval_view(interactions, wanted)

    def tested(self, interactions: Interactions) -> str:
        test = retrieval_view(interactions, PLAIN).test
        tested = f"{int((test.targets > 0).sum()):,} events of {len(test):,} users"
        last = "the last fifth" if test.names else "the last one"
        return f"{tested}, {'the given part' if has_parts(interactions) else last} of each, new items alone"

    def planted(self, seed: int = 0) -> Interactions:
        """As `planted_retrieval`: tastes for clusters, three nested objectives."""
        return planted_retrieval(seed=seed)

    def stage(self, config: object) -> Stage:
        """The module's own loss, stopped by recall@100."""
        assert isinstance(config, RetrievalConfig)
        return Stage(
            name="retrieve",
            loss=_loss,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=config.patience,
            monitor="recall100",
        )

    def evaluate(self, module: nn.Module, predict: Predict, split: RetrievalSplit) -> dict[str, float]:
        """recall@k and ndcg@k over all items; where events have objectives also `recall50 of <objective>` and
        `ndcg50 of <objective>`, of the targets that served it, where there are some."""
        found = predict(_Rankings(module), split)
        measured = retrieval_quality(found, CUTOFFS)
        for objective, marks in zip(split.names, np.moveaxis(split.objectives, 2, 0), strict=True):
            with suppress(UndefinedError):
                own = retrieval_quality(np.where(marks > 0, found, np.nan), (50,))
                measured |= {f"{metric} of {objective}": value for metric, value in own.items()}
        return measured

    def request(self, interactions: Interactions, question: Question) -> Tensors:
        """The history that is named, or else what the user has met; a user who is not named has unknown fields."""
        question.refuse("candidates", "the answer lists the best of all items")
        user = interactions.raw("user", 0) if question.user is None else question.user
        history = history_of(interactions, question, positives(interactions))[-MAX_HISTORY:]
        return {"user_id": as_ids(interactions, "user", [user]), "history": as_ids(interactions, "item", history)}

    def shown(self, interactions: Interactions, question: Question, request: Tensors, answer: Tensors) -> Shown:
        """Items with their scores; places without an item are left out."""
        newest = newest_of(interactions, question, request, positives(interactions))
        return listed(interactions, question, newest, answer, ("of all items outside the history", "lately met"))

    def questions(
        self, interactions: Interactions, random: np.random.Generator, count: int, most: int
    ) -> list[Question]:
        drawn = moments(interactions, positives(interactions), random, count)
        return [Question(one.user, one.history, (), most) for one in drawn]

    def release(self, name: str, module: nn.Module, data: RetrievalData) -> tuple[Signature, ...]:
        """As `training.tasks.retrieval_served`: `<name>_user`, then `name`."""
        return served(name, module, data)

    def listed_by_user(self, name: str, module: nn.Module, data: RetrievalData, top: int) -> tuple[Signature, ...]:
        return by_user(name, partial(lists, name, module, data, top), data.interactions, data.user_fields)


RETRIEVAL = Retrieval()
