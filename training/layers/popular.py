"""Items by how often training met them, without ties."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def behind(counts: Int[np.ndarray, " N"]) -> Float[Tensor, " N"]:
    """How many items each has behind it: those with fewer events, and of as many those with a higher number."""
    order = np.argsort(-counts, kind="stable")
    found = torch.zeros(len(counts))
    found[torch.from_numpy(order)] = torch.arange(len(counts) - 1, -1, -1.0)
    return found
