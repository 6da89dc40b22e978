"""DEA over paths: tokens, pair scores, thresholds and exponentials of the first layer once per candidate.

Pairs of kept fields have the score of their codes, pairs with a mean the neutral one, as in the trained module.

Legend: B requests, C candidates, F = Fu + Fi fields, Q paths, S = 2 F tokens (own, then means), N = F (F - 1) / 2
pairs, R embedding rows, D width, P width of a token, K hidden units, H heads.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from kernels.combo_id_attention import Fusion
from kernels.combo_id_attention.reference import attend, fuse, gate, scaled_dot, split, thresholds
from kernels.combo_id_attention.reference import keep as share_kept
from kernels.path_sampling import unpack
from training.systems.dea.model import DEA, Layer
from training.systems.matt.bases.attention import attend_paths, both, stabilised
from training.systems.matt.served import Absorbed, Asked

PairRows = tuple[Int64[Tensor, "C N"], Int64[Tensor, "C N"]]
"""Row of each pair in each codebook."""


class Scores(nn.Module):
    """A layer's constants: the score of every codebook row, fusion and thresholds."""

    first: Float[Tensor, "S1 H"]
    second: Float[Tensor, "S2 H"]
    neutral: Float[Tensor, " H"]
    mix: Float[Tensor, "3 H"]
    tau: Float[Tensor, "F F"]
    position: Int64[Tensor, " FF"]
    left: Int64[Tensor, " N"]
    right: Int64[Tensor, " N"]

    def __init__(self, base: DEA, layer: Layer) -> None:
        super().__init__()
        self.heads, self.project = layer.heads, layer.tokens
        with torch.no_grad():
            codebooks, fusion = layer.codebooks(base.memory), layer.fusion(base.abundance.deficiency)
            self.register_buffer("neutral", layer.neutral())
        for name, value in (("first", codebooks.first), ("second", codebooks.second), *fusion._asdict().items()):
            self.register_buffer(name, value)
        for name in ("left", "right"):
            self.register_buffer(name, getattr(base.memory, name))
        self.register_buffer("position", layer.position)

    def of_pairs(self, share: Float[Tensor, "C N"], rows: PairRows) -> Float[Tensor, "C N H"]:
        """A^c of each pair of kept fields."""
        first, second = nn.functional.embedding(rows[0], self.first), nn.functional.embedding(rows[1], self.second)
        return second + share[..., None] * (first - second)


class FirstLayer(Scores):
    """The first layer, for all paths of a candidate."""

    tau_of_tokens: Float[Tensor, "S S"]
    position_of_tokens: Int64[Tensor, " SS"]

    def __init__(self, base: DEA, layer: Layer) -> None:
        super().__init__(base, layer)
        fields, pairs = self.tau.shape[0], len(self.left)
        own = self.position.unflatten(0, (fields, fields))
        neutral = torch.full_like(own, pairs + 1).fill_diagonal_(pairs)
        tokens = torch.cat([torch.cat([own, neutral], dim=1), torch.cat([neutral, neutral], dim=1)])
        self.register_buffer("position_of_tokens", tokens.flatten())
        self.register_buffer("tau_of_tokens", thresholds(self.tau).repeat(2, 2))

    def forward(
        self, tokens: Float[Tensor, "C S P"], rows: PairRows, keep: Float[Tensor, "C Q F"]
    ) -> Float[Tensor, "C Q F D"]:
        """Attended vectors of the fields of each path; the first F tokens are the fields' own."""
        heads, fields = split(tokens, self.heads), keep.shape[2]
        share = gate(heads, heads)[:, 0, :fields, :fields].flatten(1).index_select(1, self.left * fields + self.right)
        of_pairs = self.of_pairs(share, rows)
        known = torch.stack([torch.zeros_like(self.neutral), self.neutral]).expand(of_pairs.shape[0], 2, self.heads)
        combo = torch.cat([of_pairs, known], dim=1).index_select(1, self.position_of_tokens)
        combo = combo.unflatten(1, (2 * fields, 2 * fields)).movedim(3, 1)  # (C, H, S, S)
        dot = scaled_dot(heads.query, heads.key)
        kept = share_kept(dot, self.tau_of_tokens)
        score = fuse(combo, dot, self.mix).masked_fill(kept == 0, -1e9)
        return attend_paths(stabilised(score) * kept, heads.value, keep)


class LaterLayer(Scores):
    """A layer after the first, whose tokens differ from path to path."""

    def forward(
        self, fields: Float[Tensor, "C Q F D"], rows: PairRows, keep: Float[Tensor, "C Q F"]
    ) -> Float[Tensor, "C Q F D"]:
        paths, count = keep.shape[1], keep.shape[2]
        heads = split(self.project(fields.flatten(0, 1)), self.heads)
        pairs = self.left * count + self.right
        share = gate(heads, heads)[:, 0].flatten(1).index_select(1, pairs).unflatten(0, keep.shape[:2])
        first, second = nn.functional.embedding(rows[0], self.first), nn.functional.embedding(rows[1], self.second)
        of_pairs = second[:, None] + share[..., None] * (first - second)[:, None]  # (C, Q, N, H)
        kept = keep.index_select(2, self.left) * keep.index_select(2, self.right)
        scores = torch.where((kept > 0)[..., None], of_pairs, self.neutral)
        padded = nn.functional.pad(scores.flatten(0, 1), (0, 0, 0, 1))
        combo = padded.index_select(1, self.position).unflatten(1, (count, count)).movedim(3, 1)
        return attend(heads, combo, Fusion(self.mix, self.tau)).unflatten(0, (-1, paths))


class AbsorbedDEA(Absorbed):
    """Per row of the embedding, and per mean, its vector, its token, and its share of the network's first layer."""

    table: Float[Tensor, "R DPK"]
    means: Float[Tensor, "F DPK"]

    def __init__(self, base: DEA) -> None:
        super().__init__(base.embedding.offsets)
        embedding, (first, *later) = base.embedding, (one for one in base.layers if isinstance(one, Layer))
        by_field = base.network.first.weight.unflatten(1, (len(embedding.sizes), -1)).unbind(1)
        with torch.no_grad():
            rows = zip(embedding.rows.weight.split(embedding.sizes), by_field, strict=True)
            table = [torch.cat([one, first.tokens(one), one @ weight.T], dim=1) for one, weight in rows]
            means = zip(embedding.means()[:, None], by_field, strict=True)
            mean = [torch.cat([one, first.tokens(one), one @ weight.T], dim=1) for one, weight in means]
        self.widths = (embedding.rows.weight.shape[1], first.tokens.out_features, by_field[0].shape[0])
        self.register_buffer("table", torch.cat(table))
        self.register_buffer("means", torch.cat(mean))
        self.memory, self.network = base.memory, base.network
        self.first = FirstLayer(base, first)
        self.later = nn.ModuleList(LaterLayer(base, one) for one in later)

    def logits(self, asked: Asked, masks: Int64[Tensor, "C Q"]) -> Float[Tensor, "C Q"]:
        keep = unpack(masks, len(self.offsets)).to(self.means.dtype)
        vectors, tokens, shares = self.of_fields(self.table, asked).split(self.widths, dim=2)
        mean_vectors, mean_tokens, mean_shares = self.means.split(self.widths, dim=1)
        rows = self.memory.rows(self.ids(asked))
        tokens = torch.cat([tokens, mean_tokens.expand(tokens.shape)], dim=1)
        attended = self.first(tokens, rows, keep)
        for layer in self.later:
            attended = attended + layer(both(vectors, mean_vectors, keep) + attended, rows, keep)
        share = keep @ (shares - mean_shares) + mean_shares.sum(0)  # (C, Q, K)
        return self.network.finish(share + self.network.first(attended.flatten(2)))
