"""Norms over the answers of a training step, in the form that is served.

Legend: N rows, D width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

_MOMENTUM = 0.1
"""Of the running means: each step moves them so far, as the authors' code has it."""
_EPSILON = 1e-5


class Norm(nn.Module):
    """(x - m) / s of running means m and deviations s, in training as when it is served; only gradients are those of a
    norm by the batch. So is the correction, without limits, of Ioffe, "Batch Renormalization", NIPS 2017,
    https://arxiv.org/abs/1702.03275.

    Batches group students with as many answers, so that the means of one batch are those of short histories and of
    another those of long ones; a plain batch norm would take out of the counts what they say.
    """

    mean: Float[Tensor, " D"]
    variance: Float[Tensor, " D"]

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    def forward(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Rows; in training all of them are answers that count. A single one has no deviation and moves nothing."""
        if not self.training or len(x) == 1:
            return (x - self.mean) * (self.weight * (self.variance + _EPSILON).rsqrt()) + self.bias
        with torch.no_grad():
            variance, mean = torch.var_mean(x, dim=0, correction=0)
            self.mean.lerp_(mean, _MOMENTUM)
            self.variance.lerp_(variance, _MOMENTUM)
            deviation = (self.variance + _EPSILON).sqrt()
            stretch, shift = (variance + _EPSILON).sqrt() / deviation, (mean - self.mean) / deviation
        weight, bias = self.weight * stretch, self.weight * shift + self.bias
        return nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=_EPSILON)
