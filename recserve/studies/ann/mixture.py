"""Item vectors and users' vectors that nobody trained: near centres, farther from them, or in all directions alike.

Our design. A centre has 500 items on average. Vectors of items and users are drawn alike, the one independently of the
other, and have length 1. An index finds its lists by clusters: vectors near centres are kind to it, and those of all
directions the worst case. Where trained ones lie between them is not known here.

Legend: N items, M centres, U users, D width of vectors.
"""

from typing import NamedTuple

import numpy as np

PER_CENTRE = 500
NOISE = {"clustered": 1.0, "blurred": 1.5, "isotropic": None}
"""Kind -> length, about, of what is added to a centre of length 1; None for vectors without centres."""


class Mixture(NamedTuple):
    """Where vectors come from."""

    width: int
    noise: float | None
    centres: np.ndarray
    """float32 [M, D]; none of them where noise is None."""

    def draw(self, number: int, seed: int) -> np.ndarray:
        """float32 [number, D], each of length 1."""
        random = np.random.default_rng(seed)
        found = random.standard_normal((number, self.width), np.float32)
        if self.noise is not None:
            found *= np.float32(self.noise / np.sqrt(self.width))
            found += self.centres[random.integers(0, len(self.centres), number)]
        return _of_length_one(found)


def mixture(kind: str, num_items: int, width: int) -> Mixture:
    """For so many items; the same every time."""
    noise = NOISE[kind]
    number = 0 if noise is None else max(1, num_items // PER_CENTRE)
    centres = np.random.default_rng(0).standard_normal((number, width), np.float32)
    return Mixture(width, noise, _of_length_one(centres))


def _of_length_one(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
