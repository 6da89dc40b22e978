"""DeepFM over paths: all before its first activation is a sum over fields, so a path is a row of keep @ fields.

Legend: B requests, C candidates, F = Fu + Fi fields, Q paths, R embedding rows, D width, K hidden units.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kernels.path_sampling import unpack
from training.baselines.deepfm import DeepFM
from training.systems.matt.served import Absorbed, Asked


class AbsorbedDeepFM(Absorbed):
    """Per row of the embedding [W_f e | e | |e|^2 | w], as its difference to the field's mean, and the sum of means."""

    differences: Float[Tensor, "R KD2"]
    means: Float[Tensor, " KD2"]

    def __init__(self, base: DeepFM) -> None:
        super().__init__(base.embedding.offsets)
        embedding = base.embedding
        by_field = base.network.first.weight.unflatten(1, (len(embedding.sizes), -1))  # (K, F, D)
        tables, means = [], []
        with torch.no_grad():
            parts = zip(
                embedding.rows.weight.split(embedding.sizes),
                embedding.means(),
                base.linear.weights.rows.weight.split(embedding.sizes),
                base.linear.weights.means(),
                by_field.unbind(1),
                strict=True,
            )
            for rows, mean, weights, mean_weight, first in parts:
                of_mean = per_vector(mean[None], mean_weight[None], first)
                tables.append(per_vector(rows, weights, first) - of_mean)
                means.append(of_mean)
        self.widths = (by_field.shape[0], by_field.shape[2], 1, 1)
        self.bias, self.network = base.linear.bias, base.network
        self.register_buffer("differences", torch.cat(tables))
        self.register_buffer("means", torch.cat(means).sum(0))

    def logits(self, asked: Asked, masks: Int64[Tensor, "C Q"]) -> Float[Tensor, "C Q"]:
        keep = unpack(masks, len(self.offsets)).to(self.means.dtype)
        fields = self.of_fields(self.differences, asked)  # (C, F, KD2)
        first, total, squares, linear = (keep @ fields + self.means).split(self.widths, dim=2)
        pairs = 0.5 * (total.square().sum(2) - squares[:, :, 0])
        return self.network.finish(first + self.network.first.bias) + pairs + linear[:, :, 0] + self.bias


def per_vector(
    vectors: Float[Tensor, "R D"], weights: Float[Tensor, "R 1"], first: Float[Tensor, "K D"]
) -> Float[Tensor, "R KD2"]:
    """[W e | e | |e|^2 | w] of each row."""
    return torch.cat([vectors @ first.T, vectors, vectors.square().sum(1, keepdim=True), weights], dim=1)
