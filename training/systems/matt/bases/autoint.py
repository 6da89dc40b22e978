"""AutoInt over paths: the first layer's projections, scores and exponentials once per token; later layers, which run
once per path, with the maps of each head multiplied out, so that no head is moved to the front.

Legend: B requests, C candidates, F = Fu + Fi fields, Q paths, R embedding rows, D width, H heads, N candidates
times paths.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.baselines.autoint import AutoInt, InteractingLayer
from training.systems.matt.bases.attention import attend_paths, both, stabilised
from training.systems.matt.served import Absorbed, Asked


class LaterLayer(nn.Module):
    """An interacting layer: <W_Q e, W_K e'> = e M_h e' with M_h = W_Q^T W_K of head h; W_V after the weighted sum."""

    pairing: Float[Tensor, "D HD"]
    value: Float[Tensor, "HD D"]
    residual: Float[Tensor, "D D"]

    def __init__(self, layer: InteractingLayer) -> None:
        super().__init__()
        self.heads = layer.heads
        with torch.no_grad():
            query, key, value = (
                one.weight.unflatten(0, (layer.heads, -1)) for one in (layer.query, layer.key, layer.value)
            )
            pairing = query.transpose(1, 2) @ key  # (H, D, D)
            self.register_buffer("pairing", pairing.transpose(0, 1).flatten(1))
            self.register_buffer("value", torch.block_diag(*value.transpose(1, 2)))
            self.register_buffer("residual", layer.residual.weight.T.contiguous())

    def forward(self, fields: Float[Tensor, "N F D"]) -> Float[Tensor, "N F D"]:
        count, width = fields.shape[1:]
        paired = (fields @ self.pairing).unflatten(2, (self.heads, width)).flatten(1, 2)  # (N, FH, D)
        share = torch.softmax(paired @ fields.transpose(1, 2), dim=2)
        attended = (share @ fields).unflatten(1, (count, self.heads)).flatten(2)  # (N, F, HD)
        return torch.relu(attended @ self.value + fields @ self.residual)


class AbsorbedAutoInt(Absorbed):
    """Per row of the embedding, and per mean, its first layer's query, key, value and residual."""

    table: Float[Tensor, "R 4D"]
    means: Float[Tensor, "F 4D"]

    def __init__(self, base: AutoInt) -> None:
        super().__init__(base.embedding.offsets)
        first = base.layers[0]
        assert isinstance(first, InteractingLayer)
        self.heads = first.heads
        later = (one for one in list(base.layers)[1:] if isinstance(one, InteractingLayer))
        self.later, self.last = nn.Sequential(*(LaterLayer(one) for one in later)), base.last
        maps = (first.query, first.key, first.value, first.residual)
        with torch.no_grad():
            self.register_buffer("table", torch.cat([one(base.embedding.rows.weight) for one in maps], dim=1))
            self.register_buffer("means", torch.cat([one(base.embedding.means()) for one in maps], dim=1))

    def logits(self, asked: Asked, keep: Float[Tensor, "C Q F"]) -> Float[Tensor, "C Q"]:
        own = self.of_fields(self.table, asked)  # (C, F, 4D)
        tokens = torch.cat([own, self.means.expand(own.shape)], dim=1)  # (C, S, 4D)
        query, key, value, _ = tokens.unflatten(2, (4, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attended = attend_paths(stabilised(query @ key.transpose(2, 3)), value, keep)
        width = own.shape[2] // 4
        residual = both(own[:, :, 3 * width :], self.means[:, 3 * width :], keep)
        fields = torch.relu(attended + residual)
        return self.last(self.later(fields.flatten(0, 1)).flatten(1)).reshape(keep.shape[0], keep.shape[1])
