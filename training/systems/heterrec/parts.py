"""Vectors that HeterRec serves beside its lists, and which tokens of a history an answer hangs on.

Legend: B users or items, H history items packed over the users, L history, N items, m tokens of an item, P fields, R
newest behaviours, V = R m + 1 variants of a history, d width.
"""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.columns import Layout
from training.layers.columns import Features
from training.layers.generator import newest_state
from training.layers.histories import newest
from training.layers.items import known
from training.layers.rows import rows
from training.systems.heterrec.model import HeterRec

NEWEST = 10
"""R: behaviours whose tokens are left out, one by one."""


class UserVector(nn.Module):
    """Histories -> the users' vectors over the temperature: their products with the items' are the scores."""

    tokens: Float[Tensor, "N m d"]

    def __init__(self, model: HeterRec) -> None:
        super().__init__()
        with torch.no_grad():
            self.register_buffer("tokens", model.tables()[0])
        self.model = model

    def forward(self, history: Int[Tensor, " H"], history_offsets: Int[Tensor, " B"]) -> Float[Tensor, "B d"]:
        """An empty history is one unknown item."""
        items, length = newest(history, history_offsets, self.model.max_length)
        states = self.model.encode(rows(self.tokens, known(items, len(self.tokens))))
        return newest_state(states, length)[:, 0] / self.model.config.temperature


class ItemVector(nn.Module):
    """What is known of an item that the release need not know -> its vector; its id is the unknown one."""

    def __init__(self, model: HeterRec, layout: Layout) -> None:
        super().__init__()
        self.model, self.layout = model, layout

    def forward(self, *values: Tensor) -> Float[Tensor, "B d"]:
        """Of the fields, int64 [B, 1], float32 [B, 1] or int64 [B, width], in order, then of the frozen vectors."""
        number, wide = len(self.layout.fields), self.model.types.dtype
        named = list(zip(self.layout.fields, values[:number], strict=True))
        none = torch.zeros(values[0].shape[0], 0, dtype=torch.int64, device=values[0].device)
        x = Features(
            torch.cat([none, *(_there(field.kind, value) for field, value in named)], 1),
            torch.cat([none.to(wide), *(value.to(wide) for field, value in named if field.kind == "dense")], 1),
            torch.cat([none, *(value for field, value in named if field.kind == "multi")], 1),
        )
        unknown = self.model.ids.table()[:1].expand(none.shape[0], -1)
        content = [value.to(wide) for value in values[number:]]
        return self.model.vectors(self.model.tokens(self.model.sides.of(x, content), unknown))


class TokenEffects(nn.Module):
    """A history and an item -> by how much the item's score falls when a token is the mean of its kind in its place."""

    tokens: Float[Tensor, "N m d"]
    vectors: Float[Tensor, "N d"]
    means: Float[Tensor, "m d"]

    def __init__(self, model: HeterRec, counts: Int64[Tensor, " N"]) -> None:
        """`counts` is how often each item trains."""
        super().__init__()
        with torch.no_grad():
            tokens, vectors = model.tables()
            share = (counts / counts.sum()).to(tokens.dtype)
            self.register_buffer("means", torch.einsum("n,nmd->md", share, tokens))
        self.register_buffer("tokens", tokens)
        self.register_buffer("vectors", vectors)
        self.model = model

    def forward(
        self, history: Int[Tensor, " H"], history_offsets: Int[Tensor, " B"], item: Int64[Tensor, "B 1"]
    ) -> Float[Tensor, "B R m"]:
        """The newest behaviour first; zeros where there is none."""
        items, length = newest(history, history_offsets, self.model.max_length)
        tokens = rows(self.tokens, known(items, len(self.tokens)))  # (B, L, m, d)
        states = self.model.encode(self._variants(tokens, length).flatten(0, 1)).unflatten(0, (items.shape[0], -1))
        place = (length.clamp(min=1) - 1)[:, None, None, None].expand(-1, states.shape[1], 1, states.shape[3])
        wanted = rows(self.vectors, known(item, len(self.vectors)))  # (B, 1, d)
        scores = (states.gather(2, place)[:, :, 0] * wanted).sum(2) / self.model.config.temperature  # (B, V)
        return (scores[:, :1] - scores[:, 1:]).unflatten(1, (NEWEST, -1))

    def _variants(self, tokens: Float[Tensor, "B L m d"], length: Int[Tensor, " B"]) -> Float[Tensor, "B V L m d"]:
        """The history as it is, then with each token of its newest behaviours left out."""
        number, device = tokens.shape[2], tokens.device
        variant = torch.arange(NEWEST * number, device=device)
        place = length[:, None] - 1 - variant // number  # (B, V - 1)
        at_place = place[..., None] == torch.arange(tokens.shape[1], device=device)
        of_kind = (variant % number)[:, None] == torch.arange(number, device=device)
        out = (at_place[..., None] & of_kind[None, :, None])[..., None]
        return torch.cat((tokens[:, None], torch.where(out, self.means, tokens[:, None])), dim=1)


def _there(kind: str, value: Tensor) -> Tensor:
    """The id of a field: its value, or whether it has any."""
    if kind == "id":
        return value
    return (~torch.isnan(value) if kind == "dense" else (value > 0).any(1, keepdim=True)).long()
