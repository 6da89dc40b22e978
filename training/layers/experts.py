"""Parallel experts and what tokenizers build from them: two-layer networks, orthogonality, reconstruction errors.

GELU is its tanh form: ONNX Runtime has no error function in fp64, which served tokenizers are computed in.

Legend: B items, n experts of a group, I inputs, H hidden units, d width of latents.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, GELU (tanh form), Linear."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, outputs))


class Experts(nn.Module):
    """n two-layer networks over the same input, computed together."""

    def __init__(self, count: int, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Parameter(_uniform(count, inputs, hidden))
        self.first_bias = nn.Parameter(torch.zeros(count, 1, hidden))
        self.second = nn.Parameter(_uniform(count, hidden, outputs))
        self.second_bias = nn.Parameter(torch.zeros(count, 1, outputs))

    def forward(self, x: Float[Tensor, "B I"]) -> Float[Tensor, "B n d"]:
        hidden = functional.gelu(x @ self.first + self.first_bias, approximate="tanh")  # (n, B, H)
        return (hidden @ self.second + self.second_bias).transpose(0, 1)

    def orthogonality(self) -> Float[Tensor, ""]:
        """L_ortho of the group, summed over the layers."""
        return orthogonality(self.first) + orthogonality(self.second)


def _uniform(count: int, inputs: int, outputs: int) -> Tensor:
    """As nn.Linear starts."""
    return (torch.rand(count, inputs, outputs) * 2 - 1) * inputs**-0.5


def orthogonality(weights: Float[Tensor, "n I H"]) -> Float[Tensor, ""]:
    """||V V^T - I||_F^2 with the rows vec(W_i) / ||vec(W_i)||: 0 for orthogonal experts, 2 for two equal ones."""
    rows = functional.normalize(weights.flatten(1), dim=1)
    return (rows @ rows.T - torch.eye(len(rows), device=rows.device, dtype=rows.dtype)).square().sum()


def squared_error(target: Float[Tensor, "B I"], decoded: Float[Tensor, "B I"]) -> Float[Tensor, ""]:
    """||target - decoded||^2, summed over the dimensions, mean over the batch."""
    return (target - decoded).square().sum(1).mean()


def weighted_sum(weights: Float[Tensor, "B n"], parts: Float[Tensor, "B n d"]) -> Float[Tensor, "B d"]:
    """sum_i w_i z_i; a part of weight 0 leaves no trace."""
    return (weights[:, :, None] * parts).sum(1)
