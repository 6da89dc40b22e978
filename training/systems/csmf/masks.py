"""Which weights belong to which objective, and how an objective gives some of them away.

Cumulative-percentile pruning, stated for each layer of n weights: with c_j the sum of the j smallest magnitudes, those
with c_j <= tau c_n are pruned. So layers with a long tail of small weights give more of them away at the same tau. That
magnitudes ascend is implied by the purpose, no summary says it. By neuron, for the last layer, is our design: the
magnitude of an output is the product of its sums of |w| in both towers, as a dimension that one of them hardly uses
adds little to a product.

Legend: N weights of a layer, D output dimensions, H inputs of the last layer.
"""

import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor


def least(magnitudes: Float[Tensor, "*N"], tau: float, among: Bool[Tensor, "*N"]) -> Bool[Tensor, "*N"]:
    """The smallest magnitudes of those in `among` that make up a share of at most tau of their sum; of equal ones those
    that come first."""
    flat, chosen = magnitudes.flatten().double(), torch.zeros(magnitudes.numel(), dtype=torch.bool)
    places = torch.nonzero(among.flatten())[:, 0].cpu()
    ascending, order = torch.sort(flat.cpu()[places], stable=True)
    summed = ascending.cumsum(dim=0)
    chosen[places[order[summed <= tau * summed[-1:]]]] = True
    return chosen.reshape(magnitudes.shape).to(magnitudes.device)


def give(owner: Int8[Tensor, "*N"], magnitudes: Float[Tensor, "*N"], objective: int, tau: float) -> None:
    """Makes the next objective the owner of the objective's smallest weights, in place."""
    owner[least(magnitudes, tau, owner == objective)] = objective + 1


def give_outputs(
    owner: Int8[Tensor, " D"],
    weights: tuple[Float[Tensor, "D H"], Float[Tensor, "D H"]],
    objective: int,
    tau: float,
    later: int,
) -> None:
    """The same of output dimensions, by the last layers of both towers; the objective keeps one at least, and each of
    those that are `later` finds one."""
    magnitudes = weights[0].abs().sum(dim=1) * weights[1].abs().sum(dim=1)
    own = torch.nonzero(owner == objective)[:, 0]
    assert len(own) > later, "build refuses fewer dimensions than objectives"
    count = int(least(magnitudes, tau, owner == objective).sum())
    count = min(max(count, later), len(own) - 1)
    order = torch.sort(magnitudes[own], stable=True).indices
    owner[own[order[:count]]] = objective + 1
