"""The loss of CROLoss: the rank of the positive among sampled negatives, smoothed, and what each rank is worth.

With x_j = beta (s_j - s+) of M negatives, R = 1 + sum_j phi(x_j) stands for the rank, phi for the step at 0; with N
items and rho = N / M

    W_a(R) = ln(N + 1) ((rho R)^(1-a) - 1) / ((N + 1)^(1-a) - 1), a != 1;    W_1(R) = ln R

so that W(1) = 0 and W(N + 1) = ln(N + 1) where rho is 1. a above 1 weighs the head of the list, below 1 its tail. With
the Lambda method the weight w = dW/dR is taken at the rank of the sigmoid, without a gradient, and multiplies R.

Legend: B users of a batch, M negatives.
"""

from math import log
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Kernel = Literal["sigmoid", "softplus", "exp", "hinge"]
_MARGIN = 0.5
"""Of the hinge, in units of x, as the authors' code has it."""


class Criterion(NamedTuple):
    """What the rank of a positive costs."""

    kernel: Kernel
    alpha: float
    beta: float
    num_items: int
    """N: items that may be recommended."""
    decoupled: bool = False
    """The Lambda method."""

    def loss(
        self,
        positive: Float[Tensor, " B"],
        negative: Float[Tensor, "B M"],
        kept: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, " B"]:
        """Of scores; a negative that is not kept, such as one that is the positive, counts for nothing."""
        x = self.beta * (negative - positive[:, None])
        rho = self.num_items / negative.shape[1]
        if not self.decoupled:
            return self.worth(log_rank(self.kernel, x, kept), rho)
        weight = self.weight(log_rank("sigmoid", x, kept).detach(), rho)
        return weight * log_rank(self.kernel, x, kept).exp()

    def worth(self, log_ranks: Float[Tensor, " B"], rho: float) -> Float[Tensor, " B"]:
        """W of the ranks."""
        if self.alpha == 1:
            return log_ranks
        power = 1 - self.alpha
        scaled = torch.expm1(power * (log(rho) + log_ranks)) / torch.expm1(self._last(power, log_ranks))
        return log(self.num_items + 1) * scaled

    def weight(self, log_ranks: Float[Tensor, " B"], rho: float) -> Float[Tensor, " B"]:
        """w = dW/dR of the ranks; with the factor rho, which the authors' code leaves out."""
        if self.alpha == 1:
            return (-log_ranks).exp()
        power = 1 - self.alpha
        scaled = rho * torch.exp(-self.alpha * (log(rho) + log_ranks)) / torch.expm1(self._last(power, log_ranks))
        return power * log(self.num_items + 1) * scaled

    def _last(self, power: float, like: Tensor) -> Tensor:
        return torch.as_tensor(power * log(self.num_items + 1), dtype=like.dtype, device=like.device)


def log_rank(kernel: Kernel, x: Float[Tensor, "B M"], kept: Bool[Tensor, "B M"] | None = None) -> Float[Tensor, " B"]:
    """ln(1 + sum_j phi(x_j)): finite for exp too, however far scores lie apart."""
    if kernel == "exp":
        x = x if kept is None else x.masked_fill(~kept, -torch.inf)
        return torch.logsumexp(nn.functional.pad(x, (1, 0)), dim=1)
    counted = _STEPS[kernel](x)
    return torch.log1p((counted if kept is None else counted.masked_fill(~kept, 0.0)).sum(dim=1))


_STEPS = {
    "sigmoid": torch.sigmoid,
    "softplus": nn.functional.softplus,
    "hinge": lambda x: nn.functional.relu(x + _MARGIN),
}
"""phi by name; exp is summed as a logarithm."""
