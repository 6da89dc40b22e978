"""What a ranking model knows of an item, of a rated item in a history, and of a user's fields.

Legend: N raw item ids, M ratings + 1, D width, F user fields, B batch.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

NUM_POPULARITY_BUCKETS = 8
MIN_TRAIN_COUNT = 5
"""Items with fewer training ratings share the out-of-vocabulary row: their own row would be noise."""


def known(ids: Int[Tensor, "*B"], cardinality: int | Tensor) -> Int[Tensor, "*B"]:
    """Raw ids with everything outside [0, cardinality) mapped to 0, the out-of-vocabulary id."""
    return torch.where((ids >= 0) & (ids < cardinality), ids, 0)


def popularity_bucket(counts: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Training ratings of each item -> bucket 0..7: how many times 3 they fill, with 0 for an unseen item."""
    buckets = torch.ceil(torch.log(counts.double() + 1) / torch.log(torch.tensor(3.0, dtype=torch.float64)))
    return buckets.long().clamp(max=NUM_POPULARITY_BUCKETS - 1)


class ItemTable(nn.Module):
    """Item vector = row of a known item + its genres + its popularity bucket; indexed by raw id, 0 = unknown."""

    row_of: Tensor
    bucket_of: Tensor
    genres_of: Tensor

    def __init__(self, num_items: int, num_genres: int, dim: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(num_items, dim)
        self.popularity = nn.Embedding(NUM_POPULARITY_BUCKETS, dim)
        self.genre = nn.Linear(num_genres, dim, bias=False)
        nn.init.normal_(self.rows.weight, std=0.1)
        nn.init.normal_(self.popularity.weight, std=0.1)
        self.register_buffer("row_of", torch.zeros(num_items, dtype=torch.int64))
        self.register_buffer("bucket_of", torch.zeros(num_items, dtype=torch.int64))
        self.register_buffer("genres_of", torch.zeros(num_items, num_genres))

    def prepare(self, train_counts: Int[Tensor, " N"], genres: Float[Tensor, "N G"]) -> None:
        """Fill the buffers from the training part: which items have a row, their genres and popularity."""
        ids = torch.arange(len(train_counts))
        self.row_of.copy_(torch.where(train_counts >= MIN_TRAIN_COUNT, ids, 0))
        self.bucket_of.copy_(popularity_bucket(train_counts))
        share = genres / genres.sum(dim=1, keepdim=True).clamp(min=1)
        self.genres_of.copy_(share)

    def forward(self) -> Float[Tensor, "N D"]:
        """Vectors of all items; with thousands of items cheaper than looking up every event of a batch."""
        return self.rows(self.row_of) + self.popularity(self.bucket_of) + self.genre(self.genres_of)


class BehaviourTable(nn.Module):
    """Vector of (item, rating): SiLU(W (item + rating)); row item * M + rating."""

    def __init__(self, num_ratings: int, dim: int) -> None:
        super().__init__()
        self.num_ratings = num_ratings
        self.rating = nn.Embedding(num_ratings, dim)
        self.mix = nn.Linear(dim, dim)
        nn.init.normal_(self.rating.weight, std=0.1)

    def forward(self, items: Float[Tensor, "N D"]) -> Float[Tensor, "NM D"]:
        pairs = items[:, None, :] + self.rating.weight[None, :, :]  # (N, M, D)
        return nn.functional.silu(self.mix(pairs)).flatten(0, 1)

    def index(self, items: Int[Tensor, "*B"], ratings: Int[Tensor, "*B"], num_items: int) -> Int[Tensor, "*B"]:
        """Row of each event; unknown items and ratings take id 0."""
        return known(items, num_items) * self.num_ratings + known(ratings, self.num_ratings)


class ProfileEmbedding(nn.Module):
    """Sum of one embedding per user field; 0 is `unknown` in each."""

    cardinalities: Tensor
    offsets: Tensor

    def __init__(self, cardinalities: tuple[int, ...], dim: int) -> None:
        super().__init__()
        sizes = torch.tensor(cardinalities)
        self.rows = nn.Embedding(int(sizes.sum()), dim)
        nn.init.normal_(self.rows.weight, std=0.1)
        self.register_buffer("cardinalities", sizes)
        self.register_buffer("offsets", sizes.cumsum(0) - sizes)

    def forward(self, user_fields: Int[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        rows = known(user_fields, self.cardinalities) + self.offsets
        return self.rows(rows).sum(dim=1)
