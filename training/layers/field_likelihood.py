"""How likely values of fields are, near the direction in which a generator expects them.

p(f_k | rest) = exp(cos(f_k, G_k) / T) / sum over f of exp(cos(f, G_k) / T): over all values of a field that has few and
that training saw, those it saw too seldom being one, the unknown; else over the values of the batch, each one's logit
less the logarithm of its share of the training samples, and without those that equal the one that is asked for.

Legend: B rows, F fields, D width, V values of a field, M rows in which it is masked, R rows of the table.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from training.data.columns import Layout
from training.layers.columns import Features
from training.layers.field_generator import normal
from training.layers.fields import FieldEmbedding

FEW = 1024
"""Values up to which a field's softmax is over all of them."""
IMPOSSIBLE = -1e9
_CHUNK = 8192
"""Values that are looked at together where all count."""


class FieldLoss(NamedTuple):
    """Of each field: the mean of -log p over the rows in which it counts, 0 where there are none, and how many."""

    mean: Float[Tensor, " F"]
    rows: Int64[Tensor, " F"]

    @property
    def overall(self) -> Float[Tensor, ""]:
        """Mean over all that counts."""
        return (self.mean * self.rows).sum() / self.rows.sum().clamp(min=1)

    def balanced(self, log_weights: Float[Tensor, " F"]) -> Float[Tensor, ""]:
        """sum_k exp(-s_k) l_k + s_k / 2 of HeteGenCTR, over the number of fields."""
        return (torch.exp(-log_weights) * self.mean + log_weights / 2).mean()


def field_losses(
    embedding: FieldEmbedding,
    x: Features,
    directions: Float[Tensor, "B F D"],
    masks: Bool[Tensor, "B F"],
    temperature: float,
    few: int = FEW,
) -> FieldLoss:
    """-log p of the true values of the masked fields; over all that training saw where a field has at most so many. The
    unknown is no value that is asked for."""
    known, vectors = embedding.known(x.ids), embedding(x)
    asked = masks & (known > 0)
    means = []
    for field, size in enumerate(embedding.sizes):
        rows = asked[:, field].nonzero()[:, 0]
        target = known[rows, field]
        if embedding.fields[field].kind == "id" and size <= few:
            logits = directions[rows, field] @ values(embedding, field).T / temperature
            logits = logits.masked_fill(of_field(embedding, field) == 0, IMPOSSIBLE)
        else:
            found = normal(vectors[rows, field])
            logits = directions[rows, field] @ found.T / temperature - log_share(embedding, field, target)
            same = equal(embedding, x, field, rows)
            target = torch.arange(len(rows), device=rows.device)
            logits = logits.masked_fill(same & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device), IMPOSSIBLE)
        total = nn.functional.cross_entropy(logits, target, reduction="sum")
        means.append(total / max(1, len(rows)))
    return FieldLoss(torch.stack(means), asked.sum(0))


def values(embedding: FieldEmbedding, field: int) -> Float[Tensor, "V D"]:
    """The vectors of a field's values, of length 1. Those that share the row of the unknown have its vector."""
    first, size = sum(embedding.sizes[:field]), embedding.sizes[field]
    return normal(embedding.rows(embedding.row_of[first : first + size]))


def log_share(embedding: FieldEmbedding, field: int, known: Int64[Tensor, " M"]) -> Float[Tensor, " M"]:
    """Logarithm of the share of the training samples that have each value; 0 for what is not an id alone."""
    if embedding.fields[field].kind != "id":
        return torch.zeros(known.shape, device=known.device)
    counts = embedding.frequency[known + embedding.offsets[field]].float().clamp(min=1)
    return torch.log(counts / of_field(embedding, field).sum().clamp(min=1))


def of_field(embedding: FieldEmbedding, field: int) -> Int64[Tensor, " V"]:
    """Training samples of each value of a field."""
    first, size = sum(embedding.sizes[:field]), embedding.sizes[field]
    return embedding.frequency[first : first + size]


def equal(embedding: FieldEmbedding, x: Features, field: int, rows: Int64[Tensor, " M"]) -> Bool[Tensor, "M M"]:
    """Which of some rows have the same value of a field."""
    layout = Layout(embedding.fields)
    parts = [embedding.known(x.ids)[rows, field, None].double()]
    if field in layout.dense:
        parts.append(x.dense[rows, layout.dense.index(field), None].nan_to_num().double())
    parts += [x.sets[rows, one.start : one.stop].double() for one in layout.sets if one.place == field]
    key = torch.cat(parts, dim=1)
    return (key[:, None] == key).all(-1)


def log_likelihood(
    embedding: FieldEmbedding,
    field: int,
    known: Int64[Tensor, " B"],
    directions: Float[Tensor, "B D"],
    temperature: float,
) -> Float[Tensor, " B"]:
    """log p of each row's value among all values of a field of kind id; values that training never saw are none."""
    table, possible = values(embedding, field), of_field(embedding, field) > 0
    total = torch.full(known.shape, IMPOSSIBLE, device=known.device, dtype=directions.dtype)
    for start in range(0, len(table), _CHUNK):
        logits = directions @ table[start : start + _CHUNK].T / temperature
        logits = logits.masked_fill(~possible[start : start + _CHUNK], IMPOSSIBLE)
        total = torch.logaddexp(total, torch.logsumexp(logits, dim=1))
    return (directions * table[known]).sum(1) / temperature - total
