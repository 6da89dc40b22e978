"""Combo-ID attention on a CPU: the definition's arithmetic in fewer and larger steps.

Pairs of two user fields are worked out once per request. Candidates come in chunks that fit the cache, heads come
first, so that each matrix product runs over whole tensors.

Legend: as in reference.py; K fields of all, U of the user, I of the item.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.combo_id_attention.reference import (
    Codebooks,
    Fields,
    Fusion,
    field_codes,
    pair_rows,
    request_of,
    thresholds,
)

_CHUNK = 2**18
"""Pairs and heads that are worked on at once."""


class _Heads(NamedTuple):
    query: Float[Tensor, "H N K D"]
    key: Float[Tensor, "H N K D"]
    value: Float[Tensor, "H N K D"]
    gate_query: Float[Tensor, "1 N K D"]
    gate_key: Float[Tensor, "1 N K D"]
    codes: Int[Tensor, "N K 2"]

    def rows(self, which: Int[Tensor, " C"] | slice) -> "_Heads":
        return _Heads(*(part[:, which] for part in self[:5]), codes=self.codes[which])

    def beside(self, other: "_Heads") -> "_Heads":
        """The fields of both."""
        parts = [torch.cat(both, dim=2) for both in zip(self[:5], other[:5], strict=True)]
        return _Heads(*parts, codes=torch.cat([self.codes, other.codes], dim=1))

    def fields(self, which: slice) -> "_Heads":
        """Some of the fields."""
        return _Heads(*(part[:, :, which] for part in self[:5]), codes=self.codes[:, which])


class _Sums(NamedTuple):
    """Sums of (8) over some of the columns, relative to exp(peak)."""

    peak: Float[Tensor, "H N K 1"]
    total: Float[Tensor, "H N K 1"]
    value: Float[Tensor, "H N K D"]

    def rows(self, which: Int[Tensor, " C"]) -> "_Sums":
        return _Sums(*(part.index_select(1, which) for part in self))


def combo_id_attention_cpu(users: Fields, items: Fields, ends: Tensor, codebooks: Codebooks, fusion: Fusion) -> Tensor:
    """`reference.combo_id_attention`, several times as fast. Raises ValueError for candidates of no request."""
    num_candidates, num_users = items.ids.shape[0], users.ids.shape[1]
    if num_candidates and not len(ends):
        raise ValueError(f"{num_candidates} candidates of no request")
    fusion = Fusion(fusion.mix[:, :, None, None, None], thresholds(fusion.tau))
    user = _heads(users, codebooks.salt[..., :num_users], fusion)
    item = _heads(items, codebooks.salt[..., num_users:], fusion)
    within_users = None
    if num_users and num_candidates:
        combo = _mirror(_pair(user, user, codebooks))
        within_users = _sums(user.query, user, combo, fusion, fusion.tau[:num_users, :num_users])
    request = request_of(ends, num_candidates)
    outputs = []
    step = max(1, _CHUNK // (fusion.tau.numel() * fusion.mix.shape[1]))
    for start in range(0, num_candidates, step):
        own = request[start : start + step]
        every = user.rows(own).beside(item.rows(slice(start, start + step)))
        before = within_users and within_users.rows(own)
        outputs.append(_candidates(every, before, codebooks, fusion).to(items.tokens.dtype))
    width = items.tokens.shape[2] // (3 * fusion.mix.shape[1] + 2) * fusion.mix.shape[1]
    return torch.cat([items.tokens.new_empty(0, fusion.tau.shape[0], width), *outputs])


def _heads(fields: Fields, salt: Tensor, fusion: Fusion) -> _Heads:
    """Queries come scaled, so that their products need not be."""
    num_heads = fusion.mix.shape[1]
    tokens = fields.tokens.to(torch.promote_types(fields.tokens.dtype, torch.float32))
    parts = tokens.unflatten(2, (3 * num_heads + 2, -1)).permute(2, 0, 1, 3)
    query, gate_query, key, gate_key, value = parts.split((num_heads, 1, num_heads, 1, num_heads))
    scale = query.shape[3] ** -0.5
    return _Heads(query * scale, key, value, gate_query * scale, gate_key, field_codes(fields.ids, salt))


def _candidates(
    every: _Heads, within_users: _Sums | None, codebooks: Codebooks, fusion: Fusion
) -> Float[Tensor, "N K HD"]:
    """All rows of some candidates."""
    num_users = within_users.peak.shape[2] if within_users else 0
    user, item = every.fields(slice(num_users)), every.fields(slice(num_users, None))
    combo = _pair(every, item, codebooks)
    across, within = combo[:, :, :num_users], _mirror(combo[:, :, num_users:])
    item_combo = torch.cat([across.transpose(2, 3), within], dim=3)
    parts = [_sums(item.query, every, item_combo, fusion, fusion.tau[num_users:])]
    if within_users:
        of_items = _sums(user.query, item, across, fusion, fusion.tau[:num_users, num_users:])
        parts.insert(0, _merge(within_users, of_items))
    fields = torch.cat([part.value / part.total for part in parts], dim=2)
    return fields.permute(1, 2, 0, 3).flatten(2)


def _pair(left: _Heads, right: _Heads, codebooks: Codebooks) -> Float[Tensor, "H N K I"]:
    """Equations (2) to (4) without the mirror; a row of scores is read and weighted as a whole."""
    rows = pair_rows(left.codes, right.codes, (codebooks.first.shape[0], codebooks.second.shape[0]))
    share = _sigmoid(left.gate_query @ right.gate_key.transpose(2, 3))[0, ..., None]  # (N, K, I, 1)
    first = torch.nn.functional.embedding(rows[..., 0], codebooks.first).to(share.dtype)
    second = torch.nn.functional.embedding(rows[..., 1], codebooks.second).to(share.dtype)
    return first.sub_(second).mul_(share).add_(second).movedim(3, 0).contiguous()


def _mirror(combo: Float[Tensor, "H N K K"]) -> Float[Tensor, "H N K K"]:
    upper = combo.triu(1)
    return upper + upper.transpose(2, 3)


def _sums(query: Tensor, right: _Heads, combo: Tensor, fusion: Fusion, threshold: Tensor) -> _Sums:
    """Equations (5) to (8) for the columns of `right`."""
    dot = query @ right.key.transpose(2, 3)
    of_combo, of_dot, of_both = fusion.mix.to(dot.dtype)
    kept = _sigmoid(dot).sub_(threshold.to(dot.dtype)).clamp_(0.0, 1.0)
    score = torch.addcmul(of_combo, of_both, dot).mul_(combo).addcmul_(of_dot, dot)
    score.masked_fill_(kept == 0, -torch.inf)
    peak = score.amax(dim=3, keepdim=True)
    weight = score.sub_(_finite(peak)).exp_().mul_(kept)
    return _Sums(peak, weight.sum(dim=3, keepdim=True), weight @ right.value)


def _merge(one: _Sums, other: _Sums) -> _Sums:
    peak = torch.maximum(one.peak, other.peak)
    one_scale, other_scale = (torch.exp(part.peak - _finite(peak)) for part in (one, other))
    total = one.total * one_scale + other.total * other_scale
    return _Sums(peak, total, one.value * one_scale + other.value * other_scale)


def _finite(peak: Tensor) -> Tensor:
    """Zero where no column is kept, so that differences to it are not NaN."""
    return peak.masked_fill(peak == -torch.inf, 0.0)


def _sigmoid(x: Tensor) -> Tensor:
    """Not torch.sigmoid, whose last bit depends on where in memory an element lies, and so on the batch."""
    return x.neg().exp_().add_(1.0).reciprocal_()
