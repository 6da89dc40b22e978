"""Weights of objectives in a request: the score of an item is the weighted sum of its scores by objective.

A module that takes them (`Weighed`) has dimensions that belong to one objective each, so a user's vector is multiplied
and the items' vectors stay. Weights that are no numbers from 0 to `MOST` are refused by the server where it checks
bounds (the target cpu), and are answered by NaN, which a client refuses, where it does not. Weights that are all 0 ask
for nothing: no item is listed.

Legend: B requests, O objectives, D width of vectors.
"""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.servable import TensorSpec

ALPHA = "alpha"
MOST = 1_000
"""Largest weight: infinity is refused as one that is larger."""


@runtime_checkable
class Weighed(Protocol):
    """A module of towers with objectives."""

    names: tuple[str, ...]
    """Of the objectives, [O]."""

    def weighed(self, alpha: Float[Tensor, "B O"], /) -> Float[Tensor, "B D"]:
        """What multiplies a user's vector: the weight of each dimension's objective."""
        ...


def alpha_of(module: nn.Module) -> TensorSpec | None:
    """The input of a release of the module, 1 each where a client leaves it out; None for one that takes no weights."""
    if not isinstance(module, Weighed):
        return None
    shape = (len(module.names),)
    return TensorSpec(name=ALPHA, dtype="float32", shape=shape, minimum=0, maximum=MOST, neutral="1")


def drawn(spec: TensorSpec, count: int, seed: int) -> Float[Tensor, "B O"]:
    """Weights of requests: each objective alone and all alike at first, then any."""
    (size,) = spec.shape
    assert isinstance(size, int)
    random = np.random.default_rng([seed, 11])
    first = np.concatenate([np.ones((1, size)), np.eye(size)])[:count]
    rest = random.choice([0.25, 0.5, 1.0, 2.0], (count - len(first), size))
    return torch.from_numpy(np.concatenate([first, rest]).astype(np.float32))


def weigh(module: nn.Module, users: Float[Tensor, "B D"], alpha: Float[Tensor, "B O"]) -> Float[Tensor, "B D"]:
    """Vectors of users who ask with these weights; NaN where they are no weights."""
    assert isinstance(module, Weighed)
    return torch.where(legal(alpha)[:, None], users * module.weighed(alpha), torch.nan)


def legal(alpha: Float[Tensor, "B O"]) -> Bool[Tensor, " B"]:
    """Whether all are numbers from 0 to `MOST`."""
    return ((alpha >= 0) & (alpha <= MOST)).all(dim=1)
