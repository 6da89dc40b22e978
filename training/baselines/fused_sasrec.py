"""Fused SASRec: SASRec over items that are the sum of all that is known of them.

Our design, after Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018,
https://arxiv.org/abs/1808.09781: the item as one homogeneous vector, which systems with several tokens of an item
argue against. An item is the sum of its id's vector, those of its fields, and its text and its graph vector through a
layer each, where the data set has them; the same sum is what an item is scored by. Everything else is `sasrec`'s.

Some ids are unknown in each training step, and items that never train are no negatives: so an item that is new is
found by its fields and content.

Legend: B users, L history, N items, M places with a target, d width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from training.baselines import sasrec
from training.baselines.sasrec import SASRec
from training.data.sequences import CONTENT, SequenceBatch, SequenceData
from training.layers.catalogue_loss import catalogue_cross_entropy
from training.layers.folded import Folded
from training.layers.generator import newest_state
from training.layers.item_sides import ItemSides, prepare_rows, with_unknown
from training.layers.items import known
from training.layers.listing import Best, best_of_all
from training.layers.rows import rows
from training.schema import Schema
from training.servable import Signature
from training.system import System
from training.tasks.next_item import NEXT_ITEM, served_list


@dataclass(frozen=True, kw_only=True)
class Config(sasrec.Config):
    """SASRec's sizes, and training in fewer epochs."""

    unknown_rate: float = 0.1
    """Share of the items whose id is unknown in a training step."""
    epochs: int = 9
    """Passes over the users; the weights with the best NDCG@10 on the validation part are kept."""
    learning_rate: float = 3e-3
    """Rate of AdamW at its highest."""
    schedule: Literal["constant", "linear"] = "linear"
    """Schedule of the rate. linear: it rises over the first 2 % of the steps, then falls to zero."""
    patience: int | None = None
    """Epochs without a better NDCG@10 on the validation part before training stops; None for never."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.unknown_rate < 1:
            raise ValueError(f"unknown_rate is {self.unknown_rate}; it must be above 0 and below 1")


class FusedSASRec(SASRec):
    """Sums of vectors, positions and causal blocks."""

    trained: Tensor
    """bool [N + 1]: items that train."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__(config, schema)
        self.sides, self.unknown_rate = ItemSides(schema, config.dim), config.unknown_rate
        self.register_buffer("trained", torch.ones(self.items.num_embeddings, dtype=torch.bool))

    def prepare(self, data: SequenceData) -> None:
        """Takes what the items are, and which of them train."""
        prepare_rows(self.items, data)
        self.sides.prepare(data)
        self.trained.copy_(torch.from_numpy(data.train_item_counts > 0))

    def tables(self) -> tuple[Float[Tensor, "N+1 d"]]:
        """Vectors of all items."""
        ids = with_unknown(self.items, self.unknown_rate) if self.training else self.items.table()
        return (ids + self.sides().sum(dim=1),)

    def loss(self, batch: SequenceBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of every place's next item, plus the penalty on the vectors of the items."""
        (vectors,) = self.tables()
        places = batch.targets > 0
        states = self.after(rows(vectors, known(batch.items, len(vectors))))[places]
        number = self.trained.cumsum(0) - 1
        chosen = catalogue_cross_entropy(states, vectors[self.trained], number[batch.targets[places]])
        return chosen + 0.5 * self.item_penalty * vectors.square().sum(), {}

    def best(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int) -> Best:
        return self.listed(self.tables(), items, length, top)

    def listed(
        self, tables: tuple[Tensor, ...], items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int
    ) -> Best:
        """Of the whole catalogue, by the newest state."""
        (vectors,) = tables
        states = self.after(rows(vectors, known(items, len(vectors))))
        return best_of_all(newest_state(states, length)[:, 0] @ vectors.T, items, top)


def served(name: str, module: FusedSASRec, _config: Config, data: SequenceData) -> tuple[Signature, ...]:
    """One graph; the vectors of all items are constants in it."""
    return (served_list(name, module, data, Folded),)


SYSTEM = System(
    name="fused_sasrec",
    title="SASRec over sums of all that is known of an item",
    paper="https://arxiv.org/abs/1808.09781",
    provenance="SASRec as here; sums of ids, fields and content, unknown ids in training and sizes are our design",
    task=NEXT_ITEM,
    config=Config,
    baseline="sasrec",
    build=FusedSASRec,
    reads=frozenset({CONTENT}),
    served=served,
    quick={"max_length": 12, "dim": 16, "layers": 1, "batch_size": 32},
)
