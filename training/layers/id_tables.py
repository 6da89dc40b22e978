"""The id fields of users and items in a served graph, as a model's embedding knows them.

Legend: B requests, C candidates packed over them, U users, I items with the unknown ones, F fields = Fu + Fi, R rows of
the embedding of the users' fields.
"""

import torch
from jaxtyping import Int, Int64
from torch import Tensor, nn

from training.data.click import ClickData
from training.layers.fields import FieldEmbedding
from training.layers.items import known
from training.layers.rows import rows
from training.layers.users import follows


class UserTable(nn.Module):
    """All users, by dense id."""

    ids: Int64[Tensor, "U Fu"]

    def __init__(self, ids: Int64[Tensor, "U Fu"]) -> None:
        super().__init__()
        self.register_buffer("ids", ids)

    def forward(self, user_id: Int[Tensor, "B 1"]) -> Int64[Tensor, "B Fu"]:
        """An id that nobody has is an unknown user."""
        return self.ids.index_select(0, known(user_id[:, 0], self.ids.shape[0]))


class UserRows(nn.Module):
    """Users whose rows a request brings, as the data set has them."""

    row_of: Int64[Tensor, " R"]
    offsets: Int64[Tensor, " Fu"]
    cardinalities: Int64[Tensor, " Fu"]

    def __init__(self, embedding: FieldEmbedding, num_fields: int) -> None:
        super().__init__()
        self.register_buffer("row_of", embedding.row_of[: sum(embedding.sizes[:num_fields])].clone())
        for name in ("offsets", "cardinalities"):
            self.register_buffer(name, getattr(embedding, name)[:num_fields].clone())

    def forward(self, user: Int64[Tensor, "B Fu"]) -> Int64[Tensor, "B Fu"]:
        """`FieldEmbedding.known` of the users' fields."""
        return rows(self.row_of, known(user, self.cardinalities) + self.offsets) - self.offsets


class IdTables(nn.Module):
    """Known ids of the fields of users and items, by dense id; row 0 is for unknown ones. Where fields of users follow
    from histories, requests bring the users' rows."""

    items: Int64[Tensor, "I Fi"]

    def __init__(self, data: ClickData, embedding: FieldEmbedding) -> None:
        super().__init__()
        users, items = (torch.from_numpy(side.ids) for side in (data.features.users, data.features.items))
        number = users.shape[1]
        with torch.no_grad():
            blank_items = items.new_zeros(len(users), items.shape[1])
            blank_users = users.new_zeros(len(items), number)
            of_users = embedding.known(torch.cat([users, blank_items], dim=1))[:, :number]
            self.register_buffer("items", embedding.known(torch.cat([blank_users, items], dim=1))[:, number:])
        is_given = follows(data.features.layout)
        self.users = UserRows(embedding, number) if is_given else UserTable(of_users.contiguous())

    def forward(
        self, user: Int[Tensor, "B W"], candidates: Int[Tensor, " C"]
    ) -> tuple[Int64[Tensor, "B Fu"], Int64[Tensor, "C Fi"]]:
        """Known ids of both sides; an id that nobody has is an unknown user or item. W is 1, `user_id`, or Fu."""
        return self.users(user), self.items.index_select(0, known(candidates, self.items.shape[0]))
