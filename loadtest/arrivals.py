"""When requests are meant to be sent in an open loop, whatever the server does."""

from collections.abc import Iterator

import numpy as np


def poisson(rate: float, seed: int) -> Iterator[float]:
    """Arrival times in seconds, ascending without end: gaps are exponential with mean 1 / rate.

    Several generators with rates that add up to R are together a Poisson process of rate R.
    """
    if not rate > 0:
        raise ValueError(f"rate is {rate}; it must be above 0 requests per second")
    random = np.random.default_rng(seed)
    now = 0.0
    while True:
        for gap in random.exponential(1.0 / rate, 256):
            now += gap
            yield now
