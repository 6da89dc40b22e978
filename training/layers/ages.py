"""How long ago an event of a history was, as a vector.

Our design: buckets by powers of two, of the time between the event and the newest event of its history, in whatever
unit the data set counts; so neither a clock nor a unit is needed, and a served request answers as it was trained.

Legend: B batch, L history, D width.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

BUCKETS = 44
"""Ages from 2^42 on, a hundred and forty years in milliseconds, share the last one."""


class AgeEmbedding(nn.Module):
    """A vector for each bucket, zero at the start."""

    starts: Int64[Tensor, " 45"]
    """The smallest age of each bucket; last what no age reaches."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(BUCKETS, dim)
        nn.init.zeros_(self.rows.weight)
        starts = [0, *(1 << power for power in range(BUCKETS - 1)), (1 << 63) - 1]
        self.register_buffer("starts", torch.tensor(starts))

    def buckets(self, ages: Int64[Tensor, "B L"]) -> Int64[Tensor, "B L"]:
        """0 for no age and for a negative one, k for 2^(k-1) <= age < 2^k, at most `BUCKETS` - 1.

        A logarithm guesses, and whole numbers decide, so that no runtime's rounding moves a bucket. Comparisons, for
        ORT's Clip, Min and Max of int64 are wrong where two numbers share their upper 32 bits.
        """
        ages = torch.where(ages > 0, ages, 0)
        guess = (ages.float().clamp(min=0.5).log() / math.log(2)).floor().clamp(-1, BUCKETS - 2).long() + 1
        return guess - (ages < self.starts[guess]).long() + (ages >= self.starts[guess + 1]).long()

    def forward(self, ages: Int64[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        return self.rows(self.buckets(ages))
