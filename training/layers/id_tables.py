"""The id fields of all users and items in a served graph, as a model's embedding knows them.

Legend: B requests, C candidates packed over them, U users, I items with the unknown ones, F fields = Fu + Fi.
"""

import torch
from jaxtyping import Int, Int64
from torch import Tensor, nn

from training.data.click import ClickData
from training.layers.fields import FieldEmbedding
from training.layers.items import known


class IdTables(nn.Module):
    """Known ids of the fields of users and items, by dense id; row 0 is for unknown ones."""

    users: Int64[Tensor, "U Fu"]
    items: Int64[Tensor, "I Fi"]

    def __init__(self, data: ClickData, embedding: FieldEmbedding) -> None:
        super().__init__()
        users, items = (torch.from_numpy(side.ids) for side in (data.features.users, data.features.items))
        with torch.no_grad():
            blank_items = items.new_zeros(len(users), items.shape[1])
            blank_users = users.new_zeros(len(items), users.shape[1])
            number = users.shape[1]
            self.register_buffer("users", embedding.known(torch.cat([users, blank_items], dim=1))[:, :number])
            self.register_buffer("items", embedding.known(torch.cat([blank_users, items], dim=1))[:, number:])

    def forward(
        self, user_id: Int[Tensor, " B"], candidates: Int[Tensor, " C"]
    ) -> tuple[Int64[Tensor, "B Fu"], Int64[Tensor, "C Fi"]]:
        """Known ids of both sides; an id that nobody has is an unknown user or item."""
        users = self.users.index_select(0, known(user_id, self.users.shape[0]))
        return users, self.items.index_select(0, known(candidates, self.items.shape[0]))
