"""The final network that LREA and its baselines share, and how a ranking model is judged.

Legend: B batch, N raw item ids, D width of item and interest vectors, K hidden units.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.fields import FieldBatch, FieldSplit
from training.data.ranking import USER_FIELDS, RankingBatch, RankingData, RankingSplit
from training.layers.items import BehaviourTable, ItemTable, ProfileEmbedding, known
from training.metrics import auc, gauc, log_loss
from training.schema import Schema
from training.system import Stage

Predict = Callable[[nn.Module, RankingSplit], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class RankerConfig:
    """What LREA and its baselines share, so that only the attention differs between them."""

    dim: int = 32
    """Width of item, behaviour and interest vectors."""
    max_length: int = 256
    """Most recent events of a history that are kept."""
    hidden: tuple[int, int] = (64, 32)
    """Units of the final network's two layers."""
    dropout: float = 0.2
    """Share of the final network's units that a training step leaves out."""
    epochs: int = 8
    """Passes over the training part at most; the one that is best on the validation part counts."""
    batch_size: int = 1024
    """Samples of a training step, over all processes."""
    learning_rate: float = 2e-3
    """Rate of AdamW."""
    weight_decay: float = 0.05
    """Decay of AdamW: each step takes this times the learning rate off every weight."""


def cardinality(schema: Schema, name: str) -> int:
    """Number of ids of a field; ValueError where the schema leaves it open."""
    size = schema[name].cardinality
    if size is None:
        raise ValueError(f"field '{name}' of {schema.dataset} has no cardinality")
    return size


class Tables(nn.Module):
    """The embeddings in front of every ranking model."""

    def __init__(self, schema: Schema, dim: int) -> None:
        super().__init__()
        self.num_items = cardinality(schema, "item_id")
        genres = schema["genres"].width
        if genres is None:
            raise ValueError(f"field 'genres' of {schema.dataset} has no width")
        self.items = ItemTable(self.num_items, genres, dim)
        self.behaviours = BehaviourTable(cardinality(schema, "history_ratings"), dim)
        self.profile = ProfileEmbedding(tuple(cardinality(schema, name) for name in USER_FIELDS), dim)

    def prepare(self, data: RankingData) -> None:
        self.items.prepare(torch.from_numpy(data.train_item_counts), torch.from_numpy(data.item_genres))

    def look_up(self, batch: RankingBatch) -> "Embedded":
        """History, target and profile vectors of a batch, history rows beyond the length masked."""
        items = self.items()
        rows = self.behaviours.index(batch.history_items, batch.history_ratings, self.num_items)
        positions = torch.arange(rows.shape[1], device=rows.device)
        return Embedded(
            history=nn.functional.embedding(rows, self.behaviours(items)),
            mask=(positions < batch.history_length[:, None]).to(items.dtype),
            target=nn.functional.embedding(known(batch.item, self.num_items), items),
            profile=self.profile(batch.user_fields),
        )


class Embedded(NamedTuple):
    """Vectors of a batch."""

    history: Float[Tensor, "B L D"]
    mask: Float[Tensor, "B L"]
    target: Float[Tensor, "B D"]
    profile: Float[Tensor, "B D"]


class Tower(nn.Module):
    """logit = MLP([O, T, O*T, profile]).

    The first layer is kept as one matrix per part, so that serving can fold W_T into the item table and W_p
    into the user's state (a sum of products is the product of the concatenation).
    """

    def __init__(self, dim: int, hidden: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.of_interest = nn.Linear(dim, hidden[0], bias=False)
        self.of_target = nn.Linear(dim, hidden[0], bias=False)
        self.of_product = nn.Linear(dim, hidden[0], bias=False)
        self.of_profile = nn.Linear(dim, hidden[0])
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(hidden[0], hidden[1])
        self.last = nn.Linear(hidden[1], 1)

    def forward(
        self, interest: Float[Tensor, "B D"], target: Float[Tensor, "B D"], profile: Float[Tensor, "B D"]
    ) -> Float[Tensor, " B"]:
        first = self.of_target(target) + self.of_profile(profile)
        return self.finish(interest, target, first)

    def finish(
        self, interest: Float[Tensor, "B D"], target: Float[Tensor, "B D"], first: Float[Tensor, "B K"]
    ) -> Float[Tensor, " B"]:
        """The rest of the network, given the first layer's share of target and profile."""
        hidden = first + self.of_interest(interest) + self.of_product(interest * target)
        hidden = torch.relu(self.second(self.dropout(torch.relu(hidden))))
        return self.last(hidden).squeeze(-1)


def binary_loss(module: nn.Module, batch: RankingBatch | FieldBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy of the logits against the labels."""
    loss = nn.functional.binary_cross_entropy_with_logits(module(batch), batch.label)
    return loss, {"loss": loss.detach()}


def one_stage(config: RankerConfig, loss: Callable[[nn.Module, Any, float], tuple[Tensor, dict[str, Tensor]]]) -> Stage:
    """End-to-end training, the only stage of a plain ranking model."""
    return Stage(
        name="train",
        loss=loss,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
    )


def evaluate(module: nn.Module, predict: Predict, split: RankingSplit) -> dict[str, float]:
    """AUC, GAUC and log loss of a model's logits."""
    return quality(split, predict(module, split))


def quality(split: RankingSplit | FieldSplit, logits: np.ndarray) -> dict[str, float]:
    """AUC, GAUC (by user) and log loss of logits [len(split)] in sample order."""
    return {
        "auc": auc(split.label, logits),
        "gauc": gauc(split.user, split.label, logits),
        "log_loss": log_loss(split.label, logits),
    }
