"""Users and items of requests whom a release does not know: what tells that it has grown old.

Of an ensemble one step sees the ids, so that each row is counted once.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np

from serving.steps.step import Host


class Unknown(NamedTuple):
    """Where they are counted."""

    users: Callable[[float], None]
    items: Callable[[float], None]

    @classmethod
    def of(cls, host: Host, model: str) -> Self:
        """Those of a model, for Prometheus."""
        return cls(
            host.total("recserve_unknown_users_total", "Requests of users whom the release does not know", model),
            host.total("recserve_unknown_items_total", "Candidates that the release does not know", model),
        )

    def add(self, num_users: int, candidates: Sequence[np.ndarray]) -> None:
        """So many users; of candidates by dense ids those that are 0, as an unknown item is."""
        num_items = sum(int((one == 0).sum()) for one in candidates)
        if num_users:
            self.users(num_users)
        if num_items:
            self.items(num_items)
