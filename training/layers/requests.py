"""Ranking requests: a user id and ragged candidates; their tensors and examples.

Legend: B requests, C candidates packed over them, U users, I items.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from training.interactions import Interactions
from training.servable import Packed, TensorSpec

MAX_CANDIDATES = 20_000
"""Of one request: 160 kB of ids; more is refused before any work is done."""

USER_ID = TensorSpec(name="user_id", dtype="int64", shape=(1,))
"""Any id: a user whom the release does not know has an empty history."""
CANDIDATES = TensorSpec(
    name="candidates", dtype="int64", shape=("candidates",), ragged=True, minimum=0, max_elements=MAX_CANDIDATES
)
"""Dense ids; a negative one is no id, where raw ids are not mapped."""
OFFSETS = TensorSpec(name="candidate_offsets", dtype="int32", shape=(), of="candidates")
SCORES = TensorSpec(name="scores", dtype="float32", shape=("candidates",), ragged=True, of="candidates")


class Asked(NamedTuple):
    """The tensors of a request, with the raw ids that a client sends."""

    user_id: TensorSpec
    candidates: TensorSpec
    offsets: TensorSpec


def asked(interactions: Interactions, most: int = MAX_CANDIDATES) -> Asked:
    """Of a data set, with at most so many candidates."""
    ids = interactions.ids
    minimum = None if "item" in ids else 0
    return Asked(
        replace(USER_ID, ids=ids.get("user")),
        replace(CANDIDATES, ids=ids.get("item"), minimum=minimum, max_elements=most),
        OFFSETS,
    )


_UNKNOWN_ID = 2**40
UNKNOWN_USERS = (_UNKNOWN_ID, -1, -(2**63), 2**63 - 1)
"""Ids of int64 that no data set has."""
_EDGE_COUNTS = (500, 0, 1, 2, 7, 64, 63, 65, 100)


@dataclass(frozen=True, kw_only=True, eq=False)
class Requests:
    """Seeded requests of real users and items; the first ones are the edge cases."""

    user_ids: np.ndarray
    """int64 [U]: whom to draw from."""
    num_items: int
    """Items have the ids 1 to this."""
    first: tuple[int, ...] = ()
    """Users of the first requests: those with the longest and the shortest history, say."""
    least: int = 0
    most: int = 500
    """Candidates of the smallest and of the largest request."""

    def __call__(self, batch_size: int, seed: int) -> Packed:
        """User ids int64 [B, 1], packed candidates int64 [C], their ends int32 [B].

        An unknown item in the first request; where there are several, the second one is empty and the last one is an
        unknown user's; of many, the last ones are of users unknown at both ends of int64.
        """
        random = np.random.default_rng(seed)
        users = random.choice(self.user_ids, batch_size)
        users[: len(self.first)] = self.first[:batch_size]
        counts = random.integers(1, 200, batch_size)
        counts[: len(_EDGE_COUNTS)] = _EDGE_COUNTS[:batch_size]
        counts = counts.clip(self.least, self.most)
        unknown = UNKNOWN_USERS[: batch_size // 2]
        users[batch_size - len(unknown) :] = unknown
        candidates = random.integers(1, self.num_items + 1, int(counts.sum()))
        candidates[0] = _UNKNOWN_ID
        ends = np.cumsum(counts).astype(np.int32)
        return torch.from_numpy(users[:, None]), torch.from_numpy(candidates), torch.from_numpy(ends)
