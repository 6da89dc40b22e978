"""Ranking requests to models over fields: a user id and ragged candidates; their tensors, tables and examples.

Legend: B requests, C candidates packed over them, U largest user id, I largest item id, F fields = Fu + Fi.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor, nn

from training.data.fields import FieldData
from training.data.ids import table_rows
from training.layers.fields import FieldEmbedding
from training.layers.items import known
from training.servable import Packed, TensorSpec

MAX_CANDIDATES = 20_000
"""Of one request: 160 kB of ids; more is refused before any work is done."""

USER_ID = TensorSpec(name="user_id", dtype="int64", shape=(1,))
"""Any int64: a user whom the release does not know has an empty history."""
CANDIDATES = TensorSpec(
    name="candidates", dtype="int64", shape=("candidates",), ragged=True, minimum=0, max_elements=MAX_CANDIDATES
)
OFFSETS = TensorSpec(name="candidate_offsets", dtype="int32", shape=(), of="candidates")
SCORES = TensorSpec(name="scores", dtype="float32", shape=("candidates",), ragged=True, of="candidates")

_UNKNOWN_ID = 2**40
UNKNOWN_USERS = (_UNKNOWN_ID, -1, -(2**63), 2**63 - 1)
"""Ids of int64 that no data set has."""
_EDGE_COUNTS = (500, 0, 1, 2, 7, 64, 63, 65, 100)


class IdTables(nn.Module):
    """The fields of users and items by raw id, as the embedding knows them; row 0 is for unknown ids."""

    users: Int64[Tensor, "U1 Fu"]
    items: Int64[Tensor, "I1 Fi"]

    def __init__(self, data: FieldData, embedding: FieldEmbedding) -> None:
        super().__init__()
        num_users, fields = data.num_user_fields, data.schema.fields
        known_users = table_rows(f"{data.schema.dataset}: user", data.user_ids, fields[0].cardinality or 0)
        user_rows = np.tile(data.new_user, (int(known_users.max()) + 1, 1))
        user_rows[known_users] = data.user_rows
        users, items = torch.from_numpy(user_rows), torch.from_numpy(data.item_rows)
        with torch.no_grad():
            blank_items = items.new_zeros(len(users), items.shape[1])
            blank_users = users.new_zeros(len(items), users.shape[1])
            self.register_buffer("users", embedding.known(torch.cat([users, blank_items], dim=1))[:, :num_users])
            self.register_buffer("items", embedding.known(torch.cat([blank_users, items], dim=1))[:, num_users:])

    def forward(
        self, user_id: Int[Tensor, " B"], candidates: Int[Tensor, " C"]
    ) -> tuple[Int64[Tensor, "B Fu"], Int64[Tensor, "C Fi"]]:
        """Known ids of both sides; a raw id that nobody has is an unknown user or item."""
        users = self.users.index_select(0, known(user_id, self.users.shape[0]))
        return users, self.items.index_select(0, known(candidates, self.items.shape[0]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Requests:
    """Seeded requests of real users and items; the first ones are the edge cases."""

    user_ids: np.ndarray
    """int64 [U]"""
    num_items: int
    """Items have the ids 1 to this."""

    def __call__(self, batch_size: int, seed: int) -> Packed:
        """User ids int64 [B, 1], packed candidates int64 [C], their ends int32 [B].

        An unknown item in the first request; where there are several, the second one is empty and the last one is an
        unknown user's; of many, the last ones are of users unknown at both ends of int64.
        """
        random = np.random.default_rng(seed)
        users = random.choice(self.user_ids, batch_size)
        counts = random.integers(1, 200, batch_size)
        counts[: len(_EDGE_COUNTS)] = _EDGE_COUNTS[:batch_size]
        unknown = UNKNOWN_USERS[: batch_size // 2]
        users[batch_size - len(unknown) :] = unknown
        candidates = random.integers(1, self.num_items + 1, int(counts.sum()))
        candidates[0] = _UNKNOWN_ID
        ends = np.cumsum(counts).astype(np.int32)
        return torch.from_numpy(users[:, None]), torch.from_numpy(candidates), torch.from_numpy(ends)


def fields_of(data: FieldData, user: int, items: Int64[Tensor, " N"]) -> Int64[Tensor, "N F"]:
    """The raw fields of one user now with each item: what a served request means, without a table."""
    place = np.flatnonzero(data.user_ids == user)
    user_row = data.user_rows[place[0]] if len(place) else data.new_user
    rows = [data.item_rows[item] if 0 <= item < len(data.item_rows) else data.item_rows[0] for item in items.tolist()]
    item_rows = np.stack(rows) if rows else data.item_rows[:0]
    return torch.from_numpy(np.concatenate([np.tile(user_row, (len(rows), 1)), item_rows], axis=1))
