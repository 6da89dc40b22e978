"""HeterRec's network: tokens of items, causal blocks over tokens, then over items, and a tower for items.

    h_nj = x_nj + type_j + position_n       x_nj: side j of item n in a layer or table of its own, the id last   (1)
    H    = blocks over the N m tokens, item by item                                                              (2)
    I_n  = W [H_n1; ...; H_nm]                                                                                   (3)
    Z    = blocks over the N items                                                                               (4)
    u_n  = unit(W_u Z_n),   v_i = unit(W_v [x_i1 + type_1; ...; x_im + type_m]),   s = u v / temperature         (5)

Legend: B users, L places of a history, N items, m tokens of an item, T = L m tokens, M places with a target, d
width.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.sequences import SequenceBatch, SequenceData
from training.layers.catalogue_loss import catalogue_loss
from training.layers.generator import newest_state
from training.layers.item_sides import ItemSides, prepare_rows, with_unknown
from training.layers.items import IdEmbedding, known
from training.layers.listing import Best, best_of_all
from training.layers.rows import rows
from training.layers.transformer import MASKED, EncoderBlock, causal_bias
from training.schema import Schema
from training.settings import or_none
from training.systems.heterrec.loss import Order, listwise, next_items
from training.systems.heterrec.relevance import gamma, relevance
from training.tasks.next_item import NextItemConfig
from training.warm_start import Axis


@dataclass(frozen=True, kw_only=True)
class Config(NextItemConfig):
    """Sizes, training and the list that is predicted."""

    dim: int = 64
    """Width of tokens, states and vectors."""
    token_layers: int = or_none(1)
    """Blocks over tokens; 0 leaves a stack over items, the control."""
    item_layers: int = or_none(1)
    """Blocks over items; 0 leaves a stack over tokens."""
    heads: int = 2
    """Attention heads."""
    dropout: float = 0.3
    """Share of elements dropped of tokens, and after attention and feed-forward."""
    mask: Literal["strict", "block"] = "strict"
    """Tokens that a token sees: all earlier ones, or also the later ones of its own item."""
    steps: int = 1
    """K: next items that a place predicts."""
    order: Order = "plackett-luce"
    """Rivals of a later item: all but those that have been placed, or all."""
    gamma: float | None = None
    """Weight of a step against the one before; measured on the training part by default."""
    temperature: float = 0.07
    """Divisor of the cosine of user and item."""
    unknown_rate: float = 0.1
    """Share of the items whose id is unknown in a training step."""
    epochs: int = 8
    """Passes over the users; the weights with the best NDCG@10 on the validation part are kept."""
    learning_rate: float = 3e-3
    """Rate of AdamW at its highest."""
    schedule: Literal["constant", "linear"] = "linear"
    """Schedule of the rate. linear: it rises over the first 2 % of the steps, then falls to zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token_layers + self.item_layers < 1:
            raise ValueError("token_layers and item_layers are 0; there must be at least one block")
        if self.steps < 1 or self.temperature <= 0:
            raise ValueError(f"steps ({self.steps}) must be at least 1, temperature ({self.temperature}) above 0")
        if self.gamma is not None and not 0 < self.gamma <= 1:
            raise ValueError(f"gamma is {self.gamma}; it must be above 0, and at most 1")
        if not 0 < self.unknown_rate < 1:
            raise ValueError(f"unknown_rate is {self.unknown_rate}; it must be above 0 and below 1")


class HeterRec(nn.Module):
    """See the module's docstring."""

    trained: Tensor
    """bool [N + 1]: items that train."""
    gamma: Float[Tensor, ""]

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config, self.max_length, dim = config, config.max_length, config.dim
        self.ids, self.sides = IdEmbedding(Axis((schema.key("item"),)), dim), ItemSides(schema, dim)
        self.names = (*self.sides.names, schema.key("item").name)
        """Of the tokens of an item, in order."""
        number = len(self.names)
        self.group = number if config.mask == "block" else 1
        """Tokens in a row that see each other."""
        self.types, self.positions = nn.Parameter(0.1 * torch.randn(number, dim)), nn.Embedding(config.max_length, dim)
        for table in (self.ids, self.positions):
            nn.init.normal_(table.weight, std=0.1)
        self.token_blocks, self.item_blocks = (
            nn.ModuleList(EncoderBlock(dim, config.heads, config.dropout) for _ in range(layers))
            for layers in (config.token_layers, config.item_layers)
        )
        self.token_norm, self.item_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.merge, self.of_item = nn.Linear(number * dim, dim), nn.Linear(number * dim, dim)
        self.of_user, self.dropout = nn.Linear(dim, dim), nn.Dropout(config.dropout)
        for layer in (self.merge, self.of_item, self.of_user):
            _as_sum(layer)
        self.register_buffer("trained", torch.ones(self.ids.num_embeddings, dtype=torch.bool))
        self.register_buffer("gamma", torch.ones(()))

    def prepare(self, data: SequenceData) -> None:
        """Takes what the items are, which of them train, and gamma where it is not given."""
        prepare_rows(self.ids, data)
        self.sides.prepare(data)
        self.trained.copy_(torch.from_numpy(data.train_item_counts > 0))
        if self.config.steps > 1:
            given = self.config.gamma
            self.gamma.fill_(gamma(relevance(trained_sequences(data))) if given is None else given)

    def tables(self) -> tuple[Float[Tensor, "N+1 m d"], Float[Tensor, "N+1 d"]]:
        """Tokens and vectors of all items."""
        ids = with_unknown(self.ids, self.config.unknown_rate) if self.training else self.ids.table()
        tokens = self.tokens(self.sides(), ids)
        return tokens, self.vectors(tokens)

    def tokens(self, sides: Float[Tensor, "N S d"], ids: Float[Tensor, "N d"]) -> Float[Tensor, "N m d"]:
        """Eq. (1) without positions."""
        return torch.cat((sides, ids[:, None]), dim=1) + self.types

    def vectors(self, tokens: Float[Tensor, "N m d"]) -> Float[Tensor, "N d"]:
        """The item tower of eq. (5)."""
        return nn.functional.normalize(self.of_item(tokens.flatten(1)), dim=1)

    def encode(self, tokens: Float[Tensor, "B L m d"]) -> Float[Tensor, "B L d"]:
        """Unit vectors u_n after each place."""
        number = tokens.shape[2]
        x = self.dropout(tokens + self.positions.weight[: tokens.shape[1], None]).flatten(1, 2)  # (B, T, d)
        for block in self.token_blocks:
            x = block(x, self.token_bias(x))
        x = self.merged(x.unflatten(1, (-1, number)))  # (B, L, d)
        for block in self.item_blocks:
            x = block(x, causal_bias(x))
        return self.user(x)

    def token_bias(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "T T"]:
        """Which tokens a token sees."""
        place = torch.arange(x.shape[1], device=x.device) // self.group
        return torch.where(place <= place[:, None], 0.0, MASKED).to(x.dtype)

    def merged(self, x: Float[Tensor, "B L m d"]) -> Float[Tensor, "B L d"]:
        """Eq. (3)."""
        return self.merge(self.token_norm(x).flatten(2))

    def user(self, x: Float[Tensor, "B L d"]) -> Float[Tensor, "B L d"]:
        """Of eq. (5)."""
        return nn.functional.normalize(self.of_user(self.item_norm(x)), dim=2)

    def loss(self, batch: SequenceBatch, share_done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean of the list's loss over the places that have a next item."""
        tokens, vectors = self.tables()
        places = batch.targets > 0
        targets = next_items(batch.targets, self.config.steps)[places]
        states = self.encode(rows(tokens, known(batch.items, len(tokens))))
        number = (self.trained.cumsum(0) - 1).clamp(min=0)

        def terms(normaliser: Tensor, scores: Tensor, part: slice) -> Tensor:
            return listwise(normaliser, scores, targets[part] > 0, self.gamma, self.config.order).sum()

        scaled = states[places] / self.config.temperature
        return catalogue_loss(scaled, vectors[self.trained], number[targets], terms) / len(targets), {}

    def best(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int) -> Best:
        return self.listed(self.tables(), items, length, top)

    def listed(
        self, tables: tuple[Tensor, ...], items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int
    ) -> Best:
        """Of the whole catalogue, by the newest state."""
        tokens, vectors = tables
        states = self.encode(rows(tokens, known(items, len(tokens))))
        scores = newest_state(states, length)[:, 0] @ vectors.T / self.config.temperature
        return best_of_all(scores, items, top)


def trained_sequences(data: SequenceData) -> list[np.ndarray]:
    """The windows of the training part: a history, and the target of its last place."""
    found = []
    for rows_ in np.array_split(np.arange(len(data.train)), 1 + len(data.train) // 4096):
        batch = data.train.batch(rows_)
        whole = torch.cat((batch.items, batch.newest_target()[:, None]), dim=1)
        whole.scatter_(1, batch.length[:, None], batch.newest_target()[:, None])
        found += [row[: length + 1].numpy() for row, length in zip(whole, batch.length.tolist(), strict=True)]
    return found


def _as_sum(layer: nn.Linear) -> None:
    """First weights that add the tokens up: users and items begin in one space, and places with the item they hold."""
    with torch.no_grad():
        layer.weight.copy_(torch.eye(layer.out_features).repeat(1, layer.in_features // layer.out_features))
        layer.bias.zero_()
