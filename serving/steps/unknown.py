"""Users and items of requests whom a release does not know: what tells that it has grown old.

Of an ensemble one step sees the ids, so that each row is counted once.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np

from serving.steps.step import Host
from serving.watch import families


class Unknown(NamedTuple):
    """Where they are counted, beside all that were asked for."""

    asked_users: Callable[[float], None]
    users: Callable[[float], None]
    asked_items: Callable[[float], None]
    items: Callable[[float], None]

    @classmethod
    def of(cls, host: Host, model: str) -> Self:
        """Those of a model, for Prometheus."""
        return cls(
            host.total(families.ASKED_USERS, model),
            host.total(families.UNKNOWN_USERS, model),
            host.total(families.ASKED_ITEMS, model),
            host.total(families.UNKNOWN_ITEMS, model),
        )

    def add(self, num_users: int, num_strangers: int, candidates: Sequence[np.ndarray]) -> None:
        """So many users, of whom some are unknown; of candidates by dense ids those are unknown that are 0."""
        num_items = sum(one.size for one in candidates)
        num_unknown = sum(int((one == 0).sum()) for one in candidates)
        for count, number in zip(self, (num_users, num_strangers, num_items, num_unknown), strict=True):
            if number:
                count(number)
