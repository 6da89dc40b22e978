"""How much of a user's spectrum is left at each level of noise, and how much noise there is: the less, the lower the
frequency.

With time tau_t growing from 0 by equal steps to its last value, and per frequency lambda

    signal a_t = exp(-lambda tau_t)    noise b_t = bound sqrt(1 - exp(-2 lambda tau_t))

which is heat that flows along the graph, and the noise that keeps its variance (an Ornstein-Uhlenbeck process): none at
frequency 0, never more than the bound. Its unit is the coefficients' spread over users, as a mean over all of them:
high frequencies, in which users differ little, are drowned first. Isotropic noise, the control, has one b for all
frequencies, such that the energy over all of them is the same at each level.

Legend: T levels, K frequencies.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor


class Schedule(NamedTuple):
    """Of each level and frequency; level 0 is the spectrum itself."""

    signal: Float64[Tensor, "T+1 K"]
    noise: Float64[Tensor, "T+1 K"]
    kept: Float64[Tensor, "T+1 K"]
    """Noise at level t as a share of that at the last; it has a limit where both are 0."""


def schedule(frequencies: Float64[Tensor, " K"], levels: int, last: float, bound: float) -> Schedule:
    """Of noise by frequency. fp64 throughout: 1 - exp(-x) of a small x has no digits in fp32."""
    times = torch.linspace(0, last, levels + 1, dtype=torch.float64)[:, None]
    growth = -torch.expm1(-2 * frequencies * times)
    # Of frequency 0 growth is 0 at every level, and grows as the time does just above.
    still = growth[-1:] <= 0
    kept = torch.where(still, times / last, growth / torch.where(still, 1.0, growth[-1:])).sqrt()
    return Schedule(torch.exp(-frequencies * times), bound * growth.sqrt(), kept)


def isotropic(of: Schedule) -> Schedule:
    """The same energy at each level, spread evenly."""
    even = of.noise.square().mean(dim=1, keepdim=True).sqrt().expand_as(of.noise).contiguous()
    return of._replace(noise=even, kept=even / even[-1:])
