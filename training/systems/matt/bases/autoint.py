"""AutoInt over paths: all layers once for each distinct path, several paths side by side in one product.

From the second layer on each field's vector depends on all that a path keeps, so that paths share nothing but their
tokens' vectors; in the first, sharing scores between paths takes as long as computing them for each, as a path has half
of the tokens. Time is saved where a layer lets it go to waste: the maps of each head are multiplied out, so that no
head is moved to the front, and rows of the softmax are as long as a register of the processor.

Legend: B requests, C candidates, F = Fu + Fi fields, Q paths, R embedding rows, D width, H heads, G paths side by side,
N groups of them, S = G F their tokens.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from kernels.path_sampling import unpack
from training.baselines.autoint import AutoInt, InteractingLayer
from training.systems.matt.distinct import Distinct
from training.systems.matt.served import Absorbed, Asked

_REGISTER = 16
"""Numbers in fp32 that a register holds. ONNX Runtime's softmax takes as long for a row of half so many, and twice as
long where it writes over what it reads."""
_OTHER_PATH = -1e9
"""Added to the score of two tokens of different paths."""


class SideBySide(nn.Module):
    """An interacting layer: <W_Q e, W_K e'> = e M_h e' with M_h = W_Q^T W_K of head h; W_V after the weighted sum."""

    pairing: Float[Tensor, "D HD"]
    value: Float[Tensor, "HD D"]
    residual: Float[Tensor, "D D"]
    apart: Float[Tensor, "SH S"]
    """0 for two tokens of one path, else `_OTHER_PATH`."""

    def __init__(self, layer: InteractingLayer, num_fields: int, together: int) -> None:
        super().__init__()
        self.heads = layer.heads
        same = torch.block_diag(*(torch.ones(num_fields * self.heads, num_fields) for _ in range(together)))
        with torch.no_grad():
            query, key, value = (
                one.weight.unflatten(0, (layer.heads, -1)) for one in (layer.query, layer.key, layer.value)
            )
            pairing = query.transpose(1, 2) @ key  # (H, D, D)
            self.register_buffer("pairing", pairing.transpose(0, 1).flatten(1))
            self.register_buffer("value", torch.block_diag(*value.transpose(1, 2)))
            self.register_buffer("residual", layer.residual.weight.T.contiguous())
            self.register_buffer("apart", _OTHER_PATH * (1 - same))

    def forward(self, tokens: Float[Tensor, "N S D"]) -> Float[Tensor, "N S D"]:
        count, width = tokens.shape[1:]
        paired = (tokens @ self.pairing).unflatten(2, (self.heads, width)).flatten(1, 2)  # (N, SH, D)
        share = torch.softmax(paired @ tokens.transpose(1, 2) + self.apart, dim=2)
        attended = (share @ tokens).unflatten(1, (count, self.heads)).flatten(2)  # (N, S, HD)
        return torch.relu(attended @ self.value + tokens @ self.residual)


class AbsorbedAutoInt(Absorbed):
    """Rows of the embedding, and behind them the fields' means."""

    table: Float[Tensor, "R+F D"]
    mean_rows: Int64[Tensor, " F"]

    def __init__(self, base: AutoInt) -> None:
        super().__init__(base.embedding.offsets)
        fields, layers = base.num_fields, (one for one in base.layers if isinstance(one, InteractingLayer))
        self.together = max(1, _REGISTER // fields)
        self.layers = nn.Sequential(*(SideBySide(one, fields, self.together) for one in layers))
        self.last = base.last
        with torch.no_grad():
            self.register_buffer("table", torch.cat([base.embedding.rows.weight, base.embedding.means()]))
        self.register_buffer("mean_rows", len(base.embedding.rows.weight) + torch.arange(fields))

    def logits(self, asked: Asked, masks: Int64[Tensor, "C Q"]) -> Float[Tensor, "C Q"]:
        distinct, fields = Distinct.of(masks), len(self.mean_rows)
        own = (self.ids(asked) + self.offsets).index_select(0, distinct.candidate)
        rows = torch.where(unpack(distinct.masks, fields), own, self.mean_rows)
        tokens = nn.functional.embedding(self.grouped(rows), self.table)
        vectors = self.layers(tokens).unflatten(1, (self.together, fields)).flatten(2)  # (N, G, FD)
        return distinct.spread(self.last(vectors).flatten())

    def grouped(self, rows: Int64[Tensor, "M F"]) -> Int64[Tensor, "N S"]:
        """G paths side by side; the last one again where they do not come out even."""
        last = rows.shape[0] - 1
        first = self.together * torch.arange(last // self.together + 1, device=rows.device)
        paths = (first[:, None] + torch.arange(self.together, device=rows.device)).clamp(max=last)
        return rows.index_select(0, paths.flatten()).unflatten(0, paths.shape).flatten(1)
